//! Facts that we publish: written in the transaction that makes them true, read by whoever
//! delivers them.
//!
//! There is one writer, so sequence numbers become visible in their order: a reader that has
//! seen 17 will never find a new 16.

use std::time::Duration;

use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::db::{Db, Tx};
use crate::id::EventId;
use crate::problem::Problem;
use crate::stop::Stop;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 500;
const WAIT_MAX: Duration = Duration::from_secs(30);

impl Tx<'_> {
    /// Publishes a fact when this transaction commits. `subject` is the order's id where there
    /// is one, else the id of the thing the fact is about.
    pub fn publish(
        &self,
        topic: &str,
        subject: impl AsRef<str>,
        data: &impl Serialize,
    ) -> Result<(), Problem> {
        let data = serde_json::to_string(data)?;
        self.prepare_cached(
            "INSERT INTO outbox(id, topic, type, subject, data, traceparent, created_at) VALUES(?,?,?,?,?,?,?)",
        )?
        .execute(params![
            EventId::new(),
            topic,
            format!("store.{topic}.v1"),
            subject.as_ref(),
            data,
            self.trace().map(|trace| trace.as_str()),
            self.now(),
        ])?;
        self.mark_outbox();
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
    #[serde(default)]
    wait_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Page {
    events: Vec<Row>,
    last_seq: i64,
}

#[derive(Debug, Serialize)]
struct Row {
    seq: i64,
    topic: String,
    event: CloudEvent,
}

/// CloudEvents 1.0.
#[derive(Debug, Serialize)]
struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    correlationid: String,
    partitionkey: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    data: Box<RawValue>,
}

/// Answers at once when there are rows after `query.after`, else when there are, or when the
/// wait is over, or when the service stops.
pub(crate) async fn page(
    db: &Db,
    source: &str,
    query: &Query,
    stop: &Stop,
) -> Result<Page, Problem> {
    let mut commits = db.outbox_commits();
    let wait = tokio::time::sleep(Duration::from_millis(query.wait_ms).min(WAIT_MAX));
    tokio::pin!(wait);
    loop {
        // Marked as seen before reading, so that a commit in between wakes us.
        commits.borrow_and_update();
        let page = read(db, source.to_owned(), query.after, query.limit).await?;
        if !page.events.is_empty() || query.wait_ms == 0 {
            return Ok(page);
        }
        tokio::select! {
            biased;
            () = stop.stopped() => return Ok(page),
            changed = commits.changed() => if changed.is_err() { return Ok(page) },
            () = &mut wait => return Ok(page),
        }
    }
}

async fn read(db: &Db, source: String, after: i64, limit: Option<u32>) -> Result<Page, Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    db.read(move |conn| {
        let mut rows = conn.prepare_cached(
            "SELECT seq, topic, id, type, subject, created_at, traceparent, data FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?",
        )?;
        let mut rows = rows.query(params![after, limit])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let subject: String = row.get(4)?;
            events.push(Row {
                seq: row.get(0)?,
                topic: row.get(1)?,
                event: CloudEvent {
                    specversion: "1.0",
                    id: row.get(2)?,
                    source: source.clone(),
                    r#type: row.get(3)?,
                    correlationid: subject.clone(),
                    partitionkey: subject.clone(),
                    subject,
                    time: row.get(5)?,
                    datacontenttype: "application/json",
                    traceparent: row.get(6)?,
                    data: RawValue::from_string(row.get(7)?)?,
                },
            });
        }
        let last_seq = conn.query_row("SELECT coalesce(max(seq), 0) FROM outbox", [], |row| row.get(0))?;
        Ok(Page { events, last_seq })
    })
    .await
}
