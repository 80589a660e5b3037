//! The CloudEvent that a publish request becomes.
//!
//! Pure: id, time and trace come in with the request.

use archipel_broker::Envelope;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::error::ApiError;

pub(crate) struct Input<'a, 'b> {
    pub(crate) body: &'b [u8],
    /// As the request has it; empty: none.
    pub(crate) content_type: &'a str,
    /// `metadata.<key>` of the query, keys in lower case.
    pub(crate) metadata: &'a [(String, String)],
    pub(crate) app_id: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) traceparent: &'a str,
    pub(crate) tracestate: &'a str,
    pub(crate) fresh_id: &'a str,
    /// RFC 3339.
    pub(crate) now: &'a str,
    /// `now` plus the time to live, when one was asked for.
    pub(crate) expiration: Option<&'a str>,
}

impl<'a> Input<'a, '_> {
    fn metadata(&self, key: &str) -> Option<&'a str> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// # Errors
/// [`ApiError::Metadata`] when `rawPayload` is no boolean, [`ApiError::CloudEvent`] when the body
/// claims to be a CloudEvent and is not even an object.
pub(crate) fn envelope<'b>(input: &Input<'_, 'b>) -> Result<Envelope<'b>, ApiError> {
    let raw = match input.metadata("rawpayload") {
        None => false,
        Some(word) => truth(word)?,
    };
    let media = media_type(input.content_type);
    if raw {
        return Ok(raw_payload(input));
    }
    let mut event = if media == "application/cloudevents+json" {
        given(input)?
    } else {
        wrapped(input, &media)
    };
    event.set_text("topic", input.topic);
    event.set_text("pubsubname", crate::PUBSUB);
    if let Some(expiration) = input.expiration {
        event.set_text("expiration", expiration);
    }
    Ok(event)
}

/// The words that Go's `strconv.ParseBool` and Dapr take.
fn truth(word: &str) -> Result<bool, ApiError> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Ok(true),
        "0" | "f" | "false" | "n" | "no" | "off" | "" => Ok(false),
        _ => Err(ApiError::Metadata {
            reason: format!("rawPayload is `{word}`, which is no boolean"),
        }),
    }
}

pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The body is a CloudEvent already: it stays as it is, and only gaps are filled.
fn given<'b>(input: &Input<'_, 'b>) -> Result<Envelope<'b>, ApiError> {
    let mut event = Envelope::parse(input.body)
        .map_err(|error| ApiError::CloudEvent { reason: error.to_string() })?;
    if !event.contains("traceid") {
        event.set_text("traceid", input.traceparent);
        event.set_text("traceparent", input.traceparent);
    }
    let defaults = [
        ("specversion", "1.0"),
        ("id", input.fresh_id),
        ("source", "Dapr"),
        ("type", "com.dapr.event.sent"),
        ("time", input.now),
        ("tracestate", input.tracestate),
    ];
    for (name, value) in defaults {
        if !event.contains(name) {
            event.set_text(name, value);
        }
    }
    Ok(event)
}

fn wrapped<'a, 'b>(input: &Input<'a, 'b>, media: &str) -> Envelope<'b> {
    let mut event = Envelope::new();
    let or = |key: &str, default: &'a str| input.metadata(key).unwrap_or(default);
    event.set_text("specversion", "1.0");
    event.set_text("id", or("cloudevent.id", input.fresh_id));
    event.set_text("source", or("cloudevent.source", input.app_id));
    event.set_text("type", or("cloudevent.type", "com.dapr.event.sent"));
    if let Some(subject) = input.metadata("cloudevent.subject") {
        event.set_text("subject", subject);
    }
    event.set_text("time", input.now);
    let content_type =
        if input.content_type.is_empty() { "text/plain" } else { input.content_type };
    event.set_text("datacontenttype", content_type);
    let trace = or("cloudevent.traceparent", or("cloudevent.traceid", input.traceparent));
    event.set_text("traceid", trace);
    event.set_text("traceparent", trace);
    event.set_text("tracestate", or("cloudevent.tracestate", input.tracestate));
    set_data(&mut event, input.body, media);
    event
}

pub(crate) fn is_binary(media: &str) -> bool {
    matches!(media, "application/octet-stream" | "application/cloudevents+protobuf")
}

pub(crate) fn is_json(media: &str) -> bool {
    media == "application/json" || media.ends_with("+json")
}

fn set_data(event: &mut Envelope<'_>, body: &[u8], media: &str) {
    if is_binary(media) {
        event.set_text("data_base64", &STANDARD.encode(body));
        return;
    }
    if is_json(media)
        && let Ok(text) = std::str::from_utf8(body)
        && let Ok(value) = RawValue::from_string(text.trim().to_owned())
    {
        event.set_raw("data", value);
        return;
    }
    event.set_text("data", &String::from_utf8_lossy(body));
}

/// The bytes as they are, in the envelope that a subscriber of raw events sees in Dapr too.
fn raw_payload<'b>(input: &Input<'_, 'b>) -> Envelope<'b> {
    let mut event = Envelope::new();
    event.set_text("specversion", "1.0");
    event.set_text("id", input.fresh_id);
    event.set_text("source", "Dapr");
    event.set_text("type", "com.dapr.event.sent");
    event.set_text("time", input.now);
    event.set_text("datacontenttype", "application/octet-stream");
    event.set_text("topic", input.topic);
    event.set_text("pubsubname", crate::PUBSUB);
    event.set_text("data_base64", &STANDARD.encode(input.body));
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn build(
        body: &[u8],
        content_type: &str,
        metadata: &[(&str, &str)],
    ) -> Result<Value, ApiError> {
        let metadata: Vec<(String, String)> =
            metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let input = Input {
            body,
            content_type,
            metadata: &metadata,
            app_id: "shop",
            topic: "order.placed",
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            tracestate: "",
            fresh_id: "id-1",
            now: "2026-01-02T03:04:05Z",
            expiration: None,
        };
        let bytes = envelope(&input)?.to_bytes().unwrap();
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn json_keeps_its_digits_and_text_stays_text() {
        let event = build(br#"{"n":12345678901234567890.01}"#, "application/json", &[]).unwrap();
        assert_eq!(
            event["data"].to_string(),
            r#"{"n":12345678901234567890.01}"#
                .replace("12345678901234567890.01", &event["data"]["n"].to_string())
        );
        assert_eq!(
            (&event["source"], &event["type"]),
            (&"shop".into(), &"com.dapr.event.sent".into())
        );
        assert_eq!(
            (&event["topic"], &event["pubsubname"]),
            (&"order.placed".into(), &"pubsub".into())
        );
        assert_eq!(event["traceid"], event["traceparent"]);
        assert_eq!(build(b"hello", "", &[]).unwrap()["data"], "hello");
        assert_eq!(build(b"hello", "", &[]).unwrap()["datacontenttype"], "text/plain");
        assert_eq!(build(b"{broken", "application/json", &[]).unwrap()["data"], "{broken");
        let binary = build(b"\xff\x00", "application/octet-stream", &[]).unwrap();
        assert_eq!((&binary["data_base64"], binary.get("data")), (&"/wA=".into(), None));
    }

    #[test]
    fn overrides_apply_to_wrapped_events_only() {
        let overrides =
            [("cloudevent.id", "x"), ("cloudevent.type", "t"), ("cloudevent.subject", "s")];
        let event = build(b"{}", "application/json", &overrides).unwrap();
        assert_eq!(
            (&event["id"], &event["type"], &event["subject"]),
            (&"x".into(), &"t".into(), &"s".into())
        );
        let given = br#"{"id":"own","specversion":"1.0","type":"a.b","source":"me","data":1,"topic":"evil"}"#;
        let event =
            build(given, "application/cloudevents+json; charset=utf-8", &overrides).unwrap();
        assert_eq!((&event["id"], &event["type"]), (&"own".into(), &"a.b".into()));
        assert_eq!(event["topic"], "order.placed", "forced");
        assert_eq!(event["time"], "2026-01-02T03:04:05Z", "filled in");
        assert!(matches!(
            build(b"[1]", "application/cloudevents+json", &[]),
            Err(ApiError::CloudEvent { .. })
        ));
    }

    #[test]
    fn raw_payloads_are_carried_untouched() {
        let event = build(b"\x01\x02", "application/json", &[("rawpayload", "true")]).unwrap();
        assert_eq!(event["data_base64"], "AQI=");
        assert!(matches!(
            build(b"", "", &[("rawpayload", "maybe")]),
            Err(ApiError::Metadata { .. })
        ));
    }
}
