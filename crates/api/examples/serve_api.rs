//! The API of one service, for clients in other languages to be tried against.
//!
//! `cargo run -p archipel-api --example serve_api <port of the app>`
//!
//! One app, `orders`, plays all parts: it publishes `order.placed`, gets it back at
//! `/_archipel/events`, and calls itself. Everything is in memory, but what it says of itself. Prints one line of JSON with
//! what an app would find in its environment, and ends when its standard input does.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use archipel_api::{Api, AppCaller, ServiceApi, Side};
use archipel_broker::{Broker, Config, SubscriptionSpec, TopicSpec, Topology};
use archipel_gateway::{Endpoint, Gateway, Table, Upstream};
use archipel_model::{InstanceId, ServiceName, Subscription, TopicName};
use archipel_rt::{CancellationToken, Tasks};
use archipel_storage::memory::{MemoryKv, MemoryLogs};
use archipel_telemetry::otlp::Otlp;
use archipel_telemetry::{LogStore, MetricPolicy, MetricStore, SpanPolicy, SpanStore};

const TOKEN: &str = "the-token-of-orders";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app_port: u16 = std::env::args().nth(1).ok_or("usage: serve_api <port>")?.parse()?;
    let (orders, placed) = (ServiceName::new("orders")?, TopicName::new("order.placed")?);
    let stop = CancellationToken::new();
    let gateway = Gateway::new(&stop);
    let instance = InstanceId { service: orders.clone(), replica: 0 };
    let endpoints = vec![Endpoint { instance, addr: ([127, 0, 0, 1], app_port).into() }];
    let app_token = Some("the-token-of-the-app".to_owned());
    let upstream = Upstream { endpoints, app_token, ..Upstream::default() };
    let services = BTreeMap::from([(orders.clone(), upstream)]);
    gateway.apply(Table { services, ..Table::default() }).await;

    let (logs, kv) = (Arc::new(MemoryLogs::default()), Arc::new(MemoryKv::default()));
    let caller = Arc::new(AppCaller::new(gateway.clone()));
    let broker = Broker::open(logs, kv, Config::default(), caller, &stop).await?;
    let spec = TopicSpec {
        retain: Duration::from_secs(3_600),
        publisher: Some(orders.clone()),
        schema: None,
    };
    let how = Subscription::new("/_archipel/events".to_owned());
    let subscription = SubscriptionSpec { service: orders.clone(), topic: placed.clone(), how };
    broker
        .apply(Topology {
            topics: BTreeMap::from([(placed.clone(), spec)]),
            subscriptions: vec![subscription],
            outboxes: BTreeMap::new(),
        })
        .await?;

    let dir = tempfile::tempdir()?;
    let tasks = Tasks::new(&stop);
    let kv = std::sync::Arc::new(archipel_storage::memory::MemoryKv::default());
    let config = archipel_workflow::Config::default();
    let engine = archipel_workflow::Engine::open(kv, config, &stop).await?;
    let spans = SpanStore::open(dir.path().join("spans"), SpanPolicy::default(), &tasks)?;
    let logs = LogStore::open(dir.path().join("logs"), &tasks)?;
    let metrics = MetricStore::open(dir.path().join("metrics"), MetricPolicy::default())?;
    let otlp = Otlp::new(spans, logs, metrics);
    let states = archipel_state::States::new(Arc::new(MemoryKv::default()));
    let api = Api::new(gateway.clone(), broker.clone(), engine.clone(), otlp, states, &stop);
    let own = ServiceApi {
        service: orders.clone(),
        http_port: 0,
        grpc_port: 0,
        token: TOKEN.to_owned(),
        publishes: [placed].into(),
        subscriptions: vec![("order.placed".to_owned(), "/_archipel/events".to_owned())],
        calls: BTreeMap::new(),
        workflows: archipel_model::WorkflowPolicy::default(),
    };
    if let Some(error) = api.apply(vec![own]).await.into_iter().next() {
        return Err(error.into());
    }
    let port = api.bound(&orders, Side::Http).await.ok_or("the API is not open")?.port();
    println!(r#"{{"DAPR_HTTP_PORT":"{port}","DAPR_API_TOKEN":"{TOKEN}"}}"#);

    archipel_rt::blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await?;
    broker.shutdown(Duration::from_secs(2)).await;
    engine.shutdown(Duration::from_secs(2)).await;
    api.shutdown(Duration::from_secs(2)).await;
    gateway.shutdown(Duration::from_secs(2)).await;
    Ok(())
}
