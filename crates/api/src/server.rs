//! One listener per service: its own Dapr API.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_broker::Broker;
use archipel_gateway::{Body, Gateway};
use archipel_model::{EdgePolicy, ServiceName, TopicName};
use archipel_rt::{CancellationToken, Tasks};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::ApiError;
use crate::publish::{Publish, publish};
use crate::route::{Operation, operation};
use crate::{invoke, metadata};

/// What Dapr takes unless told otherwise.
const BODY_BYTES_MAX: usize = 4 << 20;

/// The API of one service. Changing it does not break off connections.
#[derive(Debug, Clone)]
pub struct ServiceApi {
    pub service: ServiceName,
    pub http_port: u16,
    /// What the service must show in `dapr-api-token`.
    pub token: String,
    pub publishes: BTreeSet<TopicName>,
    /// Topic or pattern, and the path it is delivered to.
    pub subscriptions: Vec<(String, String)>,
    pub calls: BTreeMap<ServiceName, EdgePolicy>,
}

#[derive(Debug, thiserror::Error)]
#[error("could not open the API of `{service}` on port {port}")]
pub struct ApiListenError {
    pub service: ServiceName,
    pub port: u16,
    #[source]
    pub source: io::Error,
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
    tasks: Tasks,
    doors: Arc<Mutex<BTreeMap<ServiceName, Door>>>,
}

struct Shared {
    gateway: Gateway,
    broker: Broker,
    /// Of `PUT /v1.0/metadata/{key}`: kept while we live, as in Dapr.
    extended: Mutex<BTreeMap<ServiceName, Vec<(String, String)>>>,
}

struct Door {
    port: u16,
    facts: watch::Sender<Arc<ServiceApi>>,
    close: CancellationToken,
}

impl Api {
    pub fn new(gateway: Gateway, broker: Broker, stop: &CancellationToken) -> Self {
        let shared = Shared { gateway, broker, extended: Mutex::default() };
        Self { shared: Arc::new(shared), tasks: Tasks::new(stop), doors: Arc::default() }
    }

    /// Makes the open APIs equal to `wanted`; the same again does nothing. Returns those that
    /// could not be opened; applying again tries again.
    pub async fn apply(&self, wanted: Vec<ServiceApi>) -> Vec<ApiListenError> {
        let names: BTreeSet<ServiceName> = wanted.iter().map(|api| api.service.clone()).collect();
        self.lock().retain(|name, door| {
            let stays = names.contains(name);
            if !stays {
                door.close.cancel();
            }
            stays
        });
        let mut errors = Vec::new();
        for api in wanted {
            let (service, port) = (api.service.clone(), api.http_port);
            if let Err(source) = self.apply_one(api).await {
                errors.push(ApiListenError { service, port, source });
            }
        }
        errors
    }

    async fn apply_one(&self, api: ServiceApi) -> io::Result<()> {
        let api = Arc::new(api);
        if let Some(door) = self.lock().get(&api.service)
            && door.port == api.http_port
        {
            door.facts.send_replace(api);
            return Ok(());
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, api.http_port));
        let listener = TcpListener::bind(address).await?;
        let (facts, receiver) = watch::channel(api.clone());
        let close = self.tasks.stop_token().child_token();
        let door = Door { port: api.http_port, facts, close: close.clone() };
        if let Some(old) = self.lock().insert(api.service.clone(), door) {
            old.close.cancel();
        }
        let accept = accept(self.shared.clone(), listener, receiver, close, self.tasks.clone());
        self.tasks.spawn("api.accept", accept);
        Ok(())
    }

    /// Stops accepting, lets requests finish for at most `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        self.lock().clear();
        self.tasks.shutdown(grace).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceName, Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    facts: watch::Receiver<Arc<ServiceApi>>,
    close: CancellationToken,
    tasks: Tasks,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = close.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: trying again at once would only burn the processor.
            archipel_rt::clock::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (shared, facts, close) = (shared.clone(), facts.clone(), close.clone());
        tasks.spawn("api.connection", async move {
            let service = service_fn(move |request| {
                let (shared, facts) = (shared.clone(), facts.borrow().clone());
                async move { Ok::<_, std::convert::Infallible>(answer(&shared, &facts, request).await) }
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            builder.http2().timer(TokioTimer::new());
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = close.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error, "a client of an API went away");
            }
        });
    }
}

async fn answer(shared: &Shared, of: &ServiceApi, request: Request<Incoming>) -> Response<Body> {
    let operation = operation(request.method(), request.uri().path());
    let open = matches!(operation, Operation::Healthz | Operation::HealthzOutbound);
    if !open && !token_ok(&request, &of.token) {
        return text(StatusCode::UNAUTHORIZED, "invalid api token");
    }
    match perform(shared, of, operation, request).await {
        Ok(response) => response,
        Err(error) => json(error.status(), &error.json(&of.service)),
    }
}

async fn perform(
    shared: &Shared,
    of: &ServiceApi,
    operation: Operation,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    match operation {
        Operation::Healthz | Operation::HealthzOutbound => Ok(empty()),
        Operation::Metadata => {
            let extended = lock(&shared.extended).get(&of.service).cloned().unwrap_or_default();
            Ok(json(StatusCode::OK, &metadata::document(of, &extended)))
        }
        Operation::SetMetadata { key } => {
            let value = String::from_utf8_lossy(&read(request).await?.1).into_owned();
            remember(&mut lock(&shared.extended), of, key, value)?;
            Ok(empty())
        }
        Operation::Publish { pubsub, topic } => {
            let (parts, body) = read(request).await?;
            let request = Publish {
                pubsub: &pubsub,
                topic: &topic,
                query: parts.uri.query().unwrap_or_default(),
                headers: &parts.headers,
                body: &body,
            };
            publish(&shared.broker, of, request).await.map(|()| empty())
        }
        Operation::Invoke { id, path } => {
            invoke::invoke(&shared.gateway, of, &id, &path, request).await
        }
        Operation::NotServed => {
            Err(ApiError::Unimplemented { path: request.uri().path().to_owned() })
        }
        Operation::Other => {
            let id = request.headers().get("dapr-app-id").and_then(|id| id.to_str().ok());
            let id = id.ok_or(ApiError::NoTarget)?.to_owned();
            let path = request.uri().path().to_owned();
            invoke::invoke(&shared.gateway, of, &id, &path, request).await
        }
    }
}

/// A bound on what an app can make us remember.
const EXTENDED_MAX: usize = 256;

fn remember(
    extended: &mut BTreeMap<ServiceName, Vec<(String, String)>>,
    of: &ServiceApi,
    key: String,
    value: String,
) -> Result<(), ApiError> {
    let own = extended.entry(of.service.clone()).or_default();
    own.retain(|(known, _)| *known != key);
    if own.len() >= EXTENDED_MAX {
        return Err(ApiError::BadRequest { reason: format!("over {EXTENDED_MAX} metadata keys") });
    }
    own.push((key, value));
    Ok(())
}

async fn read(request: Request<Incoming>) -> Result<(http::request::Parts, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok((parts, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::Body { reason: format!("it is over {BODY_BYTES_MAX} bytes") })
        }
        Err(error) => Err(ApiError::Body { reason: error.to_string() }),
    }
}

/// Compared without stopping at the first difference.
fn token_ok(request: &Request<Incoming>, token: &str) -> bool {
    let given = request.headers().get("dapr-api-token").map_or(&b""[..], |value| value.as_bytes());
    given.len() == token.len()
        && given.iter().zip(token.as_bytes()).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn empty() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
