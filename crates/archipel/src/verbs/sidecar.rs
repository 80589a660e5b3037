//! `archipel sidecar`: workflows for one app, without an application around it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use archipel_api::{Conduct, TaskHub, TaskHubServer};
use archipel_rt::CancellationToken;
use archipel_storage::Kv;
use archipel_storage::embedded::{EmbeddedKv, Options};
use archipel_storage::memory::MemoryKv;
use archipel_workflow::Sharing;
use archipel_workflow::{Config, Engine};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Sidecar;
use crate::exit::{self, Failure};
use crate::shared_store;

const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(sidecar: &Sidecar) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(sidecar))
}

async fn serve(sidecar: &Sidecar) -> Result<u8, Failure> {
    let stop = CancellationToken::new();
    // Heard from the first moment on.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (kv, sharing) = open(sidecar).await?;
    let config = Config { sharing, ..Config::default() };
    let engine = Engine::open(Arc::clone(&kv), config, &stop).await;
    let engine = engine.map_err(|error| Failure::unexpected(&error))?;
    let conduct = if sidecar.full { Conduct::Full } else { Conduct::Reference };
    let hub = TaskHub::new(engine.clone(), &sidecar.app_id, conduct);
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let server = TaskHubServer::open(hub, address, sidecar.port, &stop).await.map_err(|error| {
        let text = format!("could not listen on port {}: {error}", sidecar.port);
        Failure::new(exit::UNEXPECTED, text).help("choose another with --port; 0 takes a free one")
    })?;
    println!("workflows of `{}` on {}", sidecar.app_id, server.addr);
    tokio::select! {
        biased;
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    server.shutdown(GRACE).await;
    engine.shutdown(GRACE).await;
    kv.close().await;
    Ok(0)
}

async fn open(sidecar: &Sidecar) -> Result<(Arc<dyn Kv>, Option<Sharing>), Failure> {
    let url = std::env::var(shared_store::VARIABLE).ok().filter(|url| !url.is_empty());
    let Some(file) = &sidecar.store else {
        let Some(url) = url else { return Ok((Arc::new(MemoryKv::default()), None)) };
        let from = format!("the environment variable {}", shared_store::VARIABLE);
        let kv = shared_store::open(&url, &sidecar.application, &from).await?;
        return Ok((kv, Some(shared_store::sharing(sidecar.lease)?)));
    };
    if file.to_string_lossy().starts_with("postgres") && file.to_string_lossy().contains("://") {
        let text = "--store is a file; the URL of a database would show in every list of processes";
        let help = format!("put it into the environment: {}=postgres://…", shared_store::VARIABLE);
        return Err(Failure::new(exit::USAGE, text).help(help));
    }
    if url.is_some() {
        let text = format!("--store and {} are both given", shared_store::VARIABLE);
        return Err(Failure::new(exit::USAGE, text).help("leave one of them out"));
    }
    let kv = EmbeddedKv::open(file, Options::default()).await;
    Ok((Arc::new(kv.map_err(|error| Failure::unexpected(&error))?), None))
}
