//! `tour` and `relay` by the SDK for Rust: what they do stands in ../README.md.

use std::time::Duration;

use dapr_durabletask::api::Result;
use dapr_durabletask::task::{ActivityContext, ActivityOptions, OrchestrationContext, when_all};
use dapr_durabletask::worker::TaskHubGrpcWorker;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

async fn stamp(_: ActivityContext, input: Option<String>) -> Result<Option<String>> {
    said(format!("{}>rust", heard(input)?))
}

async fn tour(context: OrchestrationContext) -> Result<Option<String>> {
    let text: String = context.input()?;
    let first = heard(context.call_activity("stamp", text).await?)?;
    let branches = (1..=3).map(|n| context.call_activity("stamp", format!("{first}{n}")));
    let stamped = when_all(branches.collect()).await?;
    let mut words = stamped.into_iter().map(heard).collect::<Result<Vec<String>>>()?;
    context.create_timer(Duration::from_millis(50)).await?;
    words.push(heard(context.wait_for_external_event("go").await?)?);
    said(words.join("|"))
}

async fn relay(context: OrchestrationContext) -> Result<Option<String>> {
    let mut text: String = context.input()?;
    for service in ["python", "java"] {
        let there = ActivityOptions::new().with_app_id(service);
        text = heard(context.call_activity_with_options("stamp", text, there).await?)?;
    }
    said(heard(context.call_activity("stamp", text).await?)?)
}

fn heard(text: Option<String>) -> Result<String> {
    Ok(serde_json::from_str(text.as_deref().unwrap_or("null"))?)
}

fn said(text: String) -> Result<Option<String>> {
    Ok(Some(serde_json::to_string(&text)?))
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut worker = TaskHubGrpcWorker::new(&std::env::var("ARCHIPEL_GRPC_URL")?);
    worker.registry_mut().add_named_orchestrator("tour", tour);
    worker.registry_mut().add_named_orchestrator("relay", relay);
    worker.registry_mut().add_named_activity("stamp", stamp);
    let (asked, mut term) = (CancellationToken::new(), signal(SignalKind::terminate())?);
    let told = asked.clone();
    tokio::spawn(async move {
        term.recv().await;
        told.cancel();
    });
    Ok(worker.start(asked).await?)
}
