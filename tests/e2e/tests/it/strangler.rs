//! An old shop is replaced step by step under load, and no visitor notices.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use archipel_e2e::{Answer, App, free_port, get, request};
use archipel_testkit::eventually_blocking;
use serde_json::Value;

const ORDERS_PY: &str = include_str!("../../fixtures/orders.py");
const PATIENCE: Duration = Duration::from_secs(120);

const MANIFEST: &str = r#"
version = 1
[app]
name = "strangler"
[gateway]
listen = "127.0.0.1:{gateway}"
[externals.legacy]
url = "http://127.0.0.1:{legacy}"
[services.orders]
run = "python3 orders.py"
health = "/readyz"
replicas = 2
calls = ["legacy"]
env = { MARK = "{mark}" }
[[gateway.routes]]
match = "/**"
to = "legacy"
"#;
const ROUTE: &str = "GET /api/orders/*";

/// The monolith, as somebody else runs it.
struct Legacy(Child);

impl Legacy {
    fn start(port: u16) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../store/legacy-shop");
        let child = Command::new("python3")
            .args(["-m", "legacy_shop"])
            .current_dir(root)
            .env("PORT", port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("python3 runs");
        eventually_blocking(PATIENCE, || {
            get(&format!("http://127.0.0.1:{port}/ping")).map_err(|error| error.to_string())
        });
        Self(child)
    }
}

impl Drop for Legacy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts another route for the orders into the manifest and applies it.
fn step(app: &App, manifest: &str, route: &str) {
    let text = match route {
        "" => manifest.to_owned(),
        route => format!("{manifest}\n[[gateway.routes]]\nmatch = \"{ROUTE}\"\n{route}\n"),
    };
    std::fs::write(app.root().join("archipel.toml"), text).expect("write");
    app.up();
}

fn routes(app: &App) -> Value {
    app.run(&["routes", "--json"]).ok().json()
}

fn strangled(app: &App) -> Value {
    let all = routes(app);
    let found = all["routes"].as_array().and_then(|all| all.iter().find(|r| r["route"] == ROUTE));
    found.cloned().unwrap_or_default()
}

/// Waits until `member` of the route has grown to `count`.
fn until(app: &App, pointer: &str, count: u64) -> Value {
    eventually_blocking(PATIENCE, || {
        let route = strangled(app);
        let seen = route.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        if seen >= count { Ok(route) } else { Err(route) }
    })
}

/// What visitors see, whoever answers.
struct Load<'a> {
    app: &'a App,
    oldest: AtomicU32,
    done: AtomicBool,
    served: AtomicU32,
    failed: Mutex<Vec<String>>,
}

impl Load<'_> {
    fn visit(&self, visitor: u32) {
        for round in 0_u32.. {
            if self.done.load(Relaxed) {
                return;
            }
            let oldest = self.oldest.load(Relaxed);
            let number = oldest + (round * 7 + visitor * 11) % (1_041 - oldest);
            let answer = order(self.app, visitor, number);
            let page = match round % 5 {
                0 => get(&self.app.url("/product/A-100")),
                _ => answer,
            };
            match page {
                Ok(answer) if answer.status == 200 && answer.body.contains(&number.to_string()) => {
                }
                Ok(answer) if answer.status == 200 && round % 5 == 0 => {}
                other => self.failed.lock().expect("lock").push(format!("{number}: {other:?}")),
            }
            self.served.fetch_add(1, Relaxed);
        }
    }
}

fn order(app: &App, visitor: u32, number: u32) -> anyhow::Result<Answer> {
    let headers = [("x-customer-id", &*visitor.to_string())];
    request("GET", &app.url(&format!("/api/orders/{number}")), &headers, "")
}

fn who(answer: &Answer) -> &'static str {
    if answer.header("x-served-by").is_some() { "orders" } else { "legacy" }
}

#[test]
fn an_old_shop_is_replaced_step_by_step_and_no_request_fails() {
    let port = free_port().expect("port");
    let _legacy = Legacy::start(port);
    let manifest = MANIFEST.replace("{legacy}", &port.to_string());
    let app = App::new(&manifest, &[("orders.py", ORDERS_PY)]).expect("a directory can be made");
    let manifest = std::fs::read_to_string(app.root().join("archipel.toml")).expect("read");
    app.up();
    let load = Load {
        app: &app,
        oldest: AtomicU32::new(1_003),
        done: AtomicBool::new(false),
        served: AtomicU32::new(0),
        failed: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for visitor in 0..4 {
            let load = &load;
            scope.spawn(move || load.visit(visitor));
        }
        let stop = Stop(&load.done);
        steps(&app, &manifest, &load);
        drop(stop);
    });
    assert_eq!(load.failed.into_inner().expect("lock"), Vec::<String>::new());
    assert!(load.served.into_inner() > 500);
}

/// Ends the load also when a step fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn steps(app: &App, manifest: &str, load: &Load<'_>) {
    // 1. All to the old one.
    assert_eq!(who(&order(app, 1, 1_003).expect("answer")), "legacy");
    let all = routes(app);
    assert_eq!(all["requests"], all["external"], "everything is still with the old one");

    // 2. The visitor gets the old answer; the new one is compared with it.
    step(
        app,
        manifest,
        "to = \"legacy\"\ncompare = { to = \"orders\", ignore = [\"/generated_at\"] }",
    );
    let route = until(app, "/compare/differing", 15);
    let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for example in route["compare"]["examples"].as_array().expect("examples") {
        let found = example["differences"].as_array().expect("differences");
        let at = found.iter().filter_map(|found| found["at"].as_str());
        places.entry(example["request"].as_str().unwrap_or_default()).or_default().extend(at);
    }
    let planted = BTreeMap::from([
        ("GET /api/orders/1007", BTreeSet::from(["/total_minor"])),
        ("GET /api/orders/1011", BTreeSet::from(["/lines/1/qty"])),
    ]);
    assert_eq!(places, planted, "what was planted, and nothing else");
    let compare = &route["compare"];
    assert!(compare["done"].as_u64() > compare["differing"].as_u64().map(|n| n * 5), "{compare}");
    let told = app.run(&["routes", "--diff", ROUTE]).ok().out;
    assert!(told.contains("/total_minor") && told.contains("(absent)"), "{told}");

    // 3. A fifth of the visitors to the new one, always the same ones.
    step(app, manifest, "split = { orders = 20, legacy = 80 }\nsticky = \"header:X-Customer-Id\"");
    let place = |visitor| who(&order(app, visitor, 1_005).expect("answer"));
    let places: Vec<&str> = (0..100).map(place).collect();
    let moved = places.iter().filter(|place| **place == "orders").count();
    assert!((5..=40).contains(&moved), "about 20 of 100: {moved}");
    assert_eq!((0..100).map(place).collect::<Vec<_>>(), places, "nobody wavers");
    step(app, manifest, "split = { orders = 60, legacy = 40 }\nsticky = \"header:X-Customer-Id\"");
    for (visitor, before) in (0..).zip(&places) {
        assert!(place(visitor) == "orders" || *before == "legacy", "nobody moves back");
    }

    // 4. All to the new one; what it has not, the old one still has.
    let fallback = "to = \"orders\"\nfallback = { to = \"legacy\", on = [404, \"connect\"] }";
    step(app, manifest, fallback);
    load.oldest.store(1_001, Relaxed);
    let route = until(app, "/fallback/requests", 5);
    assert_eq!(who(&order(app, 1, 1_001).expect("answer")), "legacy");
    assert_eq!(who(&order(app, 1, 1_003).expect("answer")), "orders");
    assert!(route["requests"].as_u64() > route["external"].as_u64(), "{route}");
    // The new one goes away for a moment: the old one stands in.
    app.run(&["restart", "orders"]).ok();
    load.oldest.store(1_003, Relaxed);

    // 5. All new. What is under way may still want an old order.
    let served = load.served.load(Relaxed);
    eventually_blocking(PATIENCE, || {
        let now = load.served.load(Relaxed);
        if now > served + 20 { Ok(()) } else { Err(now) }
    });
    step(app, manifest, "to = \"orders\"");
    assert_eq!((0..20).map(place).collect::<BTreeSet<_>>(), BTreeSet::from(["orders"]));
    let told = app.run(&["routes"]).ok().out;
    assert!(told.contains("were answered by externals"), "{told}");
}
