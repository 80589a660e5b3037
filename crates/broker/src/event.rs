//! An event as it is stored and delivered: a CloudEvent 1.0 in JSON.
//!
//! The members are kept as the text they came in, and only the few that matter here are read:
//! numbers keep all their digits, and `data` is never parsed unless its order key is asked for.

use std::borrow::Cow;

use archipel_schema::Mismatch;
use archipel_storage::RecordKey;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde_json::value::RawValue;

/// With all attributes.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("not a JSON object: {reason}")]
    Json { reason: String },
    #[error("the CloudEvents attribute `{attribute}` is missing or not a text that says something")]
    Missing { attribute: &'static str },
    #[error("`specversion` is `{found}`; only 1.0 is known")]
    Version { found: String },
    #[error("the event is {bytes} bytes; at most {limit} are taken")]
    TooLarge { bytes: usize, limit: usize },
    #[error("it does not match the schema `{schema}`: {mismatch}")]
    Schema { schema: String, mismatch: Mismatch },
}

/// The members of one CloudEvent, in their order.
#[derive(Debug, Clone, Default)]
pub struct Envelope<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
}

impl<'a> Envelope<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a JSON object, which need not be a CloudEvent yet. Of a member that stands there
    /// twice, the last one counts.
    ///
    /// # Errors
    /// [`EventError::Json`].
    pub fn parse(json: &'a [u8]) -> Result<Self, EventError> {
        serde_json::from_slice(json).map_err(|e| EventError::Json { reason: e.to_string() })
    }

    pub fn contains(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let json = self.raw(name)?.get();
        if let Ok(plain) = serde_json::from_str::<&str>(json) {
            return Some(Cow::Borrowed(plain));
        }
        serde_json::from_str::<String>(json).ok().map(Cow::Owned)
    }

    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    pub fn set_text(&mut self, name: &str, text: &str) {
        let json = serde_json::value::to_raw_value(text).expect("every text is valid JSON");
        self.set(name, Cow::Owned(json));
    }

    /// Sets a member to JSON that is there already.
    pub fn set_raw(&mut self, name: &str, json: Box<RawValue>) {
        self.set(name, Cow::Owned(json));
    }

    fn set(&mut self, name: &str, value: Cow<'a, RawValue>) {
        match self.members.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((Cow::Owned(name.to_owned()), value)),
        }
    }

    /// Checks what CloudEvents 1.0 requires.
    ///
    /// # Errors
    /// [`EventError::Missing`] or [`EventError::Version`].
    pub fn check(&self) -> Result<(), EventError> {
        for attribute in ["specversion", "id", "source", "type"] {
            if self.text(attribute).is_none_or(|text| text.is_empty()) {
                return Err(EventError::Missing { attribute });
            }
        }
        match self.text("specversion") {
            Some(found) if found != "1.0" => Err(EventError::Version { found: found.into_owned() }),
            _ => Ok(()),
        }
    }

    /// The JSON text, if it is not too large.
    ///
    /// # Errors
    /// [`EventError::TooLarge`].
    pub fn to_bytes(&self) -> Result<Bytes, EventError> {
        let json = serde_json::to_vec(self).expect("members are valid JSON already");
        if json.len() > EVENT_BYTES_MAX {
            return Err(EventError::TooLarge { bytes: json.len(), limit: EVENT_BYTES_MAX });
        }
        Ok(json.into())
    }

    /// What makes two events the same one: source and id, as CloudEvents has it.
    pub(crate) fn identity(&self) -> RecordKey {
        let text = |name| self.text(name).unwrap_or_default();
        RecordKey::of(&[&text("source"), &text("id")])
    }

    /// The order key: a CloudEvents attribute of this name, or else a member of `data`. `None`
    /// when there is neither: such an event has no order.
    pub(crate) fn order_key(&self, ordered_by: &str) -> Option<OrderKey> {
        let found = |raw: &RawValue| (raw.get() != "null").then(|| OrderKey::of(raw));
        if let Some(attribute) = self.raw(ordered_by) {
            return found(attribute);
        }
        let data = Envelope::parse(self.raw("data")?.get().as_bytes()).ok()?;
        data.raw(ordered_by).and_then(found)
    }
}

/// A digest of the value that orders an event, so that a long one takes no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OrderKey(pub(crate) [u8; 16]);

impl OrderKey {
    fn of(raw: &RawValue) -> Self {
        // A text counts by its content, so that `"\u0041"` and `"A"` are one key.
        let text = serde_json::from_str::<String>(raw.get());
        Self(RecordKey::of(&[text.as_deref().unwrap_or(raw.get())]).0)
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = Envelope::new();
                while let Some(Name(name)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    match envelope.members.iter_mut().find(|(key, _)| *key == name) {
                        Some((_, old)) => *old = Cow::Borrowed(value),
                        None => envelope.members.push((name, Cow::Borrowed(value))),
                    }
                }
                Ok(envelope)
            }
        }
        d.deserialize_map(Members)
    }
}

impl serde::Serialize for Envelope<'_> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A member's name, borrowed when it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Envelope<'_> {
        Envelope::parse(json.as_bytes()).expect("valid")
    }

    #[test]
    fn what_goes_through_is_not_changed() {
        let json =
            r#"{"specversion":"1.0","id":"1","data":{"n":12345678901234567890.0123,"a":[ 1,2 ]}}"#;
        assert_eq!(parse(json).to_bytes().expect("small"), json);
        let mut event = parse(json);
        event.set_text("topic", "order.placed");
        event.set_text("id", "2 \"\u{1}");
        let bytes = event.to_bytes().expect("small");
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(value["topic"], "order.placed");
        assert_eq!(value["id"], "2 \"\u{1}");
    }

    #[test]
    fn an_order_key_is_an_attribute_or_a_member_of_data() {
        let key = |json: &str| parse(json).order_key("order_id");
        assert_eq!(key(r#"{"order_id":"a"}"#), key(r#"{"data":{"order_id":"\u0061"}}"#));
        assert_eq!(key(r#"{"order_id":"a","data":{"order_id":"b"}}"#), key(r#"{"order_id":"a"}"#));
        assert_ne!(key(r#"{"order_id":"a"}"#), key(r#"{"order_id":"b"}"#));
        assert!(key(r#"{"order_id":7}"#).is_some());
        for none in [r#"{}"#, r#"{"data":"text"}"#, r#"{"data":{}}"#, r#"{"order_id":null}"#] {
            assert_eq!(key(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_cloud_event_says_what_is_missing() {
        let check = |json: &str, says: &str| {
            let error = Envelope::parse(json.as_bytes()).and_then(|e| e.check());
            let error = error.expect_err(json).to_string();
            assert!(error.contains(says), "{json}: {error}");
        };
        check("", "not a JSON object");
        check("[]", "not a JSON object");
        check(r#"{"a":1"#, "not a JSON object");
        check(r#"{"a":1} x"#, "not a JSON object");
        check(r#"{"specversion":"1.0","source":"s","type":"t"}"#, "`id`");
        check(r#"{"specversion":"1.0","id":1,"source":"s","type":"t"}"#, "`id`");
        check(r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "`id`");
        check(r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "`0.3`");
    }

    #[test]
    fn deep_nesting_does_not_overflow() {
        let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        let event = parse(&deep);
        assert_eq!(event.order_key("k"), None);
        assert_eq!(event.to_bytes().expect("small"), deep);
    }

    #[test]
    fn an_event_over_the_limit_is_refused() {
        let mut event = Envelope::new();
        event.set_text("data", &"x".repeat(EVENT_BYTES_MAX));
        assert!(matches!(event.to_bytes(), Err(EventError::TooLarge { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Ok(event) = Envelope::parse(&bytes) {
                let _ = event.check();
                let _ = event.order_key("a");
                proptest::prop_assert!(event.to_bytes().is_ok());
            }
        }
    }
}
