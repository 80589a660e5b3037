//! What is more than one transaction of the store takes.

use archipel_workflow::{Rerun, WorkflowError};
use dapr_durabletask_proto::OrchestrationStatus as Status;

use crate::fake::{
    APP, Seen, child, complete, echo, ended, engine, key, reaches, stages, start, task, work,
};

const LARGE: usize = 3 << 20;

#[tokio::test]
async fn a_large_farewell_reaches_all_children_and_the_engine_goes_on() {
    let engine = engine().await;
    let children: Vec<_> = (0..8).map(|id| child(id, "leaf", &format!("leaf {id}"))).collect();
    let code = move |seen: &Seen| match seen.name() {
        "parent" => stages(seen, std::slice::from_ref(&children), "both"),
        _ => vec![],
    };
    let _worker = work(&engine, APP, code, echo);
    let parent = start(&engine, "parent", "one").await;
    for id in 0..8 {
        reaches(&engine, &key(&format!("leaf {id}")), Status::Running).await;
    }
    engine.terminate(&parent, Some("x".repeat(LARGE)), true).await.expect("asked");
    for id in 0..8 {
        let child = ended(&engine, &key(&format!("leaf {id}"))).await;
        assert_eq!(child.output.map(|output| output.len()), Some(LARGE));
    }
    start(&engine, "leaf", "after").await;
}

#[tokio::test]
async fn events_that_wait_are_carried_over_however_much_they_are() {
    let engine = engine().await;
    let code = |seen: &Seen| match (seen.input().as_deref(), seen.raised().len()) {
        (Some("again"), 7) => vec![complete(1, Status::Completed, "heard them")],
        (Some("again"), _) => vec![],
        _ => vec![complete(1, Status::ContinuedAsNew, "again")],
    };
    let one = start(&engine, "steps", "one").await;
    for _ in 0..7 {
        engine.raise(&one, "e".to_owned(), Some("x".repeat(LARGE))).await.expect("raised");
    }
    let _worker = work(&engine, APP, code, echo);
    assert_eq!(ended(&engine, &one).await.output.as_deref(), Some("heard them"));
}

#[tokio::test]
async fn a_long_history_is_run_again() -> Result<(), WorkflowError> {
    let engine = engine().await;
    let steps: Vec<_> = (0..8).map(|id| vec![task(id, "large")]).collect();
    let code = move |seen: &Seen| stages(seen, &steps, "done");
    let _worker = work(&engine, APP, code, |_| "x".repeat(LARGE));
    let one = start(&engine, "steps", "one").await;
    ended(&engine, &one).await;
    let again = engine.rerun(&one, Rerun { event_id: 7, ..Rerun::default() }).await?;
    assert_eq!(ended(&engine, &again).await.output.as_deref(), Some("done"));
    Ok(())
}
