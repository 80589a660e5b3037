//! A row group as it is written: spans become columns.
//!
//! Hops come by the thousand and have the same few attributes, so their columns are found once
//! for a group and what they have in common is looked up once for each kind of hop: two thirds
//! of the cost of a span are its texts.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use archipel_model::{SpanId, TraceId};
use foldhash::fast::RandomState;
use serde_json::{Map, Value as Json};

use super::bloom::Words;
use super::codec::{put_varint, zigzag};
use super::column::{Builder, Type};
use super::hop::{Hop, HopKind, Row};
use super::index::{ColumnPlace, Fixed, Index, Name, fingerprint};
use super::model::{Resource, Span, SpanStatus, Text, Value};

pub(crate) const ROWS_MAX: usize = 8192;
/// Attributes beyond lie together in one column: more files than that would be opened by nobody
/// but somebody who means harm or puts ids into names.
const COLUMNS_MAX: usize = 256;
const LEVEL: i32 = 1;

/// Turns spans into the bytes of a group.
pub(crate) struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
}

impl Encoder {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(LEVEL)? })
    }

    /// The index, and the whole group as it is written: header, index, body.
    pub(crate) fn encode(&mut self, rows: &[Row], number: u64) -> io::Result<(Index, Vec<u8>)> {
        let mut index = Index { number, rows: rows.len() as u32, ..Index::default() };
        let mut columns = Vec::new();
        times(rows, &mut index, &mut columns);
        ids(rows, &mut index, &mut columns);
        texts(rows, &mut index, &mut columns)?;
        let mut body = Vec::new();
        for (name, raw) in columns {
            let stored = match name {
                // Random: compressing it costs and gains nothing.
                Name::Fixed(Fixed::Span | Fixed::Words) => Cow::Borrowed(&raw),
                _ => Cow::Owned(self.zstd.compress(&raw)?),
            };
            index.columns.push(ColumnPlace {
                name,
                offset: body.len() as u32,
                stored: stored.len() as u32,
                raw: raw.len() as u32,
                crc: crc32fast::hash(&stored),
            });
            body.extend_from_slice(&stored);
        }
        let mut out = index.write();
        out.extend_from_slice(&body);
        Ok((index, out))
    }
}

type Columns = Vec<(Name, Vec<u8>)>;

fn times(rows: &[Row], index: &mut Index, columns: &mut Columns) {
    let (mut starts, mut durations, mut flags) = (Vec::new(), Vec::new(), Vec::new());
    index.start_min = u64::MAX;
    let mut last = 0u64;
    for row in rows {
        let (start, duration, (kind, status)) = (row.start_ns(), row.duration_ns(), row.flags());
        put_varint(&mut starts, zigzag(start.wrapping_sub(last) as i64));
        last = start;
        put_varint(&mut durations, duration);
        flags.push(kind as u8 | (status as u8) << 4);
        index.start_min = index.start_min.min(start);
        index.start_max = index.start_max.max(start);
        index.duration_max = index.duration_max.max(duration);
        index.errors += u32::from(status == SpanStatus::Error);
    }
    columns.push((Name::Fixed(Fixed::Start), starts));
    columns.push((Name::Fixed(Fixed::Duration), durations));
    columns.push((Name::Fixed(Fixed::Flags), flags));
}

/// Trace ids repeat; a parent is mostly a row of the same group, and then its distance is kept.
fn ids(rows: &[Row], index: &mut Index, columns: &mut Columns) {
    let mut at: HashMap<SpanId, usize, RandomState> = HashMap::default();
    if rows.iter().any(|row| row.parent().is_some()) {
        at.reserve(rows.len());
        at.extend(rows.iter().enumerate().map(|(n, row)| (row.span(), n)));
    }
    let mut seen: HashMap<TraceId, u64, RandomState> = HashMap::default();
    seen.reserve(rows.len());
    let mut fingerprints = Vec::with_capacity(rows.len());
    let (mut traces, mut own, mut parents) = (Vec::new(), Vec::new(), Vec::new());
    for (n, row) in rows.iter().enumerate() {
        let fresh = seen.len() as u64;
        let trace = row.trace();
        let code = *seen.entry(trace).or_insert(fresh);
        if code == fresh {
            traces.push(0);
            traces.extend_from_slice(trace.bytes());
            fingerprints.push(fingerprint(trace.bytes()));
        } else {
            // From the newest back, so that numbers stay small.
            put_varint(&mut traces, fresh - code);
        }
        own.extend_from_slice(row.span().bytes());
        match row.parent() {
            None => parents.push(0),
            Some(parent) => match at.get(&parent) {
                Some(at) => put_varint(&mut parents, 2 + zigzag(*at as i64 - n as i64)),
                None => {
                    parents.push(1);
                    parents.extend_from_slice(parent.bytes());
                }
            },
        }
    }
    fingerprints.sort_unstable();
    fingerprints.dedup();
    index.fingerprints = fingerprints;
    columns.push((Name::Fixed(Fixed::Trace), traces));
    columns.push((Name::Fixed(Fixed::Span), own));
    columns.push((Name::Fixed(Fixed::Parent), parents));
}

/// Whose they are, what they are called, their attributes, and the words of all that.
fn texts(rows: &[Row], index: &mut Index, columns: &mut Columns) -> io::Result<()> {
    let mut texts = Texts::default();
    if rows.iter().any(|row| matches!(row, Row::Hop(_))) {
        texts.hop_columns = HOP_COLUMNS.map(|(key, kind)| texts.add_column(key, kind));
    }
    for (n, row) in rows.iter().enumerate() {
        match row {
            Row::Span(span) => texts.span(n as u32, span)?,
            Row::Hop(hop) => texts.hop(n as u32, hop),
        }
    }
    texts.finish(index, columns)
}

/// What every hop has. The columns that a group's first hop makes, in this order.
const HOP_COLUMNS: [(&str, Type); 8] = [
    ("archipel.hop", Type::Bool),
    ("archipel.caller", Type::Text),
    ("http.request.method", Type::Text),
    ("http.route", Type::Text),
    ("url.path", Type::Text),
    ("http.response.status_code", Type::Int),
    ("http.response.body.size", Type::Int),
    ("archipel.head_us", Type::Int),
];

#[derive(Default)]
struct Texts<'a> {
    words: Words,
    /// Each different one, and where those that were met stand in that list.
    resources: Vec<&'a Arc<Resource>>,
    met: HashMap<*const Resource, u32, RandomState>,
    resource_of: Vec<u8>,
    names: Builder,
    places: HashMap<(&'a str, Type), usize, RandomState>,
    columns: Vec<(&'a str, Type, Builder)>,
    hop_columns: [usize; 8],
    hop_kinds: HashMap<*const HopKind, HopCodes, RandomState>,
    last_kind: Option<(*const HopKind, HopCodes)>,
    overflow: Builder,
    extras: Builder,
}

/// Where the texts of one kind of hop stand in their columns.
#[derive(Clone, Copy)]
struct HopCodes {
    resource: u32,
    name: u32,
    caller: u32,
    method: u32,
    route: Option<u32>,
}

impl<'a> Texts<'a> {
    fn span(&mut self, row: u32, span: &'a Span) -> io::Result<()> {
        let resource = self.resource(&span.resource);
        put_varint(&mut self.resource_of, resource.into());
        if let Some(new) = self.names.push_plain(row, &span.name) {
            self.words.add(new);
        }
        self.attributes(row, &span.attributes);
        if !span.extras.is_empty()
            && let Some(new) = self.extras.push_plain(row, &serde_json::to_string(&span.extras)?)
        {
            self.words.add_json(new);
        }
        Ok(())
    }

    fn hop(&mut self, row: u32, hop: &'a Hop) {
        let codes = self.codes(&hop.like);
        put_varint(&mut self.resource_of, codes.resource.into());
        self.names.push_code(row, codes.name);
        let [own, caller, method, route, path, code, bytes, head] = self.hop_columns;
        let columns = &mut self.columns;
        columns[own].2.push_bool(row, true);
        columns[caller].2.push_code(row, codes.caller);
        columns[method].2.push_code(row, codes.method);
        if let Some(of) = codes.route {
            columns[route].2.push_code(row, of);
        }
        if let Some(new) = columns[path].2.push_plain(row, &String::from_utf8_lossy(&hop.path)) {
            self.words.add(new);
        }
        if hop.code > 0 {
            columns[code].2.push_int(row, hop.code.into());
        }
        columns[bytes].2.push_int(row, i64::try_from(hop.bytes).unwrap_or(i64::MAX));
        columns[head].2.push_int(row, i64::try_from(hop.head_us).unwrap_or(i64::MAX));
        self.attributes(row, &hop.more);
    }

    fn codes(&mut self, like: &'a Arc<HopKind>) -> HopCodes {
        let key = Arc::as_ptr(like);
        if let Some((_, codes)) = self.last_kind.filter(|(last, _)| *last == key) {
            return codes;
        }
        let codes = match self.hop_kinds.get(&key) {
            Some(codes) => *codes,
            None => {
                let resource = self.resource(&like.resource);
                let [_, caller, method, route, ..] = self.hop_columns;
                let columns = &mut self.columns;
                let mut code = |builder: &mut Builder, text: &str| {
                    let (code, new) = builder.code(text);
                    if new {
                        self.words.add(text);
                    }
                    code
                };
                let codes = HopCodes {
                    resource,
                    name: code(&mut self.names, &like.name),
                    caller: code(&mut columns[caller].2, &like.caller),
                    method: code(&mut columns[method].2, &like.method),
                    route: like.route.as_ref().map(|of| code(&mut columns[route].2, of)),
                };
                self.hop_kinds.insert(key, codes);
                codes
            }
        };
        self.last_kind = Some((key, codes));
        codes
    }

    fn resource(&mut self, resource: &'a Arc<Resource>) -> u32 {
        let resources = &mut self.resources;
        *self.met.entry(Arc::as_ptr(resource)).or_insert_with(|| {
            let at = resources.iter().position(|other| **other == *resource);
            at.unwrap_or_else(|| {
                resources.push(resource);
                resources.len() - 1
            }) as u32
        })
    }

    fn add_column(&mut self, key: &'a str, kind: Type) -> usize {
        self.columns.push((key, kind, Builder::default()));
        self.places.insert((key, kind), self.columns.len() - 1);
        self.columns.len() - 1
    }

    fn attributes(&mut self, row: u32, attributes: &'a [(Text, Value)]) {
        let mut rest = Map::new();
        // A key that comes twice counts once, or its rows would not ascend.
        for (n, (key, value)) in attributes.iter().enumerate() {
            if attributes[..n].iter().any(|(earlier, _)| earlier == key) {
                continue;
            }
            let kind = Type::of(value);
            let place = match self.places.get(&(&**key, kind)) {
                Some(place) => *place,
                None if self.columns.len() < COLUMNS_MAX => self.add_column(key, kind),
                None => {
                    add_json(&mut self.words, &value.to_json());
                    rest.insert(key.to_string(), value.to_json());
                    continue;
                }
            };
            if let Some(new) = self.columns[place].2.push(row, value) {
                match kind {
                    Type::Json => self.words.add_json(new),
                    _ => self.words.add(new),
                }
            }
        }
        if !rest.is_empty() {
            self.overflow.push_plain(row, &Json::Object(rest).to_string());
        }
    }

    fn finish(mut self, index: &mut Index, columns: &mut Columns) -> io::Result<()> {
        let services: BTreeSet<&str> =
            self.resources.iter().map(|of| of.service.as_str()).collect();
        index.services = services.into_iter().map(Into::into).collect();
        for resource in &self.resources {
            self.words.add(&resource.service);
            self.words.add(&resource.instance);
            resource.attributes.values().for_each(|value| add_json(&mut self.words, value));
        }
        let mut put = |name: Fixed, bytes: Vec<u8>| columns.push((Name::Fixed(name), bytes));
        put(Fixed::Resource, self.resource_of);
        put(Fixed::Resources, serde_json::to_vec(&self.resources)?);
        put(Fixed::Name, self.names.finish());
        for (key, kind, builder) in self.columns.into_iter().filter(|of| !of.2.is_empty()) {
            columns.push((Name::Attribute(key.into(), kind), builder.finish()));
        }
        for (name, builder) in [(Fixed::Overflow, self.overflow), (Fixed::Extras, self.extras)] {
            if !builder.is_empty() {
                columns.push((Name::Fixed(name), builder.finish()));
            }
        }
        columns.push((Name::Fixed(Fixed::Words), self.words.finish()));
        Ok(())
    }
}

fn add_json(words: &mut Words, value: &Json) {
    match value {
        Json::String(text) => words.add(text),
        other => words.add_json(&other.to_string()),
    }
}
