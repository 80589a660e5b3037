//! Who sends a request: tokens, keys, passwords, and all that only looks like them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use archipel_gateway::{Body, Limits, PublicRoutes, Table};
use archipel_model::{
    Algorithm, ApiKeys, Auth, Basic, Guard, Hidden, Jwt, KeySource, LimitBy, RateLimit,
};
use base64::Engine as _;
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::issuer::{Issuer, Keys, base64, claims, hs256, now};
use crate::support::{App, Plan, World, eventually, get, name, ok, route, text};

const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

fn jwt(keys: KeySource) -> Jwt {
    let shared = matches!(keys, KeySource::Secret(_));
    let algorithms: BTreeSet<Algorithm> = match shared {
        true => [Algorithm::HS256].into(),
        false => [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA].into(),
    };
    Jwt {
        issuer: Some("http://id.test".to_owned()),
        audience: vec!["shop".to_owned()],
        keys,
        algorithms,
        leeway: Duration::from_secs(30),
        claims: BTreeMap::new(),
        scopes: vec![],
        cookie: None,
        forward: [("sub", "x-user-id"), ("roles", "x-roles"), ("tier", "x-tier")]
            .map(|(claim, header)| (claim.to_owned(), header.to_owned()))
            .into(),
    }
}

fn of_service() -> KeySource {
    KeySource::Service { service: name("id"), path: "/jwks.json".to_owned() }
}

/// `/open` asks for nothing, everything else for rule `customer`.
fn table(app: &App, issuer: Option<&Issuer>, auth: Auth, scopes: &[&str]) -> Table {
    let mut closed = route("/** -> a");
    closed.guard.auth = Some("customer".to_owned());
    closed.guard.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let guard = Guard { auth: [("customer".to_owned(), auth)].into(), ..Guard::default() };
    let secrets = [("hs", SECRET), ("one", "key-number-one"), ("two", "key-number-two")];
    let secrets = secrets.map(|(n, v)| (n.parse().unwrap(), Hidden::new(v.to_owned())));
    let mut plan = Plan::default().service("a", &[app.addr]);
    if let Some(issuer) = issuer {
        plan = plan.service("id", &[issuer.app.addr]);
    }
    plan.public_with(PublicRoutes {
        hosts: vec![],
        routes: vec![route("/open -> a"), closed],
        guard: Box::new(guard),
        secrets: secrets.into(),
        ..PublicRoutes::default()
    })
    .table()
}

async fn with(world: &World, token: &str) -> Response<Incoming> {
    let mut request = get("/");
    let line = format!("Bearer {token}");
    request.headers_mut().insert("authorization", line.parse().unwrap());
    world.send(world.addr("public"), request).await
}

fn challenge(response: &Response<Incoming>) -> &str {
    response.headers()["www-authenticate"].to_str().unwrap()
}

#[tokio::test]
async fn a_good_token_of_each_kind_is_let_in_and_the_app_learns_who_it_is() {
    let world = World::new();
    let keys = Keys::new();
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, keys.jwks("")).await;
    let auth = Auth::Jwt(Box::new(jwt(of_service())));
    world.apply(table(&app, Some(&issuer), auth, &["write"])).await;
    for (alg, kid) in [("RS256", "rsa"), ("PS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
        let header = json!({ "alg": alg, "kid": kid, "typ": "JWT" });
        let answer = with(&world, &keys.sign(&header, &claims())).await;
        assert_eq!(answer.status(), 200, "{alg}: {:?}", answer.headers());
        let seen = app.last().headers;
        assert_eq!(seen["x-user-id"], "ada");
        assert_eq!(seen["x-roles"], "admin,staff");
        assert_eq!(seen["x-tier"], "3");
    }
    // Without a name every key that fits is tried.
    let token = keys.sign(&json!({ "alg": "ES256" }), &claims());
    assert_eq!(with(&world, &token).await.status(), 200);
    // The second time it is remembered.
    assert_eq!(with(&world, &token).await.status(), 200);
    assert_eq!(issuer.app.count(), 1, "keys are fetched once");
}

#[tokio::test]
async fn what_only_looks_like_a_token_is_refused() {
    let world = World::new();
    let keys = Keys::new();
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, keys.jwks("")).await;
    let auth = Auth::Jwt(Box::new(jwt(of_service())));
    world.apply(table(&app, Some(&issuer), auth, &[])).await;
    let rs = json!({ "alg": "RS256", "kid": "rsa" });
    let good = keys.sign(&rs, &claims());
    assert_eq!(with(&world, &good).await.status(), 200);
    let parts: Vec<&str> = good.split('.').collect();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        change(&mut claims);
        keys.sign(&rs, &claims)
    };
    let unsigned =
        |header: &Value| format!("{}.{}.", base64(header.to_string().as_bytes()), parts[1]);
    let confused =
        |secret: &[u8]| hs256(secret, &json!({ "alg": "HS256", "kid": "rsa" }), &claims());
    let embedded = json!({ "alg": "RS256", "kid": "rsa", "jku": "http://evil.test/jwks",
        "x5u": "http://evil.test/x", "jwk": { "kty": "oct", "k": "AAAA" } });
    let other = Keys::new().sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    let corpus = [
        ("alg none", unsigned(&json!({ "alg": "none" }))),
        ("alg None", unsigned(&json!({ "alg": "None" }))),
        ("alg nOnE with a name", unsigned(&json!({ "alg": "nOnE", "kid": "rsa" }))),
        ("no alg", unsigned(&json!({ "kid": "rsa" }))),
        ("alg is no text", unsigned(&json!({ "alg": ["RS256"] }))),
        ("signature cut off", format!("{}.{}.", parts[0], parts[1])),
        ("signature of another", other),
        ("public key as secret", confused(&keys.modulus())),
        ("key set as secret", confused(keys.jwks("").as_bytes())),
        ("empty secret", confused(b"")),
        ("alg of another key", keys.sign(&json!({ "alg": "ES256", "kid": "rsa" }), &claims())),
        ("key for encryption", keys.sign(&json!({ "alg": "RS256", "kid": "other" }), &claims())),
        (
            "keys of its own",
            format!("{}.{}.{}", base64(embedded.to_string().as_bytes()), parts[1], parts[2]),
        ),
        (
            "critical extension",
            keys.sign(
                &json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false }),
                &claims(),
            ),
        ),
        (
            "other claims",
            format!("{}.{}.{}", parts[0], base64(br#"{"sub":"eve","exp":9999999999}"#), parts[2]),
        ),
        ("expired", changed(&|c| c["exp"] = json!(now() - 31))),
        ("no exp", changed(&|c| c["exp"] = Value::Null)),
        ("exp is text", changed(&|c| c["exp"] = json!("9999999999"))),
        ("exp below zero", changed(&|c| c["exp"] = json!(-1))),
        ("not yet", changed(&|c| c["nbf"] = json!(now() + 300))),
        ("other issuer", changed(&|c| c["iss"] = json!("http://evil.test"))),
        ("no issuer", changed(&|c| c["iss"] = Value::Null)),
        ("other audience", changed(&|c| c["aud"] = json!("bank"))),
        ("no audience", changed(&|c| c["aud"] = json!([]))),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("nothing between", "..".to_owned()),
        ("not base64", format!("{}.{}.{}", parts[0], "%%%", parts[2])),
        ("padding", format!("{}==.{}.{}", parts[0], parts[1], parts[2])),
        ("header is no JSON", format!("{}.{}.{}", base64(b"{"), parts[1], parts[2])),
        ("claims are no object", keys.sign(&rs, &json!([1, 2]))),
        ("huge", format!("{}.{}", "A".repeat(20_000), good)),
        ("a word", "token".to_owned()),
    ];
    for (what, token) in corpus {
        let answer = with(&world, &token).await;
        assert_eq!(answer.status(), 401, "{what}");
        let said = challenge(&answer).to_owned();
        assert!(
            said.starts_with("Bearer realm=\"customer\", error=\"invalid_token\""),
            "{what}: {said}"
        );
        assert_eq!(answer.headers()["x-archipel-refused"], "unauthenticated; auth customer");
    }
    assert_eq!(app.count(), 1, "none of them reached the app");
    // With the claims of `jku` and the like signed as they stand, it is the rule's keys that count.
    assert_eq!(with(&world, &keys.sign(&embedded, &claims())).await.status(), 200);
    // Clocks differ a little.
    assert_eq!(with(&world, &changed(&|c| c["exp"] = json!(now() - 5))).await.status(), 200);
    let bare = world.get(world.addr("public"), "/").await;
    assert_eq!((bare.status().as_u16(), challenge(&bare)), (401, "Bearer realm=\"customer\""));
    let mut twice = get("/");
    for token in [&good, "x"] {
        twice.headers_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
    }
    assert_eq!(world.send(world.addr("public"), twice).await.status(), 401);
}

#[tokio::test]
async fn what_a_token_may_not_do_is_told_apart_from_who_it_is() {
    let world = World::new();
    let keys = Keys::new();
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, keys.jwks("")).await;
    let mut rule = jwt(of_service());
    rule.claims = [("roles".to_owned(), "admin".to_owned())].into();
    rule.cookie = Some("session".to_owned());
    world.apply(table(&app, Some(&issuer), Auth::Jwt(Box::new(rule)), &["refund"])).await;
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let answer = with(&world, &keys.sign(&header, &claims())).await;
    assert_eq!(answer.status(), 403);
    assert!(challenge(&answer).contains("error=\"insufficient_scope\", scope=\"refund\""));
    let mut may = claims();
    may["scp"] = json!(["refund"]);
    let token = keys.sign(&header, &may);
    assert_eq!(with(&world, &token).await.status(), 200);
    let mut request = get("/");
    let cookie = format!("a=b; session={token}; c=d");
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    assert_eq!(world.send(world.addr("public"), request).await.status(), 200);
    may["roles"] = json!("guest");
    assert_eq!(with(&world, &keys.sign(&header, &may)).await.status(), 401);
}

#[tokio::test]
async fn nobody_says_from_outside_who_they_are() {
    let world = World::new();
    let keys = Keys::new();
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, keys.jwks("")).await;
    world.apply(table(&app, Some(&issuer), Auth::Jwt(Box::new(jwt(of_service()))), &[])).await;
    let mut request = get("/open");
    request.headers_mut().insert("x-user-id", "eve".parse().unwrap());
    request.headers_mut().append("x-user-id", "mallory".parse().unwrap());
    assert_eq!(world.send(world.addr("public"), request).await.status(), 200);
    assert!(!app.last().headers.contains_key("x-user-id"));
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_ends_with_its_round() {
    let world = World::with(Limits { keys_pause: Duration::ZERO, ..Limits::default() });
    let (old, new) = (Keys::new(), Keys::new());
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, old.jwks("-1")).await;
    world.apply(table(&app, Some(&issuer), Auth::Jwt(Box::new(jwt(of_service()))), &[])).await;
    let before = old.sign(&json!({ "alg": "ES256", "kid": "ec-1" }), &claims());
    assert_eq!(with(&world, &before).await.status(), 200);
    issuer.publish(Some(new.jwks("-2")));
    let after = new.sign(&json!({ "alg": "ES256", "kid": "ec-2" }), &claims());
    assert_eq!(with(&world, &after).await.status(), 200);
    assert_eq!(with(&world, &before).await.status(), 401, "the issuer took this key back");
    // The issuer is down: what we have counts on.
    issuer.publish(None);
    let unknown = new.sign(&json!({ "alg": "ES256", "kid": "ec-3" }), &claims());
    assert_eq!(with(&world, &unknown).await.status(), 401);
    assert_eq!(with(&world, &after).await.status(), 200);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_reach_the_issuer() {
    let world = World::new();
    let keys = Keys::new();
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, keys.jwks("")).await;
    let mut rule = jwt(of_service());
    rule.leeway = Duration::ZERO;
    world.apply(table(&app, Some(&issuer), Auth::Jwt(Box::new(rule)), &[])).await;
    let started = archipel_rt::clock::now();
    for n in 0..100 {
        let header = json!({ "alg": "EdDSA", "kid": format!("no-{n}") });
        assert_eq!(with(&world, &keys.sign(&header, &claims())).await.status(), 401);
    }
    let pauses = started.elapsed().as_secs() / 5;
    assert!(issuer.app.count() as u64 <= 2 + pauses, "{} fetches", issuer.app.count());
}

#[tokio::test]
async fn while_there_are_no_keys_yet_a_request_is_told_to_come_back() {
    let world = World::new();
    let keys = Keys::new();
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, keys.jwks("")).await;
    issuer.publish(None);
    world.apply(table(&app, Some(&issuer), Auth::Jwt(Box::new(jwt(of_service()))), &[])).await;
    let token = keys.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    let answer = with(&world, &token).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["x-archipel-refused"], "keys-unavailable; auth customer");
    assert_eq!(answer.headers()["retry-after"], "1");
    issuer.publish(Some(keys.jwks("")));
    let probe = || async {
        let answer = with(&world, &token).await;
        if answer.status() == 200 { Ok(()) } else { Err(answer.status()) }
    };
    archipel_testkit::eventually(crate::support::PATIENCE, probe).await;
}

#[tokio::test]
async fn keys_come_from_a_url_a_file_a_secret_or_the_issuers_own_document() {
    let keys = Keys::new();
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, keys.jwks("")).unwrap();
    for kind in ["url", "file", "secret", "discovery"] {
        let world = World::new();
        let app = world.app(ok).await;
        let (at, jwks) = (std::sync::Arc::new(std::sync::OnceLock::new()), keys.jwks(""));
        let base: std::sync::Arc<std::sync::OnceLock<String>> = std::sync::Arc::clone(&at);
        let issuer = world
            .app(move |request| {
                let base = base.get().unwrap();
                let body = match request.uri().path() {
                    "/.well-known/openid-configuration" => {
                        json!({ "issuer": base, "jwks_uri": format!("{base}/keys?v=1") })
                            .to_string()
                    }
                    "/keys" => jwks.clone(),
                    other => panic!("{other}"),
                };
                async move { Response::new(Body::from(body)) }
            })
            .await;
        let base = format!("http://{}", issuer.addr);
        at.set(base.clone()).unwrap();
        let mut claims = claims();
        let mut token = keys.sign(&header, &claims);
        let source = match kind {
            "url" => KeySource::Url(format!("{base}/keys")),
            "file" => KeySource::File(file.clone()),
            "secret" => {
                token = hs256(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims);
                KeySource::Secret("hs".parse().unwrap())
            }
            _ => KeySource::Discovery,
        };
        let mut rule = jwt(source);
        if kind == "discovery" {
            rule.issuer = Some(base.clone());
            claims["iss"] = json!(base);
            token = keys.sign(&header, &claims);
        }
        world.apply(table(&app, None, Auth::Jwt(Box::new(rule)), &[])).await;
        let answer = with(&world, &token).await;
        assert_eq!(answer.status(), 200, "{kind}: {:?}", answer.headers());
        if kind == "secret" {
            let none = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert_eq!(with(&world, &none).await.status(), 401);
        }
    }
}

#[tokio::test]
async fn a_secret_that_can_be_guessed_lets_nobody_in() {
    let world = World::new();
    let app = world.app(ok).await;
    let auth = Auth::Jwt(Box::new(jwt(KeySource::Secret("one".parse().unwrap()))));
    world.apply(table(&app, None, auth, &[])).await;
    let token = hs256(b"key-number-one", &json!({ "alg": "HS256" }), &claims());
    assert_eq!(with(&world, &token).await.status(), 503);
    assert_eq!(app.count(), 0);
}

fn keys_rule(header: Option<&str>) -> Auth {
    Auth::Keys(ApiKeys {
        header: header.map(str::to_owned),
        keys: [("partner-a", "one"), ("partner-b", "two")]
            .map(|(who, secret)| (who.to_owned(), secret.parse().unwrap()))
            .into(),
        forward: Some("x-consumer".to_owned()),
    })
}

#[tokio::test]
async fn who_holds_an_api_key_is_known_by_it_and_the_app_never_sees_the_key() {
    let world = World::new();
    let app = world.app(ok).await;
    world.apply(table(&app, None, keys_rule(None), &[])).await;
    let send = |name: &'static str, value: &'static str| {
        let mut request = get("/");
        request.headers_mut().insert(name, value.parse().unwrap());
        world.send(world.addr("public"), request)
    };
    for line in ["Bearer key-number-one", "ApiKey key-number-one", "apikey  key-number-one"] {
        assert_eq!(send("authorization", line).await.status(), 200, "{line}");
        assert_eq!(app.last().headers["x-consumer"], "partner-a");
        assert!(!app.last().headers.contains_key("authorization"));
    }
    for line in ["Bearer key-number-three", "Bearer ", "Basic key-number-one", "key-number-one"] {
        assert_eq!(send("authorization", line).await.status(), 401, "{line}");
    }
    world.apply(table(&app, None, keys_rule(Some("x-api-key")), &[])).await;
    assert_eq!(send("x-api-key", "key-number-two").await.status(), 200);
    assert_eq!(app.last().headers["x-consumer"], "partner-b");
    assert!(!app.last().headers.contains_key("x-api-key"));
    assert_eq!(send("authorization", "Bearer key-number-two").await.status(), 401);
}

#[tokio::test]
async fn each_holder_of_a_key_has_a_limit_of_its_own() {
    let world = World::new();
    let app = world.app(ok).await;
    let mut table = table(&app, None, keys_rule(None), &[]);
    let archipel_gateway::Entrance::Public(public) = &mut table.listeners[0].entrance else {
        panic!()
    };
    let limit =
        RateLimit { count: 2, per: Duration::from_secs(3_600), burst: 2, by: vec![LimitBy::Key] };
    public.guard.limits.insert("partners".to_owned(), limit);
    public.routes[1].guard.limits = vec!["partners".to_owned()];
    world.apply(table).await;
    let mut statuses = Vec::new();
    for key in ["one", "one", "one", "two"] {
        statuses.push(with(&world, &format!("key-number-{key}")).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 200]);
}

#[tokio::test]
async fn a_password_opens_internal_pages() {
    let world = World::new();
    let app = world.app(ok).await;
    let users = [("ada".to_owned(), "one".parse().unwrap())].into();
    let auth = Auth::Basic(Basic { users, forward: Some("x-user".to_owned()) });
    world.apply(table(&app, None, auth, &[])).await;
    let send = |pair: &str| {
        let encoded = base64::prelude::BASE64_STANDARD.encode(pair);
        let request = Request::get("/")
            .header("host", "shop.local")
            .header("authorization", format!("Basic {encoded}"))
            .body(Body::empty())
            .unwrap();
        world.send(world.addr("public"), request)
    };
    assert_eq!(send("ada:key-number-one").await.status(), 200);
    assert_eq!(app.last().headers["x-user"], "ada");
    for pair in ["ada:", "ada:key-number-two", "eve:key-number-one", ""] {
        let answer = send(pair).await;
        assert_eq!(answer.status(), 401, "{pair}");
        assert!(challenge(&answer).starts_with("Basic realm=\"customer\""));
    }
}

#[tokio::test]
async fn keys_are_not_fetched_again_when_instances_change() {
    let world = World::new();
    let keys = Keys::new();
    let app = world.app(ok).await;
    let issuer = Issuer::new(&world, keys.jwks("")).await;
    let auth = || Auth::Jwt(Box::new(jwt(of_service())));
    for _ in 0..5 {
        world.apply(table(&app, Some(&issuer), auth(), &[])).await;
    }
    eventually(|| issuer.app.count(), |count| *count == 1).await;
    let token = keys.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims());
    assert_eq!(text(with(&world, &token).await).await, "ok");
    assert_eq!(issuer.app.count(), 1);
}
