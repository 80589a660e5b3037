//! Certificates by ACME, from an authority of the test's own.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use archipel_gateway::{Entrance, Listener, Table};
use archipel_model::AutoTls;

use crate::acme_server::AcmeServer;
use crate::support::*;
use crate::tls_support::*;

const HOST: &str = "shop.example.org";

fn table(server: &AcmeServer, app: SocketAddr, dir: &std::path::Path) -> Table {
    let mut wanted = tls(vec![], dir);
    wanted.wanted.auto = Some(AutoTls {
        directory: Some(server.directory()),
        email: Some("ops@example.org".to_owned()),
        ..AutoTls::default()
    });
    let plan =
        Plan::default().service("a", &[app]).public(&[HOST], &["/** -> a"]).with_tls(&wanted);
    let mut table = plan.table();
    table.listeners.push(Listener {
        id: "http".to_owned(),
        addr: "127.0.0.1:0".parse().unwrap(),
        entrance: Entrance::Redirect { port: 443 },
    });
    table
}

async fn gateway(server: &AcmeServer, app: SocketAddr, dir: &std::path::Path) -> World {
    let world = World::with(quick());
    // It may be asked for proofs as soon as it listens.
    world.apply(table(server, app, dir)).await;
    server.looks_at(world.addr("public"), Some(world.addr("http")));
    world
}

/// Until the host can be reached by who trusts the authority.
async fn serves(world: &World, server: &AcmeServer) {
    let (addr, config) = (world.addr("public"), server.authority.client_config());
    let served = || async {
        let client = world.https(addr, config.clone(), HOST).await.map_err(|e| e.to_string())?;
        let mut client = client;
        let mut request = get("/");
        request.headers_mut().insert("host", HOST.parse().unwrap());
        let answer = client.send_request(request).await.map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(()) } else { Err(answer.status().to_string()) }
    };
    archipel_testkit::eventually(PATIENCE, served).await;
}

#[tokio::test]
async fn a_certificate_is_got_kept_and_used_again() {
    let outside = World::new();
    let server = AcmeServer::start(&outside).await;
    server.looks_at("127.0.0.1:1".parse().unwrap(), None);
    let app = outside.app(ok).await;
    let dir = tempfile::tempdir().unwrap();
    let world = gateway(&server, app.addr, dir.path()).await;
    serves(&world, &server).await;
    let (accounts, issued) = (server.accounts.load(SeqCst), server.issued.load(SeqCst));
    assert_eq!((accounts, issued), (1, 1));
    // A restart asks nobody.
    drop(world);
    let world = gateway(&server, app.addr, dir.path()).await;
    serves(&world, &server).await;
    assert_eq!((server.accounts.load(SeqCst), server.issued.load(SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_the_old_one_serves_while_that_fails() {
    let outside = World::new();
    let server = AcmeServer::start(&outside).await;
    server.looks_at("127.0.0.1:1".parse().unwrap(), None);
    let app = outside.app(ok).await;
    let dir = tempfile::tempdir().unwrap();
    // Due after four seconds.
    *server.life.lock().unwrap() = Duration::from_secs(6);
    let world = gateway(&server, app.addr, dir.path()).await;
    serves(&world, &server).await;
    let first = shown(world.addr("public"), &server.authority, HOST).await;
    server.broken.store(true, SeqCst);
    let orders = server.orders.load(SeqCst);
    eventually(|| server.orders.load(SeqCst), |n| *n >= orders + 2).await;
    assert_eq!(shown(world.addr("public"), &server.authority, HOST).await, first);
    *server.life.lock().unwrap() = Duration::from_secs(3_600);
    server.broken.store(false, SeqCst);
    eventually(|| server.issued.load(SeqCst), |n| *n >= 2).await;
    let renewed = || async {
        let now = shown(world.addr("public"), &server.authority, HOST).await;
        if now == first { Err("the old one") } else { Ok(()) }
    };
    archipel_testkit::eventually(PATIENCE, renewed).await;
    // The account was kept, and each failure made the next try later.
    assert_eq!(server.accounts.load(SeqCst), 1);
}

#[tokio::test]
async fn behind_something_that_keeps_tls_from_us_the_proof_is_given_over_http() {
    let outside = World::new();
    let server = AcmeServer::start(&outside).await;
    server.looks_at("127.0.0.1:1".parse().unwrap(), None);
    server.only_http.store(true, SeqCst);
    let app = outside.app(ok).await;
    let dir = tempfile::tempdir().unwrap();
    let world = gateway(&server, app.addr, dir.path()).await;
    serves(&world, &server).await;
    assert!(server.orders.load(SeqCst) >= 2);
}
