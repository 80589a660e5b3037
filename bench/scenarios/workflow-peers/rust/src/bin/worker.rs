//! `worker archipel|restate PORT`: the workflow of five steps.

use dapr_durabletask::task::{ActivityContext, OrchestrationContext};
use dapr_durabletask::worker::{ActivityResult, OrchestratorResult, TaskHubGrpcWorker};
use restate_sdk::prelude::*;
use tokio_util::sync::CancellationToken;
use workflow_peers::{STEPS, answer_reports, step};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

async fn dapr_five(context: OrchestrationContext) -> OrchestratorResult {
    let mut value = None;
    for number in 0..STEPS {
        value = context.call_activity("step", number).await?;
    }
    Ok(value)
}

async fn dapr_step(context: ActivityContext, number: Option<String>) -> ActivityResult {
    let number = number.unwrap_or_default().parse().unwrap_or_default();
    Ok(Some(step(context.orchestration_id(), number).to_string()))
}

struct Five;

#[service(name = "five")]
impl Five {
    #[handler]
    async fn run(&self, context: Context<'_>, _input: Json<u32>) -> Result<Json<u32>, TerminalError> {
        let id = context.invocation_id().to_owned();
        let mut value = 0;
        for number in 0..STEPS {
            let id = id.clone();
            let done = context.run(move || async move { Ok(step(&id, number)) }).name("step");
            value = done.await?;
        }
        Ok(Json(value))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (peer, port) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    match peer.as_str() {
        "archipel" => {
            let mut worker = TaskHubGrpcWorker::new(&format!("http://127.0.0.1:{port}"));
            worker.registry_mut().add_named_orchestrator("five", dapr_five);
            worker.registry_mut().add_named_activity("step", dapr_step);
            tokio::spawn(async move { worker.start(CancellationToken::new()).await });
        }
        "restate" => {
            let server = HttpServer::new(Endpoint::builder().bind(Five).build());
            let address = format!("127.0.0.1:{port}").parse()?;
            tokio::spawn(async move { server.listen_and_serve(address).await });
        }
        _ => anyhow::bail!("worker archipel|restate PORT"),
    }
    tokio::task::spawn_blocking(answer_reports).await?;
    Ok(())
}
