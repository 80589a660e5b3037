//! A service begins to fail, somebody is told once, it is well again, and that is told once:
//! across a restart of Archipel.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_e2e::{App, get};
use archipel_testkit::eventually_blocking;
use serde_json::Value;

use crate::lifecycle::kill;

const PY: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        broken = os.path.exists("broken") and self.path != "/readyz"
        self.send_response(500 if broken else 200)
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const MANIFEST: &str = r#"
version = 1
[app]
name = "small"
[gateway]
listen = "127.0.0.1:{gateway}"
[[gateway.routes]]
match = "/**"
to = "web"
[services.web]
run = "python3 web.py"
health = "/readyz"
env = { MARK = "{mark}" }
stop = { grace = "3s" }
[telemetry.alerts]
group = "0s"
grace = "0s"
# How full the disk of this machine is must not matter here.
off = ["error-rate", "disk"]
[alerts.failing]
on = "service:web"
when = "error_rate > 20%"
window = "15s"
resolve_after = "1s"
min_events = 5
by = ["route"]
[checks.home]
url = "/"
contains = "hello"
every = "1s"
failures = 1
notify = []
[notify.ops]
webhook = "http://127.0.0.1:{hook}/alerts"
key = { secret = "hook-key" }
[secrets]
hook-key = { default-dev = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }
"#;

type Taken = Arc<Mutex<Vec<(Vec<(String, String)>, Value)>>>;

/// Refuses the first message, so that it comes again.
fn receiver() -> (u16, Taken) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    let taken = Taken::default();
    let shared = Arc::clone(&taken);
    std::thread::spawn(move || {
        let mut first = true;
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let (mut headers, mut line) = (Vec::new(), String::new());
            while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some((name, value)) = line.trim().split_once(": ") {
                    headers.push((name.to_lowercase(), value.to_owned()));
                }
                line.clear();
            }
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            let _ = stream.read_exact(&mut body);
            let status = if std::mem::take(&mut first) { "503 Later" } else { "204 Taken" };
            if status.starts_with("204") {
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                shared.lock().expect("not poisoned").push((headers, body));
            }
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    (port, taken)
}

fn wait(taken: &Taken, count: usize) -> Vec<(Vec<(String, String)>, Value)> {
    eventually_blocking(Duration::from_secs(90), || {
        let seen = taken.lock().expect("not poisoned").clone();
        if seen.len() >= count { Ok(seen) } else { Err(seen) }
    })
}

fn alerts(app: &App) -> Value {
    app.run(&["alerts", "--json"]).ok().json()
}

#[test]
fn a_failing_service_is_told_once_and_its_recovery_once_across_a_restart() {
    let (port, taken) = receiver();
    let manifest = MANIFEST.replace("{hook}", &port.to_string());
    let app = App::new(&manifest, &[("web.py", PY)]).expect("a directory can be made");
    app.up();
    for _ in 0..10 {
        get(&app.url("/")).expect("an answer");
    }
    let broken = app.root().join("broken");
    std::fs::write(&broken, "").expect("a file can be written");
    for _ in 0..30 {
        assert_eq!(get(&app.url("/")).expect("an answer").status, 500);
    }
    let told = wait(&taken, 1);
    let (headers, body) = &told[0];
    let has = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
    assert_eq!(body["type"], "alerts.firing", "{body}");
    assert_eq!(body["data"]["alerts"][0]["labels"]["service"], "web", "{body}");
    assert!(has("webhook-signature").is_some_and(|v| v.starts_with("v1,")), "{headers:?}");
    assert!(has("webhook-id").is_some_and(|v| v.starts_with("msg_")), "{headers:?}");
    let link = body["data"]["alerts"][0]["link"].as_str().unwrap_or_default();
    assert!(link.contains("/traces?"), "{link}");

    // The check fails too, and nobody wants to be told of it.
    let checks = app.run(&["alerts", "checks", "--json"]).ok().json();
    let home = checks["checks"].as_array().and_then(|all| all.iter().find(|c| c["name"] == "home"));
    assert_eq!(home.map(|home| &home["state"]), Some(&Value::from("failing")), "{checks}");

    // Archipel is killed, the service stays; and it still fails when Archipel is back.
    kill(app.archipel_pid(), "KILL");
    app.up();
    for _ in 0..20 {
        get(&app.url("/")).expect("an answer");
    }
    let seen = eventually_blocking(Duration::from_secs(30), || {
        let seen = alerts(&app);
        let told = seen["alerts"]
            .as_array()
            .is_some_and(|all| all.iter().any(|a| a["rule"] == "failing" && a["told"][0] == "ops"));
        if told { Ok(seen) } else { Err(seen) }
    });
    assert_eq!(
        seen["history"].as_array().map_or(0, |all| {
            all.iter().filter(|e| e["rule"] == "failing" && e["state"] == "firing").count()
        }),
        1,
        "{seen}"
    );

    std::fs::remove_file(&broken).expect("it is there");
    let told = wait(&taken, 2);
    assert_eq!(told[1].1["type"], "alerts.resolved", "{}", told[1].1);
    // One more look after another failure would have been told.
    app.run(&["alert", "test", "ops"]).ok();
    let told = wait(&taken, 3);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[2].1["data"]["alerts"][0]["rule"], "test");

    let silenced = app.run(&["alert", "silence", "failing", "--for", "1h", "-m", "known"]).ok().out;
    assert!(silenced.starts_with("sil_"), "{silenced}");
    assert_eq!(alerts(&app)["silences"][0]["reason"], "known");
    assert_eq!(app.run(&["alert", "silence", "nothing"]).code, 2);
    app.run(&["alert", "unsilence", silenced.trim()]).ok();
    assert_eq!(alerts(&app)["silences"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_question_that_makes_no_sense_is_shown_in_the_manifest() {
    let manifest = MANIFEST.replace("service:web\"", "service:web duration>soon\"");
    let app = App::new(&manifest.replace("{hook}", "1"), &[("web.py", PY)]).expect("works");
    let refused = app.run(&["validate"]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("ARC0552") && refused.err.contains("200ms"), "{}", refused.err);
}
