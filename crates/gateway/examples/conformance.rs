//! A gateway in front of one app, for suites that test protocols from outside:
//! `conformance [--grpc] [--tls DIR] LISTEN APP`; with TLS by an authority that is made in DIR.
//! Prints the address it listens on. Runs until interrupted.

use std::net::SocketAddr;
use std::path::PathBuf;

use archipel_gateway::{Endpoint, Entrance, Gateway, Listener, PublicRoutes, Table, Tls, Upstream};
use archipel_model::{
    AutoTls, InstanceId, Lead, PathPattern, Protocol, Route, RouteGuard, Safeguards, ServiceName,
    Steer,
};
use archipel_rt::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut protocol = Protocol::Http;
    let mut tls = None;
    let mut addrs: Vec<SocketAddr> = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--grpc" => protocol = Protocol::Grpc,
            "--tls" => {
                let dir = PathBuf::from(args.next().ok_or("--tls DIR")?);
                let auto = Some(AutoTls::default());
                let wanted = archipel_model::Tls { auto, ..archipel_model::Tls::default() };
                tls = Some(Tls { wanted, state: dir.clone(), authority: dir, hsts: None });
            }
            addr => addrs.push(addr.parse()?),
        }
    }
    let [listen, app] = addrs[..] else { return Err("where to listen, and the app?".into()) };
    let service: ServiceName = "app".parse()?;
    let instance = InstanceId { service: service.clone(), replica: 0 };
    let route = Route {
        host: None,
        method: None,
        path: PathPattern::new("/**")?,
        to: Lead::Service(service.clone()),
        strip: None,
        timeout: None,
        connect: None,
        idle: None,
        hold: None,
        steer: Steer::default(),
        body_max: None,
        safeguards: Safeguards::default(),
        guard: RouteGuard::default(),
        cache: None,
        compress: false,
    };
    let entrance =
        Entrance::Public(PublicRoutes { routes: vec![route], tls, ..PublicRoutes::default() });
    let listener = Listener { id: "public".to_owned(), addr: listen, entrance };
    let endpoints = vec![Endpoint { instance, addr: app }];
    let upstream = Upstream { endpoints, protocol, ..Upstream::default() };
    let table = Table { listeners: vec![listener], services: [(service, upstream)].into() };
    let gateway = Gateway::new(&CancellationToken::new());
    if let Some(error) = gateway.apply(table).await.into_iter().next() {
        return Err(error.into());
    }
    println!("{}", gateway.bound("public").ok_or("it does not listen")?);
    std::future::pending::<()>().await;
    Ok(())
}
