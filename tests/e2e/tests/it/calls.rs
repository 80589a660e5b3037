//! Calls between services: declared edges only, and never an address of an instance.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use archipel_e2e::{get, request};

use crate::fixture::small;

#[test]
fn a_declared_callee_is_found_by_its_url_and_knows_who_calls() {
    let app = small();
    app.up();
    let answer = get(&app.url("/call/back/headers")).expect("answer").json().expect("json");
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["body"]["dapr-caller-app-id"], "front");
    let trace = answer["body"]["traceparent"].as_str().expect("a trace");
    assert_eq!(trace.split('-').count(), 4, "{trace}");
    assert!(answer["body"]["dapr-api-token"].is_string(), "the app can tell our calls from others");
}

#[test]
fn an_undeclared_callee_has_no_url_and_is_refused_with_the_line_to_add() {
    let app = small();
    app.up();
    let answer = get(&app.url("/lonely/call/back/headers")).expect("answer");
    assert_eq!(answer.status, 404, "no URL in the environment");
    let answer = get(&app.url("/lonely/invoke?id=back")).expect("answer").json().expect("json");
    assert_eq!(answer["status"], 403);
    let body = answer["body"].as_str().expect("a text");
    assert!(body.contains("calls = [") && body.contains("back"), "{body}");
    let answer = get(&app.url("/invoke?id=back")).expect("answer").json().expect("json");
    assert_eq!(answer["status"], 200, "a declared one may: {answer}");
}

#[test]
fn a_trace_from_outside_goes_on_to_the_last_service() {
    let app = small();
    app.up();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("traceparent", parent.as_str())];
    let answer = archipel_e2e::request("GET", &app.url("/headers"), &headers, "").expect("answer");
    let seen = answer.json().expect("json")["traceparent"].as_str().unwrap_or_default().to_owned();
    assert!(seen.contains(trace) && seen != parent, "{seen}");
}

#[test]
fn what_no_route_takes_is_refused_with_a_reason() {
    let app = crate::fixture::small();
    let path = app.root().join("archipel.toml");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    std::fs::write(&path, text.replace("match = \"/**\"", "match = \"/front/**\"")).expect("write");
    app.up();
    let answer = get(&app.url("/nowhere")).expect("answer");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("x-archipel-refused").is_some());
}

#[test]
fn a_callee_that_only_decorates_leaves_a_gap_and_breaks_nothing() {
    let app = small();
    let path = app.root().join("archipel.toml");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let calls = "calls = { back = { fallback = { answer = { body = '{\"items\":[]}' } } } }";
    std::fs::write(&path, text.replace("calls = [\"back\"]", calls)).expect("write");
    app.up();
    let ask = || get(&app.url("/call/back/x")).expect("answer").json().expect("json");
    assert_eq!(ask()["body"]["service"], "back");
    app.run(&["stop", "back"]).ok();
    let answer = ask();
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["body"]["items"], serde_json::json!([]), "{answer}");
    app.run(&["start", "back"]).ok();
    assert_eq!(ask()["body"]["service"], "back");
}

#[test]
fn a_restart_of_the_only_replica_loses_no_request() {
    let app = small();
    // The default is enough for this program on a quiet machine, which tests do not have.
    let path = app.root().join("archipel.toml");
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let text = text
        .replace("[gateway]\n", "[gateway]\nhold = \"15s\"\n")
        .replace("[defaults]\n", "[defaults]\nresiliency = { hold = \"15s\" }\n");
    std::fs::write(&path, text).expect("write");
    app.up();
    let (from_outside, along_an_edge) = (app.url("/back/x"), app.url("/call/back/x"));
    let done = AtomicBool::new(false);
    // Reports what a user saw go wrong; posts, since nothing may repeat those.
    let load = |post: bool, url: &str| {
        let (mut served, mut failed) = (0_usize, Vec::new());
        while !done.load(Relaxed) {
            let answer = if post { request("POST", url, &[], "once") } else { get(url) };
            match answer {
                Ok(answer) if answer.status == 200 && !answer.body.contains("\"status\": 5") => {
                    served += 1;
                }
                other => failed.push(format!("{other:?}")),
            }
        }
        (served, failed)
    };
    let pid = app.pid("back").expect("pid");
    std::thread::scope(|scope| {
        let mut users = Vec::new();
        for _ in 0..2 {
            users.push(scope.spawn(|| load(true, &from_outside)));
            users.push(scope.spawn(|| load(false, &from_outside)));
            users.push(scope.spawn(|| load(false, &along_an_edge)));
        }
        for _ in 0..3 {
            app.run(&["restart", "back"]).ok();
        }
        done.store(true, Relaxed);
        for user in users {
            let (served, failed) = user.join().expect("a user does not panic");
            assert_eq!(failed, Vec::<String>::new(), "after {served} that went well");
            assert!(served > 0);
        }
    });
    assert_ne!(app.pid("back").expect("pid"), pid, "it did restart");
}
