//! Errors that a user meets before anything runs.

use archipel_e2e::App;

#[test]
fn a_broken_manifest_is_refused_whole_before_anything_starts() {
    let manifest = r#"
version = 1
[app]
name = "broken"
[services.web]
run = "python3 app.py"
memry = "64M"
calls = ["catalgo"]
[services.catalog]
path = "nowhere"
run = "x"
stop = { grace = "5 parsecs" }
"#;
    let app = App::new(manifest, &[]).expect("a directory");
    let outcome = app.run(&["up", "-d"]);
    assert_eq!(outcome.code, 3);
    for expected in ["memry", "memory", "catalgo", "catalog", "nowhere", "5 parsecs"] {
        assert!(outcome.err.contains(expected), "{expected} in:\n{}", outcome.err);
    }
    let json = app.run(&["validate", "--json"]);
    assert_eq!(json.code, 3);
    let problems = json.json();
    assert_eq!(problems["schema"], "archipel.validate/1");
    let problems = problems["problems"].as_array().cloned().unwrap_or_default();
    assert!(problems.len() >= 4, "{problems:#?}");
    for problem in &problems {
        let code = problem["code"].as_str().expect("a code");
        let page = app.run(&["explain", code]).ok();
        assert!(page.out.contains(code), "{code} has a page");
    }
    assert!(!app.state().join("instances").exists(), "nothing was started");
}

#[test]
fn init_makes_something_that_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let app = App::at(dir.path(), 0).expect("an app");
    app.run(&["init"]).ok();
    app.run(&["validate"]).ok();
    app.up();
    let status = app.status();
    assert!(status["services"].as_array().is_some_and(|list| list.len() >= 2), "{status}");
}

#[test]
fn verbs_without_anything_running_end_with_4() {
    let app = crate::fixture::small();
    for args in [vec!["ps"], vec!["logs"], vec!["describe", "front"], vec!["restart", "front"]] {
        let outcome = app.run(&args);
        assert_eq!(outcome.code, 4, "{args:?}: {outcome:?}");
        assert!(outcome.err.contains("archipel up"), "{}", outcome.err);
    }
}
