//! Publishing through the API of a service.

use archipel_broker::{Broker, EventError, PublishError, PublishRequest};
use archipel_model::TopicName;
use archipel_rt::clock;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::envelope::{Input, envelope};
use crate::error::ApiError;
use crate::route;
use crate::server::ServiceApi;
use crate::trace::Trace;

pub(crate) struct Publish<'a> {
    pub(crate) pubsub: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) trace: &'a Trace,
    pub(crate) body: &'a Bytes,
}

/// Durable when it returns.
///
/// # Errors
/// In the order in which Dapr checks: names, metadata, rights, envelope, storage.
pub(crate) async fn publish(
    broker: &Broker,
    of: &ServiceApi,
    request: Publish<'_>,
) -> Result<(), ApiError> {
    if request.pubsub.is_empty() {
        return Err(ApiError::PubsubEmpty);
    }
    if request.pubsub != crate::PUBSUB {
        return Err(ApiError::PubsubNotFound { name: request.pubsub.to_owned() });
    }
    if request.topic.is_empty() {
        return Err(ApiError::TopicEmpty { pubsub: request.pubsub.to_owned() });
    }
    let topic = TopicName::new(request.topic).ok().filter(|topic| of.publishes.contains(topic));
    let metadata = route::metadata(request.query);
    let now: OffsetDateTime = clock::wall().into();
    let expiration = time_to_live(&metadata)?.map(|ttl| rfc3339(now + ttl));
    let text = |name: HeaderName| {
        request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let id = uuid::Uuid::new_v4().to_string();
    let input = Input {
        body: request.body,
        content_type: text(header::CONTENT_TYPE),
        metadata: &metadata,
        app_id: of.service.as_str(),
        topic: request.topic,
        traceparent: &request.trace.parent,
        tracestate: &request.trace.state,
        fresh_id: &id,
        now: &rfc3339(now),
        expiration: expiration.as_deref(),
    };
    let event = envelope(&input)?;
    let Some(topic) = topic else {
        let topic = request.topic.to_owned();
        return Err(ApiError::TopicForbidden { topic, service: of.service.clone() });
    };
    // A client that gives its own id may repeat the request: the same event is stored once.
    let once = metadata.iter().any(|(key, _)| key == "cloudevent.id")
        || text(header::CONTENT_TYPE).starts_with("application/cloudevents+json");
    let publish = PublishRequest { topic: topic.clone(), event, once };
    broker.publish(publish).await.map(drop).map_err(|error| refused(&topic, &error))
}

fn refused(topic: &TopicName, error: &PublishError) -> ApiError {
    let reason = archipel_rt::chain(error);
    let topic = topic.to_string();
    match error {
        PublishError::Event { source: EventError::TooLarge { .. }, .. } => {
            ApiError::TooLarge { topic, reason }
        }
        PublishError::Event { .. } => ApiError::EventInvalid { topic, reason },
        _ => ApiError::Publish { topic, reason },
    }
}

/// `ttlInSeconds`, or `ttl` in seconds or with a unit.
fn time_to_live(metadata: &[(String, String)]) -> Result<Option<Duration>, ApiError> {
    let find = |key: &str| metadata.iter().find(|(name, _)| name == key).map(|(_, v)| v.as_str());
    let Some(text) = find("ttlinseconds").or_else(|| find("ttl")) else { return Ok(None) };
    let seconds = text.parse::<u32>().ok().map(|seconds| Duration::seconds(seconds.into()));
    let unit = || archipel_model::parse_duration(text).ok().and_then(|d| d.try_into().ok());
    seconds.or_else(unit).map(Some).ok_or_else(|| ApiError::Metadata {
        reason: format!("`{text}` is no time to live; give seconds, for example ttlInSeconds=60"),
    })
}

fn rfc3339(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}
