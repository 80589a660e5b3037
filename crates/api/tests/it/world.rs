//! A small application around a real gateway, a real broker and real sockets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_api::{Api, AppCaller, ServiceApi, Side};
use archipel_broker::{Broker, Config, OutboxSpec, SubscriptionSpec, TopicSpec, Topology};
use archipel_gateway::{Endpoint, Gateway, Table, Upstream};
use archipel_model::{EdgePolicy, EventSchema, InstanceId, ServiceName, Subscription, TopicName};
use archipel_rt::{CancellationToken, Tasks};
use archipel_storage::memory::{MemoryKv, MemoryLogs};
use archipel_telemetry::otlp::Otlp;
use archipel_telemetry::{LogStore, MetricPolicy, MetricStore, SpanPolicy, SpanStore};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a service name")
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a topic name")
}

/// A request as an app got it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

type Answers = Arc<dyn Fn(&Got) -> Response<Full<Bytes>> + Send + Sync>;

/// One app: keeps what it gets and answers as told.
#[derive(Clone)]
pub(crate) struct App {
    pub addr: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<Answers>>,
}

pub(crate) fn reply(status: u16, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

impl App {
    async fn start(tasks: &mut JoinSet<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let answers: Answers = Arc::new(|_| reply(204, ""));
        let app = Self {
            addr: listener.local_addr().expect("bound"),
            got: Arc::default(),
            answers: Arc::new(Mutex::new(answers)),
        };
        let own = app.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let app = own.clone();
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let app = app.clone();
                        async move { Ok::<_, Infallible>(app.answer(request).await) }
                    });
                    let io = TokioIo::new(stream);
                    let http1 = hyper::server::conn::http1::Builder::new();
                    let _ = http1.serve_connection(io, service).await;
                });
            }
        });
        app
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let target = parts.uri.to_string();
        let got = Got { method: parts.method, target, headers: parts.headers, body };
        let answers = Arc::clone(&self.answers.lock().expect("no test panics inside"));
        let response = answers(&got);
        self.got.lock().expect("no test panics inside").push(got);
        response
    }

    pub(crate) fn on(
        &self,
        answer: impl Fn(&Got) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) {
        *self.answers.lock().expect("no test panics inside") = Arc::new(answer);
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().expect("no test panics inside").clone()
    }

    /// Waits for this many requests.
    pub(crate) async fn until(&self, count: usize) -> Vec<Got> {
        archipel_testkit::eventually(Duration::from_secs(20), || async {
            let got = self.got();
            if got.len() >= count { Ok(got) } else { Err(got) }
        })
        .await
    }
}

/// `orders` publishes `order.placed` and calls `catalog`; `cart` subscribes.
pub(crate) struct World {
    pub api: Api,
    pub broker: Broker,
    pub gateway: Gateway,
    pub orders: App,
    pub cart: App,
    pub catalog: App,
    pub apis: Vec<ServiceApi>,
    pub table: Table,
    pub spans: SpanStore,
    _apps: JoinSet<()>,
    _dir: tempfile::TempDir,
}

pub(crate) const TOKEN: &str = "orders-token";

fn api(name: &str, publishes: &[&str], calls: &[&str]) -> ServiceApi {
    let edge = |name: &&str| (service(name), EdgePolicy::default());
    ServiceApi {
        service: service(name),
        http_port: 0,
        grpc_port: 0,
        token: format!("{name}-token"),
        publishes: publishes.iter().map(|name| topic(name)).collect(),
        subscriptions: Vec::new(),
        calls: calls.iter().map(edge).collect(),
        workflows: archipel_model::WorkflowPolicy::default(),
    }
}

fn upstream(name: &str, app: &App) -> (ServiceName, Upstream) {
    let instance = InstanceId { service: service(name), replica: 0 };
    let endpoints = vec![Endpoint { instance, addr: app.addr }];
    let app_token = Some(format!("{name}-app-token"));
    (service(name), Upstream { endpoints, app_token, ..Upstream::default() })
}

impl World {
    pub(crate) async fn new() -> Self {
        let mut apps = JoinSet::new();
        let orders = App::start(&mut apps).await;
        let cart = App::start(&mut apps).await;
        let catalog = App::start(&mut apps).await;
        let stop = CancellationToken::new();
        let gateway = Gateway::new(&stop);
        let named = [("orders", &orders), ("cart", &cart), ("catalog", &catalog)];
        let services = named.map(|(name, app)| upstream(name, app)).into();
        let table = Table { listeners: Vec::new(), services };
        assert!(gateway.apply(table.clone()).await.is_empty());
        let broker = Broker::open(
            Arc::new(MemoryLogs::default()),
            Arc::new(MemoryKv::default()),
            Config { outbox_wait: Duration::from_secs(1), ..Config::default() },
            Arc::new(AppCaller::new(gateway.clone())),
            &stop,
        );
        let broker = broker.await.expect("opens");
        broker.apply(topology()).await.expect("applies");
        let dir = tempfile::tempdir().expect("a directory");
        let tasks = Tasks::new(&stop);
        let policy = SpanPolicy::default();
        let spans = SpanStore::open(dir.path().join("spans"), policy, &tasks).expect("opens");
        let logs = LogStore::open(dir.path().join("logs"), &tasks).expect("opens");
        let metrics = MetricStore::open(dir.path().join("metrics"), MetricPolicy::default());
        let otlp = Otlp::new(spans.clone(), logs, metrics.expect("opens"));
        let kv = std::sync::Arc::new(MemoryKv::default());
        let config = archipel_workflow::Config::default();
        let engine = archipel_workflow::Engine::open(kv, config, &stop).await.expect("opens");
        let states = archipel_state::States::new(std::sync::Arc::new(MemoryKv::default()));
        let api_of = Api::new(gateway.clone(), broker.clone(), engine, otlp, states, &stop);
        let apis = vec![
            api("orders", &["order.placed"], &["catalog"]),
            api("cart", &[], &[]),
            api("catalog", &[], &[]),
        ];
        assert!(api_of.apply(apis.clone()).await.is_empty());
        let api = api_of;
        Self {
            api,
            broker,
            gateway,
            orders,
            cart,
            catalog,
            apis,
            table,
            spans,
            _apps: apps,
            _dir: dir,
        }
    }

    pub(crate) async fn addr(&self, name: &str) -> SocketAddr {
        self.api.bound(&service(name), Side::Http).await.expect("is open")
    }

    pub(crate) async fn grpc_addr(&self, name: &str) -> SocketAddr {
        self.api.bound(&service(name), Side::Grpc).await.expect("is open")
    }

    /// A request to the API of `orders`, with its token.
    pub(crate) async fn ask(&self, request: http::request::Builder, body: &str) -> Told {
        let request = request.header("dapr-api-token", TOKEN);
        let request = request.body(Full::from(body.to_owned())).expect("a request");
        send(self.addr("orders").await, request, false).await
    }
}

fn topology() -> Topology {
    let retain = Duration::from_secs(86_400);
    let spec = TopicSpec { retain, publisher: Some(service("orders")), schema: None };
    let outbox = OutboxSpec {
        path: "/_archipel/outbox".to_owned(),
        publishes: [topic("order.placed")].into(),
    };
    Topology {
        topics: BTreeMap::from([(topic("order.placed"), spec)]),
        subscriptions: vec![SubscriptionSpec {
            service: service("cart"),
            topic: topic("order.placed"),
            how: Subscription::new("/_archipel/events".to_owned()),
        }],
        outboxes: BTreeMap::from([(service("orders"), outbox)]),
    }
}

/// A schema for `data` of `order.placed`, in force from here on.
pub(crate) async fn with_schema(world: &World, json: &str) {
    let mut topology = topology();
    let file = PathBuf::from("/app/contracts/placed.json");
    let documents = BTreeMap::from([(file.clone(), json.to_owned())]);
    let schema = EventSchema { file, root: PathBuf::from("/app"), documents };
    topology.topics.get_mut("order.placed").expect("it is there").schema = Some(schema);
    world.broker.apply(topology).await.expect("applies");
}

/// What a client was told.
#[derive(Debug)]
pub(crate) struct Told {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Status and `errorCode`.
    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["errorCode"].as_str().unwrap_or_default().to_owned())
    }
}

pub(crate) async fn send(addr: SocketAddr, request: Request<Full<Bytes>>, http2: bool) -> Told {
    let stream = TcpStream::connect(addr).await.expect("connects");
    let mut connection = JoinSet::new();
    let response = if http2 {
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, driver) = handshake.await.expect("speaks h2c");
        connection.spawn(async move { drop(driver.await) });
        sender.send_request(request).await
    } else {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, driver) = handshake.await.expect("speaks HTTP/1.1");
        connection.spawn(async move { drop(driver.await) });
        sender.send_request(request).await
    };
    let (parts, body) = response.expect("an answer").into_parts();
    let body = body.collect().await.expect("a whole answer");
    let trailers = body.trailers().cloned();
    let body = body.to_bytes();
    Told { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
}
