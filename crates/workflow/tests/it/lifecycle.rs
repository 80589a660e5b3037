//! From the creation of an instance to its purge.

use std::sync::Arc;
use std::time::Duration;

use archipel_storage::KvExt as _;
use archipel_storage::memory::MemoryKv;
use archipel_testkit::eventually;
use archipel_workflow::{Filter, Key, Rerun, Reuse, WorkflowError};
use dapr_durabletask_proto::OrchestrationStatus as Status;

use crate::fake::{
    APP, Seen, WITHIN, child, complete, echo, ended, engine, engine_on, key, kinds, named, reaches,
    stages, start, task, timer, to, work,
};

fn three_steps(seen: &Seen) -> Vec<dapr_durabletask_proto::WorkflowAction> {
    stages(seen, &[vec![task(0, "a")], vec![task(1, "b")], vec![task(2, "c")]], "done")
}

#[tokio::test]
async fn three_activities_are_twelve_events() {
    let engine = engine().await;
    let _worker = work(&engine, APP, three_steps, echo);
    let key = start(&engine, "steps", "one").await;
    let state = ended(&engine, &key).await;
    assert_eq!(state.workflow_status(), Status::Completed);
    assert_eq!(state.output.as_deref(), Some("done"));
    assert_eq!(state.input.as_deref(), Some("in one"));
    assert!(state.completed_timestamp.is_some() && state.started_at.is_some());
    let history = engine.history(&key).await.expect("is there");
    let step = ["WorkflowStarted", "TaskCompleted", "TaskScheduled"];
    let mut expected = vec!["WorkflowStarted", "ExecutionStarted", "TaskScheduled"];
    expected.extend(step.iter().chain(&step));
    expected.extend(["WorkflowStarted", "TaskCompleted", "ExecutionCompleted"]);
    assert_eq!(kinds(&history), expected);
}

#[tokio::test]
async fn a_thousand_at_once_fan_out_and_all_end() {
    let engine = engine().await;
    let wide: Vec<_> = (0..20).map(|id| task(id, "part")).collect();
    let code = move |seen: &Seen| stages(seen, &[wide.clone(), vec![timer(20)]], "joined");
    let _workers = [work(&engine, APP, code.clone(), echo), work(&engine, APP, code, echo)];
    let mut keys = Vec::new();
    for i in 0..1_000 {
        keys.push(start(&engine, "wide", &i.to_string()).await);
    }
    for key in &keys {
        assert_eq!(ended(&engine, key).await.output.as_deref(), Some("joined"));
    }
    let (page, more) = engine.list(APP, &Filter::default(), None, 10).await.expect("lists");
    assert_eq!((page.len(), more), (10, true));
    let filter = Filter { statuses: vec![Status::Running], ..Filter::default() };
    assert_eq!(engine.list(APP, &filter, None, 10).await.expect("lists"), (vec![], false));
    assert_eq!(engine.purge_where(APP, &Filter::default(), false).await.expect("purges"), 1_000);
    assert!(engine.list(APP, &Filter::default(), None, 10).await.expect("lists").0.is_empty());
}

#[tokio::test]
async fn a_name_is_taken_while_its_instance_is_active_and_as_long_as_wanted_after() {
    let engine = engine().await;
    let key = start(&engine, "steps", "one").await;
    let again = engine.create(APP, named("steps", "one"), Reuse::Ended).await;
    assert!(matches!(again, Err(WorkflowError::AlreadyActive { .. })), "{again:?}");
    let _worker = work(&engine, APP, three_steps, echo);
    let first = ended(&engine, &key).await;
    let unique = dapr_durabletask_proto::CreateInstanceRequest {
        enforce_unique_instance_id: true,
        ..named("steps", "one")
    };
    for (request, reuse) in [(unique, Reuse::Ended), (named("steps", "one"), Reuse::Purged)] {
        let again = engine.create(APP, request, reuse).await;
        assert!(matches!(again, Err(WorkflowError::AlreadyExists { .. })), "{again:?}");
    }
    start(&engine, "steps", "one").await;
    let second = ended(&engine, &key).await;
    assert_ne!(first.execution_id, second.execution_id);
    assert_eq!(engine.history(&key).await.expect("is there").len(), 12, "of the second alone");
}

#[tokio::test]
async fn nothing_is_left_of_what_was_purged_or_replaced() {
    let kv = MemoryKv::default();
    let engine = engine_on(Arc::new(kv.clone())).await;
    let _worker = work(&engine, APP, three_steps, echo);
    for _ in 0..3 {
        let key = start(&engine, "steps", "again").await;
        ended(&engine, &key).await;
    }
    assert_eq!(engine.purge(&key("again"), false, false).await.expect("purges"), 1);
    let again = engine.purge(&key("again"), false, false).await;
    assert!(matches!(again, Err(WorkflowError::NotFound { .. })), "{again:?}");
    assert!(engine.get(&key("again"), true).await.expect("reads").is_none());
    eventually(WITHIN, || async {
        let all = kv.list_all("").await.expect("lists");
        let left: Vec<_> = all.into_iter().map(|(key, _)| key).collect();
        // The index of ends is cleared by retention; the counter and the layout stay.
        let stays = |key: &String| key == "meta" || key == "layout" || key.starts_with("d/");
        let left: Vec<_> = left.into_iter().filter(|key| !stays(key)).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn what_ended_long_ago_is_not_kept() {
    let kv = MemoryKv::default();
    let engine = engine_on(Arc::new(kv.clone())).await;
    let _worker = work(&engine, APP, three_steps, echo);
    for id in ["a", "b"] {
        let key = start(&engine, "steps", id).await;
        ended(&engine, &key).await;
    }
    let other = Key::new("billing", "c").expect("valid");
    let _other = work(&engine, "billing", three_steps, echo);
    engine.create("billing", named("steps", "c"), Reuse::Ended).await.expect("created");
    ended(&engine, &other).await;
    engine.keep(APP, Some(Duration::ZERO));
    eventually(WITHIN, || async {
        let all = kv.list_all("").await.expect("lists");
        let of_app = |key: &str| key.split('/').nth(1) == Some(APP);
        let left: Vec<_> = all.into_iter().map(|(key, _)| key).filter(|key| of_app(key)).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let kept = engine.history(&other).await.expect("another app keeps its own");
    assert_eq!(kept.len(), 12);
}

#[tokio::test]
async fn a_running_instance_is_purged_only_by_force() {
    let engine = engine().await;
    let key = start(&engine, "steps", "stuck").await;
    let refused = engine.purge(&key, true, false).await;
    assert!(matches!(refused, Err(WorkflowError::NotCompleted { .. })), "{refused:?}");
    assert_eq!(engine.purge(&key, true, true).await.expect("purges"), 1);
    let _worker = work(&engine, APP, three_steps, echo);
    start(&engine, "steps", "stuck").await;
    assert_eq!(ended(&engine, &key).await.workflow_status(), Status::Completed);
}

#[tokio::test]
async fn who_only_has_the_name_that_a_child_was_to_have_is_left_alone() {
    let engine = engine().await;
    let code = |seen: &Seen| match seen.name() {
        "parent" => stages(
            seen,
            &[
                vec![child(1, "leaf", "done")],
                vec![child(2, "leaf", "open")],
                vec![to("nobody", task(3, "a"))],
            ],
            "",
        ),
        "leaf" => stages(seen, &[], "leaf"),
        _ => vec![],
    };
    let open = start(&engine, "waits", "open").await;
    let _worker = work(&engine, APP, code, echo);
    reaches(&engine, &open, Status::Running).await;
    let parent = start(&engine, "parent", "one").await;
    eventually(WITHIN, || async {
        let asked = engine.details(&parent).await.expect("is there").activities.len();
        if asked == 1 { Ok(()) } else { Err(asked) }
    })
    .await;
    engine.terminate(&parent, None, true).await.expect("asked");
    ended(&engine, &parent).await;
    assert_eq!(engine.purge(&parent, true, false).await.expect("purges"), 2, "with its own child");
    assert_eq!(reaches(&engine, &open, Status::Running).await.name, "waits");
    assert!(engine.get(&open, false).await.expect("reads").is_some());
}

#[tokio::test]
async fn children_go_with_their_parent() {
    let engine = engine().await;
    let code = |seen: &Seen| match seen.name() {
        "parent" => stages(seen, &[vec![child(1, "leaf", ""), child(2, "leaf", "second")]], "both"),
        _ => stages(seen, &[], "leaf"),
    };
    let _worker = work(&engine, APP, code, echo);
    let parent = start(&engine, "parent", "p").await;
    assert_eq!(ended(&engine, &parent).await.output.as_deref(), Some("both"));
    let first = ended(&engine, &key("p:0001")).await;
    assert_eq!(first.parent_instance_id.as_deref(), Some("p"));
    assert_eq!(first.parent_app_id.as_deref(), Some(APP));
    assert_eq!(engine.purge(&parent, true, false).await.expect("purges"), 3);
    assert!(engine.get(&key("second"), false).await.expect("reads").is_none());
}

#[tokio::test]
async fn a_start_in_the_future_waits_for_it() {
    let engine = engine().await;
    let _worker = work(&engine, APP, three_steps, echo);
    let at = archipel_rt::clock::wall() + Duration::from_millis(300);
    let later = dapr_durabletask_proto::CreateInstanceRequest {
        scheduled_start_timestamp: Some(at.into()),
        ..named("steps", "later")
    };
    let key = engine.create(APP, later, Reuse::Ended).await.expect("created");
    let state = engine.get(&key, false).await.expect("reads").expect("is there");
    assert_eq!(state.workflow_status(), Status::Pending);
    let state = ended(&engine, &key).await;
    let started = state.started_at.expect("it ran");
    assert!(std::time::SystemTime::try_from(started).expect("a time") >= at);
}

#[tokio::test]
async fn what_was_stored_goes_on_after_a_restart() {
    let kv = MemoryKv::default();
    let first = engine_on(Arc::new(kv.clone())).await;
    let code = |seen: &Seen| {
        let raised = seen.raised();
        if raised.len() < 2 {
            return stages(seen, &[vec![task(0, "a"), task(1, "b")]], "")
                .into_iter()
                .filter(|a| a.id != 900)
                .collect();
        }
        vec![complete(900, Status::Completed, &raised.join(","))]
    };
    let worker = work(&first, APP, code, echo);
    let key = start(&first, "steps", "one").await;
    first.raise(&key, "e".to_owned(), Some("1".to_owned())).await.expect("raised");
    reaches(&first, &key, Status::Running).await;
    worker.abort();
    let _ = worker.await;
    assert_eq!(first.shutdown(WITHIN).await, 0);

    let second = engine_on(Arc::new(kv.reopen())).await;
    let state = second.get(&key, true).await.expect("reads").expect("is there");
    assert_eq!(state.workflow_status(), Status::Running);
    assert_eq!(state.input.as_deref(), Some("in one"));
    let _worker = work(&second, APP, code, echo);
    second.raise(&key, "e".to_owned(), Some("2".to_owned())).await.expect("raised");
    assert_eq!(ended(&second, &key).await.output.as_deref(), Some("1,2"));
}

#[tokio::test]
async fn a_rerun_begins_anew_at_a_step_and_repeats_nothing_before_it() {
    let engine = engine().await;
    let code = |seen: &Seen| match seen.name() {
        "leaf" => stages(seen, &[], "leaf"),
        _ => {
            let wide = vec![task(1, "b"), child(2, "leaf", ""), timer(3)];
            stages(seen, &[vec![task(0, "a")], wide, vec![task(4, "c")]], "done")
        }
    };
    let ran = Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = Arc::clone(&ran);
    let _worker = work(&engine, APP, code, move |request| {
        let of = request.workflow_instance.as_ref().map_or("", |i| &i.instance_id);
        let input = request.input.clone().unwrap_or_default();
        notes.lock().expect("no panic").push(format!("{of} {} {input}", request.name));
        echo(request)
    });
    let source = start(&engine, "steps", "old").await;
    let rerun = |event_id, new_id: &str| Rerun {
        event_id,
        new_id: Some(new_id.to_owned()),
        ..Rerun::default()
    };
    ended(&engine, &source).await;
    ran.lock().expect("no panic").clear();

    let input = Some(Some("other".to_owned()));
    let new = engine.rerun(&source, Rerun { input, ..rerun(1, "new") }).await.expect("begun");
    let state = ended(&engine, &new).await;
    assert_eq!(state.workflow_status(), Status::Completed);
    assert_eq!(*ran.lock().expect("no panic"), ["new b other", "new c "]);
    let state = ended(&engine, &key("new:0002")).await;
    assert_eq!(state.parent_instance_id.as_deref(), Some("new"), "its own child");
    let child = engine.rerun(&source, rerun(2, "third")).await.expect("begun");
    assert_eq!(ended(&engine, &child).await.workflow_status(), Status::Completed);

    let refused = [
        engine.rerun(&source, rerun(1, "old")).await,
        engine.rerun(&source, rerun(77, "x")).await,
        engine.rerun(&key("new:0002"), rerun(0, "x")).await,
        engine.rerun(&key("nobody"), rerun(0, "x")).await,
        engine.rerun(&source, Rerun { input: Some(None), ..rerun(3, "x") }).await,
        engine.rerun(&source, Rerun { child_id: Some("c".to_owned()), ..rerun(1, "x") }).await,
    ];
    for refused in refused {
        assert!(refused.is_err(), "{refused:?}");
    }
    assert!(engine.get(&key("x"), false).await.expect("reads").is_none());
}
