//! The access log: one line for each request of the public entrance, for those who ask for it.
//!
//! A request hands over its record and never waits: what the writer cannot take in time is
//! dropped and counted in the log itself. The file moves aside when it is full, and is opened
//! again when somebody else moved it, so that any tool may rotate it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use archipel_model::{AccessFormat, AccessLog};
use archipel_rt::{CancellationToken, Receiver, Sender, Tasks, blocking, channel, clock};
use bytes::Bytes;
use http::HeaderValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::record::access::Access;

/// Records that may wait; at ten thousand a second, nearly a second.
const QUEUE: usize = 8 << 10;
const BATCH: usize = 512;
/// Of a path, a `Referer` or a `User-Agent`.
const FIELD_MAX: usize = 1_024;

/// What the log says of a request beyond its record.
pub(crate) struct Note {
    pub(crate) to: Arc<Writer>,
    pub(crate) client: HeaderValue,
    pub(crate) user: Option<String>,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) agent: Option<HeaderValue>,
    pub(crate) version: http::Version,
}

struct Line {
    note: Box<Note>,
    access: Access,
}

/// Where lines go; the task ends with the last handle.
pub(crate) struct Writer {
    to: Sender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    pub(crate) fn open(log: &AccessLog, tasks: &Tasks) -> Arc<Self> {
        let (to, lines) = channel("gateway.access_log", QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let out = Out { log: log.clone(), file: None, written: 0, failed: false };
        tasks
            .spawn("gateway.access_log", run(lines, out, Arc::clone(&dropped), tasks.stop_token()));
        Arc::new(Self { to, dropped })
    }
}

impl Note {
    /// `access`: without its start on the wall clock and its path.
    pub(crate) fn send(self: Box<Self>, mut access: Access, path: &str, duration: Duration) {
        let began = clock::wall().checked_sub(duration);
        let since = began.and_then(|began| began.duration_since(SystemTime::UNIX_EPOCH).ok());
        access.at_ns = since.map_or(0, |since| since.as_nanos() as u64);
        access.path = Bytes::copy_from_slice(cut(path).as_bytes());
        let to = Arc::clone(&self.to);
        if to.to.try_send(Line { note: self, access }).is_err() {
            to.dropped.fetch_add(1, Relaxed);
        }
    }
}

async fn run(
    mut lines: Receiver<Line>,
    mut out: Out,
    dropped: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    // Notes hold the writer's handle, so the channel ends with the last of both.
    let mut batch = Vec::with_capacity(BATCH);
    let mut stopping = false;
    loop {
        let count = tokio::select! {
            biased;
            count = lines.recv_many(&mut batch, BATCH) => count,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                lines.close();
                continue;
            }
        };
        if count == 0 {
            return;
        }
        let lost = dropped.swap(0, Relaxed);
        let lines = std::mem::take(&mut batch);
        // A disk may be slow; requests do not wait for it.
        let (back, empty) = blocking(move || {
            out.write(&lines, lost);
            let mut lines = lines;
            lines.clear();
            (out, lines)
        })
        .await;
        (out, batch) = (back, empty);
    }
}

struct Out {
    log: AccessLog,
    file: Option<(File, u64)>,
    written: u64,
    failed: bool,
}

impl Out {
    fn write(&mut self, lines: &[Line], lost: u64) {
        let mut text = String::with_capacity(lines.len() * 256);
        for line in lines {
            match self.log.format {
                AccessFormat::Json => json(&mut text, line),
                AccessFormat::Combined => combined(&mut text, line),
            }
        }
        match self.append(text.as_bytes()) {
            Ok(()) => self.failed = false,
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.failed, true) {
                    let file = self.log.file.display();
                    tracing::warn!(%file, %error, "could not write the access log");
                }
            }
        }
        if lost > 0 {
            tracing::warn!(lost, "requests came faster than the access log could be written");
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let moved = match &self.file {
            Some((_, inode)) => {
                std::fs::metadata(&self.log.file).map_or(true, |now| now.ino() != *inode)
            }
            None => true,
        };
        if moved {
            self.open()?;
        }
        if self.written > 0 && self.written + text.len() as u64 > self.log.max.0 / 2 {
            std::fs::rename(&self.log.file, aside(&self.log.file))?;
            self.open()?;
        }
        if let Some((file, _)) = &mut self.file {
            file.write_all(text)?;
            self.written += text.len() as u64;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if let Some(directory) = self.log.file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // Addresses of people: for the owner's eyes.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log.file)?;
        let facts = file.metadata()?;
        self.written = facts.len();
        self.file = Some((file, facts.ino()));
        Ok(())
    }
}

fn aside(file: &std::path::Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn at(access: &Access) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(access.at_ns))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn field(value: Option<&HeaderValue>) -> String {
    let bytes = value.map_or(&b""[..], HeaderValue::as_bytes);
    String::from_utf8_lossy(&bytes[..bytes.len().min(FIELD_MAX)]).into_owned()
}

fn cut(text: &str) -> &str {
    let end = (0..=FIELD_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

fn json(out: &mut String, Line { note, access }: &Line) {
    let mut line = serde_json::Map::new();
    let mut put = |key: &str, value: serde_json::Value| line.insert(key.to_owned(), value);
    let text = |text: &str| serde_json::Value::String(text.to_owned());
    put("time", text(&at(access).format(&Rfc3339).unwrap_or_default()));
    put("client", text(&field(Some(&note.client))));
    put("method", text(access.method.as_str()));
    put("path", text(&String::from_utf8_lossy(&access.path)));
    put("status", access.status.into());
    put("bytes", access.bytes.into());
    put("duration_ms", ms(access.duration));
    put("head_ms", ms(access.head));
    put("trace", text(&access.trace_id.to_string()));
    for (key, value) in [
        ("route", access.of.route.as_deref().map(str::to_owned)),
        ("service", access.of.callee.as_ref().map(ToString::to_string)),
        ("instance", access.instance.as_ref().map(ToString::to_string)),
        ("user", note.user.clone()),
        ("refused", access.refusal.map(|problem| problem.slug().to_owned())),
        ("rule", access.rule.as_deref().map(str::to_owned)),
        ("help", access.refusal.map(|problem| problem.advice().to_owned())),
        ("referer", note.referer.as_ref().map(|value| field(Some(value)))),
        ("agent", note.agent.as_ref().map(|value| field(Some(value)))),
    ] {
        if let Some(value) = value {
            put(key, value.into());
        }
    }
    if access.retries > 0 {
        put("retries", access.retries.into());
    }
    let _ = writeln!(out, "{}", serde_json::Value::Object(line));
}

fn ms(duration: Duration) -> serde_json::Value {
    ((duration.as_secs_f64() * 1e6).round() / 1e3).into()
}

/// `client - user [time] "METHOD path HTTP/1.1" status bytes "referer" "agent"`
fn combined(out: &mut String, Line { note, access }: &Line) {
    const TIME: &[time::format_description::BorrowedFormatItem<'_>] = format_description!(
        "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    let time = at(access).format(TIME).unwrap_or_default();
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { quoted(&text) };
    let _ = writeln!(
        out,
        "{} - {} [{time}] \"{} {} {:?}\" {} {} \"{}\" \"{}\"",
        field(Some(&note.client)),
        dash(note.user.as_deref().unwrap_or_default().replace(' ', "_")),
        access.method,
        quoted(&String::from_utf8_lossy(&access.path)),
        note.version,
        access.status,
        access.bytes,
        dash(field(note.referer.as_ref())),
        dash(field(note.agent.as_ref())),
    );
}

/// Nobody can end a field, or a line, from outside.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
