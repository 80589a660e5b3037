//! An event from a person, held against the topic's schema like any other.

use std::collections::BTreeMap;

use archipel_broker::{Envelope, PublishRequest};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admin::{Done, parse, rfc3339, starting, topic_named};
use crate::answer::{self, bad, problem};
use crate::server::Shared;
use crate::{example, view};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    data: Value,
    /// A new one otherwise.
    id: Option<String>,
    /// What it is about: CloudEvents' `subject`.
    key: Option<String>,
    /// Further attributes of the CloudEvent, all text.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// What the event says of itself.
const OWN: [&str; 9] =
    ["specversion", "id", "source", "type", "time", "data", "data_base64", "topic", "pubsubname"];

pub(crate) async fn publish(shared: &Shared, topic: &str, body: &[u8]) -> Done {
    let Publish { data, id, key, attributes } = parse(body)?;
    let topic = topic_named(topic)?;
    let at_ms = archipel_rt::clock::wall_ms();
    let mut event = Map::new();
    for (name, value) in attributes {
        let shaped = name.len() <= 60
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !shaped || OWN.contains(&name.as_str()) {
            return Err(bad(format!(
                "`{name}` cannot be set: an attribute is named with small letters and digits, \
                 and the event's own are not given here"
            )));
        }
        event.insert(name, Value::from(value));
    }
    let own = json!({
        "specversion": "1.0",
        "id": id.filter(|id| !id.is_empty()).unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        "source": "/archipel/cli",
        "type": topic.as_str(),
        "time": rfc3339(at_ms),
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Value::Object(own) = own {
        event.extend(own);
    }
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        event.insert("subject".to_owned(), Value::from(key));
    }
    let event = Value::Object(event);
    let bytes = event.to_string();
    let envelope = Envelope::parse(bytes.as_bytes()).map_err(|error| bad(error.to_string()))?;
    let request = PublishRequest { topic: topic.clone(), event: envelope, once: false };
    let published = shared.parts.broker.publish(request).await.map_err(|error| {
        problem(StatusCode::UNPROCESSABLE_ENTITY, archipel_rt::chain(&error), Some(1))
    })?;
    Ok(answer::json(&view::Event { topic: topic.to_string(), seq: published.seq.0, at_ms, event }))
}

/// The schema of a topic's data, and data to begin with.
pub(crate) fn schema(shared: &Shared, topic: &str) -> Done {
    let topic = topic_named(topic)?;
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    let contract = snapshot.plan.app.events.get(&topic).and_then(|of| of.schema.as_ref());
    let text = contract.and_then(|of| of.documents.get(&of.file));
    let document: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    Ok(answer::json(&view::TopicSchema {
        schema: view::TopicSchema::SCHEMA.to_owned(),
        topic: topic.to_string(),
        file: contract.map(archipel_model::EventSchema::name),
        example: document.as_ref().map_or_else(|| json!({}), |of| example::example(of, of)),
        document,
    }))
}
