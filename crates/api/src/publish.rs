//! Publishing through the API of a service.

use archipel_broker::{Broker, Envelope, EventError, PublishError, PublishRequest};
use archipel_model::TopicName;
use archipel_rt::clock;
use bytes::Bytes;
use http::{HeaderMap, header};
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

/// What a request says beside its events.
pub(crate) struct Prepared {
    pub(crate) metadata: Vec<(String, String)>,
    now: OffsetDateTime,
}

impl Prepared {
    /// # Errors
    /// When the request names no topic of ours.
    pub(crate) fn of(request: &Publish<'_>) -> Result<Self, ApiError> {
        if request.pubsub.is_empty() {
            return Err(ApiError::PubsubEmpty);
        }
        if request.pubsub != crate::PUBSUB {
            return Err(ApiError::PubsubNotFound { name: request.pubsub.to_owned() });
        }
        if request.topic.is_empty() {
            return Err(ApiError::TopicEmpty { pubsub: request.pubsub.to_owned() });
        }
        Ok(Self { metadata: route::metadata(request.query), now: clock::wall().into() })
    }

    /// The event that `body` becomes, and whether it is to be stored once.
    pub(crate) fn event<'b>(
        &self,
        of: &ServiceApi,
        request: &Publish<'_>,
        content: &Content<'b>,
    ) -> Result<(Envelope<'b>, bool), ApiError> {
        let metadata = content.metadata;
        let expiration = time_to_live(metadata)?.map(|ttl| rfc3339(self.now + ttl));
        let id = uuid::Uuid::new_v4().to_string();
        let input = Input {
            body: content.body,
            content_type: content.content_type,
            metadata,
            app_id: of.service.as_str(),
            topic: request.topic,
            traceparent: &content.trace.parent,
            tracestate: &content.trace.state,
            fresh_id: &id,
            now: &rfc3339(self.now),
            expiration: expiration.as_deref(),
        };
        // A client that gives its own id may repeat the request: the same event is stored once.
        let once = metadata.iter().any(|(key, _)| key == "cloudevent.id")
            || content.content_type.starts_with("application/cloudevents+json");
        Ok((envelope(&input)?, once))
    }
}

/// One event as the client has it.
pub(crate) struct Content<'b> {
    pub(crate) body: &'b [u8],
    pub(crate) content_type: &'b str,
    /// Keys in lower case.
    pub(crate) metadata: &'b [(String, String)],
    pub(crate) trace: &'b Trace,
}

/// # Errors
/// When the manifest does not declare that the service publishes it.
pub(crate) fn declared(of: &ServiceApi, topic: &str) -> Result<TopicName, ApiError> {
    let name = TopicName::new(topic).ok().filter(|topic| of.publishes.contains(topic));
    let forbidden =
        || ApiError::TopicForbidden { topic: topic.to_owned(), service: of.service.clone() };
    name.ok_or_else(forbidden)
}

/// Durable when it returns.
///
/// # Errors
/// In the order in which Dapr checks: names, metadata, envelope, rights, storage.
pub(crate) async fn publish(
    broker: &Broker,
    of: &ServiceApi,
    request: Publish<'_>,
) -> Result<(), ApiError> {
    let prepared = Prepared::of(&request)?;
    let content_type = request.headers.get(header::CONTENT_TYPE);
    let content = Content {
        body: request.body,
        content_type: content_type.and_then(|value| value.to_str().ok()).unwrap_or_default(),
        metadata: &prepared.metadata,
        trace: request.trace,
    };
    let (event, once) = prepared.event(of, &request, &content)?;
    let topic = declared(of, request.topic)?;
    let publish = PublishRequest { topic: topic.clone(), event, once };
    broker.publish(publish).await.map(drop).map_err(|error| refused(&topic, error))
}

pub(crate) fn refused(topic: &TopicName, error: PublishError) -> ApiError {
    let reason = archipel_rt::chain(&error);
    let topic = topic.to_string();
    match error {
        PublishError::Event { source: EventError::TooLarge { .. }, .. } => {
            ApiError::TooLarge { topic, reason }
        }
        PublishError::Event { source: EventError::Schema { schema, mismatch }, .. } => {
            ApiError::Schema { topic, schema, mismatch }
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

/// To the second, as Dapr writes times.
pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}
