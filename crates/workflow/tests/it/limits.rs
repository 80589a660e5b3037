//! So many of one name at once, and no more.

use std::collections::BTreeMap;

use archipel_workflow::{Limits, WorkflowError};
use dapr_durabletask_proto::work_item::Request;
use dapr_durabletask_proto::{OrchestrationStatus as Status, WorkItem, WorkflowState};

use crate::fake::{
    APP, Seen, WITHIN, answer, ended, engine, key, reaches, stages, start, task, turn,
};

fn one(name: &str, limit: u32) -> BTreeMap<String, u32> {
    [(name.to_owned(), limit)].into()
}

async fn next(worker: &mut archipel_workflow::Worker) -> WorkItem {
    let item = archipel_rt::clock::timeout(WITHIN, worker.next()).await.expect("in time");
    item.expect("connected")
}

#[tokio::test]
async fn workflows_wait_for_one_of_their_name_to_end() {
    let engine = engine().await;
    let limits = Limits { workflows: one("steps", 1), ..Limits::default() };
    engine.limit(APP, &limits);
    let mut worker = engine.connect(APP, false);
    let first = start(&engine, "steps", "one").await;
    let item = next(&mut worker).await;
    for id in ["two", "three", "four"] {
        start(&engine, "steps", id).await;
    }
    let details = engine.details(&key("two")).await.expect("is there");
    assert_eq!((details.limit, details.summary.status), (Some(1), Status::Pending));
    // One that waits can be ended, without a place.
    engine.terminate(&key("three"), None, false).await.expect("taken");
    let mut worked = vec![item];
    while let Some(WorkItem {
        request: Some(Request::WorkflowRequest(request)),
        completion_token,
    }) = worked.pop()
    {
        let id = request.instance_id.clone();
        // Of one that is to end, the code says nothing.
        let code = |seen: &Seen| match id.as_str() {
            "three" => Vec::new(),
            _ => stages(seen, &[], "done"),
        };
        let response = turn(request, completion_token, code);
        engine.complete_turn(APP, response).await.expect("taken");
        if id == "four" {
            break;
        }
        worked.push(next(&mut worker).await);
    }
    assert_eq!(ended(&engine, &first).await.workflow_status(), Status::Completed);
    reaches(&engine, &key("three"), Status::Terminated).await;
    for id in ["two", "four"] {
        assert_eq!(ended(&engine, &key(id)).await.workflow_status(), Status::Completed);
    }
}

#[tokio::test]
async fn activities_of_one_name_wait_also_when_the_worker_is_lost() {
    let engine = engine().await;
    engine.limit(APP, &Limits { activities: one("a", 2), ..Limits::default() });
    let mut worker = engine.connect(APP, false);
    let instance = start(&engine, "steps", "one").await;
    let fan = |seen: &Seen| {
        stages(seen, &[vec![task(0, "a"), task(1, "a"), task(2, "a"), task(3, "b")]], "done")
    };
    let (mut hand, mut names) = (Vec::new(), Vec::new());
    let item = next(&mut worker).await;
    let Some(Request::WorkflowRequest(request)) = item.request else { panic!("not a turn") };
    engine.complete_turn(APP, turn(request, item.completion_token, fan)).await.expect("taken");
    for _ in 0..3 {
        let item = next(&mut worker).await;
        let Some(Request::ActivityRequest(request)) = item.request else { panic!("no activity") };
        names.push(request.name.clone());
        hand.push((request, item.completion_token));
    }
    names.sort();
    assert_eq!(names, ["a", "a", "b"]);
    let open = engine.details(&instance).await.expect("is there").activities;
    assert_eq!(open.iter().filter(|activity| activity.running).count(), 3);

    drop(worker);
    let mut worker = engine.connect(APP, false);
    let mut answered = 0;
    while answered < 4 {
        let item = next(&mut worker).await;
        match item.request {
            Some(Request::ActivityRequest(request)) => {
                answered += 1;
                let response = answer(request, item.completion_token, Some("did".to_owned()));
                engine.complete_task(APP, response).await.expect("taken");
            }
            Some(Request::WorkflowRequest(request)) => {
                let response = turn(request, item.completion_token, fan);
                engine.complete_turn(APP, response).await.expect("taken");
            }
            _ => {}
        }
    }
    let mut last = next(&mut worker).await;
    loop {
        let Some(Request::WorkflowRequest(request)) = last.request else { panic!("not a turn") };
        engine.complete_turn(APP, turn(request, last.completion_token, fan)).await.expect("taken");
        let ended = |state: Option<&WorkflowState>| {
            state.is_some_and(|state| state.workflow_status() == Status::Completed)
        };
        tokio::select! {
            item = next(&mut worker) => last = item,
            ended = engine.wait(&instance, false, ended) => {
                ended.expect("is there");
                break;
            }
        }
    }
    let late = hand.pop().expect("three");
    let late = engine.complete_task(APP, answer(late.0, late.1, None)).await;
    assert!(matches!(late, Err(WorkflowError::NotPending { .. })), "{late:?}");
}
