//! Calls to other services, with an outcome that says what may be concluded.
//!
//! There are three: the callee did it (`Ok`), it decided not to (`Refused`), or we do not know
//! (`NoAnswer`: no connection, a time-out, a lost reply, a 5xx, or "not now"). Only the caller
//! knows what to do about the third, so nothing here repeats a request; it is safe to repeat one
//! that has a key or is idempotent by its method. (A pooled connection that turns out to be
//! closed before a byte was sent is replaced silently.)

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::{FieldError, Problem};
use crate::trace;

const TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 32;
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a call came to, as a matter of deciding what next.
#[derive(Debug, Clone)]
pub enum Outcome<T> {
    /// 2xx.
    Ok(Answer<T>),
    /// The callee decided against it; the same request will be refused again.
    Refused(Refusal),
    /// It may or may not have happened.
    NoAnswer(NoAnswer),
}

#[derive(Debug, Clone)]
pub struct Answer<T> {
    pub status: u16,
    pub body: T,
    pub headers: HeaderMap,
}

/// A 4xx that is an answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub callee: &'static str,
    pub status: u16,
    /// `code` of the problem; empty when the body was no problem.
    pub code: String,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// The whole body, for extension members such as `shortages`.
    pub body: Value,
}

/// Why nothing can be concluded.
#[derive(Debug, Clone)]
pub struct NoAnswer {
    pub callee: &'static str,
    pub why: String,
    /// The status, when something answered but did not say what became of it.
    pub status: Option<u16>,
    /// What the callee asked for, if it could.
    pub retry_after: Option<Duration>,
}

impl<T> Outcome<T> {
    /// The body, or the problem that a route without an idea of its own answers: a refusal is
    /// passed on, silence is 503 `dependency-unavailable`.
    pub fn or_problem(self) -> Result<T, Problem> {
        match self {
            Self::Ok(answer) => Ok(answer.body),
            Self::Refused(refusal) => Err(refusal.into()),
            Self::NoAnswer(silence) => Err(silence.into()),
        }
    }

    /// The body, where anything else is as good as nothing: a panel that degrades.
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Ok(answer) => Some(answer.body),
            Self::Refused(_) | Self::NoAnswer(_) => None,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let title = refusal.body["title"].as_str().unwrap_or("Refused").to_owned();
        let code = if refusal.code.is_empty() { "refused".to_owned() } else { refusal.code };
        let mut problem = Self::new(refusal.status, code, title).detail(refusal.detail);
        for error in refusal.errors {
            problem = problem.field(error.pointer, error.detail);
        }
        for (member, value) in refusal.body.as_object().into_iter().flatten() {
            problem = problem.with(member, value);
        }
        problem
    }
}

impl From<NoAnswer> for Problem {
    fn from(silence: NoAnswer) -> Self {
        Self::dependency_unavailable(silence.callee, silence.why)
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.callee, self.why)
    }
}

type Pool = Client<HttpConnector, Full<Bytes>>;

/// A service that we call. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Callee {
    name: &'static str,
    base: String,
    pool: Pool,
    timeout: Duration,
}

impl Callee {
    /// `None` when `base` is not a base URL with `http`.
    pub fn new(name: &'static str, base: &str) -> Option<Self> {
        let base = base.trim_end_matches('/');
        let uri: Uri = base.parse().ok()?;
        let usable =
            uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none();
        usable.then(|| Self { name, base: base.to_owned(), pool: pool(), timeout: TIMEOUT })
    }

    /// Waits this long instead of 2 s for each answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn get(&self, path: impl AsRef<str>) -> Call {
        self.call(Method::GET, path.as_ref())
    }

    pub fn post(&self, path: impl AsRef<str>) -> Call {
        self.call(Method::POST, path.as_ref())
    }

    pub fn put(&self, path: impl AsRef<str>) -> Call {
        self.call(Method::PUT, path.as_ref())
    }

    pub fn patch(&self, path: impl AsRef<str>) -> Call {
        self.call(Method::PATCH, path.as_ref())
    }

    pub fn delete(&self, path: impl AsRef<str>) -> Call {
        self.call(Method::DELETE, path.as_ref())
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let url = format!("{}{path}", self.base);
        let headers = vec![("accept", "application/json, application/problem+json".to_owned())];
        Call { callee: self.clone(), method, url, headers, body: Ok(Bytes::new()) }
    }
}

/// Connections are kept per callee.
fn pool() -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector)
}

/// A request being put together.
#[must_use = "nothing is sent before `send`"]
pub struct Call {
    callee: Callee,
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Result<Bytes, String>,
}

impl Call {
    /// Adds to the query string; the value may be any text.
    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let mark = if self.url.contains('?') { '&' } else { '?' };
        self.url.push(mark);
        self.url.push_str(name);
        self.url.push('=');
        self.url.push_str(&percent_encode(value.as_ref()));
        self
    }

    /// The `Idempotency-Key`.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.header("idempotency-key", key)
    }

    /// The token of the person on whose behalf we call.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.headers.push(("content-type", "application/json".to_owned()));
        self.body = serde_json::to_vec(body).map(Bytes::from).map_err(|e| e.to_string());
        self
    }

    /// Waits this long for the whole answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.callee.timeout = timeout;
        self
    }

    /// Sends it and reads the answer as a `T` (`()` where there is none, or `Value`).
    ///
    /// Dropped before it returns, the callee may or may not have acted.
    pub async fn send<T: DeserializeOwned>(self) -> Outcome<T> {
        let (callee, limit) = (self.callee.name, self.callee.timeout);
        let silent = |why: String| NoAnswer { callee, why, status: None, retry_after: None };
        let exchange = async {
            let response = self.begin().await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| silent(format!("the answer broke off: {e}")))?.to_bytes();
            Ok((head, body))
        };
        match tokio::time::timeout(limit, exchange).await {
            Err(_) => {
                Outcome::NoAnswer(silent(format!("no answer within {} ms", limit.as_millis())))
            }
            Ok(Err(silence)) => Outcome::NoAnswer(silence),
            Ok(Ok((head, body))) => conclude(callee, head.status, head.headers, &body),
        }
    }

    /// Sends it and returns once the answer begins, whatever its status. The time-out is for
    /// that; the body may take as long as it likes.
    pub async fn stream(self) -> Result<Response<axum::body::Body>, NoAnswer> {
        let (callee, limit) = (self.callee.name, self.callee.timeout);
        match tokio::time::timeout(limit, self.begin()).await {
            Ok(begun) => Ok(begun?.map(axum::body::Body::new)),
            Err(_) => {
                let why = format!("no answer within {} ms", limit.as_millis());
                Err(NoAnswer { callee, why, status: None, retry_after: None })
            }
        }
    }

    async fn begin(self) -> Result<Response<Incoming>, NoAnswer> {
        let callee = self.callee.name;
        let silent = |why: String| NoAnswer { callee, why, status: None, retry_after: None };
        let mut request = Request::builder().method(self.method).uri(&self.url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(trace) = trace::current() {
            request = request.header("traceparent", trace.as_str());
        }
        let body = self.body.map_err(|e| silent(format!("the body cannot be written: {e}")))?;
        let request =
            request.body(Full::new(body)).map_err(|e| silent(format!("{}: {e}", self.url)))?;
        self.callee.pool.request(request).await.map_err(|e| silent(chain(&e)))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// What a status and a body mean.
fn conclude<T: DeserializeOwned>(
    callee: &'static str,
    status: StatusCode,
    headers: HeaderMap,
    body: &[u8],
) -> Outcome<T> {
    if status.is_success() {
        let text = if body.is_empty() { b"null" } else { body };
        return match serde_json::from_slice(text) {
            Ok(body) => Outcome::Ok(Answer { status: status.as_u16(), body, headers }),
            Err(error) => {
                let why = format!("an answer {status} of another shape: {error}");
                Outcome::NoAnswer(NoAnswer {
                    callee,
                    why,
                    status: Some(status.as_u16()),
                    retry_after: None,
                })
            }
        };
    }
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
    let (code, detail) = (text("code"), text("detail"));
    let later = matches!(status.as_u16(), 408 | 425 | 429) || problem["retryable"] == true;
    if status.is_client_error() && !later {
        let errors = serde_json::from_value(problem["errors"].clone()).unwrap_or_default();
        return Outcome::Refused(Refusal {
            callee,
            status: status.as_u16(),
            code,
            detail,
            errors,
            body: problem,
        });
    }
    let retry_after = problem["retry_after_ms"].as_u64().map(Duration::from_millis).or_else(|| {
        let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    });
    let why = format!("{status} {code} {detail}").trim_end().to_owned();
    Outcome::NoAnswer(NoAnswer { callee, why, status: Some(status.as_u16()), retry_after })
}

/// Text as one component of a URL.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(status: u16, body: &str) -> Outcome<Value> {
        conclude("callee", StatusCode::from_u16(status).unwrap(), HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn only_a_decision_of_the_callee_is_a_refusal() {
        assert!(matches!(concluded(201, "{}"), Outcome::Ok(a) if a.status == 201));
        assert!(matches!(concluded(204, ""), Outcome::Ok(_)));
        assert!(
            matches!(concluded(409, r#"{"code":"out-of-stock"}"#), Outcome::Refused(r) if r.code == "out-of-stock")
        );
        assert!(matches!(concluded(404, "<html>"), Outcome::Refused(r) if r.code.is_empty()));
        for (status, body) in [
            (500, ""),
            (503, r#"{"code":"overloaded"}"#),
            (429, ""),
            (302, ""),
            (409, r#"{"code":"request-in-progress","retryable":true,"retry_after_ms":50}"#),
            (200, "half an ans"),
        ] {
            assert!(matches!(concluded(status, body), Outcome::NoAnswer(_)), "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_extension_members_on_the_way_on() {
        let Outcome::Refused(refusal) =
            concluded(409, r#"{"code":"out-of-stock","title":"T","shortages":[{"sku":"A"}]}"#)
        else {
            panic!("a refusal")
        };
        let problem = Problem::from(refusal).to_json(None);
        assert_eq!(problem["shortages"][0]["sku"], "A");
        assert_eq!(problem["title"], "T");
    }

    #[test]
    fn any_text_fits_into_a_query() {
        let callee = Callee::new("x", "http://127.0.0.1:1/").unwrap();
        let call = callee.get("/v1/products").query("q", "thé & co/é?").query("limit", "3");
        assert_eq!(
            call.url,
            "http://127.0.0.1:1/v1/products?q=th%C3%A9%20%26%20co%2F%C3%A9%3F&limit=3"
        );
        assert!(Callee::new("x", "nonsense").is_none());
        assert!(Callee::new("x", "http://").is_none());
    }

    #[tokio::test]
    async fn a_dead_callee_is_no_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let callee = Callee::new("dead", &format!("http://{address}")).unwrap();
        let outcome = callee.get("/x").send::<Value>().await;
        assert!(matches!(outcome, Outcome::NoAnswer(ref n) if n.callee == "dead"), "{outcome:?}");
    }
}
