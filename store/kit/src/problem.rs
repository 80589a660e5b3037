//! Every error a service answers: RFC 9457 problem details.
//!
//! A `Problem` is made where the error is understood and travels up unchanged to the wire.
//! What the caller may know is in `detail`; what only we may know is the `cause`, which the
//! request log writes once and the body never shows.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::trace::{self, Trace};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// One member of the input that is wrong, by JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    pub pointer: String,
    pub detail: String,
}

/// An error on its way to the caller.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: String,
    retryable: bool,
    retry_after: Option<Duration>,
    errors: Vec<FieldError>,
    extra: Map<String, Value>,
    cause: Option<String>,
}

/// Left in the response for the request log: why we failed, in our own words.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) String);

impl Problem {
    /// A problem with a status, a code of the contract's list and a title for people.
    pub fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.into(),
            title: title.into(),
            detail: String::new(),
            retryable: false,
            retry_after: None,
            errors: Vec::new(),
            extra: Map::new(),
            cause: None,
        }))
    }

    /// 422: the input is not what the contract says. Add the members with [`Problem::field`].
    pub fn validation(detail: impl Into<String>) -> Self {
        Self::new(422, "validation", "The request is not valid").detail(detail)
    }

    /// 404: no such thing. `what` reads like "order ord_…".
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(404, "not-found", "Not found").detail(format!("There is no {what}."))
    }

    /// 401: no token, or not a valid one.
    pub fn unauthorised(detail: impl Into<String>) -> Self {
        Self::new(401, "unauthorised", "Sign in first").detail(detail)
    }

    /// 403: signed in, but not for this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, "forbidden", "Not allowed").detail(detail)
    }

    /// 412: the caller's `If-Match` is of an older version.
    pub fn stale_version(detail: impl Into<String>) -> Self {
        Self::new(412, "stale-version", "Changed in the meantime").detail(detail)
    }

    /// 503: we have more to do than we can; nothing was done, try again.
    pub fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(503, "overloaded", "Too busy").detail(detail).retry_after(Duration::from_secs(1))
    }

    /// 503: a service that this request needs does not answer.
    pub fn dependency_unavailable(callee: &str, cause: impl fmt::Display) -> Self {
        Self::new(503, "dependency-unavailable", "A needed service does not answer")
            .detail(format!("The service `{callee}` does not answer; try again."))
            .retry_after(Duration::from_secs(1))
            .cause(format!("{callee}: {cause}"))
    }

    /// 507: the disk is full. Nothing was done; safe to try again.
    pub fn storage_full(cause: impl fmt::Display) -> Self {
        Self::new(507, "storage-full", "No space left to store this")
            .detail("Nothing was changed; try again later.")
            .retry_after(Duration::from_secs(5))
            .cause(cause)
    }

    /// 500: our fault. The cause goes to the log, not to the caller.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(500, "internal", "Something went wrong here")
            .detail("The error is in the log under this trace_id.")
            .cause(cause)
    }

    /// What this caller should know about this occurrence.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// Adds a wrong member of the input, by JSON Pointer (`/lines/0/qty`).
    pub fn field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// Adds an extension member, such as `shortages`.
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.0.extra.insert(member.to_owned(), value);
        }
        self
    }

    /// The same request may succeed later, after at least `wait`.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retryable = true;
        self.0.retry_after = Some(wait);
        self
    }

    /// For the log only.
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    pub fn status(&self) -> u16 {
        self.0.status.as_u16()
    }

    pub fn code(&self) -> &str {
        &self.0.code
    }

    pub fn detail_text(&self) -> &str {
        &self.0.detail
    }

    /// Whether wrong members were named.
    pub fn has_fields(&self) -> bool {
        !self.0.errors.is_empty()
    }

    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether asking again with the same key must give the same answer: a refusal that was
    /// decided, not a failure or a "not now".
    pub fn is_final(&self) -> bool {
        self.0.status.is_client_error() && !self.0.retryable
    }

    /// The body, with the trace id of the request.
    pub fn to_json(&self, trace: Option<&Trace>) -> Value {
        let inner = &*self.0;
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:store:problem:{}", inner.code).into());
        body.insert("title".into(), inner.title.clone().into());
        body.insert("status".into(), inner.status.as_u16().into());
        body.insert("detail".into(), inner.detail.clone().into());
        body.insert("code".into(), inner.code.clone().into());
        body.insert("trace_id".into(), trace.map(Trace::trace_id).unwrap_or_default().into());
        body.insert("retryable".into(), inner.retryable.into());
        if let Some(wait) = inner.retry_after {
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            body.insert("retry_after_ms".into(), ms.into());
        }
        if !inner.errors.is_empty() {
            body.insert("errors".into(), serde_json::to_value(&inner.errors).unwrap_or_default());
        }
        for (member, value) in &inner.extra {
            body.entry(member.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.code)?;
        if !self.0.detail.is_empty() {
            write!(f, ": {}", self.0.detail)?;
        }
        if let Some(cause) = &self.0.cause {
            write!(f, " ({cause})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json(trace::current().as_ref()).to_string();
        let mut response = (self.0.status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(wait) = self.0.retry_after {
            // Whole seconds, rounded up: an early retry helps nobody.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        if let Some(cause) = self.0.cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
        match error.sqlite_error_code() {
            Some(DiskFull) => Self::storage_full(error),
            Some(DatabaseBusy | DatabaseLocked) => {
                Self::overloaded("The database is held by another process.").cause(error)
            }
            _ => Self::internal(format!("database: {error}")),
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format!("json: {error}"))
    }
}

impl From<crate::money::MoneyError> for Problem {
    fn from(error: crate::money::MoneyError) -> Self {
        Self::validation(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_all_members_of_the_contract_and_no_cause() {
        let problem = Problem::new(409, "out-of-stock", "Not enough in stock")
            .detail("Two of three lines are short.")
            .field("/lines/0/qty", "3 wanted, 1 free")
            .with("shortages", serde_json::json!([{"sku": "A", "wanted": 3, "free": 1}]))
            .cause("secret");
        let body = problem.to_json(None);
        assert_eq!(body["type"], "urn:store:problem:out-of-stock");
        assert_eq!(body["status"], 409);
        assert_eq!(body["retryable"], false);
        assert_eq!(body["errors"][0]["pointer"], "/lines/0/qty");
        assert_eq!(body["shortages"][0]["free"], 1);
        assert!(!body.to_string().contains("secret"));
    }

    #[test]
    fn an_extension_cannot_replace_a_member_of_the_standard() {
        let body = Problem::validation("x").with("status", 200).to_json(None);
        assert_eq!(body["status"], 422);
    }

    #[test]
    fn only_decided_refusals_are_final() {
        assert!(Problem::validation("x").is_final());
        assert!(!Problem::overloaded("x").is_final());
        assert!(!Problem::internal("x").is_final());
        assert!(
            !Problem::new(409, "request-in-progress", "x")
                .retry_after(Duration::from_secs(1))
                .is_final()
        );
    }
}
