//! Answers of the admin API: a JSON document, a stream of them, or a problem.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http::{HeaderMap, Response, StatusCode, header};
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

/// How a stream of documents is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One document a line.
    Lines,
    /// Server-sent events, which a browser opens again by itself.
    Events,
}

impl Form {
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        match accept {
            Some(accept) if accept.contains("text/event-stream") => Self::Events,
            _ => Self::Lines,
        }
    }
}

/// Documents as they come.
pub(crate) fn lines<T: Serialize>(
    items: impl Stream<Item = T> + Send + 'static,
    form: Form,
) -> Answer {
    let frames = items.map(move |item| {
        let mut bytes = if form == Form::Events { b"data: ".to_vec() } else { Vec::new() };
        // A JSON text as serde writes it has no line end of its own.
        let written = serde_json::to_writer(&mut bytes, &item);
        debug_assert!(written.is_ok(), "views are plain data");
        bytes.extend_from_slice(if form == Form::Events { b"\n\n" } else { b"\n" });
        Bytes::from(bytes)
    });
    match form {
        Form::Lines => streamed("application/x-ndjson", frames),
        Form::Events => streamed(EVENT_STREAM, stream::iter([FIRST]).chain(frames)),
    }
}

const EVENT_STREAM: &str = "text/event-stream";

/// Sent at once, so that a browser knows that it is connected before anything happens.
const FIRST: Bytes = Bytes::from_static(b"retry: 1000\n\n");

/// One named message of a stream that carries several kinds.
pub(crate) struct Message(Bytes);

impl Message {
    pub(crate) fn new(name: &str, data: &impl Serialize) -> Self {
        let mut bytes = format!("event: {name}\ndata: ").into_bytes();
        let written = serde_json::to_writer(&mut bytes, data);
        debug_assert!(written.is_ok(), "views are plain data");
        bytes.extend_from_slice(b"\n\n");
        Self(bytes.into())
    }
}

pub(crate) fn messages(items: impl Stream<Item = Message> + Send + 'static) -> Answer {
    streamed(EVENT_STREAM, stream::iter([FIRST]).chain(items.map(|message| message.0)))
}

fn streamed(kind: &'static str, parts: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    let frames = parts.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
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
