//! Publishing many events of one topic in one request.
//!
//! The answer is Dapr's: nothing when all are stored, else the entries that are not. One entry
//! that cannot be taken keeps back no other; those that can are stored in one write, in order.

use std::collections::BTreeSet;

use archipel_broker::{Broker, EventError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::envelope::{self, media_type};
use crate::error::ApiError;
use crate::publish::{Content, Prepared, Publish, declared, refused};
use crate::server::ServiceApi;

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    /// Dapr reads names of members in any case, and its JavaScript SDK has it so.
    #[serde(default, alias = "entryID")]
    entry_id: String,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(default)]
    content_type: String,
    #[serde(default)]
    metadata: Option<serde_json::Map<String, Value>>,
}

/// An entry that was not stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailedEntry {
    id: String,
    pub(crate) error: String,
}

/// # Errors
/// What is wrong with the request as a whole: nothing of it was stored.
pub(crate) async fn publish_bulk(
    broker: &Broker,
    of: &ServiceApi,
    request: Publish<'_>,
) -> Result<Vec<FailedEntry>, ApiError> {
    let prepared = Prepared::of(&request)?;
    let entries = read(request.topic, request.body)?;
    // What the events borrow from.
    let mut owned = Vec::with_capacity(entries.len());
    for entry in &entries {
        let bad = |reason: String| invalid(request.topic, &entry.entry_id, &reason);
        let body = bytes_of(entry).map_err(bad)?;
        let metadata = overlaid(&prepared.metadata, entry).map_err(bad)?;
        // A span of its own in the request's trace for each.
        owned.push((body, metadata, request.trace.child()));
    }
    let mut events = Vec::with_capacity(entries.len());
    for (entry, (body, metadata, trace)) in entries.iter().zip(&owned) {
        let content = Content { body, content_type: &entry.content_type, metadata, trace };
        events.push(prepared.event(of, &request, &content)?);
    }
    let topic = declared(of, request.topic)?;
    let stored = broker.publish_all(&topic, events).await;
    let results = stored.map_err(|error| refused(&topic, error))?;
    let failed = entries.iter().zip(results).filter_map(|(entry, result)| {
        let error = result.err()?;
        Some(FailedEntry { id: entry.entry_id.clone(), error: told(&error) })
    });
    Ok(failed.collect())
}

fn told(error: &EventError) -> String {
    format!("the event was not taken: {error}")
}

fn invalid(topic: &str, entry: &str, reason: &str) -> ApiError {
    ApiError::EventInvalid { topic: topic.to_owned(), reason: format!("entry `{entry}`: {reason}") }
}

fn read<'a>(topic: &str, body: &'a [u8]) -> Result<Vec<Entry<'a>>, ApiError> {
    let entries: Vec<Entry<'a>> = serde_json::from_slice(body).map_err(|error| {
        let reason = format!("the body is no array of entries: {error}");
        ApiError::EventInvalid { topic: topic.to_owned(), reason }
    })?;
    let mut known = BTreeSet::new();
    for entry in &entries {
        if entry.entry_id.is_empty() {
            return Err(invalid(topic, "", "`entryId` is missing"));
        }
        if !known.insert(entry.entry_id.as_str()) {
            return Err(invalid(topic, &entry.entry_id, "this `entryId` is there twice"));
        }
    }
    Ok(entries)
}

/// The bytes that would be the body, were the entry published by itself.
fn bytes_of(entry: &Entry<'_>) -> Result<Vec<u8>, String> {
    let media = media_type(&entry.content_type);
    let json = entry.event.map_or("null", RawValue::get);
    let text = || {
        serde_json::from_str::<String>(json)
            .map_err(|_| format!("`event` is no text, as its `contentType` {media} has it"))
    };
    if envelope::is_binary(&media) {
        return STANDARD.decode(text()?).map_err(|error| format!("`event` is no base64: {error}"));
    }
    if media.starts_with("text/") || media == "application/xml" || media.ends_with("+xml") {
        return text().map(String::into_bytes);
    }
    if envelope::is_json(&media) {
        return Ok(json.as_bytes().to_vec());
    }
    Err(match media.as_str() {
        "" => "`contentType` is missing".to_owned(),
        other => format!("`contentType` {other} is neither JSON nor text nor octet-stream"),
    })
}

/// The request's metadata with the entry's own on top; keys in lower case.
fn overlaid(
    request: &[(String, String)],
    entry: &Entry<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut metadata = request.to_vec();
    for (key, value) in entry.metadata.iter().flatten() {
        let Value::String(value) = value else {
            return Err(format!("the value of metadata `{key}` is no text"));
        };
        let key = key.to_ascii_lowercase();
        // Dapr takes it from the request alone.
        if key == "rawpayload" {
            continue;
        }
        metadata.retain(|(known, _)| *known != key);
        metadata.push((key, value.clone()));
    }
    Ok(metadata)
}

/// The body of an answer with failures.
pub(crate) fn failures(failed: &[FailedEntry]) -> Value {
    let entries: Vec<Value> =
        failed.iter().map(|entry| json!({ "entryId": entry.id, "error": entry.error })).collect();
    json!({ "failedEntries": entries, "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE" })
}
