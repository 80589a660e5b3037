//! What is stored under a key: one line of JSON about the value, then the value's bytes.
//!
//! A line of text, so that somebody who opens the file with a tool of SQLite reads what is there.

use bytes::Bytes;

/// What the line may take.
pub(crate) const HEAD_BYTES_MAX: usize = 256;

const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub written_ms: u64,
    pub expires_ms: Option<u64>,
    pub data: Bytes,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct HeadV1 {
    v: u8,
    written_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

impl Record {
    pub(crate) fn encode(&self) -> Bytes {
        let Self { written_ms, expires_ms, .. } = *self;
        let head = HeadV1 { v: VERSION, written_ms, expires_ms };
        let mut bytes = serde_json::to_vec(&head).expect("numbers are always JSON");
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.data);
        bytes.into()
    }

    /// # Errors
    /// What is wrong with it, for a person.
    pub(crate) fn decode(stored: &Bytes) -> Result<Self, String> {
        let end = stored.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n');
        let end = end.ok_or("its first line has no end")?;
        let head: HeadV1 = serde_json::from_slice(&stored[..end])
            .map_err(|error| format!("its first line: {error}"))?;
        if head.v != VERSION {
            let text = format!("its format is {}, and this version knows {VERSION}", head.v);
            return Err(text);
        }
        let HeadV1 { written_ms, expires_ms, .. } = head;
        Ok(Self { written_ms, expires_ms, data: stored.slice(end + 1..) })
    }

    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            written_ms: u64,
            expires_ms: Option<u64>,
            data: Vec<u8>,
        ) {
            let record = Record { written_ms, expires_ms, data: data.into() };
            let stored = record.encode();
            prop_assert!(stored.len() <= record.data.len() + HEAD_BYTES_MAX);
            prop_assert_eq!(Record::decode(&stored), Ok(record));
        }

        #[test]
        fn nothing_that_is_stored_makes_it_panic(stored: Vec<u8>) {
            let _ = Record::decode(&stored.into());
        }
    }

    /// A file that was written by the first version: it is read for ever.
    #[test]
    fn the_first_format_is_read() {
        let stored = Bytes::from_static(include_bytes!("../test-data/record-v1"));
        let record = Record::decode(&stored).expect("is read");
        assert_eq!(record.data, &br#"{"items":["book"]}"#[..]);
        assert_eq!(
            (record.written_ms, record.expires_ms),
            (1_700_000_000_000, Some(1_700_000_060_000))
        );
        assert_eq!(record.encode(), stored);
        assert!(record.is_live(1_700_000_059_999) && !record.is_live(1_700_000_060_000));
    }
}
