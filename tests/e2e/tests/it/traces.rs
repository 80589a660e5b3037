//! Traces of services that know nothing of traces.

use std::time::Duration;

use archipel_e2e::{App, get, request};
use archipel_testkit::eventually_blocking;
use serde_json::Value;

use crate::fixture::small;

/// The traces that answer a question, as soon as there are any.
fn traces(app: &App, question: &str) -> Vec<Value> {
    eventually_blocking(Duration::from_secs(20), || {
        let found = app.run(&["traces", question, "--json"]).ok().json();
        let traces = found["traces"].as_array().cloned().unwrap_or_default();
        if traces.is_empty() { Err("no trace yet") } else { Ok(traces) }
    })
}

#[test]
fn every_hop_is_found_and_survives_a_restart() {
    let app = small();
    app.up();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    request("GET", &app.url("/headers"), &[("traceparent", &parent)], "").expect("answer");
    get(&app.url("/call/back/headers")).expect("answer");
    let outside = traces(&app, "caller:outside service:front path:/headers");
    assert_eq!(outside[0]["trace_id"], trace);
    let between = traces(&app, "service:back caller:front status:200");
    assert_eq!(between[0]["services"]["back"], 1);

    let shown = app.run(&["trace", trace]).ok().out;
    assert!(shown.contains("front GET /**"), "{shown}");
    app.run(&["down"]).ok();
    app.up();
    assert_eq!(app.run(&["trace", trace, "--json"]).ok().json()["spans"][0]["name"], "GET /**");
}

#[test]
fn a_question_that_makes_no_sense_is_shown_where() {
    let app = small();
    app.up();
    let refused = app.run(&["traces", "service:front duration>soon"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("`200ms`") && refused.err.contains('^'), "{}", refused.err);
}
