//! The API of each service: who may ask, what is asked, who answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_broker::Broker;
use archipel_gateway::{Body, Gateway};
use archipel_model::{EdgePolicy, ServiceName, TopicName, WorkflowPolicy, WorkflowSchedule};
use archipel_rt::{CancellationToken, Tasks};
use archipel_state::States;
use archipel_telemetry::otlp::{Otlp, Signal};
use archipel_workflow::{Engine, Limits, Reach, Schedule};
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::bulk::{self, FailedEntry, publish_bulk};
use crate::error::ApiError;
use crate::listener::Door;
use crate::publish::{Publish, publish};
use crate::route::{Operation, operation};
use crate::trace::Trace;
use crate::{grpc, invoke, metadata, state, telemetry, workflows};

/// What Dapr takes unless told otherwise.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Of each header that repeats the failures of a bulk publish.
const BULK_HEADER_MAX: usize = 4 << 10;

/// The API of one service. Changing it does not break off connections.
#[derive(Debug, Clone)]
pub struct ServiceApi {
    pub service: ServiceName,
    pub http_port: u16,
    /// For clients that expect gRPC elsewhere than HTTP; both ports speak both.
    pub grpc_port: u16,
    /// What the service must show in `dapr-api-token`.
    pub token: String,
    pub publishes: BTreeSet<TopicName>,
    /// Topic or pattern, and the path it is delivered to.
    pub subscriptions: Vec<(String, String)>,
    pub calls: BTreeMap<ServiceName, EdgePolicy>,
    pub workflows: WorkflowPolicy,
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
    /// Held while applying, so that one follows another.
    doors: Arc<tokio::sync::Mutex<BTreeMap<(ServiceName, Side), Door>>>,
}

/// Which of a service's two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Http,
    Grpc,
}

impl ServiceApi {
    fn port(&self, side: Side) -> u16 {
        match side {
            Side::Http => self.http_port,
            Side::Grpc => self.grpc_port,
        }
    }
}

pub(crate) struct Shared {
    gateway: Gateway,
    broker: Broker,
    pub(crate) engine: Engine,
    otlp: Otlp,
    states: States,
    /// Every name that somebody may call, to tell a forbidden target from an unknown one.
    known: Mutex<Arc<BTreeSet<ServiceName>>>,
    /// Of `PUT /v1.0/metadata/{key}`: kept while we live, as in Dapr.
    extended: Mutex<BTreeMap<ServiceName, Vec<(String, String)>>>,
}

impl Api {
    pub fn new(
        gateway: Gateway,
        broker: Broker,
        engine: Engine,
        otlp: Otlp,
        states: States,
        stop: &CancellationToken,
    ) -> Self {
        let (known, extended) = (Mutex::default(), Mutex::default());
        let shared = Shared { gateway, broker, engine, otlp, states, known, extended };
        Self { shared: Arc::new(shared), tasks: Tasks::new(stop), doors: Arc::default() }
    }

    /// Makes the open APIs equal to `wanted`; the same again does nothing. Returns those that
    /// could not be opened; applying again tries again.
    pub async fn apply(&self, wanted: Vec<ServiceApi>) -> Vec<ApiListenError> {
        let mut doors = self.doors.lock().await;
        let known = wanted.iter().flat_map(|api| api.calls.keys().chain([&api.service]));
        *lock(&self.shared.known) = Arc::new(known.cloned().collect());
        let edges = wanted.iter().map(|api| {
            let callees = api.calls.keys().map(ToString::to_string);
            (api.service.to_string(), callees.collect())
        });
        self.shared.engine.allow(Reach::new(edges));
        for api in &wanted {
            let WorkflowPolicy { at_once, activities_at_once, keep, .. } = api.workflows.clone();
            let limits = Limits { workflows: at_once, activities: activities_at_once };
            self.shared.engine.limit(api.service.as_str(), &limits);
            self.shared.engine.keep(api.service.as_str(), keep);
        }
        let all = wanted.iter().map(|api| (api.service.to_string(), schedules(&api.workflows)));
        self.shared.engine.schedule(all.collect());

        // First close what is gone or moves: two services may have changed their ports.
        let stays = |(name, side): &(ServiceName, Side), door: &Door| {
            wanted.iter().any(|api| api.service == *name && api.port(*side) == door.wanted_port)
        };
        let gone: Vec<_> =
            doors.iter().filter(|(n, d)| !stays(n, d)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            if let Some(door) = doors.remove(&name) {
                door.close().await;
            }
        }
        let mut errors = Vec::new();
        for api in wanted {
            let api = Arc::new(api);
            for side in [Side::Http, Side::Grpc] {
                let (service, port) = (api.service.clone(), api.port(side));
                let api = Arc::clone(&api);
                if let Some(door) = doors.get(&(service.clone(), side)) {
                    door.facts.send_replace(api);
                    continue;
                }
                match Door::open(api, port, Arc::clone(&self.shared), &self.tasks).await {
                    Ok(door) => drop(doors.insert((service, side), door)),
                    Err(source) => errors.push(ApiListenError { service, port, source }),
                }
            }
        }
        let open: BTreeSet<_> = doors.keys().map(|(name, _)| name.clone()).collect();
        lock(&self.shared.extended).retain(|name, _| open.contains(name));
        errors
    }

    /// Where a service's API is, also when port 0 was asked for.
    pub async fn bound(&self, service: &ServiceName, side: Side) -> Option<SocketAddr> {
        self.doors.lock().await.get(&(service.clone(), side)).map(|door| door.addr)
    }

    /// Stops accepting, lets requests finish for at most `grace`. Returns how many were left.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.tasks.shutdown(grace).await
    }
}

pub(crate) async fn answer(
    shared: &Shared,
    of: &ServiceApi,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Some((signal, grpc)) = Signal::of_path(request.uri().path()) {
        let token_ok = token_ok(&request, &of.token);
        let ask = telemetry::Ask { signal, grpc, token_ok };
        return telemetry::answer(&shared.otlp, of, ask, request).await;
    }
    if let Some(call) = grpc::call(request.uri().path(), request.headers()) {
        return grpc::answer(shared, of, call, request).await;
    }
    let operation = operation(request.method(), request.uri().path());
    let open = matches!(operation, Operation::Healthz | Operation::HealthzOutbound);
    if !open && !token_ok(&request, &of.token) {
        return text(StatusCode::UNAUTHORIZED, "invalid api token");
    }
    match perform(shared, of, operation, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(service = %of.service, %error, "an API request was refused");
            json(error.status(), &error.json(&of.service))
        }
    }
}

async fn perform(
    shared: &Shared,
    of: &ServiceApi,
    operation: Operation,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    match operation {
        Operation::Healthz | Operation::HealthzOutbound => {
            let query = request.uri().query().unwrap_or_default();
            metadata::check_app_id(of, query).map(|()| empty())
        }
        Operation::Metadata => {
            let workers = shared.engine.workers(of.service.as_str());
            let extended = lock(&shared.extended).get(&of.service).cloned().unwrap_or_default();
            Ok(json(StatusCode::OK, &metadata::document(of, &extended, workers)))
        }
        Operation::SetMetadata { key } => {
            let value = String::from_utf8_lossy(&read(request).await?.1).into_owned();
            remember(&mut lock(&shared.extended), of, key, value)?;
            Ok(empty())
        }
        Operation::Publish { ref pubsub, ref topic }
        | Operation::PublishBulk { ref pubsub, ref topic } => {
            let (parts, body) = read(request).await?;
            let trace = Trace::of(&parts.headers);
            let request = Publish {
                pubsub,
                topic,
                query: parts.uri.query().unwrap_or_default(),
                headers: &parts.headers,
                trace: &trace,
                body: &body,
            };
            let mut response = if matches!(operation, Operation::PublishBulk { .. }) {
                bulk_answer(&publish_bulk(&shared.broker, of, request).await?)
            } else {
                publish(&shared.broker, of, request).await?;
                empty()
            };
            if let Ok(value) = trace.parent.parse() {
                response.headers_mut().insert(HeaderName::from_static("traceparent"), value);
            }
            Ok(response)
        }
        Operation::Invoke { id, path } => invoke(shared, of, &id, &path, request).await,
        Operation::Workflows(ask) => {
            let (parts, body) = read(request).await?;
            let query = parts.uri.query().unwrap_or_default();
            workflows::perform(&shared.engine, of.service.as_str(), ask, query, &body).await
        }
        Operation::State(store, ask) => {
            let (parts, body) = read(request).await?;
            let query = parts.uri.query().unwrap_or_default();
            let asked = state::Asked { query, headers: &parts.headers, body: &body };
            state::perform(&shared.states, of, (store, ask), asked).await
        }
        Operation::NotServed => {
            Err(ApiError::Unimplemented { path: request.uri().path().to_owned() })
        }
        Operation::Other => {
            let id = invoke::target_of(request.headers()).ok_or(ApiError::NoTarget)?;
            let path = request.uri().path().to_owned();
            invoke(shared, of, &id, &path, request).await
        }
    }
}

fn bulk_answer(failed: &[FailedEntry]) -> Response<Body> {
    if failed.is_empty() {
        return empty();
    }
    let failures = bulk::failures(failed);
    let mut response = json(StatusCode::INTERNAL_SERVER_ERROR, &failures);
    let first = format!("{} events were not taken; {}", failed.len(), failed[0].error);
    for (name, text) in [("metadata.responsedata", failures.to_string()), ("metadata.error", first)]
    {
        // Dapr says it all again here; a long list would be too much head for many clients.
        if text.len() <= BULK_HEADER_MAX
            && let Ok(value) = text.try_into()
        {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

async fn invoke(
    shared: &Shared,
    of: &ServiceApi,
    id: &str,
    path: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let known = Arc::clone(&lock(&shared.known));
    let target = invoke::resolve(of, &known, id)?;
    invoke::invoke(&shared.gateway, of, target, path, request).await
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

/// In the header, or, from a client that can send none, in the address: `api:token@host`.
/// Compared without stopping at the first difference.
pub(crate) fn token_ok(request: &Request<Incoming>, token: &str) -> bool {
    let given = match request.headers().get("dapr-api-token") {
        Some(value) => value.as_bytes(),
        None => {
            let authority = request.uri().authority().map_or("", http::uri::Authority::as_str);
            let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
            user.strip_prefix("api:").unwrap_or_default().as_bytes()
        }
    };
    given.len() == token.len()
        && given.iter().zip(token.as_bytes()).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn empty() -> Response<Body> {
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

pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn schedules(of: &WorkflowPolicy) -> Vec<Schedule> {
    let schedule = |(name, of): (&String, &WorkflowSchedule)| Schedule {
        name: name.clone(),
        workflow: of.workflow.clone(),
        cron: of.schedule.clone(),
        timezone: of.timezone.clone(),
        input: of.input.clone(),
    };
    of.schedules.iter().map(schedule).collect()
}
