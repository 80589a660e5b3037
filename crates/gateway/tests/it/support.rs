//! Apps, clients and tables for the tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_gateway::{
    Body, Endpoint, Entrance, Gateway, Limits, Listener, PublicRoutes, Table, Upstream,
};
use archipel_model::{
    EdgePolicy, InstanceId, PathPattern, Protocol, Route, RouteGuard, Safeguards, ServiceName,
};
use archipel_rt::{CancellationToken, Tasks, clock};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

pub(crate) fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

/// Polls until the condition holds, and fails with what it was last.
pub(crate) async fn eventually<T: std::fmt::Debug>(
    mut look: impl FnMut() -> T,
    fits: impl Fn(&T) -> bool,
) {
    let probe = || {
        let seen = look();
        let result = if fits(&seen) { Ok(()) } else { Err(seen) };
        async { result }
    };
    archipel_testkit::eventually(PATIENCE, probe).await;
}

/// Everything a test needs; ends its tasks with itself.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) tasks: Tasks,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let stop = CancellationToken::new();
        // As in the whole Archipel.
        let gateway = Gateway::on_cores(&stop, limits, 2).unwrap();
        Self { gateway, tasks: Tasks::new(&stop), stop }
    }

    /// Without threads of the gateway's own, where it matters in which order things come.
    pub(crate) fn in_one_runtime() -> Self {
        let stop = CancellationToken::new();
        let gateway = Gateway::new(&stop);
        Self { gateway, tasks: Tasks::new(&stop), stop }
    }

    pub(crate) async fn apply(&self, table: Table) {
        let errors = self.gateway.apply(table).await;
        assert!(errors.is_empty(), "{errors:?}");
    }

    pub(crate) fn addr(&self, listener: &str) -> SocketAddr {
        self.gateway.bound(listener).expect("the listener is open")
    }

    /// An app that answers with `handler`.
    pub(crate) async fn app<H, F>(&self, handler: H) -> App
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        self.app_speaking(false, move |request| Box::pin(handler(request))).await
    }

    /// The same over HTTP/2 cleartext.
    pub(crate) async fn app_http2<H, F>(&self, handler: H) -> App
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        self.app_speaking(true, move |request| Box::pin(handler(request))).await
    }

    async fn app_speaking<H>(&self, http2: bool, handler: H) -> App
    where
        H: Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (notes, counted) = (Arc::clone(&seen), Arc::clone(&connections));
        let tasks = self.tasks.clone();
        let stop = self.tasks.stop_token();
        self.tasks.spawn("test.app", async move {
            loop {
                let (stream, _) = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                *counted.lock().unwrap() += 1;
                let (notes, handler) = (Arc::clone(&notes), handler.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    notes.lock().unwrap().push(Seen::of(&request));
                    let answer = handler(request);
                    async move { Ok::<_, std::convert::Infallible>(answer.await) }
                });
                let io = TokioIo::new(stream);
                tasks.spawn("test.connection", async move {
                    if http2 {
                        let builder =
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(io, service).await;
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(io, service).with_upgrades().await;
                    }
                });
            }
        });
        App { addr, seen, connections }
    }

    /// A listener on which nothing speaks HTTP by itself: the test does.
    pub(crate) async fn raw(&self) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    /// One HTTP/1 connection, kept open.
    pub(crate) async fn client(&self, addr: SocketAddr) -> http1::SendRequest<Body> {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn("test.client", async move {
            let _ = connection.with_upgrades().await;
        });
        sender
    }

    pub(crate) async fn client_http2(&self, addr: SocketAddr) -> http2::SendRequest<Body> {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn("test.client", async move {
            let _ = connection.await;
        });
        sender
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        addr: SocketAddr,
        request: Request<Body>,
    ) -> Response<Incoming> {
        let mut client = self.client(addr).await;
        clock::timeout(PATIENCE, client.send_request(request)).await.unwrap().unwrap()
    }

    pub(crate) async fn get(&self, addr: SocketAddr, path: &str) -> Response<Incoming> {
        self.send(addr, get(path)).await
    }
}

/// A running app and what reached it.
pub(crate) struct App {
    pub(crate) addr: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    fn of(request: &Request<Incoming>) -> Self {
        Self {
            line: format!("{} {}", request.method(), request.uri()),
            headers: request.headers().clone(),
        }
    }
}

impl App {
    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("the app saw a request")
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

pub(crate) async fn ok(_: Request<Incoming>) -> Response<Body> {
    Response::new(Body::from("ok"))
}

/// Says what it got.
pub(crate) async fn echo(request: Request<Incoming>) -> Response<Body> {
    Response::new(Body::from(request.into_body()))
}

/// A body of which a piece arrives, and then no more.
pub(crate) fn breaking(first: bytes::Bytes) -> Body {
    use futures_util::{StreamExt, stream};
    let rest = stream::once(async {
        // The piece is written first.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken"))
    });
    Body::stream(stream::once(async { Ok(first) }).chain(rest))
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "shop.local").body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("host", "shop.local").body(body.into()).unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let bytes = Body::from(response.into_body()).collect(1 << 24).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A table in the making.
#[derive(Default)]
pub(crate) struct Plan(pub(crate) Table);

impl Plan {
    pub(crate) fn service(self, service: &str, addrs: &[SocketAddr]) -> Self {
        self.upstream(
            service,
            Upstream { endpoints: endpoints(service, addrs), ..Upstream::default() },
        )
    }

    pub(crate) fn grpc(self, service: &str, addrs: &[SocketAddr]) -> Self {
        let endpoints = endpoints(service, addrs);
        self.upstream(
            service,
            Upstream { endpoints, protocol: Protocol::Grpc, ..Upstream::default() },
        )
    }

    pub(crate) fn upstream(mut self, service: &str, upstream: Upstream) -> Self {
        self.0.services.insert(name(service), upstream);
        self
    }

    /// From `web` to `service`, on a listener named like the service.
    pub(crate) fn edge(self, service: &str) -> Self {
        self.edge_with(service, EdgePolicy::default())
    }

    pub(crate) fn edge_with(mut self, service: &str, policy: EdgePolicy) -> Self {
        let entrance = Entrance::Edge { caller: name("web"), callee: name(service), policy };
        self.0.listeners.push(Listener {
            id: service.to_owned(),
            addr: "127.0.0.1:0".parse().unwrap(),
            entrance,
        });
        self
    }

    /// Lines like `GET shop.local/api/** -> catalog`; the listener is named `public`.
    pub(crate) fn public(self, hosts: &[&str], lines: &[&str]) -> Self {
        self.public_routes(hosts, lines.iter().map(|line| route(line)).collect())
    }

    pub(crate) fn public_routes(self, hosts: &[&str], routes: Vec<Route>) -> Self {
        let hosts = hosts.iter().map(|h| (*h).to_owned()).collect();
        self.public_with(PublicRoutes { hosts, routes, ..PublicRoutes::default() })
    }

    pub(crate) fn public_with(mut self, public: PublicRoutes) -> Self {
        self.0.listeners.push(Listener {
            id: "public".to_owned(),
            addr: "127.0.0.1:0".parse().unwrap(),
            entrance: Entrance::Public(PublicRoutes { cache_max: 16 << 20, ..public }),
        });
        self
    }

    pub(crate) fn table(self) -> Table {
        self.0
    }

    /// For another gateway.
    pub(crate) fn clone_table(&self) -> Table {
        self.0.clone()
    }
}

pub(crate) fn endpoints(service: &str, addrs: &[SocketAddr]) -> Vec<Endpoint> {
    let endpoint = |(replica, addr): (usize, &SocketAddr)| Endpoint {
        instance: InstanceId { service: name(service), replica: replica as u32 },
        addr: *addr,
    };
    addrs.iter().enumerate().map(endpoint).collect()
}

pub(crate) fn route(line: &str) -> Route {
    let (from, to) = line.split_once(" -> ").unwrap();
    let (method, rest) = match from.split_once(' ') {
        Some((method, rest)) => (Some(method.to_owned()), rest),
        None => (None, from),
    };
    let slash = rest.find('/').unwrap();
    let (host, path) = rest.split_at(slash);
    Route {
        host: (!host.is_empty()).then(|| host.to_owned()),
        method,
        path: PathPattern::new(path).unwrap(),
        to: name(to).into(),
        strip: None,
        timeout: None,
        connect: None,
        idle: None,
        hold: Some(EdgePolicy::HOLD_DEFAULT),
        body_max: None,
        steer: archipel_model::Steer::default(),
        safeguards: Safeguards::default(),
        guard: RouteGuard::default(),
        cache: None,
        compress: false,
    }
}

pub(crate) fn services(pairs: &[(&str, SocketAddr)]) -> BTreeMap<ServiceName, Upstream> {
    let upstream = |(service, addr): &(&str, SocketAddr)| {
        (name(service), Upstream { endpoints: endpoints(service, &[*addr]), ..Upstream::default() })
    };
    pairs.iter().map(upstream).collect()
}
