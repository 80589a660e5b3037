//! One change to one key, and what the storage has to do for it. Pure.

use std::time::Duration;

use archipel_storage::{Expect, Tx, Version};
use bytes::Bytes;

use crate::record::{HEAD_BYTES_MAX, Record};
use crate::{Space, StateError};

/// Of one value; the storage's limit without our line.
pub const VALUE_BYTES_MAX: usize = archipel_storage::VALUE_BYTES_MAX - HEAD_BYTES_MAX;

#[derive(Debug, Clone)]
pub struct Change {
    pub key: String,
    pub what: What,
    pub guard: Guard,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A value without a time to live stays, also when the one before had one.
    Put {
        data: Bytes,
        time_to_live: Option<Duration>,
    },
    Delete,
}

/// What must hold for a change to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    None,
    /// The key is there, and unchanged since it had this etag.
    Etag(String),
    /// First write wins: the key is not there.
    Absent,
}

impl Change {
    pub fn put(key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        let what = What::Put { data: data.into(), time_to_live: None };
        Self { key: key.into(), what, guard: Guard::None }
    }

    pub fn delete(key: impl Into<String>) -> Self {
        Self { key: key.into(), what: What::Delete, guard: Guard::None }
    }

    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    pub(crate) fn check(&self, space: &Space) -> Result<(), StateError> {
        space.check(&self.key)?;
        if let What::Put { data, .. } = &self.what
            && data.len() > VALUE_BYTES_MAX
        {
            let (key, bytes) = (self.key.clone(), data.len());
            return Err(StateError::TooLarge { key, bytes, limit: VALUE_BYTES_MAX });
        }
        if let Guard::Etag(etag) = &self.guard {
            version(etag)?;
        }
        Ok(())
    }
}

/// An entry as it was read, whether it has expired or not.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub version: Version,
    pub expires_ms: Option<u64>,
    pub live: bool,
}

/// `tx` with what the change needs.
///
/// # Errors
/// [`StateError::Mismatch`] when its guard does not hold for what was seen.
pub(crate) fn add(
    mut tx: Tx,
    space: &Space,
    change: &Change,
    seen: Option<&Seen>,
    now_ms: u64,
) -> Result<Tx, StateError> {
    let entry = space.entry(&change.key);
    let live = seen.filter(|seen| seen.live);
    let mismatch = || StateError::Mismatch { key: change.key.clone() };
    match &change.guard {
        Guard::None => {}
        Guard::Etag(etag) => {
            let wanted = version(etag)?;
            if live.is_none_or(|live| live.version != wanted) {
                return Err(mismatch());
            }
            tx = tx.expect(entry.clone(), Expect::Version(wanted));
        }
        Guard::Absent if live.is_some() => return Err(mismatch()),
        Guard::Absent => {
            // One that has expired counts as absent, and is still there.
            let expect = seen.map_or(Expect::Absent, |seen| Expect::Version(seen.version));
            tx = tx.expect(entry.clone(), expect);
        }
    }
    let old_mark = seen.and_then(|seen| seen.expires_ms);
    let mut new_mark = None;
    match &change.what {
        What::Put { data, time_to_live } => {
            new_mark = time_to_live.map(|ttl| {
                let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                now_ms.saturating_add(ttl)
            });
            let record =
                Record { written_ms: now_ms, expires_ms: new_mark, data: data.clone() }.encode();
            tx = tx.put(entry, record);
        }
        What::Delete if seen.is_some() => tx = tx.delete(entry),
        What::Delete => {}
    }
    if old_mark != new_mark {
        if let Some(old) = old_mark {
            tx = tx.delete(space.mark(&change.key, old));
        }
        if let Some(new) = new_mark {
            tx = tx.put(space.mark(&change.key, new), Bytes::new());
        }
    }
    Ok(tx)
}

pub(crate) fn etag(version: Version) -> String {
    version.0.to_string()
}

fn version(etag: &str) -> Result<Version, StateError> {
    let number = etag.parse().ok().filter(|_| etag.bytes().all(|byte| byte.is_ascii_digit()));
    number.map(Version).ok_or_else(|| StateError::Etag { etag: etag.to_owned() })
}

/// `ttlInSeconds` as clients give it: `-1` and `0` are without end.
///
/// # Errors
/// [`StateError::TimeToLive`].
pub fn time_to_live(text: &str) -> Result<Option<Duration>, StateError> {
    match text.parse::<i64>() {
        Ok(-1 | 0) => Ok(None),
        Ok(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        _ => Err(StateError::TimeToLive { text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_live_are_read() {
        assert_eq!(time_to_live("60").ok(), Some(Some(Duration::from_secs(60))));
        assert_eq!(time_to_live("-1").ok(), Some(None));
        assert_eq!(time_to_live("0").ok(), Some(None));
        assert!(time_to_live(&i64::MAX.to_string()).is_ok());
        for bad in ["", "-2", "1.5", "1s", "99999999999999999999"] {
            assert!(matches!(time_to_live(bad), Err(StateError::TimeToLive { .. })), "{bad}");
        }
    }

    #[test]
    fn etags_are_numbers_of_ours() {
        assert_eq!(version("17").ok(), Some(Version(17)));
        for bad in ["", "+1", "-1", "abc", "*", "1 "] {
            assert!(matches!(version(bad), Err(StateError::Etag { .. })), "{bad}");
        }
    }

    #[test]
    fn a_time_without_end_in_sight_does_not_overflow() {
        let ttl = time_to_live(&i64::MAX.to_string()).expect("a number");
        let what = What::Put { data: Bytes::new(), time_to_live: ttl };
        let change = Change { what, ..Change::delete("k") };
        let space = Space::new("s", "o");
        let tx = add(Tx::new(), &space, &change, None, u64::MAX - 1).expect("fits");
        assert_eq!(tx.writes.len(), 2);
    }
}
