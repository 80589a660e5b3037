//! Up, down and what lies between.

use std::time::Duration;

use archipel_e2e::{get, request};
use archipel_testkit::eventually_blocking;

use crate::fixture::{one, small};

#[test]
fn up_brings_everything_and_down_leaves_nothing() {
    let app = small();
    app.up();
    let status = app.status();
    assert_eq!(status["schema"], "archipel.ps/1");
    let services = status["services"].as_array().expect("a list");
    assert_eq!(services.len(), 3);
    assert!(services.iter().all(|service| service["state"] == "ready"), "{services:#?}");
    let answer = get(&app.url("/hello")).expect("the gateway answers");
    assert_eq!((answer.status, &answer.json().expect("json")["service"]), (200, &"front".into()));
    let answer = get(&app.url("/back/x")).expect("the gateway answers");
    assert_eq!(answer.json().expect("json")["path"], "/x");
    app.run(&["down"]).ok();
    assert_eq!(app.processes(), []);
    assert_eq!(app.run(&["ps"]).code, 4, "nothing runs any more");
}

#[test]
fn up_again_applies_what_changed_and_touches_nothing_else() {
    let app = small();
    app.up();
    let (front, back) = (app.pid("front").expect("pid"), app.pid("back").expect("pid"));
    app.up();
    assert_eq!((app.pid("front").expect("pid"), app.pid("back").expect("pid")), (front, back));
    let path = app.root().join("archipel.toml");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let text = text.replace("[services.lonely]", "[services.lonely]\nenv = { NEW = \"1\" }");
    std::fs::write(&path, text).expect("write");
    let lonely = app.pid("lonely").expect("pid");
    app.up();
    app.wait_for("lonely", |s| s["state"] == "ready" && s["instances"][0]["pid"] != lonely);
    let env = get(&app.url("/lonely/env")).expect("answer").json().expect("json");
    assert_eq!(env["NEW"], "1");
    assert_eq!((app.pid("front").expect("pid"), app.pid("back").expect("pid")), (front, back));
}

#[test]
fn only_starts_only_those_and_says_so_to_callers() {
    let app = small();
    app.run(&["up", "-d", "--dashboard-port", "0", "--only", "front"]).ok();
    assert_eq!(app.service("back").expect("status")["state"], "stopped");
    let answer = get(&app.url("/back/x")).expect("answer");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("--only"), "{}", answer.body);
}

#[test]
fn a_service_that_does_not_build_does_not_stop_the_others() {
    let app = small();
    let path = app.root().join("archipel.toml");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let broken = "[services.lonely]\nbuild = [\"sh\", \"-c\", \"echo cannot find the frobnicator >&2; exit 7\"]";
    std::fs::write(&path, text.replace("[services.lonely]", broken)).expect("write");
    let outcome = app.run(&["up", "-d", "--dashboard-port", "0"]);
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(outcome.err.contains("frobnicator"), "the last lines are shown: {}", outcome.err);
    assert_eq!(get(&app.url("/")).expect("answer").status, 200, "the others run");
    let lonely = app.service("lonely").expect("status");
    assert_eq!(lonely["state"], "failed");
    let answer = get(&app.url("/lonely/")).expect("answer");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("build failed"), "{}", answer.body);
}

#[test]
fn a_program_that_is_missing_is_named() {
    let app = one("run = \"no-such-program --serve\"");
    let outcome = app.run(&["up", "-d", "--dashboard-port", "0", "--timeout", "5s"]);
    assert_ne!(outcome.code, 0);
    assert!(outcome.err.contains("no-such-program"), "{}", outcome.err);
}

#[test]
fn a_build_runs_again_only_when_its_inputs_changed() {
    let app = one(
        "path = \"web\"\nbuild = [\"sh\", \"-c\", \"echo built >> ../builds.txt; cp ../app.py made.py\"]\nartifact = [\"made.py\"]\nrun = \"python3 made.py\"",
    );
    std::fs::create_dir_all(app.root().join("web")).expect("mkdir");
    std::fs::write(app.root().join("web/input.txt"), "1").expect("write");
    let builds = || {
        let text = std::fs::read_to_string(app.root().join("builds.txt")).unwrap_or_default();
        text.lines().count()
    };
    app.up();
    assert_eq!(builds(), 1);
    app.run(&["down"]).ok();
    app.up();
    assert_eq!(builds(), 1, "nothing changed");
    assert_eq!(app.service("web").expect("status")["build"]["state"], "cached");
    std::fs::write(app.root().join("web/input.txt"), "2").expect("write");
    app.up();
    assert_eq!(builds(), 2, "an input changed");
}

#[test]
fn stop_keeps_a_service_stopped_and_start_brings_it_back() {
    let app = small();
    app.up();
    app.run(&["stop", "back"]).ok();
    assert_eq!(app.service("back").expect("status")["state"], "stopped");
    let answer = get(&app.url("/back/")).expect("answer");
    assert_eq!(answer.status, 503);
    assert_eq!(get(&app.url("/")).expect("answer").status, 200);
    app.run(&["start", "back"]).ok();
    assert_eq!(get(&app.url("/back/")).expect("answer").status, 200);
    let before = app.pid("front").expect("pid");
    app.run(&["restart", "front"]).ok();
    assert_ne!(app.pid("front").expect("pid"), before);
    let outcome = app.run(&["restart", "frnt"]);
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("front"), "it names those that exist: {}", outcome.err);
}

#[test]
fn a_restart_finishes_the_requests_in_flight() {
    let app = small();
    app.up();
    let url = app.url("/slow?s=1.5");
    let slow = std::thread::spawn(move || get(&url));
    eventually_blocking(Duration::from_secs(10), || {
        let inflight = app.service("front").map(|s| s["instances"][0]["inflight"].clone());
        match inflight {
            Ok(count) if count == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    app.run(&["restart", "front"]).ok();
    let answer = slow.join().expect("the thread").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn logs_are_kept_and_found() {
    let app = small();
    app.up();
    // It exits in the middle of this. A GET would be tried again, and end the next one too.
    let _ = request("POST", &app.url("/exit/9"), &[], "");
    app.wait_for("front", |s| s["state"] == "ready" && s["restarts"] == 1);
    let outcome = app.run(&["logs", "front", "--json"]).ok();
    let lines: Vec<serde_json::Value> =
        outcome.out.lines().map(|line| serde_json::from_str(line).expect("NDJSON")).collect();
    let has =
        |text: &str| lines.iter().any(|l| l["message"].as_str().is_some_and(|m| m.contains(text)));
    assert!(has("listening") && has("leaving as asked"), "{lines:#?}");
    assert!(lines.iter().any(|line| line["level"] == "info"));
    let outcome = app.run(&["logs", "front", "--search", "leaving"]).ok();
    assert_eq!(outcome.out.lines().count(), 1, "{}", outcome.out);
    assert_eq!(app.run(&["logs", "back", "--search", "leaving"]).ok().out, "");
    app.run(&["down"]).ok();
    let at_rest = app.run(&["logs", "front", "--search", "leaving", "--follow"]).ok();
    assert_eq!(at_rest.out.lines().count(), 1, "logs can be read when nothing runs");
    assert!(at_rest.err.contains("nothing is running"), "{}", at_rest.err);
    app.up();
    let outcome = app.run(&["logs", "front", "--search", "leaving"]).ok();
    assert_eq!(outcome.out.lines().count(), 1, "logs outlive the instance and a restart");
}

#[test]
fn exec_has_the_environment_of_the_service() {
    let app = small();
    app.up();
    let outcome =
        app.run(&["exec", "front", "--", "sh", "-c", "echo $BACK_URL $DATABASE_URL; exit 41"]);
    assert_eq!(outcome.code, 41);
    assert!(outcome.out.starts_with("http://127.0.0.1:"), "{}", outcome.out);
    assert!(outcome.out.contains("sqlite:////"), "{}", outcome.out);
    assert_eq!(app.run(&["exec", "front", "--", "no-such-program"]).code, 127);
}

#[test]
fn a_port_in_use_names_its_holder() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = holder.local_addr().expect("address").port();
    let app = one(&format!("run = \"python3 app.py\"\nport = {port}"));
    let outcome = app.run(&["up", "-d", "--dashboard-port", "0", "--timeout", "5s"]);
    assert_ne!(outcome.code, 0);
    let me = std::process::id().to_string();
    assert!(
        outcome.err.contains(&me) && outcome.err.contains(&port.to_string()),
        "{}",
        outcome.err
    );
}

#[test]
fn a_second_up_in_the_foreground_applies_to_the_first() {
    let app = small();
    app.up();
    let pid = app.archipel_pid();
    app.up();
    assert_eq!(app.archipel_pid(), pid);
}

#[test]
fn ctrl_c_in_the_foreground_stops_everything() {
    let app = small();
    let mut up = app.spawn(&["up", "--dashboard-port", "0"]).expect("spawn");
    app.wait_for("lonely", |s| s["state"] == "ready");
    let pid = i32::try_from(up.id()).expect("a pid");
    kill(pid, "INT");
    let status = up.wait().expect("it ends");
    assert!(status.success(), "{status}: {}", app.spawned_log());
    assert_eq!(app.processes(), []);
}

#[test]
fn memory_over_the_limit_is_told_as_such() {
    let app = one("run = \"python3 app.py\"\nmemory = \"64M\"");
    app.up();
    if app.service("web").expect("status")["memory_tier"] == "none" {
        eprintln!("skipped: this machine enforces no memory limits");
        return;
    }
    let _ = get(&app.url("/eat?mb=200"));
    let web = app.wait_for("web", |s| s["restarts"].as_u64() >= Some(1));
    let exit = web["instances"][0]["last_exit"].as_str().unwrap_or_default().to_owned();
    assert!(exit.contains("memory limit 64M"), "{exit}");
    app.wait_for("web", |s| s["state"] == "ready");
}

#[test]
fn the_dashboard_opens_with_its_key_only() {
    let app = small();
    app.up();
    let url = app.run(&["dashboard", "--no-open"]).ok().out.trim().to_owned();
    let (base, key) = url.split_once("?key=").expect("a key");
    assert_eq!(get(base).expect("answer").status, 401);
    let answer = get(&url).expect("answer");
    assert_eq!(answer.status, 303);
    let port = base.trim_end_matches('/').rsplit(':').next().expect("a port");
    let cookie = format!("archipel-{port}={key}");
    let page = request("GET", &format!("{base}plain"), &[("cookie", &cookie)], "");
    let page = page.expect("answer");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("lonely"));
    let evil = request("GET", base, &[("cookie", &cookie), ("origin", "http://evil.example")], "");
    assert_eq!(evil.expect("answer").status, 403);
}

pub(crate) fn kill(pid: i32, signal: &str) {
    let status = std::process::Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status()
        .expect("kill exists");
    assert!(status.success());
}

#[test]
fn a_full_disk_under_its_own_log_costs_no_service() {
    let app = small().env("ARCHIPEL_LOG", "debug");
    std::fs::create_dir_all(app.state().join("instances")).expect("the state directory");
    std::os::unix::fs::symlink("/dev/full", app.state().join("archipel.log")).expect("a link");
    app.up();
    app.run(&["restart", "front", "--timeout", "60s"]).ok();
    app.run(&["down"]).ok();
}
