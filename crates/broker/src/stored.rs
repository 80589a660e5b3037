//! What is kept of a broker between runs, each record with its version.
//!
//! One sample per version lies in `test-data/` and is read by a test for ever.

use serde::{Deserialize, Serialize};

/// A record that a newer version wrote, or that is damaged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the stored record `{key}` cannot be read: {reason}")]
pub struct StoredError {
    pub key: String,
    pub reason: String,
}

/// How often one event was tried, where that was more than never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tries {
    pub attempts: u32,
    /// Tries that do not count: "not yet" and "busy".
    #[serde(default)]
    pub deferred: u32,
    /// Of the first try, in milliseconds since 1970; 0 when there was none.
    #[serde(default)]
    pub first_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Subscription {
    #[serde(rename = "1")]
    V1(SubscriptionV1),
}

/// Where a subscription is: everything below `high` is settled, except what is `open`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionV1 {
    pub high: u64,
    pub open: Vec<OpenV1>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenV1 {
    pub seq: u64,
    #[serde(flatten)]
    pub tries: Tries,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Outbox {
    #[serde(rename = "1")]
    V1(OutboxV1),
}

/// What was pulled from a service's outbox and is safe in the topics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutboxV1 {
    pub cursor: u64,
    /// A digest of the event at the cursor, to find the same one there again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

impl SubscriptionV1 {
    pub(crate) fn read(key: &str, json: &[u8]) -> Result<Self, StoredError> {
        let Subscription::V1(state) = read(key, json)?;
        Ok(state)
    }

    pub(crate) fn write(self) -> Vec<u8> {
        write(&Subscription::V1(self))
    }
}

impl OutboxV1 {
    pub(crate) fn read(key: &str, json: &[u8]) -> Result<Self, StoredError> {
        let Outbox::V1(state) = read(key, json)?;
        Ok(state)
    }

    pub(crate) fn write(self) -> Vec<u8> {
        write(&Outbox::V1(self))
    }
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(
    key: &str,
    json: &[u8],
) -> Result<T, StoredError> {
    serde_json::from_slice(json)
        .map_err(|e| StoredError { key: key.to_owned(), reason: e.to_string() })
}

pub(crate) fn write(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data with text keys is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_version_are_read() {
        let subscription =
            SubscriptionV1::read("k", include_bytes!("../test-data/subscription-v1.json"));
        let tries = Tries { attempts: 3, deferred: 0, first_ms: 1_750_000_000_000 };
        let expected = SubscriptionV1 {
            high: 120,
            open: vec![OpenV1 { seq: 17, tries }, OpenV1 { seq: 119, tries: Tries::default() }],
        };
        assert_eq!(subscription.expect("reads"), expected);
        assert_eq!(SubscriptionV1::read("k", &expected.clone().write()).expect("reads"), expected);
        let outbox = OutboxV1::read("k", include_bytes!("../test-data/outbox-v1.json"));
        assert_eq!(outbox.expect("reads"), OutboxV1 { cursor: 42, last: None });
    }

    #[test]
    fn a_record_of_a_newer_version_is_named() {
        let error =
            OutboxV1::read("outbox/a", br#"{"version":"9","cursor":1}"#).expect_err("newer");
        assert!(error.to_string().contains("outbox/a"), "{error}");
    }
}
