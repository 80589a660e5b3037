//! One table from what went wrong to what Dapr's clients expect to read.

use archipel_broker::Mismatch;
use archipel_model::ServiceName;
use http::StatusCode;
use serde_json::{Value, json};

use crate::workflows::Act;

/// An answer of the API that is no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("pubsub {name} is not found; Archipel's own is called `{}`", crate::PUBSUB)]
    PubsubNotFound { name: String },
    #[error("pubsub name is empty")]
    PubsubEmpty,
    #[error("topic is empty in pubsub {pubsub}")]
    TopicEmpty { pubsub: String },
    #[error(
        "topic {topic} is not allowed for app id {service}: the manifest does not declare it. \
         If it should, add to [services.{service}]: publishes = [\"{topic}\"]"
    )]
    TopicForbidden { topic: String, service: ServiceName },
    #[error("failed getting metadata: {reason}")]
    Metadata { reason: String },
    #[error("cannot create cloudevent: {reason}")]
    CloudEvent { reason: String },
    #[error("error when publish to topic {topic} in pubsub {}: {reason}", crate::PUBSUB)]
    TooLarge { topic: String, reason: String },
    #[error("the event for topic {topic} is not valid: {reason}")]
    EventInvalid { topic: String, reason: String },
    #[error("the event for topic {topic} does not match its schema {schema}: {mismatch}")]
    Schema { topic: String, schema: String, mismatch: Mismatch },
    #[error("error when publish to topic {topic} in pubsub {}: {reason}", crate::PUBSUB)]
    Publish { topic: String, reason: String },
    #[error("failed to read request body: {reason}")]
    Body { reason: String },
    #[error(
        "`{caller}` may not call `{callee}`: the manifest does not declare it. \
         If it should, add to [services.{caller}]: calls = [\"{callee}\"]"
    )]
    CallForbidden { caller: ServiceName, callee: String },
    #[error("failed getting app id either from the URL path or the header dapr-app-id")]
    NoTarget,
    #[error("failed to invoke, id: {id}, err: there is no such service")]
    UnknownTarget { id: String },
    #[error("failed to invoke, id: {id}, err: {reason}")]
    Invoke { id: String, reason: String },
    #[error("dapr app-id does not match: this is the API of {id}")]
    AppId { id: ServiceName },
    #[error("workflow name is not configured")]
    WorkflowName,
    #[error("no instance ID was provided")]
    InstanceIdMissing,
    #[error(
        "workflow instance ID '{id}' is invalid: only letters, digits, dashes and underscores \
         are allowed"
    )]
    InstanceIdInvalid { id: String },
    #[error("workflow instance ID exceeds the max length of {limit} characters")]
    InstanceIdTooLong { limit: usize },
    #[error("missing workflow event name")]
    WorkflowEventName,
    #[error("workflows of another app: {reason}")]
    WorkflowApp { reason: String },
    #[error("unable to find workflow with the provided instance ID: {id}")]
    InstanceNotFound { id: String },
    #[error("error {} '{what}': {reason}", act.words())]
    Workflow { act: Act, what: String, reason: String },
    #[error(transparent)]
    State(crate::state::StateFault),
    #[error("invalid request: {reason}")]
    BadRequest { reason: String },
    #[error("this building block is not served by this version of Archipel: {path}")]
    Unimplemented { path: String },
}

impl ApiError {
    /// HTTP status, `errorCode`, and the reason of the rich error where Dapr has one.
    fn facts(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        use StatusCode as S;
        match self {
            Self::PubsubNotFound { .. } => {
                (S::NOT_FOUND, "ERR_PUBSUB_NOT_FOUND", Some("DAPR_PUBSUB_NOT_FOUND"))
            }
            Self::PubsubEmpty => (S::NOT_FOUND, "ERR_PUBSUB_EMPTY", Some("DAPR_PUBSUB_NAME_EMPTY")),
            Self::TopicEmpty { .. } => {
                (S::NOT_FOUND, "ERR_TOPIC_NAME_EMPTY", Some("DAPR_PUBSUB_TOPIC_NAME_EMPTY"))
            }
            Self::TopicForbidden { .. } => {
                (S::FORBIDDEN, "ERR_PUBSUB_FORBIDDEN", Some("DAPR_PUBSUB_FORBIDDEN"))
            }
            Self::Metadata { .. } => (
                S::BAD_REQUEST,
                "ERR_PUBSUB_REQUEST_METADATA",
                Some("DAPR_PUBSUB_METADATA_DESERIALIZATION"),
            ),
            Self::CloudEvent { .. } => (
                S::INTERNAL_SERVER_ERROR,
                "ERR_PUBSUB_CLOUD_EVENTS_SER",
                Some("DAPR_PUBSUB_CLOUD_EVENT_CREATION"),
            ),
            Self::TooLarge { .. } => (
                S::PAYLOAD_TOO_LARGE,
                "ERR_PUBSUB_PUBLISH_MESSAGE",
                Some("DAPR_PUBSUB_PUBLISH_MESSAGE"),
            ),
            // What the client sent is not a CloudEvent after all, for example of version 0.3.
            Self::EventInvalid { .. } => {
                (S::BAD_REQUEST, "ERR_PUBSUB_EVENTS_SER", Some("DAPR_PUBSUB_UNMARSHAL_EVENTS"))
            }
            // Dapr knows no schemas; so the tag of an event that is not as it should be.
            Self::Schema { .. } => {
                (S::BAD_REQUEST, "ERR_PUBSUB_EVENTS_SER", Some("ARCHIPEL_EVENT_SCHEMA"))
            }
            Self::Publish { .. } => (
                S::INTERNAL_SERVER_ERROR,
                "ERR_PUBSUB_PUBLISH_MESSAGE",
                Some("DAPR_PUBSUB_PUBLISH_MESSAGE"),
            ),
            Self::Body { .. } => (S::BAD_REQUEST, "ERR_BODY_READ", None),
            Self::CallForbidden { .. } => (S::FORBIDDEN, "ERR_DIRECT_INVOKE", None),
            Self::NoTarget | Self::UnknownTarget { .. } => {
                (S::NOT_FOUND, "ERR_DIRECT_INVOKE", None)
            }
            Self::Invoke { .. } => (S::INTERNAL_SERVER_ERROR, "ERR_DIRECT_INVOKE", None),
            Self::AppId { .. } => (S::INTERNAL_SERVER_ERROR, "ERR_HEALTH_APPID_NOT_MATCH", None),
            Self::WorkflowName => (S::BAD_REQUEST, "ERR_WORKFLOW_NAME_MISSING", None),
            Self::InstanceIdMissing => (S::BAD_REQUEST, "ERR_INSTANCE_ID_PROVIDED_MISSING", None),
            Self::InstanceIdInvalid { .. } => (S::BAD_REQUEST, "ERR_INSTANCE_ID_INVALID", None),
            Self::InstanceIdTooLong { .. } => (S::BAD_REQUEST, "ERR_INSTANCE_ID_TOO_LONG", None),
            Self::WorkflowEventName => (S::BAD_REQUEST, "ERR_WORKFLOW_EVENT_NAME_MISSING", None),
            Self::WorkflowApp { .. } => (S::FORBIDDEN, "ERR_WORKFLOW_APP_ID_INVALID", None),
            Self::InstanceNotFound { .. } => (S::NOT_FOUND, "ERR_INSTANCE_ID_NOT_FOUND", None),
            Self::Workflow { act, .. } => (S::INTERNAL_SERVER_ERROR, act.code(), None),
            Self::State(fault) => fault.facts(),
            Self::BadRequest { .. } => (S::BAD_REQUEST, "ERR_BAD_REQUEST", None),
            Self::Unimplemented { .. } => (S::NOT_IMPLEMENTED, "ERR_API_UNIMPLEMENTED", None),
        }
    }

    pub fn status(&self) -> StatusCode {
        self.facts().0
    }

    /// `{"errorCode":…,"message":…}`, with `details` where Dapr's errors are rich.
    pub fn json(&self, service: &ServiceName) -> Value {
        let (_, code, reason) = self.facts();
        let mut body = json!({ "errorCode": code, "message": self.to_string() });
        if let Some(reason) = reason {
            body["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "dapr.io",
                "metadata": { "appID": service.as_str() },
            }]);
        }
        if let Self::State(fault) = self
            && let Some(details) = body.get_mut("details").and_then(Value::as_array_mut)
        {
            fault.detail(details);
        }
        if let Self::Schema { topic, schema, mismatch } = self {
            body["details"][0]["domain"] = json!("archipel");
            body["details"][0]["metadata"]["topic"] = json!(topic);
            body["details"][0]["metadata"]["schema"] = json!(schema);
            let violations = mismatch.faults.iter().map(|fault| {
                json!({ "field": format!("/data{}", fault.at), "description": fault.expected })
            });
            let bad_request = json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": violations.collect::<Vec<_>>(),
            });
            body["details"].as_array_mut().expect("it was made so above").push(bad_request);
        }
        body
    }
}
