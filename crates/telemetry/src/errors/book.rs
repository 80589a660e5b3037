//! The groups, as they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::fingerprint::{hash, shape, trace};
use crate::record::LogRecord;
use crate::span::{Extra, Span, SpanStatus};

/// Of more, the one that happened longest ago is forgotten.
const GROUPS_MAX: usize = 2_000;
const EXAMPLE_BYTES_MAX: usize = 4 << 10;
const TITLE_CHARS_MAX: usize = 160;
/// Instances and releases that a group names.
const NAMES_MAX: usize = 12;
/// Counts over time: so long a step, so many steps.
const STEP_MS: u64 = 30 * 60_000;
const STEPS: usize = 48;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Span,
    Log,
}

/// Errors that are the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// Sixteen hexadecimal digits; the same in every run.
    pub id: String,
    pub source: Source,
    pub service: String,
    pub title: String,
    /// Where it came from, as far as the error says.
    #[serde(default)]
    pub place: String,
    pub count: u64,
    pub first_ms: u64,
    pub last_ms: u64,
    pub instances: BTreeSet<String>,
    /// Values of `service.version`.
    pub releases: BTreeSet<String>,
    /// The latest one: its text, its trace and its span.
    pub example: String,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    /// By the start of each half hour, the last day.
    #[serde(default)]
    pub steps: BTreeMap<u64, u64>,
}

/// One error.
pub(crate) struct Happened {
    /// Of this one error: it may be met twice.
    pub(crate) key: u64,
    group: ErrorGroup,
}

impl Happened {
    /// `others`: of the same look. The hop to a service that tells its own failure of the same
    /// request is left out: one failure is one error.
    pub(crate) fn of_span(span: &Span, others: &[Span]) -> Option<Self> {
        let hop = span.attribute("archipel.hop").is_some();
        let told = |other: &Span| {
            other.parent == Some(span.span)
                && other.status == SpanStatus::Error
                && other.resource.service == span.resource.service
        };
        if hop && others.iter().any(told) {
            return None;
        }
        let attribute = |key: &str| {
            span.attribute(key).map(|value| match value.to_json() {
                Json::String(text) => text,
                other => other.to_string(),
            })
        };
        let event = |key: &str| {
            span.extras.iter().find_map(|extra| match extra {
                Extra::Event { attributes, .. } => attributes.get(key).and_then(Json::as_str),
                Extra::Link { .. } => None,
            })
        };
        let kind = event("exception.type").map(str::to_owned).or_else(|| attribute("error.type"));
        let said = event("exception.message")
            .map(str::to_owned)
            .or_else(|| attribute("otel.status_description"));
        let status = attribute("http.response.status_code");
        let words = [kind, said];
        let mut title = words.into_iter().flatten().collect::<Vec<_>>().join(": ");
        if title.is_empty() || title.bytes().all(|byte| byte.is_ascii_digit()) {
            title = status.map_or("failed".to_owned(), |status| format!("answered {status}"));
        }
        let stack = event("exception.stacktrace").unwrap_or_default();
        let example = if stack.is_empty() { &title } else { stack };
        Some(Self::new(
            Source::Span,
            &span.resource.service,
            &title,
            &span.name,
            span.start_ns / 1_000_000,
            example,
            &[&span.resource.service, &span.name, &shape(&title)],
            hash(&[&span.trace.to_string(), &span.span.to_string()]),
            |group| {
                group.instances.extend(named(&span.resource.instance));
                let release = span.resource.attributes.get("service.version");
                group.releases.extend(release.and_then(Json::as_str).and_then(named));
                group.trace_id = Some(span.trace.to_string());
                group.span_id = Some(span.span.to_string());
            },
        ))
    }

    pub(crate) fn of_line(record: &LogRecord) -> Self {
        let field = |key: &str| record.fields.get(key).and_then(Json::as_str);
        let stack = ["exception.stacktrace", "stack", "stacktrace", "exc_info"]
            .iter()
            .find_map(|key| field(key))
            .unwrap_or(&record.message);
        let error = ["error", "err", "exception.message", "reason"].iter().find_map(|k| field(k));
        let (title, places) = match trace(stack) {
            Some((title, places)) => (title, places),
            None => {
                let first = record.message.lines().next().unwrap_or_default();
                let title = error.map_or(first.to_owned(), |error| format!("{first}: {error}"));
                (title, Vec::new())
            }
        };
        let (service, id) = (record.instance.service.as_str(), record.instance.to_string());
        let mut parts: Vec<&str> = vec![service];
        let shaped = shape(&title);
        parts.push(&shaped);
        parts.extend(places.iter().map(String::as_str));
        let example = match record.fields.is_empty() {
            true => stack.to_owned(),
            false => format!("{stack}\n{}", Json::Object(record.fields.clone())),
        };
        Self::new(
            Source::Log,
            service,
            &title,
            places.first().map_or("", String::as_str),
            record.at_ms,
            &example,
            &parts,
            hash(&[&id, &record.at_ms.to_string(), &record.message, &example]),
            |group| {
                group.instances.insert(id.clone());
                let release = field("service.version").or_else(|| field("version"));
                group.releases.extend(release.and_then(named));
                group.trace_id.clone_from(&record.trace_id);
                group.span_id.clone_from(&record.span_id);
            },
        )
    }

    #[expect(clippy::too_many_arguments, reason = "the two makers above, and nobody else")]
    fn new(
        source: Source,
        service: &str,
        title: &str,
        place: &str,
        at_ms: u64,
        example: &str,
        parts: &[&str],
        key: u64,
        more: impl FnOnce(&mut ErrorGroup),
    ) -> Self {
        let end = (0..=EXAMPLE_BYTES_MAX.min(example.len()))
            .rev()
            .find(|at| example.is_char_boundary(*at))
            .unwrap_or_default();
        let mut group = ErrorGroup {
            id: format!("{:016x}", hash(parts)),
            source,
            service: service.to_owned(),
            title: title.chars().take(TITLE_CHARS_MAX).collect(),
            place: place.chars().take(TITLE_CHARS_MAX).collect(),
            count: 1,
            first_ms: at_ms,
            last_ms: at_ms,
            instances: BTreeSet::new(),
            releases: BTreeSet::new(),
            example: example[..end].to_owned(),
            trace_id: None,
            span_id: None,
            steps: BTreeMap::from([(at_ms / STEP_MS * STEP_MS, 1)]),
        };
        more(&mut group);
        Self { key, group }
    }
}

fn named(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Book {
    /// Of the file.
    version: u32,
    /// What happened up to here is counted.
    pub(crate) looked_ms: u64,
    groups: BTreeMap<String, ErrorGroup>,
}

impl Book {
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, happened: Happened) {
        let new = happened.group;
        let Some(old) = self.groups.get_mut(&new.id) else {
            self.groups.insert(new.id.clone(), new);
            if self.groups.len() > GROUPS_MAX {
                let oldest = self.groups.values().min_by_key(|group| group.last_ms);
                let oldest = oldest.map(|group| group.id.clone());
                oldest.map(|id| self.groups.remove(&id));
            }
            return;
        };
        old.count += 1;
        old.first_ms = old.first_ms.min(new.first_ms);
        for (step, count) in new.steps {
            *old.steps.entry(step).or_default() += count;
        }
        while old.steps.len() > STEPS {
            old.steps.pop_first();
        }
        let room = |names: &BTreeSet<String>| NAMES_MAX.saturating_sub(names.len());
        old.instances.extend(new.instances.into_iter().take(room(&old.instances)));
        old.releases.extend(new.releases.into_iter().take(room(&old.releases)));
        if new.last_ms >= old.last_ms {
            old.last_ms = new.last_ms;
            old.example = new.example;
            // An example with a trace says more than a later one without.
            if new.trace_id.is_some() {
                (old.trace_id, old.span_id) = (new.trace_id, new.span_id);
            }
        }
    }

    pub(crate) fn since(&self, since_ms: u64) -> Vec<ErrorGroup> {
        let late = self.groups.values().filter(|group| group.last_ms >= since_ms);
        let mut found: Vec<ErrorGroup> = late.cloned().collect();
        found.sort_by_key(|group| std::cmp::Reverse(group.last_ms));
        found
    }

    pub(crate) fn one(&self, id: &str) -> Option<&ErrorGroup> {
        self.groups.get(id)
    }
}

/// Whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_ms: u64, message: &str) -> LogRecord {
        LogRecord {
            at_ms,
            instance: "orders-0".parse().unwrap(),
            stream: crate::Stream::Stderr,
            level: Some(crate::Level::Error),
            message: message.to_owned(),
            trace_id: None,
            span_id: None,
            fields: serde_json::Map::new(),
        }
    }

    #[test]
    fn the_same_error_is_counted_and_the_latest_is_the_example() {
        let mut book = Book::default();
        for at in [2_000, 5_000, 3_000] {
            book.add(Happened::of_line(&line(at, &format!("order {at} is lost"))));
        }
        book.add(Happened::of_line(&line(1, "another")));
        let found = book.since(0);
        assert_eq!(found.len(), 2);
        let one = &found[0];
        assert_eq!((one.count, one.first_ms, one.last_ms), (3, 2_000, 5_000));
        assert_eq!(one.example, "order 5000 is lost");
        assert_eq!(book.since(4_000).len(), 1);
        let again: Book = serde_json::from_slice(&book.bytes()).unwrap();
        assert_eq!(again.since(0), found);
    }

    #[test]
    fn there_is_an_end_to_how_many_are_kept() {
        let mut book = Book::default();
        let letters =
            |n: usize| n.to_string().bytes().map(|b| (b - b'0' + b'a') as char).collect::<String>();
        for n in 0..GROUPS_MAX + 5 {
            book.add(Happened::of_line(&line(n as u64, &letters(n))));
        }
        assert_eq!(book.since(0).len(), GROUPS_MAX);
        assert_eq!(book.since(0).last().unwrap().first_ms, 5);
    }
}
