//! `load archipel|restate PORT CONCURRENT SECONDS`
//!
//! So many workflows at a time, each begun when one before it has ended. Those that end within
//! the time count. Archipel's are begun and waited for with the official client; for Restate one
//! request to its ingress, over one HTTP/2 connection, does both.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use dapr_durabletask::client::TaskHubGrpcClient;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::transport::Channel;
use workflow_peers::{cpu_us, percentile};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone)]
enum Peer {
    Archipel(Channel),
    Restate(Client<HttpConnector, Full<Bytes>>, String),
}

impl Peer {
    async fn once(&self) -> anyhow::Result<String> {
        match self {
            Self::Archipel(channel) => {
                let mut client = TaskHubGrpcClient::from_channel(channel.clone());
                let id = client.schedule_new_orchestration("five", None, None, None).await?;
                let limit = Some(Duration::from_secs(300));
                let state = client.wait_for_orchestration_completion(&id, true, limit).await?;
                state.and_then(|state| state.serialized_output).context("no output")
            }
            Self::Restate(client, url) => {
                let request = hyper::Request::post(&*url).header("content-type", "application/json");
                let response = client.request(request.body(Full::from("0"))?).await?;
                let body = response.into_body().collect().await?.to_bytes();
                Ok(String::from_utf8_lossy(&body).into_owned())
            }
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [peer, port, concurrent, seconds] = arguments.as_slice() else {
        anyhow::bail!("load archipel|restate PORT CONCURRENT SECONDS");
    };
    let peer = match peer.as_str() {
        "archipel" => {
            let address = Channel::from_shared(format!("http://127.0.0.1:{port}"))?;
            Peer::Archipel(address.connect().await?)
        }
        _ => {
            let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
            Peer::Restate(client, format!("http://127.0.0.1:{port}/five/run"))
        }
    };
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let mut all = Vec::new();
    for _ in 0..concurrent.parse()? {
        let peer = peer.clone();
        all.push(tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                let result = peer.once().await?;
                ensure!(result == "5", "a workflow ended with {result}");
                if Instant::now() < end {
                    took.push(begun.elapsed().as_secs_f64() * 1e3);
                }
            }
            Ok(took)
        }));
    }
    let mut took = Vec::new();
    for one in all {
        took.extend(one.await??);
    }
    took.sort_by(f64::total_cmp);
    let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
    let cpu = serde_json::json!({ "user": cpu_us(), "system": 0 });
    println!("{}", serde_json::json!({ "done": took.len(), "p50": p50, "p99": p99, "cpu": cpu }));
    Ok(())
}
