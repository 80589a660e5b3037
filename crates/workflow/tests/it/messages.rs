//! What instances are told from outside and by each other.

use std::time::Duration;

use archipel_rt::clock;
use archipel_workflow::{Filter, Key, WorkflowError};
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::work_item::Request;
use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
use dapr_durabletask_proto::{
    CompleteWorkflowAction, OrchestrationStatus as Status, WorkflowAction,
};

use crate::fake::{
    APP, Seen, WITHIN, answer, child, complete, echo, ended, engine, key, reaches, stages, start,
    task, to, work,
};

fn wait_for(count: usize) -> impl Fn(&Seen) -> Vec<WorkflowAction> {
    move |seen| {
        let raised = seen.raised();
        match raised.len() >= count {
            true => vec![complete(900, Status::Completed, &raised.join(","))],
            false => Vec::new(),
        }
    }
}

#[tokio::test]
async fn events_that_come_before_the_first_turn_are_kept_in_order() {
    let engine = engine().await;
    let key = start(&engine, "wait", "one").await;
    for i in 0..5 {
        engine.raise(&key, "e".to_owned(), Some(i.to_string())).await.expect("raised");
    }
    let _worker = work(&engine, APP, wait_for(5), echo);
    assert_eq!(ended(&engine, &key).await.output.as_deref(), Some("0,1,2,3,4"));
    engine.raise(&key, "e".to_owned(), None).await.expect("ended instances ignore events");
}

#[tokio::test]
async fn who_is_not_there_cannot_be_told() {
    let engine = engine().await;
    let errors = [
        engine.raise(&key("nobody"), "e".to_owned(), None).await,
        engine.suspend(&key("nobody"), None).await,
        engine.resume(&key("nobody"), None).await,
        engine.terminate(&key("nobody"), None, true).await,
        engine.terminate(&key("nobody"), None, false).await,
    ];
    for error in errors {
        assert!(matches!(error, Err(WorkflowError::NotFound { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn suspended_and_resumed_shows() {
    let engine = engine().await;
    let _worker = work(&engine, APP, wait_for(1), echo);
    let key = start(&engine, "wait", "one").await;
    reaches(&engine, &key, Status::Running).await;
    engine.suspend(&key, Some("lunch".to_owned())).await.expect("suspended");
    reaches(&engine, &key, Status::Suspended).await;
    engine.resume(&key, None).await.expect("resumed");
    reaches(&engine, &key, Status::Running).await;
}

#[tokio::test]
async fn a_recursive_end_reaches_the_children_of_a_child_that_has_ended() {
    let engine = engine().await;
    let code = |seen: &Seen| match seen.name() {
        "root" => stages(seen, &[vec![child(1, "middle", "m")], vec![child(2, "wait", "w")]], "-"),
        "middle" if seen.begun().is_empty() => {
            vec![child(1, "wait", "deep"), complete(2, Status::Completed, "left it alone")]
        }
        _ => Vec::new(),
    };
    let _worker = work(&engine, APP, code, echo);
    let root = start(&engine, "root", "r").await;
    ended(&engine, &key("m")).await;
    reaches(&engine, &key("w"), Status::Running).await;
    reaches(&engine, &key("deep"), Status::Running).await;
    engine.terminate(&root, Some("enough".to_owned()), true).await.expect("told");
    for id in ["r", "w", "deep"] {
        let state = ended(&engine, &key(id)).await;
        assert_eq!(state.workflow_status(), Status::Terminated, "{id}");
        assert_eq!(state.output.as_deref(), Some("enough"), "{id}");
    }
    assert_eq!(ended(&engine, &key("m")).await.workflow_status(), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_purge_waits_for_children_that_were_told_to_end() {
    let engine = engine().await;
    let code = |seen: &Seen| match seen.name() {
        "root" => stages(seen, &[vec![to("billing", child(1, "wait", "far"))]], "-"),
        _ => Vec::new(),
    };
    let _worker = work(&engine, APP, code, echo);
    let root = start(&engine, "root", "r").await;
    let far = Key::new("billing", "far").expect("is valid");
    reaches(&engine, &far, Status::Pending).await;
    engine.terminate(&root, None, true).await.expect("told");
    ended(&engine, &root).await;
    let filter = Filter::default();
    let gone = engine.purge_where(APP, &filter, true).await.expect("purges");
    assert_eq!(gone, 0, "of many, one that is not ready is left for the next time");
    let mut purge = std::pin::pin!(engine.purge(&root, true, false));
    tokio::select! {
        gone = &mut purge => panic!("it did not wait: {gone:?}"),
        () = clock::sleep(Duration::from_secs(5)) => {}
    }
    let _late = work(&engine, "billing", code, echo);
    assert_eq!(purge.await.expect("purges"), 2, "the child ended as soon as it had a worker");
    assert!(engine.get(&far, false).await.expect("reads").is_none());
}

#[tokio::test]
async fn an_end_beats_a_new_beginning_in_the_same_turn() {
    let engine = engine().await;
    let code = |_: &Seen| vec![complete(1, Status::ContinuedAsNew, "again")];
    let key = start(&engine, "loop", "one").await;
    engine.terminate(&key, Some("stop".to_owned()), false).await.expect("told");
    let _worker = work(&engine, APP, code, echo);
    let state = ended(&engine, &key).await;
    assert_eq!(state.workflow_status(), Status::Terminated);
    assert_eq!(state.output.as_deref(), Some("stop"));
}

#[tokio::test]
async fn a_new_beginning_carries_over_what_was_not_used() {
    let engine = engine().await;
    let code = |seen: &Seen| {
        if seen.input().as_deref() == Some("second") {
            return wait_for(3)(seen);
        }
        if seen.raised().is_empty() {
            return vec![];
        }
        let unused = seen
            .events
            .iter()
            .filter(|event| matches!(event.event_type, Some(EventType::EventRaised(_))));
        let end = CompleteWorkflowAction {
            workflow_status: Status::ContinuedAsNew as i32,
            result: Some("second".to_owned()),
            carryover_events: unused.cloned().collect(),
            ..Default::default()
        };
        let kind = Some(Action::CompleteWorkflow(end));
        vec![WorkflowAction { id: 1, router: None, workflow_action_type: kind }]
    };
    let key = start(&engine, "loop", "one").await;
    for i in 0..3 {
        engine.raise(&key, "e".to_owned(), Some(i.to_string())).await.expect("raised");
    }
    let _worker = work(&engine, APP, code, echo);
    let state = ended(&engine, &key).await;
    assert_eq!(state.output.as_deref(), Some("0,1,2"));
    assert_eq!(state.input.as_deref(), Some("second"));
}

#[tokio::test]
async fn activities_and_children_run_in_other_apps() {
    let engine = engine().await;
    let code = |seen: &Seen| match seen.name() {
        "order" => {
            let far = vec![to("billing", task(0, "charge")), to("billing", child(1, "ship", "s"))];
            stages(seen, &[far, vec![task(2, "here")]], "done")
        }
        _ => stages(seen, &[vec![task(0, "pack")]], "shipped"),
    };
    let _orders = work(&engine, APP, code, |request| {
        assert_eq!(request.name, "here");
        echo(request)
    });
    let key = start(&engine, "order", "o").await;
    reaches(&engine, &key, Status::Running).await;
    let _billing = work(&engine, "billing", code, |request| {
        assert_ne!(request.name, "here");
        echo(request)
    });
    assert_eq!(ended(&engine, &key).await.workflow_status(), Status::Completed);
    let shipped = archipel_workflow::Key::new("billing", "s").expect("valid");
    assert_eq!(ended(&engine, &shipped).await.parent_app_id.as_deref(), Some(APP));
}

/// The JavaScript SDK answers so: the activity then was one of nobody, and waited for ever.
#[tokio::test]
async fn an_answer_without_a_token_finds_the_instance_of_another_app() {
    let engine = engine().await;
    let code = |seen: &Seen| stages(seen, &[vec![to("billing", task(0, "charge"))]], "done");
    let orders = work(&engine, APP, code, echo);
    let key = start(&engine, "steps", "one").await;
    let mut billing = engine.connect("billing", false);
    let item = archipel_rt::clock::timeout(WITHIN, billing.next()).await.expect("in time");
    let Some(Request::ActivityRequest(request)) = item.expect("connected").request else {
        panic!("no activity")
    };
    let response = answer(request, String::new(), Some("did".to_owned()));
    engine.complete_task("billing", response).await.expect("taken");
    assert_eq!(ended(&engine, &key).await.output.as_deref(), Some("done"));
    orders.abort();
}
