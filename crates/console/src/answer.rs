//! Answers of the admin API: a JSON document, a stream of them, or a problem.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;

use archipel_control::ControlError;

use crate::view::Problem;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Answer = Response<Body>;

pub(crate) fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => with(StatusCode::OK, "application/json", bytes),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), None),
    }
}

/// One document a line, as they come.
pub(crate) fn lines<T: Serialize>(items: impl Stream<Item = T> + Send + 'static) -> Answer {
    let frames = items.map(|item| {
        let mut bytes = serde_json::to_vec(&item).unwrap_or_default();
        bytes.push(b'\n');
        Ok::<_, Infallible>(Frame::data(Bytes::from(bytes)))
    });
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = header::HeaderValue::from_static("application/x-ndjson");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

pub(crate) fn with(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(bytes.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}

/// `exit`: what a command line should end with.
pub(crate) fn problem(status: StatusCode, detail: String, exit: Option<u8>) -> Answer {
    let title = status.canonical_reason().unwrap_or("Problem").to_owned();
    let problem = Problem { title, status: status.as_u16(), detail, exit };
    let bytes = serde_json::to_vec(&problem).unwrap_or_default();
    with(status, "application/problem+json", bytes)
}

/// A usage error: the caller named something that is not there, or asked for nonsense.
pub(crate) fn bad(detail: impl Into<String>) -> Answer {
    problem(StatusCode::BAD_REQUEST, detail.into(), Some(2))
}

pub(crate) fn control_problem(error: &ControlError) -> Answer {
    let (status, exit) = match error {
        ControlError::Unknown { .. }
        | ControlError::UnknownJob { .. }
        | ControlError::LeftOut { .. } => (StatusCode::NOT_FOUND, 2),
        ControlError::Secrets(_) => (StatusCode::CONFLICT, 3),
        ControlError::Ports(_) | ControlError::NotPrepared(_) => (StatusCode::CONFLICT, 1),
        ControlError::Broker(_) => (StatusCode::INTERNAL_SERVER_ERROR, 1),
        ControlError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, 4),
    };
    problem(status, archipel_rt::chain(error), Some(exit))
}
