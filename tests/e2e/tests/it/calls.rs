//! Calls between services: declared edges only, and never an address of an instance.

use archipel_e2e::get;

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
