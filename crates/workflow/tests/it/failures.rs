//! Workers that are lost, answers that come twice, a store that fails.

use std::sync::Arc;

use archipel_storage::memory::MemoryKv;
use archipel_workflow::{Rerun, Worker, WorkflowError};
use dapr_durabletask_proto::work_item::Request;
use dapr_durabletask_proto::{ActivityRequest, OrchestrationStatus as Status, WorkflowRequest};

use crate::fake::{
    APP, Seen, WITHIN, answer, complete, echo, ended, engine, engine_on, reaches, stages, start,
    task, turn, work,
};

async fn next_turn(worker: &mut Worker) -> (WorkflowRequest, String) {
    let item = archipel_rt::clock::timeout(WITHIN, worker.next()).await.expect("in time");
    let item = item.expect("connected");
    match item.request {
        Some(Request::WorkflowRequest(request)) => (request, item.completion_token),
        other => panic!("not a turn: {other:?}"),
    }
}

async fn next_task(worker: &mut Worker) -> (ActivityRequest, String) {
    let item = archipel_rt::clock::timeout(WITHIN, worker.next()).await.expect("in time");
    let item = item.expect("connected");
    match item.request {
        Some(Request::ActivityRequest(request)) => (request, item.completion_token),
        other => panic!("not an activity: {other:?}"),
    }
}

fn one_step(seen: &Seen) -> Vec<dapr_durabletask_proto::WorkflowAction> {
    stages(seen, &[vec![task(0, "a")]], "done")
}

#[tokio::test]
async fn the_work_of_a_lost_worker_goes_to_the_next_and_its_late_answers_count_for_nothing() {
    let engine = engine().await;
    let key = start(&engine, "steps", "one").await;
    let mut lost = engine.connect(APP, false);
    let (request, old_token) = next_turn(&mut lost).await;
    drop(lost);
    let mut worker = engine.connect(APP, false);
    let (again, token) = next_turn(&mut worker).await;
    assert_eq!(again.past_events, request.past_events);
    assert_ne!(token, old_token);
    let late = turn(request, old_token, |_| vec![complete(9, Status::Failed, "late")]);
    engine.complete_turn(APP, late).await.expect("discarded in silence");
    engine.complete_turn(APP, turn(again, token, one_step)).await.expect("taken");

    let (request, old_token) = next_task(&mut worker).await;
    drop(worker);
    let mut worker = engine.connect(APP, false);
    let (again, token) = next_task(&mut worker).await;
    let late = answer(request, old_token, Some("late".to_owned()));
    engine.complete_task(APP, late).await.expect("discarded in silence");
    let good = answer(again, token, Some("good".to_owned()));
    engine.complete_task(APP, good.clone()).await.expect("taken");
    let twice = engine.complete_task(APP, good).await;
    assert!(matches!(twice, Err(WorkflowError::NotPending { .. })), "{twice:?}");
    let (last, token) = next_turn(&mut worker).await;
    engine.complete_turn(APP, turn(last, token, one_step)).await.expect("taken");
    assert_eq!(ended(&engine, &key).await.output.as_deref(), Some("done"));
}

#[tokio::test]
async fn a_turn_that_kills_its_workers_is_parked_until_somebody_cares() {
    let engine = engine().await;
    let key = start(&engine, "steps", "poison").await;
    for _ in 0..3 {
        let mut worker = engine.connect(APP, false);
        next_turn(&mut worker).await;
    }
    reaches(&engine, &key, Status::Stalled).await;
    let _worker = work(&engine, APP, one_step, echo);
    engine.resume(&key, Some("mended".to_owned())).await.expect("told");
    assert_eq!(ended(&engine, &key).await.workflow_status(), Status::Completed);
}

#[tokio::test]
async fn what_was_resumed_after_a_restart_is_not_parked_by_the_next() {
    let kv = Arc::new(MemoryKv::default());
    let engine = engine_on(kv.clone()).await;
    let key = start(&engine, "steps", "poison").await;
    for _ in 0..3 {
        let mut worker = engine.connect(APP, false);
        next_turn(&mut worker).await;
    }
    reaches(&engine, &key, Status::Stalled).await;
    engine.shutdown(WITHIN).await;
    let engine = engine_on(kv.clone()).await;
    reaches(&engine, &key, Status::Stalled).await;
    engine.resume(&key, Some("mended".to_owned())).await.expect("told");
    engine.shutdown(WITHIN).await;
    let engine = engine_on(kv).await;
    let _worker = work(&engine, APP, one_step, echo);
    assert_eq!(ended(&engine, &key).await.workflow_status(), Status::Completed);
}

#[tokio::test]
async fn what_was_given_up_runs_again_from_a_step() {
    let engine = engine().await;
    let two = |seen: &Seen| stages(seen, &[vec![task(0, "a")], vec![task(1, "b")]], "done");
    let lost = start(&engine, "steps", "lost").await;
    let mut worker = engine.connect(APP, false);
    for _ in 0..2 {
        let (request, token) = next_turn(&mut worker).await;
        engine.complete_turn(APP, turn(request, token, two)).await.expect("taken");
        let (request, token) = next_task(&mut worker).await;
        if request.task_id == 0 {
            engine.complete_task(APP, answer(request, token, None)).await.expect("taken");
        }
    }
    for _ in 0..2 {
        worker = engine.connect(APP, false);
        next_task(&mut worker).await;
    }
    drop(worker);
    reaches(&engine, &lost, Status::Stalled).await;
    let again = engine.rerun(&lost, Rerun { event_id: 1, ..Rerun::default() }).await;
    let again = again.expect("begun");
    let _worker = work(&engine, APP, two, echo);
    let state = ended(&engine, &again).await;
    assert_eq!(state.output.as_deref(), Some("done"));
    assert_eq!(reaches(&engine, &lost, Status::Stalled).await.workflow_status(), Status::Stalled);
}

#[tokio::test]
async fn a_worker_that_keeps_histories_is_sent_only_what_is_new() {
    let engine = engine().await;
    let key = start(&engine, "steps", "one").await;
    let mut worker = engine.connect(APP, true);
    let two = |seen: &Seen| stages(seen, &[vec![task(0, "a")], vec![task(1, "b")]], "done");
    let mut whole = Vec::new();
    for expected in [None, None, Some(3)] {
        let (request, token) = next_turn(&mut worker).await;
        assert_eq!(request.cached_history.map(|cached| cached.event_count), expected);
        whole.extend(request.past_events.iter().cloned());
        assert_eq!(engine.history(&key).await.unwrap_or_default(), whole);
        let mut full = request;
        full.past_events.clone_from(&whole);
        engine.complete_turn(APP, turn(full, token, two)).await.expect("taken");
        if expected.is_none() {
            let (request, token) = next_task(&mut worker).await;
            engine.complete_task(APP, answer(request, token, None)).await.expect("taken");
        }
    }
    assert_eq!(ended(&engine, &key).await.output.as_deref(), Some("done"));
}

#[tokio::test]
async fn a_failing_store_delays_and_loses_nothing() {
    let kv = MemoryKv::default();
    let engine = engine_on(Arc::new(kv.clone())).await;
    let _worker = work(&engine, APP, one_step, echo);
    let mut keys = Vec::new();
    for i in 0..20 {
        if i % 4 == 0 {
            kv.faults().fail_next(1 + i / 4);
        }
        keys.push(start(&engine, "steps", &i.to_string()).await);
    }
    for key in &keys {
        assert_eq!(ended(&engine, key).await.workflow_status(), Status::Completed);
        assert_eq!(engine.history(key).await.expect("is there").len(), 6);
    }
}
