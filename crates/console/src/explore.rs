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
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::Value;

use crate::admin::{Done, parse, starting};
use crate::answer::{self, Answer, Form, bad, problem};
use crate::openapi::{self, Contract};
use crate::server::Shared;
use crate::{view, yaml};

const CONTRACT_BYTES_MAX: u64 = 4 << 20;
/// As much of an answer as is shown.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Until an answer begins.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Of an answer that does not end.
const OPEN_MAX: Duration = Duration::from_secs(600);
/// A page is not redrawn for each line.
const PART_EVERY: Duration = Duration::from_millis(300);
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
    let asked = async {
        let answer = call(shared, &service.name, request).await.ok()?;
        let found = answer.status().is_success();
        let body = Limited::new(answer.into_body(), CONTRACT_BYTES_MAX as usize);
        if found { Some(body.collect().await.ok()?.to_bytes()) } else { None }
    };
    match clock::timeout(Duration::from_secs(2), asked).await {
        Ok(Some(body)) => {
            let root: Option<Value> = serde_json::from_slice(&body).ok();
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
    let asked = call(shared, &service.name, request);
    let answered = clock::timeout(TIME_MAX, asked).await;
    let answered = answered.unwrap_or_else(|_| {
        Err(format!("`{name}` did not answer within {} s", TIME_MAX.as_secs()))
    });
    let answered = answered.map_err(|why| problem(StatusCode::BAD_GATEWAY, why, Some(1)))?;
    let parts = Parts::new(answered, trace_id, started);
    let parts = stream::unfold(Some(parts), |parts| async move {
        let mut parts = parts?;
        let part = parts.next().await;
        let more = part.open.then_some(parts);
        Some((part, more))
    });
    Ok(answer::lines(parts, Form::Lines))
}

/// An answer as it comes, each part a document: one, where it ends soon; an answer without an end
/// (an event stream) goes on until the reader leaves. Of what is not at its end only whole lines
/// are given, so that no secret is torn in two and shown.
struct Parts {
    head: view::Sent,
    body: Body,
    unsaid: Vec<u8>,
    ends: clock::Instant,
    started: clock::Instant,
    begun: bool,
}

impl Parts {
    fn new(answered: http::Response<Body>, trace_id: String, started: clock::Instant) -> Self {
        let (head, body) = answered.into_parts();
        let head = view::Sent {
            schema: view::Sent::SCHEMA.to_owned(),
            status: head.status.as_u16(),
            headers: shown(&head.headers),
            body: String::new(),
            bytes: 0,
            cut: false,
            open: true,
            problem: None,
            took_ms: 0,
            trace_id,
        };
        Self { head, body, unsaid: Vec::new(), ends: started + OPEN_MAX, started, begun: false }
    }

    /// What came since the last one. The first is not waited for: its head says that it answers.
    async fn next(&mut self) -> view::Sent {
        let mut until = if self.begun { self.ends } else { clock::now() + PART_EVERY };
        while self.head.open {
            let left = until.saturating_duration_since(clock::now());
            match clock::timeout(left, self.body.frame()).await {
                Err(_) if clock::now() < self.ends => break,
                Err(_) => {
                    let minutes = OPEN_MAX.as_secs() / 60;
                    self.close(Some(format!(
                        "still open after {minutes} minutes; no more of it is shown"
                    )));
                }
                Ok(None) => self.close(None),
                Ok(Some(Err(error))) => self.close(Some(format!("the answer broke off: {error}"))),
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let room = ANSWER_BYTES_MAX
                        - usize::try_from(self.head.bytes).unwrap_or(ANSWER_BYTES_MAX);
                    let taken = &data[..data.len().min(room)];
                    self.unsaid.extend_from_slice(taken);
                    self.head.bytes += taken.len() as u64;
                    if data.len() > room {
                        self.head.cut = true;
                        self.close(None);
                    }
                    until = until.min(clock::now() + PART_EVERY);
                }
            }
        }
        self.begun = true;
        let whole = match self.head.open {
            true => self.unsaid.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
            false => self.unsaid.len(),
        };
        let rest = self.unsaid.split_off(whole);
        let said = std::mem::replace(&mut self.unsaid, rest);
        let took = clock::now().saturating_duration_since(self.started);
        self.head.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        view::Sent { body: String::from_utf8_lossy(&said).into_owned(), ..self.head.clone() }
    }

    fn close(&mut self, why: Option<String>) {
        self.head.open = false;
        self.head.problem = why;
    }
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

async fn call(
    shared: &Shared,
    service: &ServiceName,
    request: Request<Body>,
) -> Result<http::Response<Body>, String> {
    let policy = EdgePolicy {
        timeout: Some(TIME_MAX),
        retry: Retry { attempts: 0, ..Retry::default() },
        hold: None,
        ..EdgePolicy::default()
    };
    let gateway = &shared.parts.gateway;
    let response = gateway.call(Caller::Archipel, service, &policy, request).await;
    response.map_err(|refusal| refusal.detail)
}

fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// An event stream that says what it is told to, and its parts.
    fn streaming() -> (tokio::sync::mpsc::Sender<&'static str>, Parts) {
        let (say, said) = tokio::sync::mpsc::channel::<&'static str>(8);
        let frames = stream::unfold(said, |mut said| async move {
            let text = said.recv().await?;
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(text.as_bytes()))), said))
        });
        let body = Body::new(StreamBody::new(Box::pin(frames)));
        (say, Parts::new(http::Response::new(body), "t".to_owned(), clock::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_an_end_is_shown_as_it_comes_by_whole_lines() {
        let (say, mut parts) = streaming();
        let first = parts.next().await;
        assert_eq!((first.status, &*first.body, first.open), (200, "", true));
        for text in ["data: a\n\nda", "ta: b", "\n\nsecr"] {
            say.send(text).await.expect("somebody listens");
        }
        assert_eq!(parts.next().await.body, "data: a\n\ndata: b\n\n");
        drop(say);
        let last = parts.next().await;
        assert_eq!((&*last.body, last.open, last.bytes), ("secr", false, 22));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_ends_soon_is_one_document_and_one_that_never_does_is_left() {
        let (say, mut parts) = streaming();
        say.send("{}").await.expect("somebody listens");
        drop(say);
        let only = parts.next().await;
        assert_eq!((&*only.body, only.open, only.cut), ("{}", false, false));
        let (_say, mut parts) = streaming();
        assert!(parts.next().await.open);
        let left = parts.next().await;
        assert!(!left.open && left.problem.is_some_and(|why| why.contains("10 minutes")));
    }

    fn made(method: &str, path: &str, header: &str) -> Result<Request<Body>, String> {
        let headers = BTreeMap::from([(header.to_owned(), "x".to_owned())]);
        let send = Send { method: method.to_owned(), path: path.to_owned(), headers, body: None };
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
