//! The answers that we make ourselves, always in one shape that says what, where and why.
//!
//! RFC 9457 for programs, a small page for a person with a browser, `grpc-status` for gRPC; and
//! `x-archipel-refused` on each, so that nobody takes our answer for the app's.

use std::fmt::Write as _;

use archipel_model::ServiceName;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::Body;

pub(crate) const REFUSED: HeaderName = HeaderName::from_static("x-archipel-refused");

/// The kinds of refusal; the slug is part of our interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    NoRoute,
    HostUnknown,
    MethodNotAllowed,
    BadRequest,
    BadFraming,
    HeadersTooLarge,
    BodyTooLarge,
    Undeclared,
    UnknownService,
    NoInstance,
    ConnectFailed,
    UpstreamReset,
    Timeout,
    /// The caller will not wait any longer.
    Deadline,
    TooManyInflight,
    /// The breaker of this edge is open.
    CircuitOpen,
    /// The service has too much to do for requests of this priority.
    Overloaded,
    /// The caller wants only what is stored.
    NotCached,
    /// We cannot speak what the callee speaks.
    Unsupported,
    /// Made on purpose, to see what becomes of it.
    Fault,
    /// The caller went away before it had its answer; nobody reads this one.
    CallerGone,
    /// More requests than a limit allows.
    RateLimited,
    /// Nobody has proven who sends this.
    Unauthenticated,
    /// Who sends this is known, and may not.
    Forbidden,
    AddressDenied,
    BotDenied,
    /// A page of another origin asks for what it may not.
    OriginDenied,
    /// Nobody can be let in for want of what proofs are checked with.
    KeysUnavailable,
}

impl Problem {
    pub fn slug(self) -> &'static str {
        self.facts().0
    }

    pub fn status(self) -> StatusCode {
        self.facts().1
    }

    pub fn title(self) -> &'static str {
        self.facts().2
    }

    /// The gRPC status code that says the same.
    pub fn grpc(self) -> u8 {
        self.facts().3
    }

    /// What the one who gets it can do.
    pub fn advice(self) -> &'static str {
        crate::guard::advice::of(self)
    }

    fn facts(self) -> (&'static str, StatusCode, &'static str, u8) {
        use StatusCode as S;
        match self {
            Self::NoRoute => ("no-route", S::NOT_FOUND, "Nothing is served here", 12),
            Self::HostUnknown => {
                ("host-unknown", S::MISDIRECTED_REQUEST, "This host is not served here", 12)
            }
            Self::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "This method is not served here", 12)
            }
            Self::BadRequest => ("bad-request", S::BAD_REQUEST, "The request is not valid", 3),
            Self::BadFraming => {
                ("bad-framing", S::BAD_REQUEST, "Where the request ends is ambiguous", 3)
            }
            Self::HeadersTooLarge => (
                "headers-too-large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request has too many headers",
                8,
            ),
            Self::BodyTooLarge => {
                ("body-too-large", S::PAYLOAD_TOO_LARGE, "The request body is too large", 8)
            }
            Self::Undeclared => ("undeclared", S::FORBIDDEN, "This call is not declared", 7),
            Self::UnknownService => {
                ("unknown-service", S::NOT_FOUND, "There is no service of this name", 5)
            }
            Self::NoInstance => {
                ("no-instance", S::SERVICE_UNAVAILABLE, "No instance is ready to serve", 14)
            }
            Self::ConnectFailed => {
                ("connect-failed", S::BAD_GATEWAY, "No instance accepts connections", 14)
            }
            Self::UpstreamReset => (
                "upstream-reset",
                S::BAD_GATEWAY,
                "The instance broke off before it had answered",
                14,
            ),
            Self::Timeout => {
                ("timeout", S::GATEWAY_TIMEOUT, "The service did not answer in time", 4)
            }
            Self::Deadline => {
                ("deadline", S::GATEWAY_TIMEOUT, "The caller's time for this is up", 4)
            }
            Self::TooManyInflight => (
                "too-many-inflight",
                S::SERVICE_UNAVAILABLE,
                "Too many requests are waiting for this service",
                8,
            ),
            Self::CircuitOpen => (
                "circuit-open",
                S::SERVICE_UNAVAILABLE,
                "The service failed too often just now",
                14,
            ),
            Self::Overloaded => {
                ("overloaded", S::SERVICE_UNAVAILABLE, "The service has too much to do just now", 8)
            }
            Self::NotCached => {
                ("not-cached", S::GATEWAY_TIMEOUT, "Nothing that is stored can answer this", 14)
            }
            Self::Unsupported => {
                ("unsupported", S::NOT_IMPLEMENTED, "This cannot be forwarded", 12)
            }
            Self::Fault => ("fault", S::SERVICE_UNAVAILABLE, "A fault on purpose", 14),
            Self::CallerGone => {
                ("caller-gone", S::BAD_REQUEST, "The caller broke off the request", 1)
            }
            Self::RateLimited => {
                ("rate-limited", S::TOO_MANY_REQUESTS, "Too many requests in too short a time", 8)
            }
            Self::Unauthenticated => {
                ("unauthenticated", S::UNAUTHORIZED, "It is not known who sends this", 16)
            }
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "Who sends this may not do it", 7),
            Self::AddressDenied => {
                ("address-denied", S::FORBIDDEN, "This address may not come in here", 7)
            }
            Self::BotDenied => ("bot-denied", S::FORBIDDEN, "This program is not served here", 7),
            Self::OriginDenied => {
                ("origin-denied", S::FORBIDDEN, "Pages of this origin may not call this", 7)
            }
            Self::KeysUnavailable => (
                "keys-unavailable",
                S::SERVICE_UNAVAILABLE,
                "Nobody can be recognised at the moment",
                14,
            ),
        }
    }
}

/// Why a request got no answer from an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", problem.slug())]
pub struct Refusal {
    pub problem: Problem,
    /// One sentence for the reader: what, where, why.
    pub detail: String,
    /// Which rule spoke: `edge cart->catalog`, `route /api/**`.
    pub rule: String,
    pub retry_after_s: Option<u32>,
    /// For [`Problem::MethodNotAllowed`].
    pub allow: Option<String>,
}

/// How the one who gets a refusal likes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Problem,
    Html,
    Grpc,
}

impl Form {
    /// `public`: a person may be on the other side.
    pub fn of(headers: &HeaderMap, method: &Method, public: bool) -> Self {
        let text = |name| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        if text(header::CONTENT_TYPE).starts_with(b"application/grpc") {
            return Self::Grpc;
        }
        let accept = text(header::ACCEPT);
        let browser = public
            && matches!(*method, Method::GET | Method::HEAD | Method::POST)
            && accept.windows(9).any(|w| w.eq_ignore_ascii_case(b"text/html"));
        if browser { Self::Html } else { Self::Problem }
    }
}

impl Refusal {
    pub fn new(problem: Problem, rule: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { problem, detail: detail.into(), rule: rule.into(), retry_after_s: None, allow: None }
    }

    /// A call along an edge that the application does not have.
    pub fn undeclared(caller: &ServiceName, callee: &ServiceName) -> Self {
        let detail = format!(
            "`{caller}` does not declare that it calls `{callee}`. \
             If it should, add to the application file: [services.{caller}.calls] {callee} = {{}}"
        );
        Self::new(Problem::Undeclared, format!("edge {caller}->{callee}"), detail)
    }

    /// For those who must not learn how things are arranged here.
    pub(crate) fn hush(mut self) -> Self {
        self.rule.clear();
        self.problem.title().clone_into(&mut self.detail);
        self
    }

    /// Whether the same request may be sent again without being done twice.
    pub fn is_unsent(&self) -> bool {
        !matches!(self.problem, Problem::UpstreamReset | Problem::Timeout | Problem::Deadline)
    }

    pub fn into_response(self, form: Form) -> Response<Body> {
        let status = match form {
            Form::Grpc => StatusCode::OK,
            Form::Problem | Form::Html => self.problem.status(),
        };
        let mut response = Response::new(match form {
            Form::Problem => Body::full(self.json()),
            Form::Html => Body::full(self.html()),
            Form::Grpc => Body::empty(),
        });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let content_type = match form {
            Form::Problem => "application/problem+json",
            Form::Html => "text/html; charset=utf-8",
            Form::Grpc => "application/grpc",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REFUSED, plain(&format!("{}; {}", self.problem.slug(), self.rule)));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = &self.allow {
            headers.insert(header::ALLOW, plain(allow));
        }
        if form == Form::Grpc {
            let name = HeaderName::from_static;
            headers.insert(name("grpc-status"), HeaderValue::from(u16::from(self.problem.grpc())));
            headers.insert(name("grpc-message"), plain(&grpc_message(&self.detail)));
        }
        response
    }

    fn json(&self) -> String {
        let mut out = String::with_capacity(256 + self.detail.len());
        let _ = write!(
            out,
            r#"{{"type":"urn:archipel:problem:{}","title":"{}","status":{},"detail":"#,
            self.problem.slug(),
            self.problem.title(),
            self.problem.status().as_u16(),
        );
        push_json_string(&mut out, &self.detail);
        if !self.rule.is_empty() {
            out.push_str(r#","help":"#);
            push_json_string(&mut out, self.problem.advice());
            out.push_str(r#","rule":"#);
            push_json_string(&mut out, &self.rule);
        }
        out.push('}');
        out
    }

    fn html(&self) -> String {
        let status = self.problem.status().as_u16();
        let title = self.problem.title();
        let detail = escape_html(&self.detail);
        let slug = self.problem.slug();
        let advice = if self.rule.is_empty() { "" } else { self.problem.advice() };
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {title}</title>\
             <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;\
             max-width:34rem;margin:18vh auto;padding:0 1.5rem}}h1{{font-size:1.5rem;\
             margin:0 0 .5rem}}p{{margin:.5rem 0}}small{{opacity:.65}}</style>\
             <h1>{title}</h1><p>{detail}</p><p>{advice}</p><p><small>{status} · {slug}</small></p></html>\n"
        )
    }
}

/// A value that is safe in a header: what is not printable ASCII becomes `?`.
pub(crate) fn plain(text: &str) -> HeaderValue {
    let clean: String =
        text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    HeaderValue::try_from(clean).expect("printable ASCII is valid in a header")
}

/// gRPC sends its message percent-encoded.
fn grpc_message(text: &str) -> String {
    const KEEP: percent_encoding::AsciiSet = percent_encoding::CONTROLS.add(b'%');
    percent_encoding::utf8_percent_encode(text, &KEEP).to_string()
}

fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        Refusal::new(Problem::NoInstance, "route /\u{1}é", "`a\"b` <i>\n\u{7} is \\ down")
    }

    #[tokio::test]
    async fn problems_are_json_whatever_they_say() {
        let response = refusal().into_response(Form::Problem);
        assert_eq!(response.headers()["x-archipel-refused"], "no-instance; route /??");
        let body = response.into_body().collect(4096).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["type"], "urn:archipel:problem:no-instance");
        assert_eq!(json["status"], 503);
        assert_eq!(json["detail"], refusal().detail);
    }

    #[tokio::test]
    async fn pages_carry_no_markup_from_outside() {
        let response = refusal().into_response(Form::Html);
        let body = response.into_body().collect(4096).await.unwrap();
        let page = std::str::from_utf8(&body).unwrap();
        assert!(page.contains("&lt;i&gt;") && !page.contains("<i>"), "{page}");
    }

    #[test]
    fn grpc_gets_its_own_status() {
        let response = refusal().into_response(Form::Grpc);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert!(response.headers()["grpc-message"].to_str().unwrap().contains("%0A%07"));
    }
}
