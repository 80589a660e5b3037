//! What lasts: instances that wait for long, that were given up, that the clock begins.

use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::KvExt as _;
use archipel_storage::memory::MemoryKv;
use archipel_testkit::eventually;
use archipel_workflow::{Config, Engine, Filter, Schedule};
use dapr_durabletask_proto::OrchestrationStatus as Status;
use prost::Message as _;

use crate::fake::{
    APP, Seen, WITHIN, echo, ended, engine_on, key, kinds, reaches, stages, start, task, work,
};

fn step_then_event(seen: &Seen) -> Vec<dapr_durabletask_proto::WorkflowAction> {
    let plan = [vec![task(0, "before")], vec![task(1, "after")]];
    match seen.answered().contains(&0) && seen.raised().is_empty() {
        true => Vec::new(),
        false => stages(seen, &plan, "done"),
    }
}

#[tokio::test]
async fn what_was_given_up_stays_so_over_a_restart_with_its_reason() {
    let kv = MemoryKv::default();
    let engine = engine_on(Arc::new(kv.clone())).await;
    let key = start(&engine, "steps", "poison").await;
    for _ in 0..3 {
        let mut worker = engine.connect(APP, false);
        worker.next().await.expect("the next turn");
    }
    reaches(&engine, &key, Status::Stalled).await;
    engine.shutdown(WITHIN).await;

    let engine = engine_on(Arc::new(kv)).await;
    let _worker = work(&engine, APP, step_then_event, echo);
    let only = Filter { statuses: vec![Status::Stalled], ..Filter::default() };
    let found = engine.find(None, &only, 10).await.expect("finds").instances;
    let why = found.first().and_then(|found| found.parked.clone()).expect("a reason in the list");
    assert!(why.contains("3 workers in a row"), "{why}");
    let details = engine.details(&key).await.expect("is there");
    assert_eq!(details.summary.parked, Some(why));
    let (listed, _) = engine.list(APP, &only, None, 10).await.expect("lists");
    assert_eq!(listed.len(), 1);

    engine.resume(&key, None).await.expect("told");
    engine.raise(&key, "go".to_owned(), None).await.expect("told");
    assert_eq!(ended(&engine, &key).await.workflow_status(), Status::Completed);
    let found = engine.find(None, &Filter::default(), 10).await.expect("finds").instances;
    assert_eq!(found[0].parked, None);
}

#[tokio::test]
async fn who_waits_for_long_gives_up_its_history_and_gets_it_back() {
    let kv = MemoryKv::default();
    let open = |kv: MemoryKv| async move {
        let config = Config { idle_max: Duration::ZERO, ..Config::default() };
        let open = Engine::open(Arc::new(kv), config, &CancellationToken::new()).await;
        open.expect("opens")
    };
    let engine = open(kv.clone()).await;
    let worker = work(&engine, APP, step_then_event, echo);
    let keys: Vec<_> = (0..50).map(|i| key(&format!("w{i}"))).collect();
    for key in &keys {
        start(&engine, "steps", &key.id).await;
    }
    for key in &keys {
        let engine = &engine;
        eventually(WITHIN, || async move {
            let seen = kinds(&engine.history(key).await.expect("is there"));
            if seen.iter().any(|kind| kind == "TaskCompleted") { Ok(()) } else { Err(seen) }
        })
        .await;
        let state = engine.get(key, true).await.expect("reads").expect("is there");
        assert_eq!(state.input, Some(format!("in {}", key.id)), "payloads are there");
        assert_eq!(state.workflow_status(), Status::Running);
    }
    for key in &keys[..25] {
        engine.raise(key, "go".to_owned(), Some("now".to_owned())).await.expect("told");
        assert_eq!(ended(&engine, key).await.output.as_deref(), Some("done"));
    }
    worker.abort();
    engine.shutdown(WITHIN).await;

    // Those that are read at start rest at once.
    let engine = open(kv).await;
    let _worker = work(&engine, APP, step_then_event, echo);
    for key in &keys[25..] {
        engine.raise(key, "go".to_owned(), None).await.expect("told");
        assert_eq!(ended(&engine, key).await.output.as_deref(), Some("done"));
    }
    for key in &keys {
        let history = engine.history(key).await.expect("is there");
        assert_eq!(history.len(), 11, "{:?}", kinds(&history));
    }
}

/// As the engine keeps up to when it has looked at a schedule.
#[derive(Clone, PartialEq, prost::Message)]
struct Mark {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    until_ms: u64,
}

#[tokio::test]
async fn each_time_of_a_schedule_is_used_at_most_once_and_a_missed_one_is_made_up_for() {
    let kv = MemoryKv::default();
    let minutely = Schedule {
        name: "tidy".to_owned(),
        workflow: "steps".to_owned(),
        cron: "* * * * *".to_owned(),
        timezone: None,
        input: Some("7".to_owned()),
    };
    for round in 0..3 {
        // A restart later, and in the worst case without knowing that it had begun.
        let mark = Mark { version: 1, until_ms: clock::wall_ms() - 90_000 };
        kv.put("s/orders/tidy", mark.encode_to_vec().into()).await.expect("written");
        let engine = engine_on(Arc::new(kv.clone())).await;
        let _worker = work(&engine, APP, |seen| stages(seen, &[vec![task(0, "a")]], "done"), echo);
        engine.schedule(APP, vec![minutely.clone()]);
        let until = eventually(WITHIN, || async {
            let entry = kv.get_mark().await;
            if entry > mark.until_ms { Ok(entry) } else { Err("not looked at yet") }
        })
        .await;
        let (found, _) = engine.list(APP, &Filter::default(), None, 10).await.expect("lists");
        let ids: Vec<_> = found.iter().map(|state| state.instance_id.clone()).collect();
        // A minute may have begun during the test.
        assert!(ids.len() == 1 || ids.len() <= 1 + round, "{ids:?}");
        assert!(ids[0].starts_with("tidy@20") && ids[0].ends_with('Z'), "{ids:?}");
        let state = ended(&engine, &key(&ids[0])).await;
        assert_eq!(state.input.as_deref(), Some("7"));
        assert!(until <= clock::wall_ms());
        engine.shutdown(WITHIN).await;
    }
}

trait Marked {
    async fn get_mark(&self) -> u64;
}

impl Marked for MemoryKv {
    async fn get_mark(&self) -> u64 {
        let entry = archipel_storage::Kv::get(self, "s/orders/tidy").await.expect("reads");
        Mark::decode(&*entry.expect("is there").value).expect("a mark").until_ms
    }
}
