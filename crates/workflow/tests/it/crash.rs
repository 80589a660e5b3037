//! kill -9 at seeded moments, workers and engine together: every instance ends, every activity
//! ran, and no history says something else than before.
//!
//! The child is this same test binary, told by the environment to work. It starts instances until
//! there are enough, prints each that it was promised and each activity that it runs, and goes on
//! with what it finds. The parent kills it, looks into the file, and starts it again.
//!
//! An activity has an effect under its key: a line in a file, unless one with that key is there,
//! as a payment provider does with an idempotency key. In the end there is one for each activity.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use archipel_rt::CancellationToken;
use archipel_storage::Kv as _;
use archipel_storage::embedded::{EmbeddedKv, Options};
use archipel_testkit::{Rng, seeds};
use archipel_workflow::{Config, Engine, Filter, Key, Reuse, is_terminal};
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::{HistoryEvent, OrchestrationStatus as Status, WorkflowAction};

use crate::fake::{APP, Seen, child, complete, key, named, stages, task, timer, work};

const FILE: &str = "ARCHIPEL_TEST_CRASH_FILE";
const INSTANCES: usize = 60;
/// Each instance has one child.
const ALL: usize = 2 * INSTANCES;

/// Steps, a fan-out, a child, a timer; a child begins anew once and then works.
fn code(seen: &Seen) -> Vec<WorkflowAction> {
    if seen.name() == "leaf" {
        if seen.input().as_deref() != Some("anew") {
            return vec![complete(1, Status::ContinuedAsNew, "anew")];
        }
        return stages(seen, &[vec![task(0, "leaf")]], "leaf");
    }
    let fan = (10..14).map(|id| task(id, "part")).collect();
    let plan = [
        vec![task(0, "reserve")],
        vec![task(1, "charge"), timer(2)],
        fan,
        vec![child(20, "leaf", "")],
        vec![task(30, "ship")],
    ];
    stages(seen, &plan, "done")
}

async fn open(file: &Path) -> (Arc<EmbeddedKv>, Engine) {
    let kv = Arc::new(EmbeddedKv::open(file, Options::default()).await.expect("opens"));
    let stop = CancellationToken::new();
    let engine = Engine::open(kv.clone(), Config::default(), &stop).await;
    (kv, engine.expect("what a kill left behind can be read"))
}

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test of this file"]
async fn child_that_is_killed() {
    let file = std::env::var(FILE).expect("set by the parent");
    let (_kv, engine) = open(Path::new(&file)).await;
    let effects = Arc::new(Mutex::new(Effects::open(Path::new(&file))));
    let activity = |effects: Arc<Mutex<Effects>>| {
        move |request: &dapr_durabletask_proto::ActivityRequest| {
            let instance = request.workflow_instance.as_ref().map_or("", |i| &i.instance_id);
            effects.lock().expect("no panic").perform(instance, request.task_id);
            println!("ran\t{instance}\t{}", request.task_id);
            "ok".to_owned()
        }
    };
    let worker = || work(&engine, APP, code, activity(Arc::clone(&effects)));
    let _workers = [worker(), worker()];
    let mut starts = tokio::task::JoinSet::new();
    for i in 0..INSTANCES {
        let engine = engine.clone();
        starts.spawn(async move {
            let id = format!("i{i}");
            // The first life may have been promised it already.
            if engine.create(APP, named("order", &id), Reuse::Purged).await.is_ok() {
                println!("promised\t{id}\t0");
            }
        });
    }
    while starts.join_next().await.is_some() {}
    let deadline = archipel_rt::clock::now() + crate::fake::WITHIN;
    loop {
        let (found, _) = engine.list(APP, &Filter::default(), None, ALL + 1).await.expect("lists");
        assert!(archipel_rt::clock::now() < deadline, "some never end: {found:#?}");
        let ended = found.iter().filter(|state| is_terminal(state.workflow_status)).count();
        if ended == ALL {
            println!("all\t-\t0");
            return;
        }
        archipel_rt::clock::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Somebody who does what he is asked for once per key.
struct Effects {
    file: File,
    keys: BTreeSet<(String, i32)>,
}

impl Effects {
    fn open(store: &Path) -> Self {
        let keys = effects(store).into_keys().collect();
        let file = OpenOptions::new().create(true).append(true).open(effects_file(store));
        Self { file: file.expect("opens"), keys }
    }

    fn perform(&mut self, instance: &str, task: i32) {
        if self.keys.insert((instance.to_owned(), task)) {
            // One write: a kill leaves all of the line or nothing.
            let line = format!("{instance}\t{task}\n");
            self.file.write_all(line.as_bytes()).expect("written");
        }
    }
}

fn effects_file(store: &Path) -> PathBuf {
    store.with_extension("effects")
}

/// How often each key had its effect.
fn effects(store: &Path) -> BTreeMap<(String, i32), u32> {
    let mut found = BTreeMap::new();
    for line in std::fs::read_to_string(effects_file(store)).unwrap_or_default().lines() {
        let (instance, task) = line.split_once('\t').expect("a whole line");
        let key = (instance.to_owned(), task.parse().expect("an id"));
        *found.entry(key).or_default() += 1;
    }
    found
}

#[derive(Default)]
struct Heard {
    promised: BTreeSet<String>,
    ran: BTreeMap<(String, i32), u32>,
    all: bool,
}

/// Runs a child until it has printed so many lines, or has done everything.
fn live(file: &Path, mut lines: u64, heard: &mut Heard) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "crash::child_that_is_killed", "--ignored", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["promised", id, _] => drop(heard.promised.insert(id.to_owned())),
            ["ran", id, task] => {
                *heard.ran.entry((id.to_owned(), task.parse().expect("an id"))).or_default() += 1;
            }
            ["all", ..] => heard.all = true,
            _ => continue,
        }
        lines = lines.saturating_sub(1);
        if lines == 0 {
            // SIGKILL; what was printed before is read to the end.
            let _ = child.kill();
        }
    }
    child.wait().expect("was started");
    assert!(lines == 0 || heard.all, "it gave up by itself; see its output");
}

type Histories = BTreeMap<Key, Vec<HistoryEvent>>;

async fn histories(file: &Path) -> Histories {
    let (kv, engine) = open(file).await;
    let (states, _) = engine.list(APP, &Filter::default(), None, ALL + 1).await.expect("lists");
    let mut found = BTreeMap::new();
    for state in states {
        let key = key(&state.instance_id);
        found.insert(key.clone(), engine.history(&key).await.expect("is there"));
    }
    engine.shutdown(crate::fake::WITHIN).await;
    kv.close().await;
    found
}

/// The execution that a history is of; a new beginning has a new one.
fn execution(history: &[HistoryEvent]) -> Option<String> {
    history.iter().find_map(|event| match &event.event_type {
        Some(EventType::ExecutionStarted(start)) => start.workflow_instance.clone()?.execution_id,
        _ => None,
    })
}

fn check_grown(before: &Histories, now: &Histories) {
    for (key, old) in before {
        let new = now.get(key).unwrap_or_else(|| panic!("{key} was there and is gone"));
        if execution(old).is_some() && execution(old) == execution(new) {
            assert!(new.starts_with(old), "{key}: {old:#?}\nis not how this begins: {new:#?}");
        }
    }
}

fn check_end(now: &Histories, heard: &Heard, mut effects: BTreeMap<(String, i32), u32>) {
    assert_eq!(now.len(), ALL);
    for id in &heard.promised {
        assert!(now.contains_key(&key(id)), "{id} was promised");
    }
    for (key, history) in now {
        let seen = Seen { events: history.clone() };
        assert_eq!(seen.answered(), seen.begun(), "{key}");
        for event in history {
            if matches!(event.event_type, Some(EventType::TaskScheduled(_))) {
                let ran = heard.ran.get(&(key.id.to_string(), event.event_id));
                assert!(ran.is_some(), "{key}: activity {} never ran", event.event_id);
                let effect = effects.remove(&(key.id.to_string(), event.event_id));
                assert_eq!(effect, Some(1), "{key}: the effect of activity {}", event.event_id);
            }
        }
    }
    assert!(effects.is_empty(), "effects that no history knows of: {effects:?}");
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn killed_at_any_moment_every_instance_ends_and_no_history_diverges() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rounds = asked("ARC_CRASH_ROUNDS").unwrap_or_default();
    let count = asked("ARC_CRASH_SEEDS").unwrap_or(if rounds > 0 { rounds } else { 2 });
    let (mut kills, mut repeated) = (0_u64, 0);
    seeds(count, |seed| {
        if rounds > 0 && kills >= rounds {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("workflows.db");
        let (mut rng, mut heard, mut before) = (Rng::new(seed), Heard::default(), BTreeMap::new());
        while !heard.all {
            live(&file, 1 + rng.below(120), &mut heard);
            let now = runtime.block_on(histories(&file));
            check_grown(&before, &now);
            before = now;
            kills += u64::from(!heard.all);
        }
        check_end(&before, &heard, effects(&file));
        repeated += heard.ran.values().filter(|times| **times > 1).count();
        if rounds > 0 {
            println!("seed {seed}: {kills} kills so far, {repeated} activities ran again");
        }
    });
    println!("{kills} kills, {repeated} activities ran more than once");
    assert!(kills > 0, "nothing was ever killed");
}
