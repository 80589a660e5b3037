//! The records of the processes that share a store.
//!
//! ```text
//! l/member/<member>                      it lives; its commits expect this record
//! l/beat/<member>                        changes while it lives; of which apps it has workers
//! l/shard/<app>/<shard>                  who holds it
//! l/mail/<app>/<shard>/<member>-<n>      for an instance of the shard
//! l/task/<member>/<app>/<id>/<incarnation>/<n>   an activity that workers of that member do
//! l/reply/<member>/<n>                   the answer to what it asked
//! ```

use dapr_durabletask_proto::{ActivityRequest, CreateInstanceRequest, HistoryEvent};
use prost::Message;

use crate::key::{Key, app_prefix};
use crate::pool::TaskId;
use crate::stored::Record;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MemberV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint64, tag = "3")]
    pub since_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BeatV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Of which it has workers.
    #[prost(string, repeated, tag = "2")]
    pub apps: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ShardV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Empty: nobody.
    #[prost(string, tag = "2")]
    pub holder: String,
}

/// One of the fields is there.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LetterV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(string, tag = "2")]
    pub app: String,
    #[prost(string, tag = "3")]
    pub id: String,
    /// Something has happened to the instance, or it begins.
    #[prost(message, optional, tag = "4")]
    pub event: Option<HistoryEvent>,
    /// It is to end, with all that it has begun.
    #[prost(message, optional, tag = "5")]
    pub end: Option<End>,
    /// The answer to an activity.
    #[prost(message, optional, tag = "6")]
    pub answer: Option<Answer>,
    #[prost(message, optional, tag = "7")]
    pub ask: Option<Ask>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct End {
    #[prost(string, optional, tag = "1")]
    pub output: Option<String>,
    /// Only if it is a child of this one.
    #[prost(string, optional, tag = "2")]
    pub of: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    #[prost(int32, tag = "2")]
    pub task: i32,
    #[prost(message, optional, tag = "3")]
    pub event: Option<HistoryEvent>,
    /// Instead of an event: so many workers were lost on it.
    #[prost(uint32, tag = "4")]
    pub lost: u32,
}

/// One of the last three is there.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ask {
    #[prost(string, tag = "1")]
    pub from: String,
    #[prost(uint64, tag = "2")]
    pub number: u64,
    #[prost(message, optional, tag = "3")]
    pub create: Option<Create>,
    #[prost(message, optional, tag = "4")]
    pub rerun: Option<RerunOf>,
    #[prost(message, optional, tag = "5")]
    pub remove: Option<Remove>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Create {
    #[prost(message, optional, tag = "1")]
    pub request: Option<CreateInstanceRequest>,
    #[prost(bool, tag = "2")]
    pub purged: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RerunOf {
    #[prost(string, tag = "1")]
    pub source: String,
    #[prost(int32, tag = "2")]
    pub event_id: i32,
    #[prost(bool, tag = "3")]
    pub with_input: bool,
    #[prost(string, optional, tag = "4")]
    pub input: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub child_id: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Remove {
    #[prost(bool, tag = "1")]
    pub force: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReplyV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// 0: it is done. The others are named in `ask`.
    #[prost(uint32, tag = "2")]
    pub refusal: u32,
    #[prost(string, tag = "3")]
    pub text: String,
    /// Of a removal: there was something.
    #[prost(bool, tag = "4")]
    pub removed: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskV1 {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Whose activity it is.
    #[prost(string, tag = "2")]
    pub app: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(uint64, tag = "4")]
    pub incarnation: u64,
    /// Whose workers do it.
    #[prost(string, tag = "5")]
    pub target: String,
    #[prost(message, optional, tag = "6")]
    pub request: Option<ActivityRequest>,
}

impl TaskV1 {
    pub(crate) fn task_id(&self) -> Option<TaskId> {
        let key = Key::new(&self.app, &self.id).ok()?;
        Some((key, self.incarnation, self.request.as_ref()?.task_id))
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
record!(MemberV1, BeatV1, ShardV1, LetterV1, ReplyV1, TaskV1);

pub(crate) const MEMBERS: &str = "l/member/";
pub(crate) const BEATS: &str = "l/beat/";
pub(crate) const SHARDS: &str = "l/shard/";
pub(crate) const MAIL: &str = "l/mail/";
pub(crate) const TASKS: &str = "l/task/";

pub(crate) fn member_key(member: &str) -> String {
    format!("{MEMBERS}{member}")
}

pub(crate) fn beat_key(member: &str) -> String {
    format!("{BEATS}{member}")
}

pub(crate) fn shard_key(app: &str, shard: u8) -> String {
    format!("{SHARDS}{}{shard:02x}", app_prefix(app))
}

/// App and shard of what [`shard_key`] wrote.
pub(crate) fn shard_named(record: &str) -> Option<(String, u8)> {
    let (app, shard) = record.strip_prefix(SHARDS)?.split_once('/')?;
    let app = percent_encoding::percent_decode_str(app).decode_utf8().ok()?;
    Some((app.into_owned(), u8::from_str_radix(shard, 16).ok()?))
}

/// As [`shard_named`], of what [`mail_key`] wrote.
pub(crate) fn mail_for(record: &str) -> Option<(String, u8)> {
    let (rest, _) = record.strip_prefix(MAIL)?.rsplit_once('/')?;
    shard_named(&format!("{SHARDS}{rest}"))
}

pub(crate) fn mail_key(app: &str, shard: u8, member: &str, number: u64) -> String {
    format!("{MAIL}{}{shard:02x}/{member}-{number:016x}", app_prefix(app))
}

pub(crate) fn tasks_prefix(member: &str) -> String {
    format!("{TASKS}{member}/")
}

pub(crate) fn task_key(member: &str, (key, incarnation, number): &TaskId) -> String {
    format!("{}{}/{incarnation:016x}/{number:08x}", tasks_prefix(member), key.path())
}

pub(crate) fn member_of_task(record: &str) -> Option<&str> {
    Some(record.strip_prefix(TASKS)?.split_once('/')?.0)
}

pub(crate) fn replies_prefix(member: &str) -> String {
    format!("l/reply/{member}/")
}

pub(crate) fn reply_key(member: &str, number: u64) -> String {
    format!("{}{number:016x}", replies_prefix(member))
}

pub(crate) fn number_of_reply(record: &str) -> Option<u64> {
    u64::from_str_radix(record.rsplit_once('/')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records_come_apart_again() {
        assert_eq!(shard_named(&shard_key("a/b", 31)), Some(("a/b".to_owned(), 31)));
        assert_eq!(mail_for(&mail_key("a/b", 7, "m1", 9)), Some(("a/b".to_owned(), 7)));
        let task = (Key::new("a", "i/1").expect("valid"), 7, -1);
        assert_eq!(member_of_task(&task_key("m1", &task)), Some("m1"));
        assert_eq!(number_of_reply(&reply_key("m1", 77)), Some(77));
    }
}
