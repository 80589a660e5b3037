//! TLS as clients and apps see it.

use std::sync::Arc;
use std::time::Duration;

use archipel_gateway::{Entrance, Limits, Listener, Upstream};
use archipel_model::{AutoTls, ClientCa};
use archipel_rt::clock;
use http::{Request, Version};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;
use crate::tls_support::*;

const ROUTES: &[&str] = &["/** -> a"];

#[tokio::test]
async fn each_host_shows_its_own_certificate_and_both_protocols_work() {
    let (world, authority) = (World::new(), Authority::new());
    let app = world.app(ok).await;
    let files = vec![authority.files_for("shop.example.org"), authority.files_for("*.dev.test")];
    let mut wanted = tls(files, authority.dir.path());
    wanted.hsts = Some(Duration::from_secs(3_600));
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    world.apply(plan.table()).await;
    let addr = world.addr("public");
    for name in ["shop.example.org", "a.dev.test"] {
        let mut http1 = world.https(addr, authority.client_config(), name).await.unwrap();
        let answer = http1.send_request(get("/")).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_11);
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=3600");
        assert_eq!(text(answer).await, "ok");
        assert_eq!(app.last().headers["x-forwarded-proto"], "https");
        let mut http2 = world.https2(addr, authority.client_config(), name).await;
        let request = Request::get(format!("https://{name}/")).body(Default::default()).unwrap();
        let answer = http2.send_request(request).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=3600");
    }
    // A star is one label, and a stranger gets the first certificate, which it will not accept.
    for stranger in ["a.b.dev.test", "other.example.org"] {
        let refused = world.https(addr, authority.client_config(), stranger).await;
        assert!(refused.is_err(), "{stranger}");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_its_session() {
    let (world, authority) = (World::new(), Authority::new());
    let app = world.app(ok).await;
    let wanted = tls(vec![authority.files_for("shop.test")], authority.dir.path());
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    world.apply(plan.table()).await;
    let config = authority.client_config();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream =
            connect(world.addr("public"), config.clone(), "shop.test", &[]).await.unwrap();
        let request = "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
}

#[tokio::test]
async fn the_cipher_is_the_cheapest_for_the_client_s_machine() {
    use rustls::CipherSuite as S;
    let (world, authority) = (World::new(), Authority::new());
    let app = world.app(ok).await;
    let wanted = tls(vec![authority.files_for("shop.test")], authority.dir.path());
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    world.apply(plan.table()).await;
    // What a client offers, in its order, and what is chosen.
    for (offers, chosen) in [
        (&[S::TLS13_AES_256_GCM_SHA384, S::TLS13_AES_128_GCM_SHA256][..], 1),
        (&[S::TLS13_CHACHA20_POLY1305_SHA256, S::TLS13_AES_128_GCM_SHA256], 0),
        (&[S::TLS13_AES_256_GCM_SHA384, S::TLS13_CHACHA20_POLY1305_SHA256], 0),
        (&[S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384], 0),
    ] {
        let mut provider = rustls::crypto::ring::default_provider();
        let all = std::mem::take(&mut provider.cipher_suites);
        let of = |offer: &S| *all.iter().find(|suite| suite.suite() == *offer).unwrap();
        provider.cipher_suites = offers.iter().map(of).collect();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions();
        // Offers of one version alone allow that one only.
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let stream = connect(world.addr("public"), config, "shop.test", &[]).await.unwrap();
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, offers[chosen], "{offers:?}");
    }
}

#[tokio::test]
async fn new_files_are_used_without_dropping_a_connection() {
    let (world, authority) = (World::with(quick()), Authority::new());
    let app = world.app(ok).await;
    let files = authority.files_for("shop.test");
    let wanted = tls(vec![files.clone()], authority.dir.path());
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    world.apply(plan.table()).await;
    let addr = world.addr("public");
    let mut open = world.https(addr, authority.client_config(), "shop.test").await.unwrap();
    assert_eq!(text(open.send_request(get("/")).await.unwrap()).await, "ok");
    let before = shown(addr, &authority, "shop.test").await;
    // Half of a pair, as it is for a moment while somebody copies: the old one stays in use.
    let (cert, key) = authority.pem_for("shop.test");
    std::fs::write(&files.cert, &cert).unwrap();
    clock::sleep(Duration::from_millis(100)).await;
    assert_eq!(shown(addr, &authority, "shop.test").await, before);
    std::fs::write(&files.key, key).unwrap();
    let expected = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let now = || async {
        let seen = shown(addr, &authority, "shop.test").await;
        if seen == expected.as_ref() { Ok(()) } else { Err("the old one") }
    };
    archipel_testkit::eventually(PATIENCE, now).await;
    assert_eq!(text(open.send_request(get("/")).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn files_that_cannot_be_used_say_why() {
    let (world, authority) = (World::new(), Authority::new());
    let good = authority.files_for("a.test");
    let other = authority.files_for("b.test");
    let fault = async |cert: &std::path::Path, key: &std::path::Path| {
        let files = archipel_model::CertificateFiles { cert: cert.into(), key: key.into() };
        let wanted = tls(vec![files], authority.dir.path());
        let plan = Plan::default().public(&[], &[]).with_tls(&wanted);
        let errors = world.gateway.apply(plan.table()).await;
        errors.into_iter().next().map(|error| error.to_string()).unwrap_or_default()
    };
    let missing = authority.dir.path().join("nowhere.pem");
    assert!(fault(&missing, &good.key).await.contains("nowhere.pem"));
    assert!(fault(&good.key, &good.key).await.contains("holds no certificate"));
    assert!(fault(&good.cert, &good.cert).await.contains("holds no private key"));
    assert!(fault(&good.cert, &other.key).await.contains("does not belong to"));
    assert_eq!(fault(&good.cert, &good.key).await, "");
}

#[tokio::test]
async fn clients_show_who_they_are_and_cannot_make_it_up() {
    let (world, authority) = (World::new(), Authority::new());
    let app = world.app(ok).await;
    for required in [true, false] {
        let mut wanted = tls(vec![authority.files_for("shop.test")], authority.dir.path());
        wanted.wanted.client_ca = Some(ClientCa { file: authority.file(), required });
        let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
        world.apply(plan.table()).await;
        let addr = world.addr("public");
        let forged = || {
            let mut request = get("/");
            let claim = "Subject=\"CN=root\"".parse().unwrap();
            request.headers_mut().insert("x-forwarded-client-cert", claim);
            request
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der.clone()).unwrap();
        let (chain, key) = authority.client("cart");
        let config = builder()
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain, key)
            .unwrap();
        let mut known = world.https(addr, config, "shop.test").await.unwrap();
        assert_eq!(known.send_request(forged()).await.unwrap().status(), 200);
        let header = app.last().headers["x-forwarded-client-cert"].to_str().unwrap().to_owned();
        assert!(header.starts_with("Hash="), "{header}");
        assert!(header.ends_with(";Subject=\"CN=cart\";URI=spiffe://shop/cart"), "{header}");
        // Without a certificate, and with one of another authority.
        let nobody = world.https(addr, authority.client_config(), "shop.test").await;
        let asked = async |mut sender: hyper::client::conn::http1::SendRequest<_>| {
            sender.send_request(forged()).await.map(|answer| answer.status().as_u16())
        };
        let answer = asked(nobody.unwrap()).await;
        if required {
            assert!(answer.is_err(), "{answer:?}");
        } else {
            assert_eq!(answer.unwrap(), 200);
            assert!(!app.last().headers.contains_key("x-forwarded-client-cert"));
        }
        let (chain, key) = Authority::new().client("root");
        let config =
            builder().with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        let stranger = world.https(addr, config, "shop.test").await;
        assert!(stranger.is_err() || asked(stranger.unwrap()).await.is_err());
    }
}

#[tokio::test]
async fn plain_http_is_sent_on_to_tls() {
    let (world, authority) = (World::new(), Authority::new());
    let app = world.app(ok).await;
    let wanted = tls(vec![authority.files_for("shop.test")], authority.dir.path());
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    let mut table = plan.table();
    table.listeners.push(Listener {
        id: "http".to_owned(),
        addr: "127.0.0.1:0".parse().unwrap(),
        entrance: Entrance::Redirect { port: 443 },
    });
    world.apply(table).await;
    let own = world.addr("public");
    // On the port for TLS too: somebody typed the address without `https`.
    for (addr, port) in [(world.addr("http"), String::new()), (own, format!(":{}", own.port()))] {
        let mut request = get("/cart?item=1");
        request.headers_mut().insert("host", "Shop.test:80".parse().unwrap());
        let answer = world.send(addr, request).await;
        assert_eq!(answer.status(), 308);
        assert_eq!(answer.headers()["location"], format!("https://shop.test{port}/cart?item=1"));
        let evil = Request::get("/").header("host", "a.test\\@evil.test").body(Default::default());
        assert_eq!(world.send(addr, evil.unwrap()).await.status(), 400);
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn silent_clients_keep_nobody_from_a_handshake() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(300),
        handshakes_max: 4,
        connections_max: 8,
        ..Limits::default()
    };
    let (world, authority) = (World::with(limits), Authority::new());
    let app = world.app(ok).await;
    let wanted = tls(vec![authority.files_for("shop.test")], authority.dir.path());
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    world.apply(plan.table()).await;
    let addr = world.addr("public");
    // Twice as many as there is room for; the rest is dropped at once.
    let mut silent = Vec::new();
    for first in [&b""[..], &[0x16][..]].iter().cycle().take(16) {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let _ = stream.write_all(first).await;
        silent.push(stream);
    }
    let config = authority.client_config();
    let served = || async {
        let mut client =
            world.https(addr, config.clone(), "shop.test").await.map_err(|e| e.to_string())?;
        client.send_request(get("/")).await.map(drop).map_err(|error| error.to_string())
    };
    archipel_testkit::eventually(PATIENCE, served).await;
    for stream in &mut silent {
        let read = clock::timeout(PATIENCE, stream.read(&mut [0])).await.expect("it is dropped");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn names_of_this_machine_are_proved_by_an_authority_of_our_own() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let app = world.app(ok).await;
    let mut wanted = tls(vec![], dir.path());
    wanted.wanted.auto = Some(AutoTls::default());
    let hosts = ["shop.localhost", "*.dev.test"];
    let plan = Plan::default()
        .service("a", &[app.addr])
        .public(&hosts, &["shop.localhost/** -> a"])
        .with_tls(&wanted);
    world.apply(plan.clone_table()).await;
    let addr = world.addr("public");
    let pem = std::fs::read(dir.path().join("local/authority.crt")).unwrap();
    let root = CertificateDer::from_pem_slice(&pem).unwrap();
    for name in ["shop.localhost", "api.dev.test", "localhost", "127.0.0.1", "::1"] {
        let client = world.https(addr, trusting(&root), name).await;
        assert!(client.is_ok(), "{name}: {:?}", client.err());
    }
    for name in ["other.localhost", "shop.example.org"] {
        assert!(world.https(addr, trusting(&root), name).await.is_err(), "{name}");
    }
    // It is kept: another gateway of this user shows what the first one's clients trust.
    let second = World::new();
    second.apply(plan.table()).await;
    let client = second.https(second.addr("public"), trusting(&root), "shop.localhost").await;
    let mut request = get("/");
    request.headers_mut().insert("host", "shop.localhost".parse().unwrap());
    assert_eq!(text(client.unwrap().send_request(request).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn foreign_systems_are_spoken_to_over_tls_and_must_be_who_they_say() {
    let (world, authority) = (World::new(), Authority::new());
    let app = world.app(echo).await;
    // A gateway plays the foreign system.
    let foreign = World::new();
    let wanted = tls(vec![authority.files_for("localhost")], authority.dir.path());
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    foreign.apply(plan.table()).await;
    let port = foreign.addr("public").port();
    let external = |host: &str, ca| Upstream {
        external: Some(format!("https://{host}:{port}/v1")),
        external_ca: Some(ca),
        ..Upstream::default()
    };
    let stranger = Authority::new();
    let plan = Plan::default()
        .upstream("psp", external("localhost", authority.file()))
        .upstream("misnamed", external("127.0.0.1", authority.file()))
        .upstream("unvouched", external("localhost", stranger.file()))
        .edge("psp")
        .edge("misnamed")
        .edge("unvouched");
    world.apply(plan.table()).await;
    // On two cores, which leave each other their connections: a handshake costs more than a request.
    let mut clients =
        [world.client(world.addr("psp")).await, world.client(world.addr("psp")).await];
    for turn in 0..6 {
        let answer = clients[turn % 2].send_request(post("/charge", "12 EUR")).await.unwrap();
        assert_eq!(text(answer).await, "12 EUR");
    }
    eventually(|| foreign.gateway.counters().connections, |open| *open == 2).await;
    assert_eq!(app.last().line, "POST /v1/charge");
    assert_eq!(app.last().headers["x-forwarded-proto"], "https");
    for edge in ["misnamed", "unvouched"] {
        let answer = world.get(world.addr(edge), "/").await;
        assert_eq!(answer.status(), 502, "{edge}");
        assert!(
            answer.headers()["x-archipel-refused"].to_str().unwrap().contains("connect-failed")
        );
    }
    assert_eq!(app.count(), 6);
}

#[tokio::test]
async fn a_closing_listener_lets_tls_connections_finish() {
    let (world, authority) = (World::new(), Authority::new());
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let app = world
        .app(move |request| {
            let gate = Arc::clone(&opened);
            async move {
                gate.notified().await;
                ok(request).await
            }
        })
        .await;
    let wanted = tls(vec![authority.files_for("shop.test")], authority.dir.path());
    let plan = Plan::default().service("a", &[app.addr]).public(&[], ROUTES).with_tls(&wanted);
    world.apply(plan.table()).await;
    let addr = world.addr("public");
    let mut client = world.https(addr, authority.client_config(), "shop.test").await.unwrap();
    let answer = client.send_request(get("/"));
    let closing = async {
        eventually(|| app.count(), |n| *n == 1).await;
        let plan = Plan::default().service("a", &[app.addr]);
        world.apply(plan.table()).await;
        gate.notify_one();
    };
    let (answer, ()) = tokio::join!(answer, closing);
    assert_eq!(text(answer.unwrap()).await, "ok");
    assert!(TcpStream::connect(addr).await.is_err());
}
