//! The running catalogue against its contract.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::PathBuf;

use serde_json::{Value, json};
use store_kit::{Call, Callee};
use store_seed::{Profile, products};
use store_testing::{Checked, Contract, Program, eventually};

struct Fixture {
    program: Program,
    callee: Callee,
    contract: Contract,
    db: PathBuf,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn start(profile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("catalog.db");
        let program = run(&db, profile);
        let callee = program.callee();
        let contract = Contract::load(env!("CARGO_MANIFEST_DIR"));
        Self { program, callee, contract, db, _dir: dir }
    }

    async fn list(&self, query: &str) -> Value {
        let call = self.callee.get(format!("/v1/products{query}"));
        let page = self.contract.send("GET", "/v1/products", call).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        page.body
    }

    async fn search(&self, q: &str) -> Value {
        let call = self.callee.get("/v1/products").query("q", q);
        self.contract.send("GET", "/v1/products", call).await.body
    }

    async fn set_price(&self, key: &str, sku: &str, minor: i64) -> Checked {
        let body = json!({"sku": sku, "amount": {"amount_minor": minor, "currency": "EUR"}});
        let call = self.callee.post("/v1/prices").key(key).json(&body);
        self.contract.send("POST", "/v1/prices", call).await
    }

    async fn resolve(&self, body: Value) -> Checked {
        let call = self.callee.post("/v1/prices:resolve").json(&body);
        self.contract.send("POST", "/v1/prices:resolve", call).await
    }

    async fn stock_event(&self, id: &str, sku: &str, level: &str, time: &str) -> u16 {
        let event = json!({"specversion": "1.0", "id": id, "source": "/store/inventory", "type": "store.stock.level_changed.v1",
            "subject": sku, "time": time, "data": {"sku": sku, "level": level, "free": 2, "later": true}});
        let call = self.callee.post("/_archipel/events").json(&event);
        self.contract.send("POST", "/_archipel/events", call).await.status
    }

    async fn badge(&self, sku: &str) -> Value {
        let call = self.callee.get("/v1/variants").query("sku", sku);
        self.contract.send("GET", "/v1/variants", call).await.body["items"][0]["badge"].clone()
    }
}

fn run(db: &std::path::Path, profile: &str) -> Program {
    Program::start(env!("CARGO_BIN_EXE_catalog"), db, &[("SEED_PROFILE", profile), ("SEED", "7")])
}

fn titles(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect()
}

fn raw(call: Call, language: &str) -> Call {
    call.header("accept-language", language)
}

#[tokio::test]
async fn the_whole_list_can_be_paged_through_once() {
    let f = Fixture::start("demo");
    let (mut seen, mut query) = (Vec::new(), "?limit=50&sort=name".to_owned());
    loop {
        let page = f.list(&query).await;
        assert_eq!(page["total"], 120);
        seen.extend(titles(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=50&sort=name&cursor={cursor}");
    }
    assert_eq!(seen.len(), 120);
    assert!(seen.is_sorted_by_key(|title| title.to_lowercase()), "sorted by name");
    let facets = f.list("?limit=1").await["facets"]["categories"].as_array().unwrap().len();
    assert_eq!(facets, 30, "six departments and their categories");
}

#[tokio::test]
async fn lists_narrow_by_category_price_and_stock() {
    let f = Fixture::start("demo");
    let lamps = f.list("?category=lamps").await;
    assert_eq!(lamps["total"], 20);
    let lanterns = f.list("?category=lamps/lanterns&sort=-price").await;
    assert_eq!(lanterns["total"], 5);
    let prices: Vec<i64> = lanterns["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["price"]["amount_minor"].as_i64().unwrap())
        .collect();
    assert!(prices.is_sorted_by(|a, b| a >= b), "{prices:?}");
    let cheap = f.list("?max=2000&limit=100").await;
    assert!(
        cheap["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|i| i["price"]["amount_minor"].as_i64().unwrap() <= 2000)
    );
    assert!(cheap["total"].as_i64().unwrap() > 0);
    let gone = f.list("?badge=out").await;
    assert!(gone["total"].as_i64().unwrap() > 0, "the demo store always has something sold out");
    assert_eq!(f.list("?category=boats").await["total"], 0);
}

#[tokio::test]
async fn people_find_things_however_they_type() {
    let f = Fixture::start("demo");
    for (typed, wanted, corrected) in [
        ("lantern", "lantern", None),
        ("Lanterns", "lantern", None),
        ("lanterne tempete", "lantern", None),
        ("THÉIÈRE", "teapot", None),
        ("teap", "teapot", None),
        ("coral mug", "mug", None),
        ("lantren", "lantern", Some("lantern")),
        ("mgu", "mug", Some("mug")),
        ("ketle", "kettle", Some("kettle")),
        ("wool", "", Some("lambswool")),
    ] {
        let page = f.search(typed).await;
        let first = titles(&page).first().map(|t| t.to_lowercase()).unwrap_or_default();
        assert!(first.contains(wanted) && !first.is_empty(), "`{typed}` finds {first:?}");
        assert_eq!(page["corrected"].as_str(), corrected, "`{typed}`");
    }
    assert_eq!(f.search("zzzzqqq").await["total"], 0);
    let either = f.search("hammock kettle").await;
    assert!(either["total"].as_i64().unwrap() > 0, "one word is unknown, the other is found");
}

#[tokio::test]
async fn no_input_breaks_the_search() {
    let f = Fixture::start("small");
    for q in [
        "\"",
        "' OR 1=1 --",
        "NEAR(a b)",
        "*",
        "a*",
        "(",
        "^x:y",
        "AND",
        "col:umn",
        "💡",
        "\u{0}",
        &"x".repeat(400),
        &"é ".repeat(100),
    ] {
        let page = f.search(q).await;
        assert!(page["items"].is_array(), "{q:?}: {page}");
    }
    for query in [
        "?sort=up",
        "?limit=0",
        "?limit=1000",
        "?cursor=z",
        "?cursor=o99999999",
        "?min=a",
        "?badge=new",
    ] {
        let call = f.callee.get(format!("/v1/products{query}"));
        assert_eq!(f.contract.send("GET", "/v1/products", call).await.status, 422, "{query}");
    }
    let long = f.callee.get("/v1/products").query("q", "y".repeat(501));
    assert_eq!(f.contract.send("GET", "/v1/products", long).await.status, 422);
}

#[tokio::test]
async fn a_product_is_described_in_the_language_asked_for() {
    let f = Fixture::start("small");
    let goods = products(Profile::Small, 7).next().unwrap();
    for (language, title) in [
        ("fr-FR,fr;q=0.9,en;q=0.5", &goods.title.fr),
        ("en", &goods.title.en),
        ("", &goods.title.en),
    ] {
        let call = raw(f.callee.get(format!("/v1/products/{}", goods.slug)), language);
        let body = f.contract.send("GET", "/v1/products/{slug}", call).await.body;
        assert_eq!(body["title"], *title, "{language}");
        let skus: Vec<&str> = body["variants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["sku"].as_str().unwrap())
            .collect();
        assert_eq!(skus, goods.variants.iter().map(|v| v.sku.as_str()).collect::<Vec<_>>());
    }
    let call = f.callee.get("/v1/products/no-such-thing");
    assert_eq!(f.contract.send("GET", "/v1/products/{slug}", call).await.status, 404);
    let call = raw(f.callee.get("/v1/categories"), "fr");
    let body = f.contract.send("GET", "/v1/categories", call).await.body;
    assert_eq!(body["items"][0]["name"], "Cartes & instruments");
    assert_eq!(
        body["items"].as_array().unwrap().iter().filter(|c| c["parent"].is_null()).count(),
        6
    );
}

#[tokio::test]
async fn pictures_are_drawn_and_kept_for_ever() {
    let f = Fixture::start("small");
    let image = f.list("?limit=1").await["items"][0]["image"].as_str().unwrap().to_owned();
    let response = f.callee.get(&image).stream().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "image/svg+xml");
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let again = f.callee.get(&image).header("if-none-match", tag).stream().await.unwrap();
    assert_eq!(again.status(), 304);
    let old = image.replace("-v1.svg", "-v0.svg");
    let response = f.callee.get(&old).stream().await.unwrap();
    assert!(!response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    for bad in ["/media/x.svg", "/media/mug.png", "/media/..%2Fcatalog.db"] {
        assert_eq!(f.callee.get(bad).stream().await.unwrap().status(), 404, "{bad}");
    }
}

#[tokio::test]
async fn a_price_is_resolved_and_every_unknown_sku_is_named() {
    let f = Fixture::start("small");
    let goods = products(Profile::Small, 7).nth(4).unwrap();
    let variant = &goods.variants[0];
    let good =
        f.resolve(json!({"lines": [{"sku": variant.sku, "qty": 3}], "currency": "EUR"})).await;
    assert_eq!(good.status, 200);
    assert_eq!(good.body["lines"][0]["unit"]["amount_minor"], variant.price_minor);
    assert!(good.body["lines"][0]["title"].as_str().unwrap().starts_with(&goods.title.en));

    let bad = f
        .resolve(json!({"lines": [{"sku": "NO-1", "qty": 1}, {"sku": variant.sku, "qty": 1}, {"sku": "NO-2", "qty": 1}], "currency": "EUR"}))
        .await;
    let pointers: Vec<&str> = bad.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    assert_eq!((bad.status, pointers), (422, vec!["/lines/0/sku", "/lines/2/sku"]));

    for wrong in [
        json!({"lines": [{"sku": variant.sku, "qty": 0}], "currency": "EUR"}),
        json!({"lines": [{"sku": variant.sku, "qty": 100}], "currency": "EUR"}),
        json!({"lines": [], "currency": "USD"}),
        json!({"lines": [], "currency": "EUR", "discount": 1}),
        json!({"lines": vec![json!({"sku": variant.sku, "qty": 1}); 51], "currency": "EUR"}),
    ] {
        assert_eq!(f.resolve(wrong.clone()).await.status, 422, "{wrong}");
    }
}

#[tokio::test]
async fn a_price_changes_once_per_key_and_the_old_one_is_kept() {
    let f = Fixture::start("small");
    let goods = products(Profile::Small, 7).next().unwrap();
    let sku = goods.variants[0].sku.as_str();
    let first = f.set_price("k1", sku, 490).await;
    assert_eq!(
        (first.status, first.body["price_version"].as_i64(), first.replayed),
        (201, Some(2), false)
    );
    let again = f.set_price("k1", sku, 490).await;
    assert_eq!(
        (again.status, again.body["price_version"].as_i64(), again.replayed),
        (201, Some(2), true)
    );
    assert_eq!(f.set_price("k1", sku, 500).await.status, 422, "the key was for another price");
    assert_eq!(f.set_price("k2", sku, 480).await.body["price_version"], 3);
    assert_eq!(f.set_price("k3", "NO-SUCH", 480).await.status, 404);
    assert_eq!(f.set_price("k4", sku, 0).await.status, 422);
    assert_eq!(f.set_price("k5", sku, 5_000_000).await.status, 422);

    let lines = f.resolve(json!({"lines": [{"sku": sku, "qty": 1}], "currency": "EUR"})).await.body;
    assert_eq!(
        (&lines["lines"][0]["unit"]["amount_minor"], &lines["lines"][0]["price_version"]),
        (&json!(480), &json!(3))
    );
    let listed = f.search(&goods.title.en).await;
    assert_eq!(
        listed["items"][0]["price"]["amount_minor"], 480,
        "the list shows the new lowest price"
    );

    let events = f.contract.outbox(&f.callee).await;
    let published = events.iter().filter(|(topic, _)| topic == "product.published").count();
    let changed: Vec<&Value> = events
        .iter()
        .filter(|(t, _)| t == "price.changed")
        .map(|(_, data)| &data["price_version"])
        .collect();
    assert_eq!((published, changed), (12, vec![&json!(2), &json!(3)]));
    assert_eq!(f.contract.topics().len(), 2, "both topics have a schema");
}

#[tokio::test]
async fn badges_follow_inventory_and_never_go_back_in_time() {
    let f = Fixture::start("small");
    let goods = products(Profile::Small, 7).next().unwrap();
    let skus: Vec<&str> = goods.variants.iter().map(|v| v.sku.as_str()).collect();
    for (i, sku) in skus.iter().enumerate() {
        assert_eq!(
            f.stock_event(&format!("a{i}"), sku, "out", "2026-05-01T10:00:00.000Z").await,
            204
        );
    }
    let listed = f.search(&goods.title.en).await;
    assert_eq!(listed["items"][0]["badge"], "out", "nothing of it is left");
    assert_eq!(f.stock_event("b", skus[0], "low", "2026-05-01T10:00:05.000Z").await, 204);
    assert_eq!(f.badge(skus[0]).await, "low");
    assert_eq!(f.search(&goods.title.en).await["items"][0]["badge"], "low");
    assert_eq!(
        f.stock_event("c", skus[0], "in", "2026-05-01T09:00:00.000Z").await,
        204,
        "late news is taken"
    );
    assert_eq!(f.badge(skus[0]).await, "low", "and changes nothing");
    assert_eq!(
        f.stock_event("b", skus[0], "in", "2026-05-01T11:00:00.000Z").await,
        204,
        "the same fact again"
    );
    assert_eq!(f.badge(skus[0]).await, "low");
    assert_eq!(f.stock_event("d", "NOT-OURS", "in", "2026-05-01T11:00:00.000Z").await, 204);
    assert_eq!(f.stock_event("e", skus[0], "plenty", "2026-05-01T11:00:00.000Z").await, 422);
}

#[tokio::test]
async fn the_database_itself_refuses_a_second_open_price() {
    let f = Fixture::start("small");
    let sku = products(Profile::Small, 7).next().unwrap().variants[0].sku.clone();
    let conn = rusqlite::Connection::open(&f.db).unwrap();
    conn.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    for (wrong, sql) in [
        (
            "two open prices",
            "INSERT INTO price(sku, version, currency, amount_minor, valid_from) VALUES(?1, 9, 'EUR', 1, '2026')",
        ),
        (
            "a price of nothing",
            "INSERT INTO price(sku, version, currency, amount_minor, valid_from, valid_to) VALUES(?1, 9, 'EUR', 0, '2026', '2027')",
        ),
        (
            "an amount that changes",
            "UPDATE price SET amount_minor = amount_minor + 1 WHERE sku = ?1",
        ),
        ("a price that vanishes", "DELETE FROM price WHERE sku = ?1"),
    ] {
        assert!(conn.execute(sql, [&sku]).is_err(), "{wrong} was accepted");
    }
}

/// Killed in the middle of filling a large catalogue, it goes on where it was.
#[tokio::test]
async fn a_kill_while_filling_loses_and_doubles_nothing() {
    let f = Fixture::start("big");
    let enough = |total: i64| if total >= 1500 { Ok(total) } else { Err(total.to_string()) };
    eventually("some batches", || async {
        enough(f.list("?limit=1").await["total"].as_i64().unwrap())
    })
    .await;
    let Fixture { program, contract, db, _dir, .. } = f;
    program.kill();
    let program = run(&db, "big");
    let f = Fixture { callee: program.callee(), program, contract, db, _dir };
    let before = f.list("?limit=1").await["total"].as_i64().unwrap();
    assert!(before >= 1500, "what was committed is still there: {before}");
    let more = |total: i64| if total >= before + 1000 { Ok(total) } else { Err(total.to_string()) };
    eventually("it goes on", || async {
        more(f.list("?limit=1").await["total"].as_i64().unwrap())
    })
    .await;
    let db = f.db.clone();
    assert!(f.program.terminate().success(), "it stops cleanly while filling");
    let conn = rusqlite::Connection::open(&db).unwrap();
    let one = |sql: &str| -> i64 { conn.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(one("SELECT count(*) FROM product"), one("SELECT next FROM seeding"));
    assert_eq!(
        one("SELECT count(*) FROM outbox WHERE topic = 'product.published'"),
        one("SELECT next FROM seeding")
    );
    assert_eq!(one("SELECT count(*) FROM price"), one("SELECT count(*) FROM variant"));
}

#[tokio::test]
async fn the_platform_and_only_the_platform_reads_the_outbox() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(
        env!("CARGO_BIN_EXE_catalog"),
        &dir.path().join("c.db"),
        &[("SEED_PROFILE", "small"), ("APP_API_TOKEN", "s3cret")],
    );
    let (callee, contract) = (program.callee(), Contract::load(env!("CARGO_MANIFEST_DIR")));
    let call = callee.get("/_archipel/outbox");
    assert_eq!(contract.send("GET", "/_archipel/outbox", call).await.status, 401);
    let call = callee.get("/_archipel/outbox").header("dapr-api-token", "s3cret");
    assert_eq!(contract.send("GET", "/_archipel/outbox", call).await.status, 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(contract.send("GET", path, callee.get(path)).await.status, 200);
    }
    assert!(program.terminate().success());
}

#[test]
fn a_wrong_environment_is_named() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_catalog"))
        .env_clear()
        .env("DATABASE_URL", "sqlite:////nonexistent/c.db")
        .env("SEED_PROFILE", "huge")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success()
            && said.contains("SEED_PROFILE")
            && said.contains("small, demo or big"),
        "{said}"
    );
}
