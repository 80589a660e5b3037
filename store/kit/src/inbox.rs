//! Facts that others publish: marked as received in the transaction of their effect, so that
//! the same fact twice has its effect once.

use std::sync::Arc;

use rusqlite::params;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::db::{Db, Tx};
use crate::problem::Problem;

/// One fact, as a CloudEvent brings it. Members that we do not know are ignored.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub id: String,
    pub source: String,
    pub r#type: String,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    pub subject: String,
    #[serde(default)]
    pub time: Option<String>,
    #[serde(default)]
    pub data: Value,
}

impl Event {
    /// The topic, or what `type` says of it: `store.order.received.v1` is of `order.received`.
    pub fn topic(&self) -> &str {
        if let Some(topic) = self.topic.as_deref().filter(|topic| !topic.is_empty()) {
            return topic;
        }
        let name = self.r#type.strip_prefix("store.").unwrap_or(&self.r#type);
        match name.rsplit_once(".v") {
            Some((topic, version)) if version.bytes().all(|b| b.is_ascii_digit()) => topic,
            _ => name,
        }
    }

    /// The data as a `T`. Data of another shape will never become acceptable, so the error is
    /// what the handler should return: `let held: Held = match event.data() { … }`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Verdict> {
        serde_json::from_value(self.data.clone())
            .map_err(|error| Verdict::Poison(format!("data of `{}`: {error}", self.topic())))
    }
}

/// What a handler says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or nothing to do.
    Applied,
    /// An earlier fact is missing. Nothing was changed; the event comes again, in order.
    NotYet(String),
    /// Never acceptable. Nothing was changed; people will look at it.
    Poison(String),
}

pub(crate) type Handler = Arc<dyn Fn(&Tx<'_>, &Event) -> Result<Verdict, Problem> + Send + Sync>;

/// Applies one event, at most once. `Ok` means that it is done with.
pub(crate) async fn receive(db: &Db, handler: Handler, event: Event) -> Result<(), Problem> {
    if event.id.is_empty() || event.source.is_empty() {
        return Err(Problem::validation("An event needs an `id` and a `source`."));
    }
    db.write(move |tx| {
        let new = tx
            .prepare_cached("INSERT INTO inbox(source, id, topic, received_at) VALUES(?,?,?,?) ON CONFLICT DO NOTHING")?
            .execute(params![event.source, event.id, event.topic(), tx.now()])?;
        if new == 0 {
            return Ok(());
        }
        match handler(tx, &event)? {
            Verdict::Applied => Ok(()),
            Verdict::NotYet(why) => Err(Problem::new(409, "not-yet", "An earlier fact is missing")
                .detail(why)
                .retry_after(std::time::Duration::from_secs(1))),
            Verdict::Poison(why) => Err(Problem::validation(why)),
        }
    })
    .await
}
