//! The real program, seen from outside and held against its contract.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::PathBuf;

use serde_json::{Value, json};
use store_kit::{Callee, Verifier};
use store_testing::{Checked, Contract, Program};

const KEY: (&str, &str) = ("JWT_SIGNING_KEY", "a key for tests");
const PASSWORD: &str = "a short sentence is good";

struct Customers {
    program: Program,
    callee: Callee,
    contract: Contract,
    db: PathBuf,
    _dir: tempfile::TempDir,
}

impl Customers {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("customers.db");
        let program = Program::start(env!("CARGO_BIN_EXE_customers"), &db, &[KEY]);
        let (callee, contract) = (program.callee(), Contract::load(env!("CARGO_MANIFEST_DIR")));
        Self { program, callee, contract, db, _dir: dir }
    }

    /// kill -9, and a new one on the same file.
    fn kill_and_restart(self) -> Self {
        let Self { program, contract, db, _dir, .. } = self;
        program.kill();
        let program = Program::start(env!("CARGO_BIN_EXE_customers"), &db, &[KEY]);
        let callee = program.callee();
        Self { program, callee, contract, db, _dir }
    }

    async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Checked {
        let call = self.callee.post(path).json(body);
        let call = match key {
            Some(key) => call.key(key),
            None => call,
        };
        self.contract.send("POST", path, call).await
    }

    async fn register(&self, key: &str, email: &str) -> Checked {
        self.post("/v1/customers", Some(key), &member(email)).await
    }

    async fn guest(&self, key: &str) -> Checked {
        let body =
            json!({"name": "Gus Guest", "email": "gus@example.test", "phone": "+33639980001"});
        self.post("/v1/guests", Some(key), &body).await
    }

    async fn sign_in(&self, email: &str, password: &str) -> Checked {
        let body = json!({"email": email, "password": password});
        self.post("/v1/sessions", None, &body).await
    }

    async fn refresh(&self, token: &Value) -> Checked {
        self.post("/v1/sessions/refresh", None, &json!({"refresh_token": token})).await
    }

    async fn sign_out(&self, token: &Value) -> Checked {
        let call = self.callee.delete("/v1/sessions/current").bearer(token.as_str().unwrap());
        self.contract.send("DELETE", "/v1/sessions/current", call).await
    }

    async fn me(&self, token: &Value) -> Checked {
        let call = self.callee.get("/v1/me").bearer(token.as_str().unwrap());
        self.contract.send("GET", "/v1/me", call).await
    }

    async fn change(&self, token: &Value, body: Value) -> Checked {
        let call = self.callee.patch("/v1/me").bearer(token.as_str().unwrap()).json(&body);
        self.contract.send("PATCH", "/v1/me", call).await
    }

    async fn add_address(&self, token: &Value, body: &Value) -> Checked {
        let call = self.callee.post("/v1/me/addresses").bearer(token.as_str().unwrap()).json(body);
        self.contract.send("POST", "/v1/me/addresses", call).await
    }

    async fn addresses(&self, token: &Value) -> Vec<Value> {
        let call = self.callee.get("/v1/me/addresses").bearer(token.as_str().unwrap());
        let kept = self.contract.send("GET", "/v1/me/addresses", call).await;
        kept.body["items"].as_array().unwrap().clone()
    }

    /// A member who has signed in.
    async fn member(&self, email: &str) -> Value {
        assert_eq!(self.register(email, email).await.status, 201);
        let tokens = self.sign_in(email, PASSWORD).await;
        assert_eq!(tokens.status, 200);
        tokens.body
    }
}

fn member(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "name": "Ada Islander", "phone": "+33 6 39 98 00 01", "locale": "fr"})
}

fn address(line1: &str) -> Value {
    json!({"name": "Ada", "line1": line1, "postcode": "29000", "city": "Quimper", "country": "FR"})
}

fn fields(answer: &Checked) -> Vec<&str> {
    let errors = answer.body["errors"].as_array().unwrap();
    errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_member_registers_once_and_signs_in() {
    let c = Customers::start();
    let made = c.register("k1", "Ada@Example.test").await;
    assert_eq!(made.status, 201);
    let again = c.register("k1", "Ada@Example.test").await;
    assert_eq!((again.status, again.replayed, &again.body), (201, true, &made.body));
    let other = c.register("k1", "eve@example.test").await;
    assert_eq!(other.body["code"], "idempotency-key-reused");
    let taken = c.register("k2", "ada@example.TEST").await;
    assert_eq!((taken.status, &taken.body["code"]), (409, &json!("email-taken")));

    let tokens = c.sign_in("ADA@example.test", PASSWORD).await;
    assert_eq!((tokens.status, &tokens.body["customer_id"]), (200, &made.body["customer_id"]));
    let verifier = Verifier::new(c.callee.clone(), None);
    let claims = verifier.verify(tokens.body["token"].as_str().unwrap()).await.unwrap();
    assert_eq!(claims.sub.as_str(), made.body["customer_id"]);
    assert_eq!((claims.kind.as_str(), claims.exp - claims.iat), ("member", 600));

    let me = c.me(&tokens.body["token"]).await;
    assert_eq!(
        (&me.body["email"], &me.body["phone"]),
        (&json!("Ada@Example.test"), &json!("+33639980001"))
    );
    let events = c.contract.outbox(&c.callee).await;
    assert_eq!(events, [("customer.registered".to_owned(), me.body)]);
}

#[tokio::test]
async fn wrong_passwords_and_unknown_people_are_refused_alike() {
    let c = Customers::start();
    c.register("k", "ada@example.test").await;
    let wrong = c.sign_in("ada@example.test", "something else").await;
    let unknown = c.sign_in("eve@example.test", PASSWORD).await;
    let long = c.sign_in("ada@example.test", &"x".repeat(5000)).await;
    for refused in [&wrong, &unknown, &long] {
        assert_eq!((refused.status, &refused.body["detail"]), (401, &wrong.body["detail"]));
    }
    c.guest("g").await;
    assert_eq!(c.sign_in("gus@example.test", "").await.status, 401, "a guest has no password");
}

#[tokio::test]
async fn a_person_hears_of_all_mistakes_at_once() {
    let c = Customers::start();
    let bad = json!({"email": "ada", "password": "short", "name": " ", "phone": "0639980001", "locale": "french"});
    let answer = c.post("/v1/customers", Some("k"), &bad).await;
    assert_eq!(answer.status, 422);
    assert_eq!(fields(&answer), ["/name", "/email", "/phone", "/locale", "/password"]);
    for bad in [
        json!({}),
        json!([]),
        json!({"email": 1}),
        json!({"email": "a@example.test", "password": PASSWORD, "name": "A", "admin": true}),
    ] {
        assert_eq!(c.post("/v1/customers", Some("k"), &bad).await.status, 422, "{bad}");
    }
    assert_eq!(c.post("/v1/customers", None, &member("a@example.test")).await.status, 400);
    let without = json!({"email": "a@example.test", "password": PASSWORD, "name": "A"});
    assert_eq!(
        c.post("/v1/customers", Some("k"), &without).await.status,
        201,
        "phone and language may be left out"
    );
}

#[tokio::test]
async fn a_guest_has_a_token_for_a_day_and_a_name() {
    let c = Customers::start();
    let guest = c.guest("g1").await;
    let again = c.guest("g1").await;
    assert_eq!((guest.status, again.replayed, &again.body), (201, true, &guest.body));
    assert_ne!(
        c.guest("g2").await.body["customer_id"],
        guest.body["customer_id"],
        "the same person twice is two guests"
    );
    let claims = Verifier::new(c.callee.clone(), None)
        .verify(guest.body["token"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (claims.kind.as_str(), claims.exp - claims.iat, claims.sid),
        ("guest", 86_400, None)
    );
    let changed = c.change(&guest.body["token"], json!({"locale": "fr"})).await;
    assert_eq!((&changed.body["kind"], &changed.body["locale"]), (&json!("guest"), &json!("fr")));
    assert_eq!(c.sign_out(&guest.body["token"]).await.status, 204);
    c.register("k", "gus@example.test").await;
    assert_eq!(
        c.sign_in("gus@example.test", PASSWORD).await.status,
        200,
        "a guest may open an account"
    );
}

#[tokio::test]
async fn a_refresh_token_works_once_and_a_thief_ends_the_sign_in() {
    let c = Customers::start();
    let first = c.member("ada@example.test").await;
    let elsewhere = c.sign_in("ada@example.test", PASSWORD).await.body;
    let second = c.refresh(&first["refresh_token"]).await;
    assert_eq!((second.status, &second.body["customer_id"]), (200, &first["customer_id"]));
    assert_eq!(c.me(&second.body["token"]).await.status, 200);

    assert_eq!(c.refresh(&first["refresh_token"]).await.status, 401, "used before");
    assert_eq!(c.refresh(&second.body["refresh_token"]).await.status, 401, "its family has ended");
    assert_eq!(c.refresh(&elsewhere["refresh_token"]).await.status, 200, "another sign-in goes on");
    for nonsense in [json!("rt_x"), json!(""), json!(first["token"])] {
        assert_eq!(c.refresh(&nonsense).await.status, 401);
    }
    assert_eq!(c.refresh(&json!(7)).await.status, 422);
}

#[tokio::test]
async fn the_same_refresh_token_used_at_once_gives_one_pair_at_most() {
    let c = Customers::start();
    let token = c.member("ada@example.test").await["refresh_token"].clone();
    let (a, b, d) = tokio::join!(c.refresh(&token), c.refresh(&token), c.refresh(&token));
    let good = [a, b, d].iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1);
}

#[tokio::test]
async fn signing_out_ends_one_sign_in() {
    let c = Customers::start();
    let here = c.member("ada@example.test").await;
    let there = c.sign_in("ada@example.test", PASSWORD).await.body;
    let newer = c.refresh(&here["refresh_token"]).await.body;
    assert_eq!(c.sign_out(&newer["token"]).await.status, 204);
    assert_eq!(c.sign_out(&newer["token"]).await.status, 204);
    assert_eq!(c.refresh(&newer["refresh_token"]).await.status, 401);
    assert_eq!(c.refresh(&there["refresh_token"]).await.status, 200);
}

#[tokio::test]
async fn changes_are_told_and_only_changes() {
    let c = Customers::start();
    let token = c.member("ada@example.test").await["token"].clone();
    let same = c
        .change(
            &token,
            json!({"locale": "fr", "phone": "+33 6 39 98 00 01", "consent": {"sms": true}}),
        )
        .await;
    assert_eq!(same.status, 200);
    let changed = c.change(&token, json!({"phone": "", "consent": {"email": false}})).await;
    assert_eq!(
        (&changed.body["phone"], &changed.body["consent"]),
        (&json!(""), &json!({"sms": true, "email": false}))
    );
    assert_eq!(c.me(&token).await.body, changed.body);
    for bad in [
        json!({"email": "b@example.test"}),
        json!({"kind": "guest"}),
        json!({"name": ""}),
        json!({"consent": {"post": true}}),
    ] {
        assert_eq!(c.change(&token, bad.clone()).await.status, 422, "{bad}");
    }
    let events = c.contract.outbox(&c.callee).await;
    let topics: Vec<_> = events.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["customer.registered", "customer.contact_changed"]);
    assert_eq!(events[1].1, changed.body);
}

#[tokio::test]
async fn addresses_are_kept_once_and_are_ones_own() {
    let c = Customers::start();
    let ada = c.member("ada@example.test").await["token"].clone();
    let eve = c.member("eve@example.test").await["token"].clone();
    let first = c.add_address(&ada, &address("1 Quay")).await;
    let same = c.add_address(&ada, &address(" 1 Quay ")).await;
    assert_eq!((first.status, same.status, &same.body), (201, 200, &first.body));
    let mut with_line2 = address("2 Quay");
    with_line2["line2"] = json!("sim:twice");
    let second = c.add_address(&ada, &with_line2).await;
    assert_eq!(c.addresses(&ada).await, [second.body.clone(), first.body.clone()]);
    assert!(c.addresses(&eve).await.is_empty());

    let remove = |token: &Value| {
        let path = format!("/v1/me/addresses/{}", first.body["id"].as_str().unwrap());
        c.contract.send(
            "DELETE",
            "/v1/me/addresses/{id}",
            c.callee.delete(path).bearer(token.as_str().unwrap()),
        )
    };
    assert_eq!(remove(&eve).await.status, 204);
    assert_eq!(c.addresses(&ada).await.len(), 2, "it was not hers");
    assert_eq!(remove(&ada).await.status, 204);
    assert_eq!(remove(&ada).await.status, 204);
    assert_eq!(c.addresses(&ada).await, [second.body]);

    let mut abroad = address("1 Quay");
    abroad["country"] = json!("XX");
    assert_eq!(fields(&c.add_address(&ada, &abroad).await), ["/country"]);
    assert_eq!(fields(&c.add_address(&ada, &address("a\nb")).await), ["/line1"]);
    for n in 0..19 {
        assert_eq!(c.add_address(&ada, &address(&format!("{n} Lane"))).await.status, 201);
    }
    assert_eq!(c.add_address(&ada, &address("one more")).await.status, 422);
}

#[tokio::test]
async fn a_forged_token_opens_nothing() {
    let c = Customers::start();
    let token = c.member("ada@example.test").await["token"].as_str().unwrap().to_owned();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    for bad in ["", "x.y.z", forged.as_str()] {
        assert_eq!(c.me(&json!(bad)).await.status, 401);
    }
    let none = c.contract.send("GET", "/v1/me", c.callee.get("/v1/me")).await;
    assert_eq!(none.status, 401);
}

#[tokio::test]
async fn a_storm_of_sign_ins_is_refused_and_not_felt() {
    let c = Customers::start();
    let token = c.member("ada@example.test").await["token"].clone();
    let storm = (0..150).map(|n| {
        let callee = c.callee.clone().with_timeout(std::time::Duration::from_secs(60));
        tokio::spawn(async move {
            let body = json!({"email": format!("bot{n}@example.test"), "password": PASSWORD});
            let call = callee.post("/v1/sessions").json(&body).send::<Value>();
            match call.await {
                store_kit::Outcome::Refused(refusal) => refusal.status,
                store_kit::Outcome::NoAnswer(silence) => silence.status.unwrap_or(0),
                store_kit::Outcome::Ok(_) => 200,
            }
        })
    });
    let storm: Vec<_> = storm.collect();
    let mut slowest = std::time::Duration::ZERO;
    while !storm.iter().all(tokio::task::JoinHandle::is_finished) {
        let began = std::time::Instant::now();
        assert_eq!(c.me(&token).await.status, 200);
        slowest = slowest.max(began.elapsed());
    }
    let mut seen = std::collections::BTreeMap::<u16, u32>::new();
    for one in storm {
        *seen.entry(one.await.unwrap()).or_default() += 1;
    }
    println!("answers {seen:?}; slowest answer to a signed-in customer meanwhile {slowest:?}");
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [401, 503], "{seen:?}");
    assert!(seen[&401] >= 50, "{seen:?}");
    assert!(slowest < std::time::Duration::from_secs(2), "{slowest:?}");
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    let (resident_kib, _) = c.program.usage();
    assert!(
        resident_kib < (40 + 20 * cores) * 1024,
        "{resident_kib} KiB: the memory of hashes is not used again"
    );
}

#[tokio::test]
async fn killed_again_and_again_accounts_and_sign_ins_stay() {
    let mut c = Customers::start();
    let mut tokens = c.member("m0@example.test").await;
    for round in 1..5 {
        let email = format!("m{round}@example.test");
        let made = c.register(&email, &email).await;
        let next = c.refresh(&tokens["refresh_token"]).await;
        c = c.kill_and_restart();
        let again = c.register(&email, &email).await;
        assert_eq!((again.status, again.replayed, again.body), (201, true, made.body));
        assert_eq!(c.me(&tokens["token"]).await.status, 200, "the key is the same");
        tokens = next.body;
    }
    assert_eq!(c.refresh(&tokens["refresh_token"]).await.status, 200);
    assert_eq!(c.contract.outbox(&c.callee).await.len(), 5);
    let file = std::fs::read(&c.db).unwrap();
    let wal = std::fs::read(c.db.with_extension("db-wal")).unwrap_or_default();
    let secret = tokens["refresh_token"].as_str().unwrap().as_bytes();
    let holds = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
    for bytes in [&file, &wal] {
        assert!(
            !holds(bytes, secret) && !holds(bytes, PASSWORD.as_bytes()),
            "a secret lies in the file"
        );
    }
    assert!(c.program.terminate().success());
}
