//! Reading one answer of an outbox: the pure part. The contract stands in
//! `docs/guide/outbox.md`.

use std::collections::BTreeMap;

use archipel_model::TopicName;
use archipel_storage::{Record, RecordKey};
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::contract::Contracts;
use crate::dead::Reason;
use crate::event::{Envelope, EventError};
use crate::topic::record;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum OutboxError {
    #[error("the answer is not the JSON of an outbox: {reason}")]
    Json { reason: String },
    #[error("`seq` {seq} comes after {before}: it must grow from event to event")]
    Order { seq: u64, before: u64 },
}

/// An answer, sorted into what is published and what is not.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Per topic in the order of the outbox.
    pub accepted: BTreeMap<TopicName, Vec<Record>>,
    pub refused: Vec<Refused>,
    pub count: u64,
    /// The last event's `seq`, or where the pull began.
    pub cursor: u64,
    /// A digest of the last event.
    pub last: Option<String>,
    /// The service's database is older than what was pulled from it.
    pub restored: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub topic: String,
    pub reason: Reason,
    pub event: Bytes,
}

#[derive(serde::Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    events: Vec<Row<'a>>,
    last_seq: Option<u64>,
}

#[derive(serde::Deserialize)]
struct Row<'a> {
    seq: u64,
    /// Checked below, so that one strange row does not stop the others.
    #[serde(default)]
    topic: Option<serde_json::Value>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
}

/// Reads the answer to a pull of what comes after `after`.
pub(crate) fn read_batch(
    body: &[u8],
    after: u64,
    publishes: &Contracts,
) -> Result<Batch, OutboxError> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|e| OutboxError::Json { reason: e.to_string() })?;
    let mut batch = Batch { cursor: after, ..Batch::default() };
    if answer.events.is_empty() {
        batch.restored = answer.last_seq.is_some_and(|last| last < after);
        return Ok(batch);
    }
    for row in answer.events {
        if row.seq <= batch.cursor {
            return Err(OutboxError::Order { seq: row.seq, before: batch.cursor });
        }
        batch.cursor = row.seq;
        batch.count += 1;
        let topic = row.topic.as_ref().and_then(|topic| topic.as_str()).unwrap_or_default();
        let event = row.event.map_or("null", RawValue::get);
        batch.last = Some(digest(event));
        match accept(topic, event, publishes) {
            Ok((topic, record)) => batch.accepted.entry(topic).or_default().push(record),
            Err(reason) => batch.refused.push(Refused {
                topic: topic.to_owned(),
                reason,
                event: Bytes::copy_from_slice(event.as_bytes()),
            }),
        }
    }
    Ok(batch)
}

/// Whether the outbox still has the row at the cursor as it was. `body` answers a pull of one
/// row from just before it. A row that is not there any more says nothing: old rows may go.
pub(crate) fn is_same_outbox(body: &[u8], cursor: u64, last: &str) -> Result<bool, OutboxError> {
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|e| OutboxError::Json { reason: e.to_string() })?;
    let row = answer.events.iter().find(|row| row.seq == cursor);
    Ok(row.is_none_or(|row| digest(row.event.map_or("null", RawValue::get)) == last))
}

/// Of what names the event, so that a service may serve the same event in another spelling.
fn digest(event: &str) -> String {
    let key = match Envelope::parse(event.as_bytes()) {
        Ok(envelope) if envelope.contains("id") => envelope.identity(),
        _ => RecordKey::of(&[event]),
    };
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn accept(topic: &str, event: &str, publishes: &Contracts) -> Result<(TopicName, Record), Reason> {
    let (topic, contract) = publishes.get_key_value(topic).ok_or(Reason::UndeclaredTopic)?;
    let read = Envelope::parse(event.as_bytes())
        .and_then(|event| record(topic, contract.as_deref(), event, true));
    match read {
        Ok(record) => Ok((topic.clone(), record)),
        Err(EventError::Schema { schema, mismatch }) => {
            Err(Reason::Schema { schema, detail: mismatch.to_string() })
        }
        Err(error) => Err(Reason::Invalid { detail: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publishes() -> Contracts {
        let topics = ["order.placed", "order.paid"].iter();
        topics.map(|t| (TopicName::new(t).expect("a name"), None)).collect()
    }

    fn event(id: &str) -> String {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/o","type":"t","data":{{}}}}"#)
    }

    fn row(seq: u64, topic: &str, event: &str) -> String {
        format!(r#"{{"seq":{seq},"topic":"{topic}","event":{event}}}"#)
    }

    fn read(rows: &[String], last_seq: u64, after: u64) -> Result<Batch, OutboxError> {
        let body = format!(r#"{{"events":[{}],"last_seq":{last_seq}}}"#, rows.join(","));
        read_batch(body.as_bytes(), after, &publishes())
    }

    #[test]
    fn events_go_to_their_topics_in_order() {
        let rows = [
            row(17, "order.placed", &event("a")),
            row(18, "order.paid", &event("b")),
            row(25, "order.placed", &event("c")),
        ];
        let batch = read(&rows, 25, 16).expect("reads");
        assert_eq!((batch.cursor, batch.count, batch.restored), (25, 3, false));
        let placed = &batch.accepted[&TopicName::new("order.placed").expect("a name")];
        let ids: Vec<_> = placed
            .iter()
            .map(|r| Envelope::parse(&r.bytes).expect("JSON").text("id").map(|t| t.into_owned()))
            .collect();
        assert_eq!(ids, [Some("a".to_owned()), Some("c".to_owned())]);
        assert!(placed.iter().all(|record| record.key.is_some()), "re-pulls are told apart");
        let text = String::from_utf8_lossy(&placed[0].bytes).into_owned();
        assert!(text.contains(r#""topic":"order.placed","pubsubname":"pubsub""#), "{text}");
    }

    #[test]
    fn what_cannot_be_published_is_refused_and_the_rest_goes_on() {
        let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(crate::EVENT_BYTES_MAX));
        let rows = [
            row(1, "order.plased", &event("a")),
            row(2, "order.placed", r#"{"id":"x"}"#),
            row(3, "order.placed", "7"),
            r#"{"seq":4,"topic":5}"#.to_owned(),
            row(5, "order.placed", &event("b")),
            row(6, "order.placed", &large),
        ];
        let batch = read(&rows, 6, 0).expect("reads");
        assert_eq!(batch.cursor, 6);
        assert_eq!(batch.accepted.values().map(Vec::len).sum::<usize>(), 1);
        let reasons: Vec<_> = batch.refused.iter().map(|r| r.reason.to_string()).collect();
        assert_eq!(reasons.len(), 5);
        assert_eq!(reasons[0], "undeclared topic");
        assert!(reasons[1].contains("`specversion`"), "{}", reasons[1]);
    }

    #[test]
    fn a_database_that_went_back_is_noticed() {
        assert!(read(&[], 16, 17).expect("reads").restored);
        assert!(!read(&[], 17, 17).expect("reads").restored);
        assert!(!read(&[], 0, 0).expect("reads").restored);
        let unknown = read_batch(br#"{"events":[]}"#, 17, &publishes()).expect("reads");
        assert!(!unknown.restored, "without `last_seq` nothing is known");
    }

    #[test]
    fn another_event_at_the_cursor_is_noticed() {
        let body = |seq, id: &str| {
            let event = event(id).replace(',', " , ");
            format!(r#"{{"events":[{}]}}"#, row(seq, "order.placed", &event)).into_bytes()
        };
        let last = read(&[row(7, "order.placed", &event("a"))], 7, 0).expect("reads").last;
        let last = last.expect("has one event");
        let check = |body: &[u8]| is_same_outbox(body, 7, &last).expect("reads");
        assert!(check(&body(7, "a")), "however it is written");
        assert!(!check(&body(7, "b")));
        assert!(check(&body(9, "b")), "old rows may be gone");
        assert!(check(br#"{"events":[],"last_seq":7}"#));
        assert!(is_same_outbox(b"x", 7, &last).is_err());
    }

    #[test]
    fn nonsense_is_an_error_and_moves_nothing() {
        let twice = [row(5, "order.placed", &event("a")), row(5, "order.placed", &event("b"))];
        assert_eq!(
            read(&twice, 5, 0).expect_err("twice"),
            OutboxError::Order { seq: 5, before: 5 }
        );
        assert_eq!(
            read(&twice[..1], 5, 9).expect_err("asked for more than 9"),
            OutboxError::Order { seq: 5, before: 9 }
        );
        for body in ["", "{}", "[]", r#"{"events":[{}]}"#, r#"{"events":[{"seq":-1}]}"#] {
            let error = read_batch(body.as_bytes(), 0, &publishes()).expect_err(body);
            assert!(matches!(error, OutboxError::Json { .. }), "{body}: {error}");
        }
    }

    proptest::proptest! {
        /// Whatever a service answers: no panic, and the cursor never goes back.
        #[test]
        fn no_answer_panics(
            noise in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
            seqs in proptest::collection::vec(0_u64..20, 0..6),
            topic in "[a-z.]{0,14}",
            after in 0_u64..20,
        ) {
            let _ = read_batch(&noise, after, &publishes());
            let _ = is_same_outbox(&noise, after, "");
            let rows: Vec<_> = seqs.iter().map(|seq| row(*seq, &topic, &event("e"))).collect();
            if let Ok(batch) = read(&rows, 20, after) {
                proptest::prop_assert!(batch.cursor >= after);
                let taken = batch.accepted.values().map(Vec::len).sum::<usize>();
                proptest::prop_assert_eq!(taken + batch.refused.len(), seqs.len());
            }
        }
    }
}
