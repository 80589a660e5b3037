//! kill -9 of everything, in turn.

use std::time::Duration;

use archipel_e2e::get;
use archipel_testkit::eventually_blocking;

use crate::fixture::small;
use crate::lifecycle::kill;

#[test]
fn a_killed_service_comes_back_and_the_rest_goes_on() {
    let app = small();
    app.up();
    for name in ["back", "lonely", "front"] {
        let before = app.pid(name).expect("pid");
        kill(before, "KILL");
        for other in ["front", "back", "lonely"].iter().filter(|other| **other != name) {
            let path = if *other == "front" { "/".to_owned() } else { format!("/{other}/") };
            assert_eq!(
                get(&app.url(&path)).expect("answer").status,
                200,
                "{other} while {name} is dead"
            );
        }
        let after =
            app.wait_for(name, |s| s["state"] == "ready" && s["instances"][0]["pid"] != before);
        assert_eq!(
            after["instances"][0]["last_exit"].as_str().map(|e| e.contains("SIGKILL")),
            Some(true)
        );
    }
}

#[test]
fn services_outlive_a_killed_archipel_and_are_adopted() {
    let app = small();
    app.up();
    let pids = ["front", "back", "lonely"].map(|name| app.pid(name).expect("pid"));
    kill(app.archipel_pid(), "KILL");
    eventually_blocking(Duration::from_secs(10), || match app.run(&["ps"]).code {
        4 => Ok(()),
        code => Err(code),
    });
    for pid in pids {
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} lives on");
    }
    let told = app.run(&["ps"]);
    assert_eq!(told.code, 4);
    for expected in ["3 service processes of this application still live", "up", "down"] {
        assert!(told.err.contains(expected), "{expected} in {}", told.err);
    }
    app.up();
    assert_eq!(["front", "back", "lonely"].map(|name| app.pid(name).expect("pid")), pids);
    assert_eq!(app.service("front").expect("status")["instances"][0]["adopted"], true);
    assert_eq!(get(&app.url("/call/back/x")).expect("answer").status, 200);
    // An adopted service is supervised like any other.
    kill(pids[0], "KILL");
    app.wait_for("front", |s| s["state"] == "ready" && s["instances"][0]["pid"] != pids[0]);
}

#[test]
fn down_cleans_up_after_a_killed_archipel() {
    let app = small();
    app.up();
    kill(app.archipel_pid(), "KILL");
    app.run(&["down"]).ok();
    assert_eq!(app.processes(), []);
}

#[test]
fn what_services_wrote_while_archipel_was_dead_is_not_lost() {
    let app = small();
    app.up();
    let port = app.service("back").expect("status")["instances"][0]["port"].clone();
    kill(app.archipel_pid(), "KILL");
    get(&format!("http://127.0.0.1:{port}/say?text=nobody+listens")).expect("it lives");
    app.up();
    let found = eventually_blocking(Duration::from_secs(10), || {
        let out = app.run(&["logs", "back", "--search", "nobody listens"]).out;
        if out.is_empty() { Err(app.run(&["logs", "back"]).out) } else { Ok(out) }
    });
    assert_eq!(found.lines().count(), 1);
}
