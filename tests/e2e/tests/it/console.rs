//! The web console, as a person uses it and as somebody who should not get in would.

use std::time::Duration;

use archipel_e2e::{Answer, App, binary, get, request};
use archipel_testkit::eventually_blocking;
use serde_json::json;

use crate::browser;
use crate::workflows;
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
    let runtime = workflows::runtime();
    let _done = workflows::work(&runtime, &app, &["front", "back"]);
    app.run(&["workflow", "start", "front", "order", "--id", "o-1", "--input", "\"back\""]).ok();
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
    assert_eq!(seen["pages"], 24, "{seen}");
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

/// An OTLP span whose attributes tell the secret, as an SDK of `service` would send it.
fn send_span(app: &App, service: &str, trace: &str, key: &str) {
    let env = app.run(&["exec", service, "--", "env"]).ok().out;
    let of = |name: &str| env.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let token = of("DAPR_API_TOKEN").expect("a token");
    let door = of("DAPR_HTTP_ENDPOINT").expect("an address");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
    let text = |value: String| json!({ "stringValue": value });
    let span = json!({ "traceId": trace, "spanId": "00f067aa0ba902b7", "name": "GET /paid", "kind": 2,
        "startTimeUnixNano": now.as_nanos().to_string(),
        "endTimeUnixNano": (now.as_nanos() + 1_000_000).to_string(),
        "attributes": [
            { "key": "app.secret", "value": text(key.to_owned()) },
            { "key": "url.full", "value": text(format!("http://bank.example/?key={key}&a=b")) },
            { "key": "db.query.text", "value": text(format!("SELECT '{key}'")) },
        ],
        "events": [{ "name": "exception", "timeUnixNano": now.as_nanos().to_string(), "attributes": [
            { "key": "exception.type", "value": text("BankError".to_owned()) },
            { "key": "exception.message", "value": text(format!("{key} was refused")) },
        ] }],
        "status": { "code": 2, "message": format!("refused {key}") } });
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
    let headers = [("dapr-api-token", token), ("content-type", "application/json")];
    let sent = request("POST", &format!("{door}/v1/traces"), &headers, &body).expect("answer");
    assert_eq!(sent.status, 200, "{}", sent.body);
}

#[test]
fn a_secret_said_everywhere_shows_nowhere() {
    let (app, key) = harbour_with_a_past();
    let (base, cookie, _) = door(&app);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    send_span(&app, "front", trace, &key);
    get(&app.url(&format!("/call/back/x?token={key}"))).expect("answer");
    let input = format!("\"{key}\"");
    app.run(&["workflow", "start", "front", "order", "--id", "o-1", "--input", &input]).ok();
    let ask = |method: &str, path: &str, body: &str| -> Answer {
        let headers = [("cookie", cookie.as_str()), ("origin", base.as_str())];
        request(method, &format!("{base}{path}"), &headers, body).expect("answer")
    };
    // A span is seen a moment after it came.
    eventually_blocking(Duration::from_secs(20), || {
        let seen = ask("GET", &format!("/api/v1/traces/{trace}"), "").body;
        let logs = ask("GET", "/api/v1/errors", "").body;
        if seen.contains("app.secret") && logs.contains("BankError") { Ok(()) } else { Err(seen + &logs) }
    });
    let veiled = "••••••";
    let sql = json!({ "sql": "SELECT id, data FROM inbox" }).to_string();
    let send = json!({ "method": "GET", "path": "/env" }).to_string();
    for (method, path, body, says) in [
        ("GET", format!("/api/v1/traces/{trace}"), "", veiled),
        ("GET", "/api/v1/spans?query=service:front".to_owned(), "", veiled),
        ("GET", "/api/v1/errors".to_owned(), "", veiled),
        ("GET", format!("/api/v1/find?key={key}"), "", veiled),
        ("GET", "/api/v1/logs?tail=1000".to_owned(), "", veiled),
        ("GET", "/api/v1/events/topics/thing.done?tail=50".to_owned(), "", veiled),
        ("GET", "/api/v1/workflows/front/o-1".to_owned(), "", veiled),
        ("GET", "/api/v1/workflows/front/o-1/history".to_owned(), "", veiled),
        ("GET", "/api/v1/services/front".to_owned(), "", veiled),
        ("POST", "/api/v1/databases/front/query".to_owned(), &sql, veiled),
        ("POST", "/api/v1/apis/front/send".to_owned(), &send, veiled),
        ("GET", "/api/v1/traces".to_owned(), "", "front"),
        ("GET", "/api/v1/status".to_owned(), "", "front"),
        ("GET", "/api/v1/settings".to_owned(), "", "archipel.toml"),
        ("GET", "/api/v1/apis/lonely".to_owned(), "", "One thing"),
        ("GET", "/api/v1/databases/front/tables".to_owned(), "", "inbox"),
        ("GET", "/api/v1/workflows".to_owned(), "", "o-1"),
        ("GET", "/plain".to_owned(), "", "front"),
        ("GET", "/metrics".to_owned(), "", "archipel_"),
    ] {
        let answer = ask(method, &path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.contains(says), "{path} has no {says}: {}", answer.body);
        assert!(!answer.body.contains(&key), "{path} tells the secret: {}", answer.body);
    }
    for args in [
        &["ps", "--json"][..],
        &["describe", "front", "--json"],
        &["secret", "list"],
        &["routes", "--json"],
        &["events", "list", "--json"],
        &["workflow", "list", "--json"],
        &["job", "list", "--json"],
        &["db", "list", "--json"],
    ] {
        let told = app.run(args).ok();
        assert!(!format!("{}{}", told.out, told.err).contains(&key), "{args:?} tells the secret");
    }
    let own = std::fs::read_to_string(app.state().join("archipel.log")).expect("its own log");
    assert!(!own.contains(&key), "Archipel's own log tells the secret");
    let lines = app.processes().into_iter().map(|(_, line)| line);
    assert!(lines.into_iter().all(|line| !line.contains(&key)), "a command line tells the secret");
}

#[test]
fn a_database_is_read_and_never_written_from_the_console() {
    let (app, _) = harbour_with_a_past();
    let (base, cookie, _) = door(&app);
    let query = |sql: &str| {
        let headers = [("cookie", cookie.as_str()), ("origin", base.as_str())];
        let body = json!({ "sql": sql }).to_string();
        let url = format!("{base}/api/v1/databases/front/query");
        request("POST", &url, &headers, &body).expect("answer")
    };
    let found = query("SELECT id, attempt FROM inbox WHERE id = 'e2'").json().expect("JSON");
    assert_eq!((&found["columns"], &found["rows"][0][0]), (&json!(["id", "attempt"]), &json!("e2")));
    let back = app.state().join("data/back/back.db").display().to_string();
    for sql in [
        "DELETE FROM inbox".to_owned(),
        "DELETE FROM inbox RETURNING id".to_owned(),
        format!("ATTACH '{back}' AS other"),
        "SELECT 1; DELETE FROM inbox".to_owned(),
        "SELEC".to_owned(),
    ] {
        let refused = query(&sql);
        assert_eq!(refused.status, 422, "{sql}: {}", refused.body);
    }
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    assert_eq!(query(endless).status, 504);
    let left = query("SELECT count(*) FROM inbox").json().expect("JSON");
    assert_eq!(left["rows"][0][0], "1");
}
