//! The way of events to apps, and of outboxes to the broker: through the data plane, like any
//! other call, so that readiness, balancing and traces are the same.

use std::time::Duration;

use archipel_broker::{Answer, Deliver, Delivery, Pull, PullError};
use archipel_gateway::{Body, Caller, Gateway, Problem};
use archipel_model::{EdgePolicy, Retry};
use archipel_rt::clock;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// As much of a subscriber's answer as is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// An outbox answers with at most this much; the broker asks for less when it is more.
const OUTBOX_BYTES_MAX: usize = 16 << 20;
/// A handler that takes longer counts as failed, and its event comes again.
const DELIVERY_MAX: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct AppCaller {
    gateway: Gateway,
}

impl AppCaller {
    pub fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }
}

/// The broker retries by itself, with the event's own patience: the data plane must not do it
/// a second time underneath.
fn policy(timeout: Duration) -> EdgePolicy {
    EdgePolicy {
        timeout: Some(timeout),
        retry: Retry { attempts: 0, ..Retry::default() },
        hold: None,
        ..EdgePolicy::default()
    }
}

/// Nobody was there to take the request, so it says nothing about the event: no instance is
/// ready, none accepts connections although its probe says so, or the service is left out of
/// this run (`up --only`).
fn is_absent(problem: Problem) -> bool {
    matches!(problem, Problem::NoInstance | Problem::ConnectFailed | Problem::UnknownService)
}

#[async_trait]
impl Deliver for AppCaller {
    async fn deliver(&self, delivery: Delivery) -> Answer {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(delivery.path.as_str())
            .header(header::CONTENT_TYPE, "application/cloudevents+json")
            .header("pubsubname", crate::PUBSUB)
            .header("x-archipel-topic", delivery.topic.as_str())
            .header("x-archipel-attempt", delivery.attempt);
        if let Some(parent) = &delivery.traceparent {
            request = request.header("traceparent", parent);
        }
        let request = match request.body(Body::full(delivery.event)) {
            Ok(request) => request,
            Err(error) => return Answer::Failed { reason: format!("cannot be sent: {error}") },
        };
        let policy = policy(DELIVERY_MAX);
        let call = self.gateway.call(Caller::Archipel, &delivery.service, &policy, request);
        let response = match call.await {
            Ok(response) => response,
            Err(refusal) if is_absent(refusal.problem) => return Answer::NoInstance,
            Err(refusal) => return Answer::Failed { reason: refusal.detail },
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = match clock::timeout(DELIVERY_MAX, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            // The status stands: what a success says beyond it is of no consequence when it is
            // too long, and a failure stays a failure.
            Ok(Err(error)) if error.is::<LengthLimitError>() => Bytes::new(),
            Ok(Err(error)) => {
                return Answer::Failed { reason: format!("the answer broke off: {error}") };
            }
            Err(_) => return Answer::Failed { reason: "the answer did not end".to_owned() },
        };
        Answer::Http { status, body, retry_after }
    }

    async fn pull_outbox(&self, pull: Pull) -> Result<Bytes, PullError> {
        let separator = if pull.path.contains('?') { '&' } else { '?' };
        let uri = format!(
            "{}{separator}after={}&limit={}&wait_ms={}",
            pull.path,
            pull.after,
            pull.limit,
            pull.wait.as_millis()
        );
        let failed = |reason: String| PullError::Failed { reason };
        let request = Request::builder()
            .method(Method::GET)
            .uri(uri)
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|error| failed(error.to_string()))?;
        let policy = policy(pull.wait + Duration::from_secs(10));
        let call = self.gateway.call(Caller::Archipel, &pull.service, &policy, request);
        let response = call.await.map_err(|refusal| match is_absent(refusal.problem) {
            true => PullError::NoInstance,
            false => failed(refusal.detail),
        })?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(failed(format!("{} answered {status}", pull.path)));
        }
        let body = Limited::new(response.into_body(), OUTBOX_BYTES_MAX).collect();
        match clock::timeout(Duration::from_secs(30), body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(PullError::TooLarge { limit: OUTBOX_BYTES_MAX })
            }
            Ok(Err(error)) => Err(failed(format!("the answer broke off: {error}"))),
            Err(_) => Err(failed("the answer did not end within 30s".to_owned())),
        }
    }
}

/// Seconds only: a date would need the app's clock to agree with ours.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
