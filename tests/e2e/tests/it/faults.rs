//! Four faults in the running store, each found from the overview by a few clicks, as the guide
//! says (`docs/guide/finding-faults.md`).

use std::process::Command;
use std::time::Duration;

use archipel_e2e::{App, get};
use archipel_testkit::eventually_blocking;
use serde_json::json;

use crate::browser::{self, root};
use crate::lifecycle::kill;

/// Visitors who look at products, which asks `inventory` for what is left; ends when dropped.
struct Visitors(std::process::Child);

impl Visitors {
    fn start(app: &App) -> Self {
        let script = "import re, sys, time, urllib.request\n\
            def get(path):\n    \
                try: return urllib.request.urlopen(sys.argv[1] + path, timeout=10).read().decode()\n    \
                except OSError: return ''\n\
            links = sorted(set(re.findall(r'href=\"(/p/[^\"]+)\"', get('/search?q=lamp'))))\n\
            while True:\n    \
                for link in links: get(link); time.sleep(0.1)\n";
        let child = Command::new("python3").args(["-c", script, &app.url("")]).spawn();
        Self(child.expect("python3 is there"))
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The table has grown and lost its key: every look at it reads all of it.
fn slow_query(app: &App) {
    let sql = "BEGIN; CREATE TABLE grown AS SELECT * FROM stock; \
        INSERT INTO grown SELECT 'old-' || n, 0, 0, 1, 'out' FROM \
        (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000000) SELECT n FROM c); \
        DROP TABLE stock; ALTER TABLE grown RENAME TO stock; COMMIT;";
    // As much as it takes on this machine.
    eventually_blocking(Duration::from_secs(180), || {
        let seen = app.run(&["logs", "inventory", "-q", "took_ms>700", "-n", "1"]).out;
        if seen.contains("slow statement") {
            return Ok(());
        }
        app.run(&["db", "shell", "inventory", "-c", sql]).ok();
        Err(seen)
    });
}

/// Its database is damaged; the next start finds it so.
fn dead_payments(app: &App) {
    let file = app.state().join("data/payments/payments.db");
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    std::fs::write(&file, "this is no database, whatever its name says").expect("written");
    kill(app.pid("payments").expect("it runs"), "KILL");
    app.wait_for("payments", |s| s["state"] == "backing-off");
}

/// Its schema allows what the warehouse cannot take.
fn poison(app: &App) {
    let id = "0123456789abcdef0123456789abcdef";
    let line = json!({ "sku": "LAMP-1", "qty": 1, "title": "Lamp", "weight_g": 0 });
    let event = json!({ "order_id": format!("ord_{id}"), "customer_id": format!("cus_{id}"),
        "lines": [line], "shipping_option": "standard" });
    let heavy = event.to_string().replace("\"weight_g\":0", "\"weight_g\":99999999999999999999");
    app.run(&["events", "publish", "order.confirmed", &heavy]).ok();
}

fn found(app: &App, fault: &str, named: &str) {
    let door = app.run(&["dashboard", "--no-open"]).ok().out.trim().to_owned();
    let shots = root().join("target/screenshots/faults");
    let told = browser::run("faults.mjs", &[&door, &shots.to_string_lossy(), fault, named]);
    for screen in ["desk-light", "phone-dark"] {
        let clicks = told[screen].as_u64();
        assert!(clicks.is_some_and(|clicks| clicks < 5), "{told}");
    }
}

#[test]
fn a_newcomer_finds_the_cause_of_each_of_four_faults_in_under_five_clicks() {
    let app = App::at(&root().join("store"), 0).expect("a directory");
    let mut app = app.env("ARCHIPEL_PROFILE", "leak");
    app.run(&["up", "--detach", "--dashboard-port", "0", "--timeout", "30m"]).ok();
    let url = app.status()["gateway"]["url"].as_str().expect("a gateway").to_owned();
    app.gateway_port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    assert_eq!(get(&app.url("/")).expect("an answer").status, 200);
    let _visitors = Visitors::start(&app);
    poison(&app);
    found(&app, "poison", "dead letter");
    slow_query(&app);
    found(&app, "slow", "inventory (is slow|is cut off)");
    dead_payments(&app);
    found(&app, "payments", "payments (is backing off|is failed|keeps ending)");
    // Since the start it has grown towards its limit.
    eventually_blocking(Duration::from_secs(300), || {
        let seen = app.service("notifications").expect("it is declared");
        let exit = seen["instances"][0]["last_exit"].as_str().unwrap_or_default();
        let near = seen["memory_bytes"].as_u64() > Some(145 << 20) || exit.contains("memory limit");
        if near { Ok(()) } else { Err(seen) }
    });
    found(&app, "leak", "notifications (is near its memory limit|ran out of memory)");
}
