//! What services offer over HTTP, by their contracts, and requests that a person tries.
//!
//! A request goes to the service by the data plane, from Archipel itself: it is balanced, counted
//! and traced as any other. No address outside the application can be reached this way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archipel_gateway::{Body, Caller};
use archipel_model::{EdgePolicy, Protocol, Retry, Service, ServiceName};
use archipel_rt::clock;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;

use crate::admin::{Done, parse, starting};
use crate::answer::{self, Answer, bad, problem};
use crate::openapi::{self, Contract};
use crate::server::Shared;
use crate::{view, yaml};

const CONTRACT_BYTES_MAX: u64 = 4 << 20;
/// As much of an answer as is shown.
const ANSWER_BYTES_MAX: usize = 256 << 10;
const TIME_MAX: Duration = Duration::from_secs(30);
const HEADERS_MAX: usize = 50;

/// Of the connection, which is not the person's to make.
const NOT_SENT: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "keep-alive",
    "traceparent",
];

pub(crate) fn list(shared: &Shared) -> Done {
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    let services = snapshot.plan.app.services.values();
    let apis = services.map(|of| view::ApiSummary {
        service: of.name.to_string(),
        protocol: crate::topology::protocol(of.protocol).to_owned(),
        file: of.api.as_ref().map(|file| named(file, &of.path)),
    });
    let schema = view::Apis::SCHEMA.to_owned();
    Ok(answer::json(&view::Apis { schema, apis: apis.collect() }))
}

pub(crate) async fn one(shared: &Shared, name: &str) -> Done {
    let service = declared(shared, name)?;
    let (source, found) = match &service.api {
        Some(file) => (Some(named(file, &service.path)), read(file.clone()).await),
        None => told(shared, &service).await,
    };
    let (problem, contract) = match found {
        Ok(contract) => (None, Some(contract)),
        Err(why) => (Some(why), None),
    };
    let Contract { title, version, operations } =
        contract.unwrap_or(Contract { title: None, version: None, operations: Vec::new() });
    Ok(answer::json(&view::Api {
        schema: view::Api::SCHEMA.to_owned(),
        service: service.name.to_string(),
        source,
        problem,
        title,
        version,
        operations,
    }))
}

fn declared(shared: &Shared, name: &str) -> Result<Arc<Service>, Answer> {
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    let services = &snapshot.plan.app.services;
    let found = ServiceName::new(name).ok().and_then(|name| services.get(&name).cloned());
    found.map(Arc::new).ok_or_else(|| {
        let known = services.keys().map(ServiceName::as_str);
        let known = archipel_model::suggest::there_are(name, known);
        problem(StatusCode::NOT_FOUND, format!("there is no service `{name}`; {known}"), Some(2))
    })
}

fn named(file: &Path, dir: &Path) -> String {
    file.strip_prefix(dir).unwrap_or(file).display().to_string()
}

async fn read(file: std::path::PathBuf) -> Result<Contract, String> {
    let ends = |end: &str| file.extension().is_some_and(|found| found == end);
    if ends("proto") {
        return Err("it is a gRPC contract, which is called with gRPC's own tools".to_owned());
    }
    archipel_rt::blocking(move || {
        let bytes = std::fs::metadata(&file).map_err(|error| error.to_string())?.len();
        if bytes > CONTRACT_BYTES_MAX {
            return Err(format!("it is larger than {CONTRACT_BYTES_MAX} bytes"));
        }
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let root = match serde_json::from_str(&text) {
            Ok(root) => root,
            Err(_) => yaml::parse(&text)?,
        };
        openapi::contract(&root).ok_or_else(|| "it is no OpenAPI document".to_owned())
    })
    .await
}

/// Many frameworks answer with their contract there.
const USUAL: &str = "/openapi.json";

/// What the running service says of itself.
async fn told(shared: &Shared, service: &Service) -> (Option<String>, Result<Contract, String>) {
    if service.protocol != Protocol::Http {
        return (None, Err("it does not speak HTTP as browsers do".to_owned()));
    }
    let none = "the manifest names no contract (`api = \"openapi.yaml\"`), and the service has \
                none at /openapi.json";
    let request = Request::get(USUAL).body(Body::empty());
    let Ok(request) = request else { return (None, Err(none.to_owned())) };
    let asked = ask(shared, &service.name, request, CONTRACT_BYTES_MAX as usize);
    match clock::timeout(Duration::from_secs(2), asked).await {
        Ok(Ok(answer)) if answer.status.is_success() => {
            let root: Option<Value> = serde_json::from_slice(&answer.body).ok();
            match root.as_ref().and_then(openapi::contract) {
                Some(contract) => (Some(USUAL.to_owned()), Ok(contract)),
                None => (None, Err(none.to_owned())),
            }
        }
        _ => (None, Err(none.to_owned())),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

pub(crate) async fn send(shared: &Shared, name: &str, body: &[u8]) -> Done {
    let service = declared(shared, name)?;
    if service.protocol != Protocol::Http {
        return Err(bad(format!("`{name}` does not speak HTTP as browsers do")));
    }
    let wanted: Send = parse(body)?;
    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let request = request(wanted, &trace_id).map_err(bad)?;
    let started = clock::now();
    let asked = ask(shared, &service.name, request, ANSWER_BYTES_MAX);
    let answered = clock::timeout(TIME_MAX, asked).await;
    let answered = answered.unwrap_or_else(|_| {
        Err(format!("`{name}` did not answer within {} s", TIME_MAX.as_secs()))
    });
    let answered =
        answered.map_err(|why| problem(StatusCode::BAD_GATEWAY, why, Some(1)))?;
    let took = clock::now().saturating_duration_since(started);
    Ok(answer::json(&view::Sent {
        schema: view::Sent::SCHEMA.to_owned(),
        status: answered.status.as_u16(),
        headers: answered.headers,
        bytes: answered.bytes as u64,
        cut: answered.cut,
        body: String::from_utf8_lossy(&answered.body).into_owned(),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        trace_id,
    }))
}

fn request(wanted: Send, trace_id: &str) -> Result<Request<Body>, String> {
    let Send { method, path, headers, body } = wanted;
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes());
    let method = method.map_err(|_| "that is no method".to_owned())?;
    if method == Method::CONNECT {
        return Err("`CONNECT` is for proxies".to_owned());
    }
    if !path.starts_with('/') || path.starts_with("//") {
        return Err("a path begins with one `/`".to_owned());
    }
    let uri: Uri = path.parse().map_err(|error| format!("`{path}` is no path: {error}"))?;
    if uri.authority().is_some() {
        return Err("a path names no host".to_owned());
    }
    if headers.len() > HEADERS_MAX {
        return Err(format!("at most {HEADERS_MAX} headers are sent"));
    }
    let parent = format!("00-{trace_id}-{}-01", &uuid::Uuid::new_v4().simple().to_string()[..16]);
    let mut request = Request::builder().method(method).uri(uri).header("traceparent", parent);
    for (name, value) in headers {
        let name: HeaderName =
            name.trim().parse().map_err(|_| format!("`{name}` is no name of a header"))?;
        if NOT_SENT.contains(&name.as_str()) || name.as_str().starts_with("x-archipel-") {
            return Err(format!("the header `{name}` is not for a person to set"));
        }
        let value: HeaderValue =
            value.parse().map_err(|_| format!("`{name}` cannot have that value"))?;
        request = request.header(name, value);
    }
    let body = body.filter(|text| !text.is_empty()).map_or_else(Body::empty, Body::full);
    request.body(body).map_err(|error| error.to_string())
}

struct Answered {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Bytes,
    bytes: usize,
    cut: bool,
}

/// Reads as much of the answer as is shown; the rest is let go.
async fn ask(
    shared: &Shared,
    service: &ServiceName,
    request: Request<Body>,
    bytes_max: usize,
) -> Result<Answered, String> {
    let policy = EdgePolicy {
        timeout: Some(TIME_MAX),
        retry: Retry { attempts: 0, ..Retry::default() },
        hold: None,
        ..EdgePolicy::default()
    };
    let gateway = &shared.parts.gateway;
    let response = gateway.call(Caller::Archipel, service, &policy, request).await;
    let response = response.map_err(|refusal| refusal.detail)?;
    let (head, mut body) = response.into_parts();
    let mut read = Vec::new();
    let mut cut = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            cut = true;
            break;
        }
    }
    let shown = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), shown(value)));
    let bytes = read.len();
    let headers = headers.collect();
    Ok(Answered { status: head.status, headers, body: read.into(), bytes, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(method: &str, path: &str, header: &str) -> Result<Request<Body>, String> {
        let headers = BTreeMap::from([(header.to_owned(), "x".to_owned())]);
        let send =
            Send { method: method.to_owned(), path: path.to_owned(), headers, body: None };
        request(send, "0af7651916cd43dd8448eb211c80319c")
    }

    #[test]
    fn a_request_stays_with_its_service_and_has_a_trace() {
        let good = made("post", "/a?b=c", "x-mine").expect("a request");
        assert_eq!((good.method(), good.uri().path()), (&Method::POST, "/a"));
        let parent = good.headers()["traceparent"].to_str().expect("text");
        assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{parent}");
        for (method, path, header) in [
            ("GET", "http://evil.example/", "x-mine"),
            ("GET", "//evil.example/", "x-mine"),
            ("GET", "a", "x-mine"),
            ("GET", "/a b", "x-mine"),
            ("CONNECT", "/", "x-mine"),
            ("G T", "/", "x-mine"),
            ("GET", "/", "Host"),
            ("GET", "/", "x-archipel-caller"),
            ("GET", "/", "transfer-encoding"),
            ("GET", "/", "a b"),
        ] {
            assert!(made(method, path, header).is_err(), "{method} {path} {header}");
        }
    }
}
