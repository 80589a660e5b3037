//! The data plane alone, for measuring: `forward 127.0.0.1:8080 127.0.0.1:9001 [more…]` passes
//! everything to the addresses by two choices. With `--record`, somebody takes the access
//! records, as in a whole Archipel; `--cache` keeps the answers that say how long they are good,
//! `--compress` encodes text. Runs until interrupted.

use std::net::SocketAddr;

use archipel_gateway::{
    Endpoint, Entrance, Gateway, Limits, Listener, PublicRoutes, Table, Upstream,
};
use archipel_model::{
    EdgePolicy, InstanceId, PathPattern, Route, RouteCache, RouteGuard, Safeguards, ServiceName,
};
use archipel_rt::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let record = args.iter().position(|a| a == "--record").map(|at| args.remove(at)).is_some();
    let edge = args.iter().position(|a| a == "--edge").map(|at| args.remove(at)).is_some();
    let mut flag = |name: &str| args.iter().position(|a| a == name).map(|at| args.remove(at));
    let (cache, compress) = (flag("--cache").is_some(), flag("--compress").is_some());
    let mut addrs = args.iter().map(|a| a.parse::<SocketAddr>());
    let listen = addrs.next().ok_or("where to listen?")??;
    let service: ServiceName = "app".parse()?;
    let endpoint = |(replica, addr): (usize, SocketAddr)| Endpoint {
        instance: InstanceId { service: service.clone(), replica: replica as u32 },
        addr,
    };
    let endpoints =
        addrs.collect::<Result<Vec<_>, _>>()?.into_iter().enumerate().map(endpoint).collect();
    let route = Route {
        host: None,
        method: None,
        path: PathPattern::new("/**")?,
        to: service.clone().into(),
        strip: None,
        timeout: None,
        connect: None,
        idle: None,
        hold: None,
        body_max: None,
        steer: Default::default(),
        safeguards: Safeguards::default(),
        guard: RouteGuard::default(),
        cache: cache.then(RouteCache::default),
        compress,
    };
    let entrance = match edge {
        true => Entrance::Edge {
            caller: "web".parse()?,
            callee: service.clone(),
            policy: EdgePolicy::default(),
        },
        false => Entrance::Public(PublicRoutes {
            routes: vec![route],
            cache_max: 64 << 20,
            ..PublicRoutes::default()
        }),
    };
    let listener = Listener { id: "bench".to_owned(), addr: listen, entrance };
    let upstream = Upstream { endpoints, ..Upstream::default() };
    let table = Table { listeners: vec![listener], services: [(service, upstream)].into() };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gateway = Gateway::on_cores(&CancellationToken::new(), Limits::default(), cores)?;
    let records = record.then(|| gateway.access(8192));
    if let Some(error) = gateway.apply(table).await.into_iter().next() {
        return Err(error.into());
    }
    let reading = async {
        let Some(mut records) = records else { return std::future::pending().await };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while records.recv_many(&mut batch).await > 0 {
            bytes += batch.drain(..).map(|access| access.bytes).sum::<u64>();
        }
        bytes
    };
    tokio::select! {
        biased;
        end = tokio::signal::ctrl_c() => end?,
        _ = reading => {}
    }
    gateway.shutdown(std::time::Duration::from_secs(1)).await;
    for series in gateway.counters().series {
        let (half, most) = (series.latency.quantile(0.5), series.latency.quantile(0.99));
        eprintln!("{} requests, p50 {half:?}, p99 {most:?}", series.requests());
    }
    Ok(())
}
