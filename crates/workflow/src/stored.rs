//! What is kept of the instances, each record with its version.
//!
//! ```text
//! i/<app>/<id>                   an instance as it is shown, and its incarnation
//! a/<app>/<incarnation>          this execution has not ended: read at start
//! h/<app>/<incarnation>/<row>    the events that one turn added
//! q/<app>/<incarnation>/<row>    an event that no turn has taken in
//! d/<app>/<end>/<id>             it ended then, in this incarnation: for retention
//! g/<app>/<incarnation>          the rows of this execution are garbage
//! t/<app>/<id>                   the children of this ended instance are to be ended
//! s/<app>/<schedule>             up to when it has been looked at
//! meta                           the highest incarnation
//! layout                         which of these there are: see `migrate`
//! ```
//!
//! A turn is one row, however many events it has: measured, rows per turn and not per event make
//! the difference between 11,000 and 24,000 steps a second.
//!
//! What is written at every step is found by incarnation and not by name. Incarnations grow, so
//! everything that is at work lies side by side at the end of its table and what has ended stays
//! behind, untouched: a commit writes a few pages, however many instances there have been. Names
//! are as good as random; by name, each row would be on a page of its own. Only `i/` is by name,
//! and it is written when the state changes, not at every turn.

use bytes::Bytes;
use dapr_durabletask_proto::{HistoryEvent, WorkflowState};
use prost::Message;

use crate::error::WorkflowError;
use crate::key::{Key, app_of, app_prefix};

/// One row holds at most this, unless a single event is larger.
const ROW_BYTES: usize = 1 << 20;
/// What a value of the store can hold, less what the record around the event takes.
pub const EVENT_BYTES_MAX: usize = archipel_storage::VALUE_BYTES_MAX - (64 << 10);

/// What a worker or a client says at once.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;

const VERSION: u32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InstanceV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(uint64, tag = "2")]
    pub incarnation: u64,
    /// Without input, output and failure: those are in the history.
    #[prost(message, optional, tag = "3")]
    pub state: Option<WorkflowState>,
    /// Given up until a person does something, and why.
    #[prost(message, optional, tag = "4")]
    pub parked: Option<String>,
}

/// `a/`: whose execution it is, and what its events do not say.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ActiveV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(string, tag = "2")]
    pub id: String,
    /// The rest is here. In a row of an earlier version it is in the instance's record alone.
    #[prost(bool, tag = "3")]
    pub whole: bool,
    #[prost(message, optional, tag = "4")]
    pub custom_status: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub parked: Option<String>,
    /// It has a record.
    #[prost(bool, tag = "6")]
    pub recorded: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EventsV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<HistoryEvent>,
}

/// `d/`, `g/`: which incarnation; `meta`: which was given last.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MarkV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(uint64, tag = "2")]
    pub incarnation: u64,
}

/// `t/`: what the children are ended with.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EndChildrenV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(message, optional, tag = "2")]
    pub output: Option<String>,
    /// Only if it is a child of this one.
    #[prost(message, optional, tag = "3")]
    pub of: Option<String>,
}

pub(crate) trait Record: Message + Default {
    fn version_mut(&mut self) -> &mut u32;

    fn write(mut self) -> Bytes {
        *self.version_mut() = VERSION;
        self.encode_to_vec().into()
    }

    fn read(key: &str, bytes: &[u8]) -> Result<Self, WorkflowError> {
        let wrong = |reason: String| WorkflowError::Stored { key: key.to_owned(), reason };
        let mut record = Self::decode(bytes).map_err(|e| wrong(e.to_string()))?;
        match *record.version_mut() {
            VERSION => Ok(record),
            found => Err(wrong(format!("it has version {found}; this Archipel knows {VERSION}"))),
        }
    }
}

macro_rules! record {
    ($($name:ty),*) => {$(
        impl Record for $name {
            fn version_mut(&mut self) -> &mut u32 {
                &mut self.version
            }
        }
    )*};
}
record!(InstanceV1, ActiveV1, EventsV1, MarkV1, EndChildrenV1);

pub(crate) const META: &str = "meta";
pub(crate) const LAYOUT: &str = "layout";

pub(crate) fn instance_key(key: &Key) -> String {
    format!("i/{}", key.path())
}

pub(crate) fn active_key(app: &str, incarnation: u64) -> String {
    of_execution('a', app, incarnation)
}

/// The rows of one execution. `table` is `h` or `q`.
pub(crate) fn rows_prefix(table: char, app: &str, incarnation: u64) -> String {
    of_execution(table, app, incarnation) + "/"
}

pub(crate) fn row_key(table: char, app: &str, incarnation: u64, row: u32) -> String {
    format!("{}{row:08x}", rows_prefix(table, app, incarnation))
}

/// All rows of an app.
pub(crate) fn table_prefix(table: char, app: &str) -> String {
    format!("{table}/{}", app_prefix(app))
}

/// What comes right before the rows of an execution.
pub(crate) fn before_rows(table: char, app: &str, incarnation: u64) -> String {
    of_execution(table, app, incarnation)
}

/// Of a key of `h/` or `q/`.
pub(crate) fn incarnation_of(row: &str) -> Option<u64> {
    u64::from_str_radix(row.split('/').nth(2)?, 16).ok()
}

pub(crate) fn row_of(key: &str) -> Option<u32> {
    u32::from_str_radix(key.rsplit_once('/')?.1, 16).ok()
}

fn of_execution(table: char, app: &str, incarnation: u64) -> String {
    format!("{table}/{}{incarnation:016x}", app_prefix(app))
}

/// App and incarnation, of a key of `a/` or `g/`.
pub(crate) fn execution_of(key: &str) -> Option<(String, u64)> {
    let (app, incarnation) = key.split_once('/')?.1.split_once('/')?;
    Some((app_of(app)?, u64::from_str_radix(incarnation, 16).ok()?))
}

/// Of an instance that has ended.
pub(crate) fn done_key_of(state: &WorkflowState, key: &Key) -> Option<String> {
    let end = state.completed_timestamp?;
    let ms = end.seconds.saturating_mul(1_000) + i64::from(end.nanos) / 1_000_000;
    Some(done_key(u64::try_from(ms).unwrap_or_default(), key))
}

pub(crate) fn done_key(ended_ms: u64, key: &Key) -> String {
    let (app, id) = (app_prefix(&key.app), key.path());
    format!("d/{app}{ended_ms:016x}/{}", id.strip_prefix(&*app).unwrap_or(&id))
}

/// When an instance ended and which, of a key of `d/`.
pub(crate) fn end_of(record: &str) -> Option<(u64, Key)> {
    let (app, rest) = record.strip_prefix("d/")?.split_once('/')?;
    let (ended, id) = rest.split_once('/')?;
    Some((u64::from_str_radix(ended, 16).ok()?, Key::from_path(&format!("{app}/{id}"))?))
}

pub(crate) fn schedule_key(app: &str, name: &str) -> String {
    format!("s/{}{name}", app_prefix(app))
}

pub(crate) fn garbage_key(app: &str, incarnation: u64) -> String {
    of_execution('g', app, incarnation)
}

pub(crate) fn end_children_key(key: &Key) -> String {
    format!("t/{}", key.path())
}

/// Where a change is too large for one transaction: incarnations are given once, rows are found
/// through the records, and those come last.
pub(crate) fn rank(key: &str) -> u8 {
    match key {
        META => 0,
        key if key.starts_with("h/") || key.starts_with("q/") => 1,
        _ => 2,
    }
}

/// Whether a row of this name is put once and never again, so that one that is put was not there.
pub(crate) fn is_written_once(key: &str) -> bool {
    key.starts_with("q/")
}

/// The rows that hold `events`, in order: usually one.
pub(crate) fn rows(events: &[HistoryEvent]) -> impl Iterator<Item = Bytes> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|event| {
            let first = bytes == 0;
            bytes += event.encoded_len() + 8;
            first || bytes <= ROW_BYTES
        });
        let count = fits.count();
        let (row, tail) = rest.split_at(count);
        rest = tail;
        (count > 0).then(|| events_row(row))
    })
}

/// An [`EventsV1`], written without a copy of the events.
pub(crate) fn events_row(events: &[HistoryEvent]) -> Bytes {
    let bytes: usize = events.iter().map(|event| event.encoded_len() + 8).sum();
    let mut row = Vec::with_capacity(bytes + 8);
    prost::encoding::uint32::encode(1, &VERSION, &mut row);
    for event in events {
        prost::encoding::message::encode(2, event, &mut row);
    }
    row.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;

    #[test]
    fn large_turns_become_several_rows_and_none_is_lost() {
        let big = "x".repeat(600 << 10);
        let events: Vec<_> =
            (0..5).map(|i| event::raised(i.to_string(), Some(big.clone()))).collect();
        let read = rows(&events).flat_map(|row| EventsV1::read("h", &row).expect("reads").events);
        assert_eq!(read.collect::<Vec<_>>(), events);
        assert_eq!(rows(&events).count(), 5);
        assert_eq!(rows(&[]).count(), 0);
        assert_eq!(rows(&events[..1]).count(), 1);
    }

    #[test]
    fn a_record_of_a_newer_version_is_named() {
        let newer = MarkV1 { version: 9, incarnation: 1 }.encode_to_vec();
        let error = MarkV1::read("d/a/b", &newer).expect_err("newer");
        assert!(error.to_string().contains("d/a/b"), "{error}");
    }

    #[test]
    fn rows_are_told_apart() {
        let row = row_key('h', "a/b", 0xabc, 7);
        assert_eq!(row_of(&row), Some(7));
        assert!(row.starts_with(&rows_prefix('h', "a/b", 0xabc)));
        let key = Key::new("a/b", "c/d").expect("valid");
        assert_eq!(end_of(&done_key(7, &key)), Some((7, key)));
        assert_eq!(execution_of(&garbage_key("a/b", 0xabc)), Some(("a/b".to_owned(), 0xabc)));
    }
}
