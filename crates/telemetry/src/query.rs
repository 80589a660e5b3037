//! Finds records: newest files first, and only as far back as asked.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use archipel_model::{InstanceId, ServiceName};
use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Op, Operand};
use crate::record::LogRecord;
use crate::segment::{self, Marks};

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
    pub expr: Expr,
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
            && holds(&self.expr, record)
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

fn holds(expr: &Expr, record: &LogRecord) -> bool {
    match expr {
        Expr::And(terms) => terms.iter().all(|term| holds(term, record)),
        Expr::Or(terms) => terms.iter().any(|term| holds(term, record)),
        Expr::Not(inner) => !holds(inner, record),
        Expr::Text(operand) => {
            operand.is_within(&record.message)
                || operand.is_within(&record.instance.to_string())
                || record.fields.values().any(|value| match value.as_str() {
                    Some(text) => operand.is_within(text),
                    None => operand.is_within(&value.to_string()),
                })
        }
        Expr::Compare { key, op: Op::IsNot, operand } => !compare(key, Op::Is, operand, record),
        Expr::Compare { key, op, operand } => compare(key, *op, operand, record),
    }
}

fn compare(key: &str, op: Op, operand: &Operand, record: &LogRecord) -> bool {
    let is = |text: &str| op == Op::Is && operand.is(text);
    match key {
        "service" => is(record.instance.service.as_str()),
        "instance" => is(&record.instance.to_string()),
        "stream" => is(record.stream.as_str()),
        "message" => is(&record.message),
        "trace" => record.trace_id.as_deref().is_some_and(is),
        "span" => record.span_id.as_deref().is_some_and(is),
        // `level>=warn`; a record without a level has none that could compare.
        "level" => match (record.level, Level::of_word(&operand.text)) {
            (Some(level), Some(wanted)) => op.holds(level.cmp(&wanted)),
            _ => false,
        },
        key => record.fields.get(key).is_some_and(|value| match (value, operand.number) {
            (serde_json::Value::Number(number), Some(_)) => {
                number.as_f64().is_some_and(|number| operand.is_number(op, number))
            }
            (serde_json::Value::String(text), _) if op == Op::Is => operand.is(text),
            (serde_json::Value::String(text), Some(_)) => {
                text.parse().is_ok_and(|number| operand.is_number(op, number))
            }
            (other, _) => is(&other.to_string()),
        }),
    }
}

/// Records lie in the order in which they were complete, which is nearly that of their times.
const DISORDER_MS: u64 = 60_000;

/// The last `tail` matching records of all services below `root`, oldest first; only what the
/// files held at `until`, when given. Blocks.
pub(crate) fn last(
    root: &Path,
    filter: &Filter,
    tail: usize,
    until: Option<&Marks>,
) -> io::Result<Vec<LogRecord>> {
    let mut found: Vec<LogRecord> = Vec::new();
    let needles = Needles::of(filter);
    for (service, dir) in segment::services(root)? {
        if !filter.may_take_service(&service) {
            continue;
        }
        let mark = match until.map(|marks| marks.get(&service)) {
            None => None,
            Some(Some((path, bytes))) => Some((path.as_path(), *bytes)),
            Some(None) => continue,
        };
        found.extend(last_of_service(&dir, filter, &needles, tail, mark)?);
    }
    found.sort_by_key(|record| record.at_ms); // stable: lines of one millisecond keep their order
    let surplus = found.len().saturating_sub(tail);
    found.drain(..surplus);
    Ok(found)
}

/// From the newest line back, so that asking for a few reads little.
fn last_of_service(
    dir: &Path,
    filter: &Filter,
    needles: &Needles,
    tail: usize,
    mark: Option<(&Path, u64)>,
) -> io::Result<Vec<LogRecord>> {
    let mut newest_first = Vec::new();
    for path in segment::paths(dir)?.iter().rev() {
        let bytes = match mark {
            Some((newest, _)) if path.as_path() > newest => continue,
            Some((newest, bytes)) if path.as_path() == newest => Some(bytes),
            _ => None,
        };
        let began_after = |until: u64| segment::began_ms(path).is_some_and(|ms| ms > until);
        if filter.until_ms.is_some_and(|until| began_after(until.saturating_add(DISORDER_MS))) {
            continue;
        }
        let mut content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // just deleted
            Err(error) => return Err(error),
        };
        content.truncate(bytes.map_or(content.len(), |bytes| bytes as usize));
        for line in content.rsplit(|byte| *byte == b'\n') {
            if newest_first.len() >= tail {
                break;
            }
            if !needles.may_be_in(line) {
                continue;
            }
            let Ok(record) = serde_json::from_slice::<LogRecord>(line) else { continue };
            let since = filter.since_ms.unwrap_or_default();
            if record.at_ms.saturating_add(DISORDER_MS) < since {
                newest_first.reverse();
                return Ok(newest_first); // what lies before is older still
            }
            if filter.takes(&record) {
                newest_first.push(record);
            }
        }
        if newest_first.len() >= tail {
            break;
        }
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// What a line must contain to be worth parsing, which costs ten times as much as looking.
struct Needles(Vec<String>);

impl Needles {
    fn of(filter: &Filter) -> Self {
        let mut needles = Vec::new();
        if let Some(id) = &filter.trace_id {
            needles.push(format!(r#""tr":"{id}""#));
        }
        Self(needles)
    }

    fn may_be_in(&self, line: &[u8]) -> bool {
        if line.is_empty() || self.0.is_empty() {
            return !line.is_empty();
        }
        match std::str::from_utf8(line) {
            Ok(text) => self.0.iter().all(|needle| text.contains(needle.as_str())),
            Err(_) => false,
        }
    }
}
