//! The web console, as a person uses it and as somebody who should not get in would.

use std::time::Duration;

use archipel_e2e::{Answer, App, binary, get, request};
use archipel_testkit::eventually_blocking;
use serde_json::json;

use crate::browser;
use crate::fixture::{APP_PY, MANIFEST};

/// The small application with a secret, a job, and one service that never gets well.
fn harbour() -> App {
    let secret = "env = { MARK = \"{mark}\", HARBOUR_KEY = { secret = \"harbour-key\" } }";
    let manifest = MANIFEST.replace("env = { MARK = \"{mark}\" }", secret);
    let more = r#"
[services.broken]
run = "python3 broken.py"
calls = ["lonely"]
[events."thing.done"]
schema = "thing.done.schema.json"
[jobs.sweep]
service = "lonely"
run = "python3 -c print(1)"
[secrets]
harbour-key = { generate = "random:40" }
"#;
    let broken = "import sys\nsys.exit('cannot reach the lighthouse')\n";
    let files = [
        ("app.py", APP_PY),
        ("broken.py", broken),
        ("thing.done.schema.json", SCHEMA),
        ("openapi.yaml", CONTRACT),
    ];
    let manifest = manifest.replace("[services.lonely]", "[services.lonely]\napi = \"openapi.yaml\"");
    App::new(&(manifest + more), &files).expect("a directory can be made")
}

const SCHEMA: &str = r#"{ "type": "object", "properties": { "size": { "type": "integer" } } }"#;

const CONTRACT: &str = "
openapi: 3.1.0
info: { title: Lonely, version: 1.2.0 }
paths:
  /things/{id}:
    get:
      summary: One thing
      parameters:
        - { name: id, in: path, schema: { type: string }, example: t-1 }
        - { name: wide, in: query, schema: { type: boolean } }
      responses: { '200': { description: It } }
    post:
      summary: Change it
      parameters: [{ name: id, in: path, schema: { type: string } }]
      requestBody:
        content: { application/json: { schema: { type: object, properties: { size: { type: integer, minimum: 3 } } } } }
";

/// Up, with one dead letter, and the secret said aloud in a log line and in an event.
fn harbour_with_a_past() -> (App, String) {
    let app = harbour();
    // `broken` never gets ready, so this ends with its own exit code; the others run.
    app.run(&["up", "--detach", "--dashboard-port", "0", "--timeout", "20s"]);
    for service in ["front", "back", "lonely"] {
        app.wait_for(service, |s| s["state"] == "ready");
    }
    let key = app.run(&["exec", "front", "--", "printenv", "HARBOUR_KEY"]).ok().out;
    let key = key.trim().to_owned();
    assert_eq!(key.len(), 40, "{key}");
    get(&app.url(&format!("/say?text=the+key+is+{key}"))).expect("answer");
    for (id, data) in [("e1", json!({ "poison": true, "key": key })), ("e2", json!({ "key": key }))]
    {
        let body = json!({ "topic": "thing.done", "id": id, "data": data }).to_string();
        let answer = request("POST", &app.url("/back/publish"), &[], &body).expect("answer");
        assert_eq!(answer.status, 202);
    }
    eventually_blocking(Duration::from_secs(30), || {
        let dead = app.run(&["events", "dead", "--json"]).ok().json();
        if dead["dead"].as_array().is_some_and(|all| all.len() == 1) { Ok(()) } else { Err(dead) }
    });
    (app, key)
}

/// The console's address and the cookie that opens it.
fn door(app: &App) -> (String, String, String) {
    let url = app.run(&["dashboard", "--no-open"]).ok().out.trim().to_owned();
    let (base, key) = url.split_once("/?key=").expect("a key");
    let port = base.rsplit(':').next().expect("a port").to_owned();
    (base.to_owned(), format!("archipel-{port}={key}"), url)
}

#[test]
fn a_person_sees_every_page_restarts_a_service_and_replays_a_dead_letter() {
    let (app, key) = harbour_with_a_past();
    let (base, _, url) = door(&app);
    let shots = browser::root().join("target/screenshots/console");
    let port = base.rsplit(':').next().expect("a port");
    let up = json!([
        binary(),
        "-C",
        app.root(),
        "--state-dir",
        app.state(),
        "up",
        "--detach",
        "--dashboard-port",
        port,
        "--timeout",
        "20s",
    ]);
    let (shots, up) = (shots.to_string_lossy(), up.to_string());
    let seen = browser::run("console.mjs", &[&url, &app.url(""), &shots, &key, &up]);
    assert_eq!(seen["pages"], 18, "{seen}");
    let lonely = app.wait_for("lonely", |s| s["state"] == "ready");
    assert_ne!(lonely["instances"][0]["pid"].as_i64(), seen["pid_before"].as_i64());
}

#[test]
fn a_browser_may_read_and_restart_but_gets_no_secret_and_ends_nothing() {
    let (app, key) = harbour_with_a_past();
    let (base, cookie, _) = door(&app);
    let origin = ("origin", base.as_str());
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| -> Answer {
        request(method, &format!("{base}{path}"), headers, body).expect("answer")
    };
    let cookie = ("cookie", cookie.as_str());
    for path in ["/api/v1/services/front/env", "/api/v1/dashboard"] {
        assert_eq!(ask("GET", path, &[cookie], "").status, 404, "{path}");
    }
    for path in ["/api/v1/shutdown", "/api/v1/reload"] {
        assert_eq!(ask("POST", path, &[cookie, origin], "{}").status, 404, "{path}");
    }
    let restart = r#"{"names":["lonely"]}"#;
    assert_eq!(ask("POST", "/api/v1/restart", &[origin], restart).status, 401);
    assert_eq!(ask("POST", "/api/v1/restart", &[cookie], restart).status, 403);
    let evil = ("origin", "http://evil.example");
    assert_eq!(ask("POST", "/api/v1/restart", &[cookie, evil], restart).status, 403);
    assert_eq!(ask("POST", "/api/v1/restart", &[cookie, origin], restart).status, 200);
    let dead = ask("GET", "/api/v1/events/dead", &[cookie], "").json().expect("JSON");
    let letter = dead["dead"][0]["id"].as_str().expect("an id");
    eventually_blocking(Duration::from_secs(20), || {
        let traffic = ask("GET", "/api/v1/traffic", &[cookie], "").body; // read every two seconds
        if traffic.contains("/back/**") { Ok(()) } else { Err(traffic) }
    });
    for (path, says) in [
        ("/api/v1/status", "lonely"),
        ("/api/v1/graph", "thing.done"),
        ("/api/v1/services/front", "HARBOUR_KEY"),
        ("/api/v1/logs", "the key is"),
        ("/api/v1/events/topics/thing.done", "e2"),
        (&format!("/api/v1/events/dead/{letter}"), "poison"),
        ("/api/v1/databases", "sqlite"),
        ("/api/v1/jobs", "sweep"),
        ("/api/v1/traffic", "/back/**"),
        ("/plain", "lonely"),
    ] {
        let answer = ask("GET", path, &[cookie], "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.contains(says), "{path}: {}", answer.body);
        assert!(!answer.body.contains(&key), "{path} tells the secret: {}", answer.body);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}
