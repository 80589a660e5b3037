//! Finds records: newest files first, and only as far back as asked.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use archipel_model::{InstanceId, ServiceName};
use serde::{Deserialize, Serialize};

use crate::record::LogRecord;
use crate::segment;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The words of many loggers, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" | "verbose" => Self::Trace,
            "debug" => Self::Debug,
            "info" | "information" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" | "fatal" | "critical" | "crit" | "panic" | "severe" => Self::Error,
            _ => return None,
        })
    }

    /// The numbers of pino and bunyan.
    pub fn of_number(number: u64) -> Option<Self> {
        Some(match number {
            10 => Self::Trace,
            20 => Self::Debug,
            30 => Self::Info,
            40 => Self::Warn,
            50 | 60 => Self::Error,
            _ => return None,
        })
    }
}

/// What to look for; the default finds everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Empty: all.
    pub services: BTreeSet<ServiceName>,
    pub instances: BTreeSet<InstanceId>,
    pub since_ms: Option<u64>,
    pub until_ms: Option<u64>,
    pub trace_id: Option<String>,
    /// This and worse; records without a level do not count as bad.
    pub level: Option<Level>,
    /// Part of the message, or of a field's text; case does not matter.
    pub text: Option<String>,
}

impl Filter {
    pub fn takes(&self, record: &LogRecord) -> bool {
        let named = self.services.is_empty() && self.instances.is_empty()
            || self.services.contains(&record.instance.service)
            || self.instances.contains(&record.instance);
        named
            && self.since_ms.is_none_or(|since| record.at_ms >= since)
            && self.until_ms.is_none_or(|until| record.at_ms <= until)
            && self.level.is_none_or(|level| record.level.is_some_and(|l| l >= level))
            && self.trace_id.as_ref().is_none_or(|id| record.trace_id.as_ref() == Some(id))
            && self.text.as_ref().is_none_or(|text| contains(record, &text.to_lowercase()))
    }

    fn may_take_service(&self, service: &ServiceName) -> bool {
        self.services.is_empty() && self.instances.is_empty()
            || self.services.contains(service)
            || self.instances.iter().any(|instance| instance.service == *service)
    }
}

fn contains(record: &LogRecord, text: &str) -> bool {
    record.message.to_lowercase().contains(text)
        || record.fields.values().any(|value| match value {
            serde_json::Value::String(field) => field.to_lowercase().contains(text),
            other => other.to_string().to_lowercase().contains(text),
        })
}

/// The last `tail` matching records of all services below `root`, oldest first. Blocks.
pub(crate) fn last(root: &Path, filter: &Filter, tail: usize) -> io::Result<Vec<LogRecord>> {
    let mut found: Vec<LogRecord> = Vec::new();
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(service) = name.to_str().and_then(|name| ServiceName::new(name).ok()) else {
            continue;
        };
        if filter.may_take_service(&service) {
            found.extend(last_of_service(&entry.path(), filter, tail)?);
        }
    }
    found.sort_by_key(|record| record.at_ms); // stable: lines of one millisecond keep their order
    let surplus = found.len().saturating_sub(tail);
    found.drain(..surplus);
    Ok(found)
}

fn last_of_service(dir: &Path, filter: &Filter, tail: usize) -> io::Result<Vec<LogRecord>> {
    let mut newest_first: Vec<Vec<LogRecord>> = Vec::new();
    let mut count = 0;
    for path in segment::paths(dir)?.iter().rev() {
        if count >= tail {
            break;
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // just deleted
            Err(error) => return Err(error),
        };
        let mut kept = VecDeque::new();
        let mut begins_before = false;
        for (i, line) in BufReader::with_capacity(256 << 10, file).split(b'\n').enumerate() {
            let Ok(record) = serde_json::from_slice::<LogRecord>(&line?) else { continue };
            if i == 0 {
                begins_before = filter.since_ms.is_some_and(|since| record.at_ms < since);
            }
            if filter.takes(&record) {
                kept.push_back(record);
                if kept.len() > tail {
                    kept.pop_front();
                }
            }
        }
        count += kept.len();
        newest_first.push(kept.into());
        if begins_before {
            break; // older files are older still
        }
    }
    Ok(newest_first.into_iter().rev().flatten().collect())
}
