//! What happens around every request: trace, limits, the log line, and no panic that escapes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use crate::db::panic_text;
use crate::problem::{Cause, Problem};
use crate::trace::{self, Trace};

/// Requests in progress; long polls and streams count only until their answer begins, except
/// the outbox's, of which there is one.
const IN_PROGRESS_MAX: usize = 1024;
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone)]
pub(crate) struct Around {
    in_progress: Arc<Semaphore>,
}

impl Default for Around {
    fn default() -> Self {
        Self { in_progress: Arc::new(Semaphore::new(IN_PROGRESS_MAX)) }
    }
}

pub(crate) async fn around(State(around): State<Around>, request: Request, next: Next) -> Response {
    let trace =
        request.headers().get("traceparent").and_then(|value| Trace::parse(value.to_str().ok()?));
    trace::scope(trace.unwrap_or_else(Trace::start), serve(around, request, next)).await
}

async fn serve(around: Around, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = match around.in_progress.try_acquire() {
        Err(_) => Problem::overloaded("Too many requests are in progress.").into_response(),
        Ok(_permit) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                Problem::internal(format!("panic: {}", panic_text(&*panic))).into_response()
            }
        },
    };
    log(&method, &uri, &mut response, started);
    response
}

/// One line per request; the probes and polls of the platform only when asked for detail.
fn log(method: &Method, uri: &Uri, response: &mut Response, started: Instant) {
    let status = response.status();
    let (path, code) = (uri.path(), status.as_u16());
    let us = started.elapsed().as_micros();
    let ms = u64::try_from(us).unwrap_or(u64::MAX) as f64 / 1000.0;
    let cause = response.extensions_mut().remove::<Cause>().map(|cause| cause.0);
    let platform = matches!(path, "/healthz" | "/readyz") || path.starts_with("/_archipel/");
    match cause {
        Some(cause) if status == StatusCode::SERVICE_UNAVAILABLE => {
            tracing::warn!(%method, path, status = code, ms, cause, "request");
        }
        Some(cause) => tracing::error!(%method, path, status = code, ms, cause, "request"),
        None if platform && status.is_success() => {
            tracing::debug!(%method, path, status = code, ms, "request")
        }
        None => tracing::info!(%method, path, status = code, ms, "request"),
    }
}

pub(crate) async fn no_such_route(method: Method, uri: Uri) -> Problem {
    Problem::not_found("such resource")
        .detail(format!("There is nothing at {method} {}.", uri.path()))
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(405, "method-not-allowed", "Not allowed here")
        .detail(format!("{} does not take {method}.", uri.path()))
}

/// Lets only the platform in, when there is a token to know it by.
pub(crate) async fn platform_only(
    State(token): State<Option<Arc<str>>>,
    request: Request,
    next: Next,
) -> Response {
    match token {
        Some(token) if !has_token(request.headers(), &token) => {
            Problem::unauthorised("This endpoint is for the platform.").into_response()
        }
        _ => next.run(request).await,
    }
}

/// Takes the same time whatever is wrong with the token.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get("dapr-api-token").map(HeaderValue::as_bytes).unwrap_or_default();
    let differs = |(a, b): (&u8, &u8)| a ^ b;
    given.len() == token.len()
        && given.iter().zip(token.as_bytes()).map(differs).fold(0, |all, one| all | one) == 0
}

/// Forbids caches to keep what the platform asks.
pub(crate) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
