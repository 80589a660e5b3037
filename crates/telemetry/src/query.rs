//! Finds records: newest files first, and only as far back as asked.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fs;
use std::io;
use std::path::Path;

use archipel_model::{InstanceId, ServiceName};
use serde::{Deserialize, Serialize};

use crate::expr::{Expr, Op, Operand};
use crate::record::LogRecord;
use crate::sealed::{self, Wanted};
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
    let search = Search::new(filter);
    // The times of the newest records so far: of a thousand services few hold one of them, and the
    // others need not be read back any further.
    let mut newest: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    for (service, dir) in segment::services(root)? {
        if !filter.may_take_service(&service) || tail == 0 {
            continue;
        }
        let mark = match until.map(|marks| marks.get(&service)) {
            None => None,
            Some(Some((path, bytes))) => Some((path.as_path(), *bytes)),
            Some(None) => continue,
        };
        let mut newest_first = Vec::new();
        search.visit(&dir, mark, false, &mut |record| {
            let oldest = newest.peek().filter(|_| newest.len() >= tail).map_or(0, |least| least.0);
            if record.at_ms + DISORDER_MS < oldest {
                return false;
            }
            newest.push(Reverse(record.at_ms));
            if newest.len() > tail {
                newest.pop();
            }
            newest_first.push(record);
            newest_first.len() < tail
        })?;
        found.extend(newest_first.into_iter().rev());
    }
    found.sort_by_key(|record| record.at_ms); // stable: lines of one millisecond keep their order
    let surplus = found.len().saturating_sub(tail);
    found.drain(..surplus);
    Ok(found)
}

/// How many records match, when, how bad and of whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogCounts {
    /// By second since 1970: errors, warnings, others.
    pub seconds: BTreeMap<u64, [u64; 3]>,
    pub instances: BTreeMap<InstanceId, u64>,
    /// Of records that have one.
    pub levels: BTreeMap<Level, u64>,
    pub total: u64,
    /// Where there were more than are counted, the newest were: complete from here on.
    pub complete_from_ms: Option<u64>,
}

/// Of each service, where messages must be read to know what matches, and where not.
const COUNTED_MAX: u64 = 50_000;
const COUNTED_LIGHT_MAX: u64 = 1_000_000;

/// Counts what matches. Blocks.
pub(crate) fn count(root: &Path, filter: &Filter) -> io::Result<LogCounts> {
    let search = Search::new(filter);
    let light = search.wanted.light;
    let most = if light { COUNTED_LIGHT_MAX } else { COUNTED_MAX };
    let mut out = LogCounts::default();
    for (service, dir) in segment::services(root)? {
        if !filter.may_take_service(&service) {
            continue;
        }
        let mut counted = 0;
        search.visit(&dir, None, light, &mut |record| {
            let bad = match record.level {
                Some(Level::Error) => 0,
                Some(Level::Warn) => 1,
                _ => 2,
            };
            out.seconds.entry(record.at_ms / 1000).or_default()[bad] += 1;
            if let Some(level) = record.level {
                *out.levels.entry(level).or_default() += 1;
            }
            match out.instances.get_mut(&record.instance) {
                Some(count) => *count += 1,
                None => _ = out.instances.insert(record.instance, 1),
            }
            counted += 1;
            if counted == most {
                out.complete_from_ms = out.complete_from_ms.max(Some(record.at_ms));
            }
            counted < most
        })?;
        out.total += counted;
    }
    Ok(out)
}

struct Search<'a> {
    filter: &'a Filter,
    needles: Needles,
    wanted: Wanted<'a>,
}

impl<'a> Search<'a> {
    fn new(filter: &'a Filter) -> Self {
        Self { filter, needles: Needles::of(filter), wanted: Wanted::new(filter) }
    }

    /// Gives matching records of one service from the newest back, so that asking for a few reads
    /// little, until `each` has enough. With `light`, messages and fields may be left out.
    fn visit(
        &self,
        dir: &Path,
        mark: Option<(&Path, u64)>,
        light: bool,
        each: &mut dyn FnMut(LogRecord) -> bool,
    ) -> io::Result<()> {
        let since = self.filter.since_ms.unwrap_or_default();
        let enough = Cell::new(false);
        let mut each = |record: LogRecord| {
            enough.set(!each(record));
            !enough.get()
        };
        // When the file that was looked at last began: what lies before it is older.
        let mut newer = u64::MAX;
        for path in segment::paths(dir)?.iter().rev() {
            if newer.saturating_add(DISORDER_MS) < since {
                break;
            }
            let began = segment::began_ms(path).unwrap_or_default();
            let bytes = match mark {
                Some((newest, _)) if path.as_path() > newest => continue,
                Some((newest, bytes)) if path.as_path() == newest => Some(bytes),
                _ => None,
            };
            newer = began;
            if self.filter.until_ms.is_some_and(|until| began > until.saturating_add(DISORDER_MS)) {
                continue;
            }
            let read = match sealed::is_sealed(path) {
                true => sealed::search(path, &self.wanted, light, &mut each),
                false => match self.lines(path, bytes, &mut each) {
                    // Sealed just now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let sealed = path.with_extension(sealed::SUFFIX);
                        sealed::search(&sealed, &self.wanted, light, &mut each)
                    }
                    read => read,
                },
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // just deleted
                read => read?,
            }
            if enough.get() {
                break;
            }
        }
        Ok(())
    }

    fn lines(
        &self,
        path: &Path,
        bytes: Option<u64>,
        each: &mut dyn FnMut(LogRecord) -> bool,
    ) -> io::Result<()> {
        let mut content = fs::read(path)?;
        content.truncate(bytes.map_or(content.len(), |bytes| bytes as usize));
        let since = self.filter.since_ms.unwrap_or_default();
        for line in content.rsplit(|byte| *byte == b'\n') {
            if !self.needles.may_be_in(line) {
                continue;
            }
            let Ok(record) = serde_json::from_slice::<LogRecord>(line) else { continue };
            if record.at_ms.saturating_add(DISORDER_MS) < since {
                break; // what lies before is older still
            }
            if self.filter.takes(&record) && !each(record) {
                break;
            }
        }
        Ok(())
    }
}

/// What a line must contain to be worth parsing, which costs ten times as much as looking.
struct Needles {
    trace: Option<String>,
    /// In lower case; of letters and digits only, which stand in a line as they are.
    words: Vec<String>,
}

impl Needles {
    fn of(filter: &Filter) -> Self {
        let (words, _) = filter.expr.log_words();
        let plain = |word: &String| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        Self {
            trace: filter.trace_id.as_ref().map(|id| format!(r#""tr":"{id}""#)),
            words: words.into_iter().filter(plain).collect(),
        }
    }

    fn may_be_in(&self, line: &[u8]) -> bool {
        if line.is_empty() || self.trace.is_none() && self.words.is_empty() {
            return !line.is_empty();
        }
        let Ok(text) = std::str::from_utf8(line) else { return false };
        self.trace.as_ref().is_none_or(|trace| text.contains(trace.as_str()))
            && self.words.iter().all(|word| contains_ascii(line, word.as_bytes()))
    }
}

/// Whatever the case of letters.
fn contains_ascii(line: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else { return true };
    let last = line.len().saturating_sub(word.len());
    let mut at = 0;
    while at <= last {
        let begins = |b: &u8| b.eq_ignore_ascii_case(first);
        let Some(next) = line[at..].iter().position(begins) else { return false };
        at += next;
        if line.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word)) {
            return true;
        }
        at += 1;
    }
    false
}
