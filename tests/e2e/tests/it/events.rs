//! Events: from a service's own outbox, or its API, to every subscriber, at least once.

use std::time::Duration;

use archipel_e2e::{App, get, request};
use archipel_testkit::eventually_blocking;
use serde_json::{Value, json};

use crate::fixture::small;
use crate::lifecycle::kill;

fn publish(app: &App, id: &str, data: &Value) {
    let body = json!({ "topic": "thing.done", "id": id, "data": data }).to_string();
    let answer = request("POST", &app.url("/back/publish"), &[], &body).expect("answer");
    assert_eq!(answer.status, 202);
}

fn inbox(app: &App) -> Vec<String> {
    let Ok(answer) = get(&app.url("/inbox")) else { return Vec::new() };
    let rows = answer.json().unwrap_or_default();
    let ids = rows.as_array().into_iter().flatten().filter_map(|row| row[0].as_str());
    ids.map(str::to_owned).collect()
}

fn wait_for_ids(app: &App, expected: &[String]) {
    eventually_blocking(Duration::from_secs(30), || {
        let mut seen = inbox(app);
        seen.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        if seen == expected { Ok(()) } else { Err((seen.len(), expected.len())) }
    });
}

#[test]
fn an_event_in_the_outbox_arrives_at_the_subscriber() {
    let app = small();
    app.up();
    publish(&app, "e1", &json!({ "n": 1 }));
    wait_for_ids(&app, &["e1".to_owned()]);
    let topics = app.run(&["events", "list", "--json"]).ok().json();
    let topic = &topics["topics"][0];
    assert_eq!((&topic["name"], &topic["publisher"]), (&"thing.done".into(), &"back".into()));
    assert_eq!(topic["events"], 1);
    let tail = app.run(&["events", "tail", "thing.done", "--no-follow", "--json"]).ok();
    let event: Value = serde_json::from_str(tail.out.trim()).expect("one event");
    assert_eq!(event["event"]["data"]["n"], 1);
}

#[test]
fn an_event_published_through_the_dapr_api_arrives_too() {
    let app = small();
    app.up();
    let body = json!({ "topic": "thing.done", "data": { "n": 2 } }).to_string();
    let answer = request("POST", &app.url("/back/dapr-publish"), &[], &body).expect("answer");
    assert_eq!(answer.json().expect("json")["status"], 204);
    eventually_blocking(Duration::from_secs(20), || match inbox(&app).len() {
        1 => Ok(()),
        n => Err(n),
    });
    let body = json!({ "topic": "thing.undeclared", "data": {} }).to_string();
    let answer = request("POST", &app.url("/back/dapr-publish"), &[], &body).expect("answer");
    let answer = answer.json().expect("json");
    assert_eq!(answer["status"], 403);
    assert!(answer["body"].as_str().is_some_and(|b| b.contains("publishes")), "{answer}");
}

#[test]
fn events_wait_for_a_dead_subscriber() {
    let app = small();
    app.up();
    app.run(&["stop", "front"]).ok();
    let ids: Vec<String> = (0..50).map(|i| format!("w{i}")).collect();
    for id in &ids {
        publish(&app, id, &json!({}));
    }
    app.run(&["start", "front"]).ok();
    wait_for_ids(&app, &ids);
}

#[test]
fn no_event_is_lost_when_archipel_is_killed() {
    let app = small();
    app.up();
    let port = app.service("back").expect("status")["instances"][0]["port"].clone();
    let mut ids = Vec::new();
    for round in 0..5 {
        for i in 0..20 {
            let id = format!("k{round}-{i}");
            // Straight to the instance: the data plane may be dead at this moment.
            let body = json!({ "topic": "thing.done", "id": id, "data": {} }).to_string();
            let url = format!("http://127.0.0.1:{port}/publish");
            assert_eq!(request("POST", &url, &[], &body).expect("answer").status, 202);
            ids.push(id);
            if i == round * 4 {
                kill(app.archipel_pid(), "KILL");
                // Bound, so that a failing restart is a failure of this test.
                if round % 2 == 0 {
                    app.up();
                }
            }
        }
        app.up();
    }
    wait_for_ids(&app, &ids);
}

#[test]
fn a_poison_event_becomes_a_dead_letter_with_its_reason_and_can_be_replayed() {
    let app = small();
    app.up();
    publish(&app, "p1", &json!({ "poison": true }));
    publish(&app, "p2", &json!({}));
    wait_for_ids(&app, &["p2".to_owned()]);
    let dead = eventually_blocking(Duration::from_secs(20), || {
        let dead = app.run(&["events", "dead", "--json"]).ok().json();
        let letters = dead["dead"].as_array().cloned().unwrap_or_default();
        if letters.is_empty() { Err("no dead letter") } else { Ok(letters) }
    });
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (&dead[0]["topic"], &dead[0]["subscriber"]),
        (&"thing.done".into(), &"front".into())
    );
    assert!(dead[0]["reason"].as_str().is_some_and(|reason| reason.contains("422")), "{dead:?}");
    let id = dead[0]["id"].as_str().expect("an id").to_owned();
    let died_at = dead[0]["last_at_ms"].clone();
    app.run(&["events", "replay", &id]).ok();
    eventually_blocking(Duration::from_secs(20), || {
        let dead = app.run(&["events", "dead", "--json"]).ok().json();
        let letters = dead["dead"].as_array().cloned().unwrap_or_default();
        // Still poison: it dies again, later.
        if letters.len() == 1 && letters[0]["last_at_ms"] != died_at {
            Ok(())
        } else {
            Err(letters)
        }
    });
    let dead = app.run(&["events", "dead", "--json"]).ok().json();
    let id = dead["dead"][0]["id"].as_str().expect("an id").to_owned();
    app.run(&["events", "discard", &id]).ok();
    assert_eq!(app.run(&["events", "dead", "--json"]).ok().json()["dead"], json!([]));
}

#[test]
fn an_outbox_that_cannot_be_pulled_is_shown_until_it_can() {
    let app = small();
    app.up();
    let rename = |from: &str, to: &str| {
        let script = format!(
            "import os, sqlite3\n\
             with sqlite3.connect(os.environ['DATABASE_PATH'], timeout=30) as db:\n    \
                 db.execute('ALTER TABLE {from} RENAME TO {to}')"
        );
        app.run(&["exec", "back", "--", "python3", "-c", &script]).ok();
    };
    let wait_for = |broken: bool| {
        eventually_blocking(Duration::from_secs(30), || {
            let seen = app.run(&["events", "list", "--json"]).ok().json();
            let is_broken = seen["outboxes"][0]["problem"].is_string();
            if is_broken == broken { Ok(()) } else { Err(seen) }
        });
        let text = app.run(&["events", "list"]).ok().out;
        assert_eq!(
            text.contains("the outbox of back (/outbox) cannot be pulled: "),
            broken,
            "{text}"
        );
    };
    wait_for(false);
    rename("outbox", "elsewhere");
    wait_for(true);
    rename("elsewhere", "outbox");
    wait_for(false);
}
