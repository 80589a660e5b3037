//! Commands beside the services.

use crate::fixture::one;

/// Fails until it has run as often as its argument says. In a file, because `run` fills in `$name`.
const STUMBLE: &str =
    "n=$(cat tries 2>/dev/null || echo 0)\necho $((n + 1)) > tries\n[ $n -ge $1 ]\n";

#[test]
fn a_job_that_fails_is_tried_again_as_often_as_it_says() {
    let job = |name: &str, failures: u32| {
        format!(
            "[jobs.{name}]\npath = \"{name}\"\nmanual = true\n\
             run = \"sh stumble.sh {failures}\"\n\
             retry = {{ attempts = 2, backoff = \"10ms..20ms\" }}\n"
        )
    };
    let app = one(&format!("run = \"python3 app.py\"\n{}{}", job("stumbles", 2), job("falls", 9)));
    for dir in ["stumbles", "falls"] {
        let dir = app.root().join(dir);
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::write(dir.join("stumble.sh"), STUMBLE).expect("a script");
    }
    app.up();
    let runs = |name: &str| -> Vec<(i64, String)> {
        let jobs = app.run(&["job", "list", "--json"]).ok().json();
        let jobs = jobs["jobs"].as_array().expect("jobs");
        let job = jobs.iter().find(|job| job["name"] == name).expect("the job");
        let runs = job["runs"].as_array().expect("runs");
        let run = |run: &serde_json::Value| {
            (run["exit_code"].as_i64().unwrap(), run["outcome"].as_str().unwrap().to_owned())
        };
        runs.iter().map(run).collect()
    };
    app.run(&["job", "run", "stumbles"]).ok();
    let stumbled = runs("stumbles");
    assert_eq!(stumbled.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [0, 1, 1]);
    assert!(stumbled[2].1.ends_with("(1 of 2)"), "{stumbled:?}");
    assert_eq!(app.run(&["job", "run", "falls"]).code, 1);
    let fell = runs("falls");
    assert_eq!(fell.len(), 3, "{fell:?}");
    assert!(!fell[0].1.contains("repeated"), "the last one is the end: {fell:?}");
}
