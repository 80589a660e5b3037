//! The online store: a person buys something, everything is killed in turn, and the books agree.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use archipel_e2e::{App, get};
use archipel_testkit::{Rng, eventually_blocking};
use serde_json::Value;

use crate::browser::{self, root};
use crate::lifecycle::kill;
use crate::ways;

/// The store on a port and in a state directory of its own.
fn store() -> App {
    let app = App::at(&root().join("store"), 0).expect("a directory");
    let mut app = app.env("ARCHIPEL_PROFILE", "test");
    let outcome = app.run(&["up", "--detach", "--dashboard-port", "0", "--timeout", "30m"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let url = app.status()["gateway"]["url"].as_str().expect("a gateway").to_owned();
    app.gateway_port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    app
}

/// The invariants over all databases, at rest.
fn audit(app: &App) {
    let output = Command::new("cargo")
        .args(["run", "--quiet", "--release", "--locked", "--package", "store-audit", "--"])
        .arg("--data")
        .arg(app.state().join("data"))
        .args(["--at-rest"])
        .current_dir(root().join("store"))
        .output()
        .expect("cargo is there");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("OK"), "the audit looked at something: {out}");
    eprintln!("{out}");
}

/// Pages asked for all the time, by a few visitors; counts what they got.
struct Visitors {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Visitors {
    fn start(app: &App, count: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(Mutex::new(Vec::new()));
        let urls: Vec<String> =
            ["/", "/search?q=lamp", "/cart", "/search?q=tea", "/account/sign-in"]
                .map(|path| app.url(path))
                .to_vec();
        let threads = (0..count)
            .map(|seed| {
                let (stop, asked, failed) = (stop.clone(), asked.clone(), failed.clone());
                let urls = urls.clone();
                std::thread::spawn(move || {
                    let mut rng = Rng::new(seed);
                    while !stop.load(Ordering::Relaxed) {
                        let url = rng.pick(&urls);
                        let problem = match get(url) {
                            Ok(answer) if answer.status < 500 => None,
                            Ok(answer) => Some(format!("{} {url}", answer.status)),
                            Err(error) => Some(format!("{error} {url}")),
                        };
                        asked.fetch_add(1, Ordering::Relaxed);
                        if let (Some(problem), Ok(mut failed)) = (problem, failed.lock()) {
                            failed.push(problem);
                        }
                    }
                })
            })
            .collect();
        Self { stop, asked, failed, threads }
    }

    fn failures(&self) -> usize {
        self.failed.lock().map_or(0, |failed| failed.len())
    }

    fn finish(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a visitor does not panic");
        }
        let failed = self.failed.lock().map(|failed| failed.clone()).unwrap_or_default();
        (self.asked.load(Ordering::Relaxed), failed)
    }
}

const SERVICES: [&str; 13] = [
    "notifications",
    "warehouse",
    "inventory",
    "payments",
    "checkout",
    "orders",
    "catalog",
    "customers",
    "cart",
    "psp-sim",
    "carrier-sim",
    "sms-sim",
    "storefront",
];

/// How long a person would have waited.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn stopwatch() -> Instant {
    Instant::now()
}

/// A person orders something and leaves; its id.
fn order(app: &App, shots: &Path) -> String {
    let (url, dir) = (app.url(""), browser::dir());
    let buyer = Command::new("node").arg("order.mjs").arg(url).arg(shots).current_dir(dir).status();
    assert!(buyer.expect("node is there").success());
    std::fs::read_to_string(shots.join("placed")).expect("it was placed").trim().to_owned()
}

fn status_of(app: &App, order: &str) -> String {
    let sql = format!("SELECT status FROM orders WHERE id = '{order}'");
    app.run(&["db", "shell", "orders", "-c", &sql]).out
}

fn completed(app: &App, order: &str) {
    eventually_blocking(Duration::from_secs(120), || {
        let status = status_of(app, order);
        if status.contains("COMPLETED") { Ok(()) } else { Err(status) }
    });
}

/// Somebody guesses passwords a thousand times; who has one comes in.
fn a_login_storm_is_limited(app: &App) {
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("login_storm.py");
    std::fs::write(&script, include_str!("../../fixtures/login_storm.py")).expect("written");
    let output = Command::new("python3").arg(script).arg(app.gateway_port.to_string()).output();
    let output = output.expect("python3 is there");
    let (out, err) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    let storm: Value = serde_json::from_slice(out).unwrap_or_else(|_| panic!("{err}"));
    eprintln!("login storm: {storm}");
    let tried = |status: &str| storm["one"][status].as_u64().unwrap_or_default();
    let all: u64 =
        storm["one"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    // 503: no more than five wait for one account, says `customers`, whoever they are.
    let refused = tried("429") + tried("503");
    assert_eq!(tried("422") + refused, all, "wrong, or refused with retry-after: {storm}");
    assert!(all >= 1_000 && tried("429") > all * 9 / 10, "the limit is 20 a minute: {storm}");
    let others = storm["others"].as_array().expect("others");
    let entered = |other: &Value| *other == serde_json::json!([303, true]);
    assert!(others.iter().all(entered), "who has the right password signs in: {storm}");
}

/// Stock badges are missing on the pages, and orders are taken in and confirmed later.
fn orders_are_taken_without_inventory(app: &App, shots: &Path) {
    let found = get(&app.url("/search?q=lamp")).expect("an answer").body;
    let link = found.split('"').find(|text| text.starts_with("/p/")).expect("a lamp");
    let badge = || {
        let page = get(&app.url(link)).expect("an answer");
        assert_eq!(page.status, 200, "a page without badges is a page");
        page.body.contains("class=\"stock ")
    };
    assert!(badge(), "what is left is on the page");
    app.run(&["stop", "inventory"]).ok();
    app.wait_for("inventory", |s| s["state"] == "stopped");
    eventually_blocking(Duration::from_secs(30), || if badge() { Err("a badge") } else { Ok(()) });
    let order = order(app, shots);
    assert!(!badge(), "still dead");
    let status = status_of(app, &order);
    assert!(status.contains("RECEIVED"), "taken in, and not confirmed yet: {status}");
    app.run(&["start", "inventory"]).ok();
    completed(app, &order);
}

/// One test, because the store is built and started once: about two minutes of real life.
#[test]
fn a_person_buys_something_while_everything_is_killed_in_turn() {
    let app = store();
    let shots = root().join("target/screenshots");
    let bought = browser::run("shop.mjs", &[&app.url(""), &shots.to_string_lossy()]);
    eprintln!("delivered after {} s: {}", bought["seconds"], bought["order"]);

    // The browser has had pictures from the cache; it forgets them when asked.
    let forgotten = |what: &[&str]| {
        let purged = app.run(&[&["routes", "purge", "--json"], what].concat()).ok().json();
        purged["answers"].as_u64().expect("a number")
    };
    assert!(forgotten(&["/media/**"]) > 0);
    assert_eq!(forgotten(&["/media/**"]), 0);
    assert!(forgotten(&["--all"]) > 0, "/static");

    ways::every_way_of_an_order_is_seen(&app, &shots.join("ways"));

    // Every service once, under light load; the pages of the others go on.
    let visitors = Visitors::start(&app, 2);
    for name in SERVICES {
        let before = app.pid(name).expect("a process");
        let failures = visitors.failures();
        kill(before, "KILL");
        let started = stopwatch();
        app.wait_for(name, |s| s["state"] == "ready" && s["instances"][0]["pid"] != before);
        eprintln!(
            "{name}: back after {:?}, {} failed pages",
            started.elapsed(),
            visitors.failures() - failures
        );
        if name != "storefront" {
            assert_eq!(visitors.failures(), failures, "pages failed while {name} was dead");
        }
    }
    let (asked, failed) = visitors.finish();
    eprintln!("{asked} pages, {} failed (only while the storefront itself was dead)", failed.len());
    assert!(asked > 0);

    a_login_storm_is_limited(&app);
    orders_are_taken_without_inventory(&app, &shots.join("without-inventory"));

    // Archipel itself, in the middle of an order.
    let pids: Vec<i32> = SERVICES.iter().map(|name| app.pid(name).expect("a process")).collect();
    let placed = order(&app, &shots.join("while-archipel-dies"));
    kill(app.archipel_pid(), "KILL");
    let outcome = app.run(&["up", "--detach", "--dashboard-port", "0"]).ok();
    let now: Vec<i32> = SERVICES.iter().map(|name| app.pid(name).expect("a process")).collect();
    assert_eq!(now, pids, "adopted, not started again: {}", outcome.err);
    completed(&app, &placed);
    audit(&app);
    let dead = app.run(&["events", "dead", "--json"]).ok().json();
    assert_eq!(dead["dead"], serde_json::json!([]), "no dead letters");
}
