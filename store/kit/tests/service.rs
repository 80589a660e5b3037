//! A small service made of the kit, seen from outside.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use store_kit::{
    Bearer, Callee, Claims, Clock, Command, CustomerId, Db, Env, Event, Outcome, Problem, Refusal,
    Reply, Running, Service, Signer, Sync, Verdict, Verifier,
};

const MIGRATIONS: &[&str] =
    &["CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL CHECK(text <> 'forbidden'));"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
}

#[derive(Clone)]
struct App {
    db: Db,
    verifier: Verifier,
    runs: Arc<AtomicU32>,
}

impl axum::extract::FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

async fn add(
    State(app): State<App>,
    Command { key, body }: Command<Note>,
) -> Result<Reply, Problem> {
    let runs = Arc::clone(&app.runs);
    app.db
        .once(key, move |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            if body.text == "refused" {
                tx.execute("INSERT INTO note(text) VALUES('left behind')", [])?;
                return Err(Problem::new(409, "out-of-stock", "No"));
            }
            tx.execute("INSERT INTO note(text) VALUES(?)", [&body.text])?;
            tx.publish("note.added", "subject-1", &json!({ "text": body.text }))?;
            Reply::json(201, &json!({ "text": body.text }))
        })
        .await
}

async fn count(State(app): State<App>) -> Result<axum::Json<i64>, Problem> {
    let n =
        app.db.read(|c| Ok(c.query_row("SELECT count(*) FROM note", [], |r| r.get(0))?)).await?;
    Ok(axum::Json(n))
}

struct Fixture {
    running: Running,
    callee: Callee,
    db: Db,
    runs: Arc<AtomicU32>,
    signer: Signer,
    dir: tempfile::TempDir,
}

async fn start(env: Env) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("test.db"), Sync::Normal, MIGRATIONS).unwrap();
    let signer = Signer::from_text("test");
    let app = App { db: db.clone(), verifier: signer.verifier(), runs: Arc::default() };
    let runs = Arc::clone(&app.runs);
    let routes = Router::new()
        .route("/v1/notes", post(add).get(count))
        .route("/me", get(|who: Bearer| async move { who.customer().to_string() }))
        .route("/panic", get(|| async { panic!("on purpose") as () }))
        .route(
            "/panic-in-write",
            get(|State(app): State<App>| async move {
                app.db.write(|_| -> Result<(), Problem> { panic!("inside") }).await
            }),
        )
        .with_state(app);
    let service = Service::new("test", "0.0.0", env.with("PORT", 0))
        .database(&db)
        .routes(routes)
        .inbox(|tx: &store_kit::Tx<'_>, event: &Event| match event.topic() {
            "note.sent" => {
                tx.execute("INSERT INTO note(text) VALUES('from an event')", [])?;
                Ok(Verdict::Applied)
            }
            "note.early" => {
                tx.execute("INSERT INTO note(text) VALUES('too early')", [])?;
                Ok(Verdict::NotYet("no".into()))
            }
            _ => Ok(Verdict::Poison("unknown".into())),
        });
    let running = service.start().await.unwrap();
    let callee = Callee::new("test", &running.url()).unwrap();
    Fixture { running, callee, db, runs, signer, dir }
}

fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn notes(f: &Fixture) -> i64 {
    f.callee.get("/v1/notes").send::<i64>().await.ok().unwrap()
}

#[tokio::test]
async fn a_command_acts_once_and_answers_the_same() {
    let f = start(Env::default()).await;
    let send = |key: &str, text: &str| {
        f.callee.post("/v1/notes").key(key).json(&json!({ "text": text })).send::<Value>()
    };

    let Outcome::Ok(first) = send("k1", "a").await else { panic!() };
    let Outcome::Ok(again) = send("k1", "a").await else { panic!() };
    assert_eq!((first.status, &first.body), (201, &json!({"text": "a"})));
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert!(first.headers.get("idempotency-replayed").is_none());
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!((f.runs.load(Ordering::Relaxed), notes(&f).await), (1, 1));

    assert_eq!(refused(send("k1", "b").await).code, "idempotency-key-reused");
    let unkeyed = f.callee.post("/v1/notes").json(&json!({"text": "a"})).send::<Value>().await;
    assert_eq!(refused(unkeyed).code, "idempotency-key-missing");
    let unknown = f
        .callee
        .post("/v1/notes")
        .key("k2")
        .json(&json!({"text": "a", "x": 1}))
        .send::<Value>()
        .await;
    let unknown = refused(unknown);
    assert_eq!(
        (unknown.status, unknown.code.as_str(), unknown.errors[0].pointer.as_str()),
        (422, "validation", "/x")
    );
}

#[tokio::test]
async fn a_refusal_leaves_nothing_but_itself() {
    let f = start(Env::default()).await;
    for _ in 0..2 {
        let refusal = refused(
            f.callee
                .post("/v1/notes")
                .key("k")
                .json(&json!({"text": "refused"}))
                .send::<Value>()
                .await,
        );
        assert_eq!(refusal.code, "out-of-stock");
    }
    assert_eq!((f.runs.load(Ordering::Relaxed), notes(&f).await), (1, 0));
    // A failure of ours is not an answer to keep: the same key runs again.
    for _ in 0..2 {
        let outcome = f
            .callee
            .post("/v1/notes")
            .key("f")
            .json(&json!({"text": "forbidden"}))
            .send::<Value>()
            .await;
        assert!(matches!(outcome, Outcome::NoAnswer(_)));
    }
    assert_eq!(f.runs.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn the_outbox_wakes_the_one_who_waits() {
    let f = start(Env::default()).await;
    let empty: Value = f.callee.get("/_archipel/outbox?after=0").send().await.ok().unwrap();
    assert_eq!(empty, json!({"events": [], "last_seq": 0}));

    let waiting = f
        .callee
        .get("/_archipel/outbox?after=0&wait_ms=20000")
        .timeout(Duration::from_secs(20))
        .send::<Value>();
    let waiting = tokio::spawn(waiting);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let sent = f
        .callee
        .post("/v1/notes")
        .key("k")
        .header("traceparent", trace)
        .json(&json!({"text": "a"}));
    sent.send::<Value>().await.ok().unwrap();
    let page = waiting.await.unwrap().ok().unwrap();
    let (row, event) = (&page["events"][0], &page["events"][0]["event"]);
    assert_eq!(
        (&row["seq"], &row["topic"], &page["last_seq"]),
        (&json!(1), &json!("note.added"), &json!(1))
    );
    assert_eq!(event["type"], "store.note.added.v1");
    assert_eq!(event["source"], "/store/test");
    assert_eq!(
        (&event["subject"], &event["correlationid"], &event["partitionkey"]),
        (&json!("subject-1"), &json!("subject-1"), &json!("subject-1"))
    );
    assert_eq!(event["traceparent"], trace);
    assert_eq!(event["data"], json!({"text": "a"}));

    let after: Value =
        f.callee.get("/_archipel/outbox?after=1&wait_ms=10").send().await.ok().unwrap();
    assert_eq!(after, json!({"events": [], "last_seq": 1}));
}

#[tokio::test]
async fn an_event_has_its_effect_once() {
    let f = start(Env::default()).await;
    let send = |id: &str, kind: &str| {
        let event = json!({"specversion": "1.0", "id": id, "source": "/store/x", "type": kind, "subject": "s", "data": {}, "later": 1});
        f.callee.post("/_archipel/events").json(&event).send::<Value>()
    };
    for _ in 0..3 {
        assert!(
            matches!(send("e1", "store.note.sent.v1").await, Outcome::Ok(a) if a.status == 204)
        );
    }
    assert_eq!(notes(&f).await, 1);
    assert!(
        matches!(send("e2", "store.note.early.v1").await, Outcome::NoAnswer(n) if n.why.contains("409"))
    );
    assert_eq!(refused(send("e3", "store.other.v1").await).status, 422);
    assert_eq!(notes(&f).await, 1, "neither left anything");
    let inbox = f.db.read(|c| {
        Ok(c.query_row("SELECT group_concat(id || topic) FROM inbox", [], |r| {
            r.get::<_, String>(0)
        })?)
    });
    assert_eq!(inbox.await.unwrap(), "e1note.sent");
}

#[tokio::test]
async fn errors_are_problems_whatever_happens() {
    let f = start(Env::default()).await;
    assert_eq!(refused(f.callee.get("/nowhere").send::<Value>().await).code, "not-found");
    assert_eq!(refused(f.callee.delete("/v1/notes").send::<Value>().await).status, 405);
    for path in ["/panic", "/panic-in-write"] {
        let outcome = f.callee.get(path).send::<Value>().await;
        assert!(
            matches!(outcome, Outcome::NoAnswer(ref n) if n.why.contains("500") && !n.why.contains("on purpose")),
            "{outcome:?}"
        );
    }
    assert_eq!(notes(&f).await, 0, "the writer survived");
    let large = json!({"text": "x".repeat(300_000)});
    assert_eq!(
        refused(f.callee.post("/v1/notes").key("k").json(&large).send::<Value>().await).status,
        413
    );
}

#[tokio::test]
async fn the_platform_shows_its_token_and_people_theirs() {
    let f = start(Env::of([("APP_API_TOKEN", "secret")])).await;
    assert_eq!(refused(f.callee.get("/_archipel/info").send::<Value>().await).status, 401);
    assert_eq!(
        refused(
            f.callee
                .get("/_archipel/outbox")
                .header("dapr-api-token", "secreT")
                .send::<Value>()
                .await
        )
        .status,
        401
    );
    let info: Value = f
        .callee
        .get("/_archipel/info")
        .header("dapr-api-token", "secret")
        .send()
        .await
        .ok()
        .unwrap();
    assert_eq!(info, json!({"name": "test", "version": "0.0.0", "schema_version": 1}));
    assert!(f.callee.get("/healthz").send::<Value>().await.ok().is_some());
    assert!(f.callee.get("/readyz").send::<Value>().await.ok().is_some());

    assert_eq!(refused(f.callee.get("/me").send::<Value>().await).status, 401);
    let claims =
        Claims::new(CustomerId::new(), "guest", Clock::default().now(), Duration::from_secs(60));
    let token = f.signer.sign(&claims).unwrap();
    let response = f.callee.get("/me").bearer(&token).stream().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn keys_outlive_the_service_that_published_them() {
    let (signer, dir) = (Signer::from_text("k"), tempfile::tempdir().unwrap());
    let jwks = signer.jwks();
    let routes =
        Router::new().route("/.well-known/jwks.json", get(move || async move { axum::Json(jwks) }));
    let running = Service::new("customers", "0", Env::default().with("PORT", 0))
        .routes(routes)
        .start()
        .await
        .unwrap();
    let callee = Callee::new("customers", &running.url()).unwrap();
    let file = dir.path().join("jwks.json");
    let token = signer
        .sign(&Claims::new(
            CustomerId::new(),
            "member",
            Clock::default().now(),
            Duration::from_secs(60),
        ))
        .unwrap();

    let dead = Callee::new("customers", "http://127.0.0.1:1").unwrap();
    let problem = Verifier::new(dead.clone(), Some(file.clone())).verify(&token).await.unwrap_err();
    assert_eq!((problem.status(), problem.code()), (503, "dependency-unavailable"));

    let verifier = Verifier::new(callee, Some(file.clone()));
    verifier.verify(&token).await.unwrap();
    assert!(running.shut_down().await);
    verifier.verify(&token).await.unwrap();
    Verifier::new(dead, Some(file))
        .verify(&token)
        .await
        .expect("the keys were kept for the next start");
}

#[tokio::test]
async fn one_bad_change_does_not_take_its_neighbours_along() {
    let f = start(Env::default()).await;
    // All are queued before the first is committed, so that they share transactions.
    let writes = (0..50).map(|i| {
        f.db.write(move |tx| {
            let text = if i % 5 == 0 { "forbidden".to_owned() } else { format!("note {i}") };
            tx.execute("INSERT INTO note(text) VALUES(?)", [text])?;
            Ok(())
        })
    });
    let outcomes = futures_util::future::join_all(writes).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 40);
    assert_eq!(notes(&f).await, 40);
}

#[tokio::test]
async fn a_full_disk_is_507_and_heals() {
    let f = start(Env::default()).await;
    let limit = |pages: u32| {
        f.db.write(move |tx| {
            let _: i64 =
                tx.query_row(&format!("PRAGMA max_page_count={pages}"), [], |r| r.get(0))?;
            Ok(())
        })
    };
    limit(1).await.unwrap();
    let fill = || {
        f.db.write(|tx| {
            tx.execute("INSERT INTO note(text) VALUES(hex(zeroblob(100000)))", [])?;
            Ok(())
        })
    };
    assert_eq!(fill().await.unwrap_err().status(), 507);
    assert!(
        matches!(f.callee.get("/readyz").send::<Value>().await, Outcome::NoAnswer(n) if n.why.contains("507"))
    );
    assert_eq!(notes(&f).await, 0, "reading goes on");
    limit(1_000_000).await.unwrap();
    fill().await.unwrap();
    assert!(f.callee.get("/readyz").send::<Value>().await.ok().is_some());
}

#[tokio::test]
async fn a_file_held_by_another_process_is_503_and_reading_goes_on() {
    let f = start(Env::default()).await;
    let other = store_kit::rusqlite::Connection::open(f.dir.path().join("test.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = || {
        f.db.write(|tx| {
            tx.execute("INSERT INTO note(text) VALUES('a')", [])?;
            Ok(())
        })
    };
    let (problem, read) = tokio::join!(write(), async { notes(&f).await });
    let problem = problem.unwrap_err();
    assert_eq!(
        (problem.status(), problem.code(), problem.is_retryable()),
        (503, "overloaded", true)
    );
    assert_eq!(read, 0);
    other.execute_batch("ROLLBACK").unwrap();
    write().await.unwrap();
    assert_eq!(notes(&f).await, 1);
}

#[tokio::test]
async fn more_than_can_be_written_is_refused_at_once_and_nothing_is_lost() {
    let f = start(Env::default()).await;
    let (held, release) = std::sync::mpsc::channel::<()>();
    let stuck = f.db.write(move |_| {
        release.recv().unwrap();
        Ok(())
    });
    let writes = (0..3000).map(|i| {
        f.db.write(move |tx| {
            tx.execute("INSERT INTO note(text) VALUES(?)", [i])?;
            Ok(())
        })
    });
    let mut all =
        Box::pin(futures_util::future::join(stuck, futures_util::future::join_all(writes)));
    // Each is asked once: it is queued, or refused.
    assert!(futures_util::FutureExt::now_or_never(&mut all).is_none());
    held.send(()).unwrap();
    let (_, outcomes) = all.await;
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(refused.into_iter().all(|problem| problem.code() == "overloaded"));
    assert!((500..3000).contains(&taken), "{taken}");
    assert_eq!(notes(&f).await, taken as i64, "what was taken is there");
}

#[tokio::test]
async fn stopping_answers_what_was_begun() {
    let f = start(Env::default()).await;
    let waiting = f
        .callee
        .get("/_archipel/outbox?after=0&wait_ms=30000")
        .timeout(Duration::from_secs(20))
        .send::<Value>();
    let waiting = tokio::spawn(waiting);
    // The long poll is in progress once another request on a later connection was answered.
    notes(&f).await;
    let started = Instant::now();
    assert!(f.running.shut_down().await);
    let answer = waiting.await.unwrap();
    assert!(
        matches!(answer, Outcome::Ok(_)) || started.elapsed() < Duration::from_secs(1),
        "{answer:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    drop(f.dir);
}
