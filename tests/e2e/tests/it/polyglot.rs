//! The official SDKs of five languages side by side: `cargo xtask conformance workflows`, which
//! prepares what this runs. See `tests/conformance/workflows`.

use std::path::PathBuf;
use std::time::Duration;

use archipel_e2e::App;
use archipel_testkit::eventually_blocking;
use serde_json::Value;

use crate::lifecycle::kill;

const WITHIN: Duration = Duration::from_secs(120);
const LANGUAGES: [&str; 5] = ["python", "javascript", "java", "go", "rust"];
const EACH: usize = 4;

fn start(app: &App, service: &str, workflow: &str, id: &str) {
    app.run(&["workflow", "start", service, workflow, "--id", id, "--input", "\"x\""]).ok();
}

fn output(app: &App, id: &str) -> String {
    let output = eventually_blocking(WITHIN, || {
        let whole = app.run(&["workflow", "describe", id, "--json"]).ok().json();
        if whole["status"] == "completed" { Ok(whole["output"].clone()) } else { Err(whole) }
    });
    let text: Value = serde_json::from_str(output.as_str().unwrap_or_default()).expect("JSON");
    text.as_str().expect("a text").to_owned()
}

#[test]
#[ignore = "fetches five SDKs: `cargo xtask conformance workflows`"]
fn workflows_of_five_languages_run_side_by_side_and_outlive_us() {
    let root = std::env::var_os("ARCHIPEL_WORKFLOWS").map(PathBuf::from);
    let app = App::at(&root.expect("set by the verb"), 0).expect("a state directory");
    app.up();
    let ids: Vec<(&str, String)> = (0..EACH)
        .flat_map(|n| LANGUAGES.map(|language| (language, format!("{language}-{n}"))))
        .collect();
    for (language, id) in &ids {
        start(&app, language, "tour", id);
    }
    for (_, id) in &ids {
        eventually_blocking(WITHIN, || {
            let history = app.run(&["workflow", "history", id, "--json"]).ok().out;
            if history.contains("TimerFired") { Ok(()) } else { Err(history) }
        });
    }
    kill(app.archipel_pid(), "KILL");
    app.up();
    let all: Vec<&str> = ids.iter().map(|(_, id)| id.as_str()).collect();
    app.run(&[&["workflow", "raise", "go"], &all[..], &["--data", "\"went\""]].concat()).ok();
    for (language, id) in &ids {
        let stamped = [1, 2, 3].map(|n| format!("x>{language}{n}>{language}")).join("|");
        assert_eq!(output(&app, id), format!("{stamped}|went"));
    }

    start(&app, "rust", "relay", "relay-0");
    assert_eq!(output(&app, "relay-0"), "x>python>java>rust");
}
