//! A group of records as bytes.
//!
//! `magic · length of the head · length of the body · CRC of both lengths and the head · head ·
//! body`. The body begins with the filter of words, as it is; then the columns, each compressed.

use std::collections::{BTreeSet, HashMap};
use std::io;

use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use super::template;
use crate::Level;
use crate::query::Filter;
use crate::record::{LogRecord, Stream};
use crate::span::bloom::{Words, json_words};
use crate::span::codec::{Reader, damaged, put_text, put_varint, unzigzag, zigzag};
use crate::span::column::{Builder, Column, Type, Values};

/// The digit is the version of the format.
const MAGIC: [u8; 4] = *b"ARL1";
pub(super) const HEAD_BYTES: usize = 16;
pub(super) const ROWS_MAX: usize = if cfg!(test) { 512 } else { 8_192 };
/// No group of ours comes near; a damaged length does.
const PART_BYTES_MAX: usize = 1 << 28;
/// Further keys share one column, so that ids used as keys cost their sender speed only.
const FIELDS_MAX: usize = 256;

const LEVELS: [Option<Level>; 6] = [
    None,
    Some(Level::Trace),
    Some(Level::Debug),
    Some(Level::Info),
    Some(Level::Warn),
    Some(Level::Error),
];
const STREAMS: [Stream; 5] =
    [Stream::Stdout, Stream::Stderr, Stream::Build, Stream::Event, Stream::Otlp];

/// The last eight digits: of ids that begin with a time, they are the random part.
pub(super) fn fingerprint(trace: &str) -> Option<u32> {
    u32::from_str_radix(trace.get(24..32)?, 16).ok()
}

/// What is known of a group without reading it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Head {
    rows: u32,
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
    /// A bit for each of [`LEVELS`].
    levels: u8,
    /// Of traces, sorted.
    traces: Vec<u32>,
    pub(super) words_bytes: usize,
    columns: Vec<Place>,
}

#[derive(Debug, PartialEq)]
struct Place {
    name: Box<str>,
    offset: usize,
    stored: usize,
    raw: usize,
    crc: u32,
}

impl Head {
    /// Of this level or worse.
    pub(super) fn has_level(&self, level: Level) -> bool {
        let bad = LEVELS.iter().enumerate().filter(|(_, of)| of.is_some_and(|of| of >= level));
        bad.map(|(bit, _)| 1 << bit).any(|bit: u8| self.levels & bit != 0)
    }

    pub(super) fn may_hold_trace(&self, fingerprint: u32) -> bool {
        self.traces.binary_search(&fingerprint).is_ok()
    }

    fn write(&self, body: usize) -> Vec<u8> {
        let mut out = vec![0; HEAD_BYTES];
        for number in [u64::from(self.rows), self.first_ms, self.last_ms, self.levels.into()] {
            put_varint(&mut out, number);
        }
        put_varint(&mut out, self.traces.len() as u64);
        self.traces.iter().for_each(|trace| out.extend_from_slice(&trace.to_le_bytes()));
        put_varint(&mut out, self.words_bytes as u64);
        put_varint(&mut out, self.columns.len() as u64);
        for place in &self.columns {
            put_text(&mut out, place.name.as_bytes());
            for number in [place.offset, place.stored, place.raw] {
                put_varint(&mut out, number as u64);
            }
            out.extend_from_slice(&place.crc.to_le_bytes());
        }
        let head = (out.len() - HEAD_BYTES) as u32;
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&head.to_le_bytes());
        out[8..12].copy_from_slice(&(body as u32).to_le_bytes());
        let crc = crc(&out[4..12], &out[HEAD_BYTES..]);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn read(fixed: &[u8; HEAD_BYTES], head: &[u8]) -> io::Result<Self> {
        let (_, body) = lengths(fixed)?;
        let stored = u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]);
        if crc(&fixed[4..12], head) != stored {
            return Err(damaged());
        }
        let mut reader = Reader(head);
        let mut out = Self {
            rows: u32::try_from(reader.varint()?).map_err(|_| damaged())?,
            first_ms: reader.varint()?,
            last_ms: reader.varint()?,
            levels: u8::try_from(reader.varint()?).map_err(|_| damaged())?,
            ..Self::default()
        };
        for _ in 0..reader.count()? {
            out.traces.push(u32::from_le_bytes(reader.array()?));
        }
        out.words_bytes = reader.count()?;
        for _ in 0..reader.count()? {
            let place = Place {
                name: reader.text()?.into(),
                offset: reader.count()?,
                stored: reader.count()?,
                raw: reader.count()?,
                crc: u32::from_le_bytes(reader.array()?),
            };
            let end = place.offset.checked_add(place.stored).ok_or_else(damaged)?;
            if end > body || place.raw > PART_BYTES_MAX {
                return Err(damaged());
            }
            out.columns.push(place);
        }
        if out.words_bytes > body || out.rows as usize > ROWS_MAX {
            return Err(damaged());
        }
        Ok(out)
    }
}

/// Of the head and the body.
pub(super) fn lengths(fixed: &[u8; HEAD_BYTES]) -> io::Result<(usize, usize)> {
    let mut reader = Reader(fixed);
    let magic: [u8; 4] = reader.array()?;
    let head = u32::from_le_bytes(reader.array()?) as usize;
    let body = u32::from_le_bytes(reader.array()?) as usize;
    if magic != MAGIC || head > PART_BYTES_MAX || body > PART_BYTES_MAX {
        return Err(damaged());
    }
    Ok((head, body))
}

fn crc(lengths: &[u8], head: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(lengths);
    crc.update(head);
    crc.finalize()
}

/// Names of columns that no field has: they begin with a sign that keys of fields get doubled.
const TIME: &str = "$time";
const FLAGS: &str = "$flags";
const INSTANCE: &str = "$instance";
const TEMPLATE: &str = "$template";
const HOLES: &str = "$holes";
const TRACE: &str = "$trace";
const SPAN: &str = "$span";
const REST: &str = "$rest";

fn field_name(key: &str) -> String {
    if key.starts_with('$') { format!("${key}") } else { key.to_owned() }
}

/// `rows` are at most [`ROWS_MAX`].
pub(super) fn encode(rows: &[LogRecord]) -> io::Result<Vec<u8>> {
    let mut words = Words::default();
    let mut traces = BTreeSet::new();
    let (mut times, mut flags, mut holes) = (Vec::new(), Vec::new(), Vec::new());
    let [mut instances, mut templates, mut trace_ids, mut span_ids, mut rest] =
        std::array::from_fn(|_| Builder::default());
    let mut places: HashMap<&str, usize, RandomState> = HashMap::default();
    let mut fields: Vec<(&str, Builder)> = Vec::new();
    let mut head = Head { rows: rows.len() as u32, first_ms: u64::MAX, ..Head::default() };
    let mut last = 0i64;
    for (at, record) in rows.iter().enumerate() {
        let row = at as u32;
        head.first_ms = head.first_ms.min(record.at_ms);
        head.last_ms = head.last_ms.max(record.at_ms);
        put_varint(&mut times, zigzag((record.at_ms as i64).wrapping_sub(last)));
        last = record.at_ms as i64;
        let position = |found: Option<usize>| found.unwrap_or_default() as u8;
        let level = position(LEVELS.iter().position(|of| *of == record.level));
        let stream = position(STREAMS.iter().position(|of| *of == record.stream));
        head.levels |= 1 << level;
        flags.push(level | stream << 4);
        if let Some(new) = instances.push_plain(row, &record.instance.to_string()) {
            words.add(new);
        }
        words.add(&record.message);
        let (template, filling) = template::split(&record.message);
        templates.push_plain(row, &template);
        filling.iter().for_each(|text| put_text(&mut holes, text.as_bytes()));
        if let Some(id) = &record.trace_id {
            trace_ids.push_plain(row, id);
            traces.extend(fingerprint(id));
        }
        if let Some(id) = &record.span_id {
            span_ids.push_plain(row, id);
        }
        let mut more = Map::new();
        for (key, value) in &record.fields {
            let place = match places.get(key.as_str()) {
                Some(place) => *place,
                None if fields.len() < FIELDS_MAX => {
                    fields.push((key, Builder::default()));
                    places.insert(key, fields.len() - 1);
                    fields.len() - 1
                }
                None => {
                    add_words(&mut words, value);
                    more.insert(key.clone(), value.clone());
                    continue;
                }
            };
            if fields[place].1.push_plain(row, &value.to_string()).is_some() {
                add_words(&mut words, value);
            }
        }
        if !more.is_empty() {
            rest.push_plain(row, &Value::Object(more).to_string());
        }
    }
    head.traces = traces.into_iter().collect();
    let mut columns: Vec<(String, Vec<u8>)> =
        vec![(TIME.into(), times), (FLAGS.into(), flags), (INSTANCE.into(), instances.finish())];
    columns.extend([(TEMPLATE.into(), templates.finish()), (HOLES.into(), holes)]);
    for (name, column) in [(TRACE, trace_ids), (SPAN, span_ids), (REST, rest)] {
        if !column.is_empty() {
            columns.push((name.into(), column.finish()));
        }
    }
    columns.extend(fields.into_iter().map(|(key, column)| (field_name(key), column.finish())));
    let mut body = words.finish();
    head.words_bytes = body.len();
    for (name, raw) in columns {
        let stored = zstd::bulk::compress(&raw, 1)?;
        head.columns.push(Place {
            name: name.into(),
            offset: body.len(),
            stored: stored.len(),
            raw: raw.len(),
            crc: crc32fast::hash(&stored),
        });
        body.extend_from_slice(&stored);
    }
    let mut out = head.write(body.len());
    out.extend_from_slice(&body);
    Ok(out)
}

fn add_words(words: &mut Words, value: &Value) {
    match value {
        Value::String(text) => words.add(text),
        other => words.add_json(&json_words(&other.to_string())),
    }
}

struct Body<'a> {
    head: &'a Head,
    bytes: &'a [u8],
}

impl Body<'_> {
    fn inflate(&self, place: &Place) -> io::Result<Vec<u8>> {
        let stored = self.bytes.get(place.offset..place.offset + place.stored);
        let stored = stored.ok_or_else(damaged)?;
        if crc32fast::hash(stored) != place.crc {
            return Err(damaged());
        }
        let raw = zstd::bulk::decompress(stored, place.raw)?;
        if raw.len() == place.raw { Ok(raw) } else { Err(damaged()) }
    }

    fn raw(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let place = self.head.columns.iter().find(|place| &*place.name == name);
        place.map(|place| self.inflate(place)).transpose()
    }

    /// Texts by row, of the rows that are wanted.
    fn each_text(
        &self,
        raw: &[u8],
        wanted: &[bool],
        mut take: impl FnMut(usize, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        let column = Column::read(raw, Type::Text, self.head.rows)?;
        let Values::Text { dictionary, codes } = &column.values else { return Err(damaged()) };
        for (row, code) in column.rows.iter().zip(codes) {
            if wanted[*row as usize] {
                take(*row as usize, dictionary[*code as usize])?;
            }
        }
        Ok(())
    }
}

/// The records that time and level do not rule out, in their order.
pub(super) fn decode(
    head: &Head,
    bytes: &[u8],
    light: bool,
    filter: &Filter,
) -> io::Result<Vec<LogRecord>> {
    let body = Body { head, bytes };
    let rows = head.rows as usize;
    let times = body.raw(TIME)?.ok_or_else(damaged)?;
    let flags = body.raw(FLAGS)?.ok_or_else(damaged)?;
    if flags.len() != rows {
        return Err(damaged());
    }
    let (mut reader, mut last) = (Reader(&times), 0i64);
    let mut wanted = vec![false; rows];
    let mut at = Vec::with_capacity(rows);
    for (row, flags) in flags.iter().enumerate() {
        last = last.wrapping_add(unzigzag(reader.varint()?));
        at.push(last as u64);
        let level = *LEVELS.get(usize::from(flags & 15)).ok_or_else(damaged)?;
        wanted[row] = filter.since_ms.is_none_or(|since| last as u64 >= since)
            && filter.until_ms.is_none_or(|until| last as u64 <= until)
            && filter.level.is_none_or(|least| level.is_some_and(|level| level >= least));
    }
    let mut out: Vec<Option<LogRecord>> = (0..rows).map(|_| None).collect();
    let raw = body.raw(INSTANCE)?.ok_or_else(damaged)?;
    body.each_text(&raw, &wanted, |row, text| {
        out[row] = Some(LogRecord {
            at_ms: at[row],
            instance: text.parse().map_err(|_| damaged())?,
            stream: *STREAMS.get(usize::from(flags[row] >> 4)).ok_or_else(damaged)?,
            level: LEVELS[usize::from(flags[row] & 15)],
            message: String::new(),
            trace_id: None,
            span_id: None,
            fields: Map::new(),
        });
        Ok(())
    })?;
    if !light {
        content(&body, &wanted, &mut out)?;
    }
    Ok(out.into_iter().flatten().collect())
}

fn content(body: &Body<'_>, wanted: &[bool], out: &mut [Option<LogRecord>]) -> io::Result<()> {
    let templates = body.raw(TEMPLATE)?.ok_or_else(damaged)?;
    let holes = body.raw(HOLES)?.ok_or_else(damaged)?;
    let mut holes = Reader(&holes);
    // Every row's holes are passed, also of those that are not wanted.
    body.each_text(&templates, &vec![true; wanted.len()], |row, template| {
        let count = template::holes(template);
        let filling: Vec<&str> = (0..count).map(|_| holes.text()).collect::<io::Result<_>>()?;
        if let Some(record) = &mut out[row] {
            record.message = template::join(template, &filling);
        }
        Ok(())
    })?;
    for place in &body.head.columns {
        match &*place.name {
            TIME | FLAGS | INSTANCE | TEMPLATE | HOLES => {}
            name => {
                let raw = body.inflate(place)?;
                body.each_text(&raw, wanted, |row, text| {
                    let Some(record) = &mut out[row] else { return Ok(()) };
                    match name {
                        TRACE => record.trace_id = Some(text.to_owned()),
                        SPAN => record.span_id = Some(text.to_owned()),
                        REST => record.fields.extend(serde_json::from_str::<Map<_, _>>(text)?),
                        key => {
                            let key = key.strip_prefix('$').unwrap_or(key).to_owned();
                            record.fields.insert(key, serde_json::from_str(text)?);
                        }
                    }
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = LogRecord> {
        let value = prop_oneof![
            "[a-z\"\\\\é]{0,8}".prop_map(Value::String),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(serde_json::json!({ "a": [1, null] })),
        ];
        let fields = prop::collection::btree_map("[$a-c]{1,2}", value, 0..4);
        let head = (any::<u32>(), 0usize..6, 0usize..5, 0u16..3);
        (head, "[a-z0-9 /\n\u{1}]{0,30}", any::<Option<u128>>(), fields).prop_map(
            |((at, level, stream, replica), message, trace, fields)| LogRecord {
                at_ms: u64::from(at),
                instance: format!("orders-{replica}").parse().unwrap(),
                stream: STREAMS[stream],
                level: LEVELS[level],
                message,
                trace_id: trace.map(|id| format!("{id:032x}")),
                span_id: trace.map(|id| format!("{:016x}", id as u64)),
                fields: fields.into_iter().collect(),
            },
        )
    }

    fn read(bytes: &[u8]) -> io::Result<(Head, Vec<LogRecord>)> {
        let fixed = bytes.first_chunk::<HEAD_BYTES>().ok_or_else(damaged)?;
        let (head_bytes, _) = lengths(fixed)?;
        let end = HEAD_BYTES + head_bytes;
        let head = Head::read(fixed, bytes.get(HEAD_BYTES..end).ok_or_else(damaged)?)?;
        let found = decode(&head, &bytes[end..], false, &Filter::default())?;
        Ok((head, found))
    }

    proptest! {
        #[test]
        fn a_group_reads_back(rows in prop::collection::vec(record(), 1..60)) {
            let (head, back) = read(&encode(&rows).unwrap()).unwrap();
            prop_assert_eq!(&back, &rows);
            for row in &rows {
                let print = row.trace_id.as_deref().and_then(fingerprint);
                prop_assert!(print.is_none_or(|print| head.may_hold_trace(print)));
                prop_assert!(row.level.is_none_or(|level| head.has_level(level)));
            }
        }

        #[test]
        fn a_damaged_group_is_refused(
            rows in prop::collection::vec(record(), 1..20),
            at: prop::sample::Index,
            flip in 1u8..,
        ) {
            let mut bytes = encode(&rows).unwrap();
            let words = read(&bytes).unwrap().0.words_bytes;
            let head = lengths(bytes.first_chunk().unwrap()).unwrap().0 + HEAD_BYTES;
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            // The filter of words is not part of what is read here.
            prop_assert!(read(&bytes).is_err() || (head..head + words).contains(&at));
        }
    }
}
