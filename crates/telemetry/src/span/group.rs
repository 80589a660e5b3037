//! A row group: some thousand spans as columns, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use archipel_model::{SpanId, TraceId};
use foldhash::fast::RandomState;
use serde_json::{Map, Value as Json};

use super::bloom::Words;
use super::codec::{Reader, damaged, put_varint, unzigzag, zigzag};
use super::column::{Builder, Column, Type, Values};
use super::index::{ColumnPlace, Fixed, Index, Name, fingerprint};
use super::model::{Extra, Kind, Resource, Span, SpanStatus, Value};

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
    pub(crate) fn encode(&mut self, spans: &[Span], number: u64) -> io::Result<(Index, Vec<u8>)> {
        let mut index = Index { number, rows: spans.len() as u32, ..Index::default() };
        let mut words = Words::default();
        let mut columns = Vec::new();
        times(spans, &mut index, &mut columns);
        ids(spans, &mut index, &mut columns);
        resources(spans, &mut index, &mut columns, &mut words)?;
        attributes(spans, &mut columns, &mut words)?;
        columns.push((Name::Fixed(Fixed::Words), words.finish()));
        let mut body = Vec::new();
        for (name, raw) in columns {
            let stored = match name {
                // Random: compressing it costs and gains nothing.
                Name::Fixed(Fixed::Span | Fixed::Words) => raw.clone(),
                _ => self.zstd.compress(&raw)?,
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

fn times(spans: &[Span], index: &mut Index, columns: &mut Columns) {
    let (mut starts, mut durations, mut flags) = (Vec::new(), Vec::new(), Vec::new());
    index.start_min = u64::MAX;
    let mut last = 0u64;
    for span in spans {
        put_varint(&mut starts, zigzag(span.start_ns.wrapping_sub(last) as i64));
        last = span.start_ns;
        put_varint(&mut durations, span.duration_ns);
        flags.push(span.kind as u8 | (span.status as u8) << 4);
        index.start_min = index.start_min.min(span.start_ns);
        index.start_max = index.start_max.max(span.start_ns);
        index.duration_max = index.duration_max.max(span.duration_ns);
        index.errors += u32::from(span.status == SpanStatus::Error);
    }
    columns.push((Name::Fixed(Fixed::Start), starts));
    columns.push((Name::Fixed(Fixed::Duration), durations));
    columns.push((Name::Fixed(Fixed::Flags), flags));
}

/// Trace ids repeat; a parent is mostly a row of the same group, and then its distance is kept.
fn ids(spans: &[Span], index: &mut Index, columns: &mut Columns) {
    let mut rows: HashMap<SpanId, usize, RandomState> = HashMap::default();
    for (row, span) in spans.iter().enumerate() {
        rows.insert(span.span, row);
    }
    let mut seen: HashMap<TraceId, u64, RandomState> = HashMap::default();
    let mut fingerprints = BTreeSet::new();
    let (mut traces, mut own, mut parents) = (Vec::new(), Vec::new(), Vec::new());
    for (row, span) in spans.iter().enumerate() {
        let fresh = seen.len() as u64;
        match seen.get(&span.trace) {
            // From the newest back, so that numbers stay small.
            Some(code) => put_varint(&mut traces, fresh - code),
            None => {
                traces.push(0);
                traces.extend_from_slice(span.trace.bytes());
                seen.insert(span.trace, fresh);
                fingerprints.insert(fingerprint(span.trace.bytes()));
            }
        }
        own.extend_from_slice(span.span.bytes());
        match span.parent {
            None => parents.push(0),
            Some(parent) => match rows.get(&parent) {
                Some(at) => put_varint(&mut parents, 2 + zigzag(*at as i64 - row as i64)),
                None => {
                    parents.push(1);
                    parents.extend_from_slice(parent.bytes());
                }
            },
        }
    }
    index.fingerprints = fingerprints.into_iter().collect();
    columns.push((Name::Fixed(Fixed::Trace), traces));
    columns.push((Name::Fixed(Fixed::Span), own));
    columns.push((Name::Fixed(Fixed::Parent), parents));
}

fn resources(
    spans: &[Span],
    index: &mut Index,
    columns: &mut Columns,
    words: &mut Words,
) -> io::Result<()> {
    let mut distinct: Vec<&Arc<Resource>> = Vec::new();
    let mut codes = Vec::new();
    let mut names = Builder::new();
    let mut last = 0;
    for (row, span) in spans.iter().enumerate() {
        let same = |other: &&Arc<Resource>| Arc::ptr_eq(other, &span.resource);
        if distinct.get(last).is_none_or(|other| !same(other)) {
            let equal = |other: &&Arc<Resource>| same(other) || **other == span.resource;
            last = distinct.iter().position(equal).unwrap_or_else(|| {
                distinct.push(&span.resource);
                distinct.len() - 1
            });
        }
        put_varint(&mut codes, last as u64);
        if let Some(new) = names.push_plain(row as u32, &span.name) {
            words.add(new);
        }
    }
    let services: BTreeSet<&str> = distinct.iter().map(|of| of.service.as_str()).collect();
    index.services = services.into_iter().map(Into::into).collect();
    for resource in &distinct {
        words.add(&resource.service);
        words.add(&resource.instance);
        resource.attributes.values().for_each(|value| add_json(words, value));
    }
    columns.push((Name::Fixed(Fixed::Resource), codes));
    columns.push((Name::Fixed(Fixed::Resources), serde_json::to_vec(&distinct)?));
    columns.push((Name::Fixed(Fixed::Name), names.finish()));
    Ok(())
}

fn add_json(words: &mut Words, value: &Json) {
    match value {
        Json::String(text) => words.add(text),
        other => words.add_json(&other.to_string()),
    }
}

fn attributes(spans: &[Span], columns: &mut Columns, words: &mut Words) -> io::Result<()> {
    let mut places: HashMap<(&str, Type), usize, RandomState> = HashMap::default();
    let mut built: Vec<(&str, Type, Builder)> = Vec::new();
    let mut overflow = Builder::new();
    let mut extras = Builder::new();
    for (at, span) in spans.iter().enumerate() {
        let row = at as u32;
        let mut rest = Map::new();
        // A key that comes twice counts once, or its rows would not ascend.
        for (n, (key, value)) in span.attributes.iter().enumerate() {
            if span.attributes[..n].iter().any(|(earlier, _)| earlier == key) {
                continue;
            }
            let kind = Type::of(value);
            let place = match places.get(&(&**key, kind)) {
                Some(place) => *place,
                None if built.len() < COLUMNS_MAX => {
                    built.push((key, kind, Builder::new()));
                    places.insert((key, kind), built.len() - 1);
                    built.len() - 1
                }
                None => {
                    add_json(words, &value.to_json());
                    rest.insert(key.to_string(), value.to_json());
                    continue;
                }
            };
            if let Some(new) = built[place].2.push(row, value) {
                match kind {
                    Type::Json => words.add_json(new),
                    _ => words.add(new),
                }
            }
        }
        if !rest.is_empty() {
            overflow.push_plain(row, &Json::Object(rest).to_string());
        }
        if !span.extras.is_empty()
            && let Some(new) = extras.push_plain(row, &serde_json::to_string(&span.extras)?)
        {
            words.add_json(new);
        }
    }
    for (key, kind, builder) in built {
        columns.push((Name::Attribute(key.into(), kind), builder.finish()));
    }
    for (name, builder) in [(Fixed::Overflow, overflow), (Fixed::Extras, extras)] {
        if !builder.is_empty() {
            columns.push((Name::Fixed(name), builder.finish()));
        }
    }
    Ok(())
}

/// Gives the raw bytes of one column of a group.
pub(crate) trait Load {
    fn load(&self, place: &ColumnPlace) -> io::Result<Vec<u8>>;
}

/// The bytes of a column, as stored, made raw again.
pub(crate) fn inflate(place: &ColumnPlace, stored: Vec<u8>) -> io::Result<Vec<u8>> {
    if crc32fast::hash(&stored) != place.crc {
        return Err(damaged());
    }
    match place.name {
        Name::Fixed(Fixed::Span | Fixed::Words) => Ok(stored),
        _ => {
            let raw = zstd::bulk::decompress(&stored, place.raw as usize)?;
            if raw.len() == place.raw as usize { Ok(raw) } else { Err(damaged()) }
        }
    }
}

/// Columns that every group has, read as far as asked for.
pub(crate) struct Fields<'a> {
    pub(crate) index: &'a Index,
    load: &'a dyn Load,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(index: &'a Index, load: &'a dyn Load) -> Self {
        Self { index, load }
    }

    pub(crate) fn raw(&self, fixed: Fixed) -> io::Result<Option<Vec<u8>>> {
        self.index.column(fixed).map(|place| self.load.load(place)).transpose()
    }

    fn whole(&self, fixed: Fixed) -> io::Result<Vec<u8>> {
        self.raw(fixed)?.ok_or_else(damaged)
    }

    pub(crate) fn load(&self, place: &ColumnPlace) -> io::Result<Vec<u8>> {
        self.load.load(place)
    }

    fn rows(&self) -> usize {
        self.index.rows as usize
    }

    pub(crate) fn starts(&self) -> io::Result<Vec<u64>> {
        let raw = self.whole(Fixed::Start)?;
        let (mut reader, mut last) = (Reader(&raw), 0u64);
        (0..self.rows())
            .map(|_| {
                last = last.wrapping_add(unzigzag(reader.varint()?) as u64);
                Ok(last)
            })
            .collect()
    }

    pub(crate) fn durations(&self) -> io::Result<Vec<u64>> {
        let raw = self.whole(Fixed::Duration)?;
        let mut reader = Reader(&raw);
        (0..self.rows()).map(|_| reader.varint()).collect()
    }

    pub(crate) fn flags(&self) -> io::Result<Vec<(Kind, SpanStatus)>> {
        let raw = self.whole(Fixed::Flags)?;
        let decode = |byte: &u8| {
            let kind = Kind::ALL.get(usize::from(byte & 15)).ok_or_else(damaged)?;
            let status = SpanStatus::ALL.get(usize::from(byte >> 4)).ok_or_else(damaged)?;
            Ok((*kind, *status))
        };
        let flags: Vec<_> = raw.iter().map(decode).collect::<io::Result<_>>()?;
        if flags.len() == self.rows() { Ok(flags) } else { Err(damaged()) }
    }

    pub(crate) fn traces(&self) -> io::Result<Vec<TraceId>> {
        let raw = self.whole(Fixed::Trace)?;
        let mut reader = Reader(&raw);
        let mut seen = Vec::new();
        (0..self.rows())
            .map(|_| match reader.count()? {
                0 => {
                    let trace = TraceId::new(reader.array()?).ok_or_else(damaged)?;
                    seen.push(trace);
                    Ok(trace)
                }
                back => {
                    let at = seen.len().checked_sub(back).ok_or_else(damaged)?;
                    Ok(seen[at])
                }
            })
            .collect()
    }

    pub(crate) fn spans(&self) -> io::Result<Vec<SpanId>> {
        let raw = self.whole(Fixed::Span)?;
        let mut reader = Reader(&raw);
        (0..self.rows()).map(|_| SpanId::new(reader.array()?).ok_or_else(damaged)).collect()
    }

    pub(crate) fn parents(&self, own: &[SpanId]) -> io::Result<Vec<Option<SpanId>>> {
        let raw = self.whole(Fixed::Parent)?;
        let mut reader = Reader(&raw);
        (0..self.rows())
            .map(|row| match reader.varint()? {
                0 => Ok(None),
                1 => SpanId::new(reader.array()?).ok_or_else(damaged).map(Some),
                distance => {
                    let at = (row as i64).checked_add(unzigzag(distance - 2));
                    let at = at.and_then(|at| usize::try_from(at).ok()).ok_or_else(damaged)?;
                    own.get(at).copied().ok_or_else(damaged).map(Some)
                }
            })
            .collect()
    }

    /// The distinct resources, and which one each row has.
    pub(crate) fn resources(&self) -> io::Result<(Vec<Arc<Resource>>, Vec<usize>)> {
        let json = self.whole(Fixed::Resources)?;
        let distinct: Vec<Arc<Resource>> = serde_json::from_slice(&json)?;
        let raw = self.whole(Fixed::Resource)?;
        let mut reader = Reader(&raw);
        let codes: Vec<usize> =
            (0..self.rows()).map(|_| reader.count()).collect::<io::Result<_>>()?;
        if codes.iter().any(|code| *code >= distinct.len()) {
            return Err(damaged());
        }
        Ok((distinct, codes))
    }

    /// A text of each row that `wanted` takes, from a column of texts.
    pub(crate) fn texts(
        &self,
        fixed: Fixed,
        wanted: &[bool],
    ) -> io::Result<BTreeMap<usize, String>> {
        let Some(raw) = self.raw(fixed)? else { return Ok(BTreeMap::new()) };
        let column = Column::read(&raw, Type::Text, self.index.rows)?;
        let Values::Text { dictionary, codes } = &column.values else { return Err(damaged()) };
        let rows = column.rows.iter().zip(codes);
        let rows = rows.filter(|(row, _)| wanted[**row as usize]);
        Ok(rows.map(|(row, code)| (*row as usize, dictionary[*code as usize].to_owned())).collect())
    }

    /// Whole spans of the rows that `wanted` takes.
    pub(crate) fn materialise(&self, wanted: &[bool]) -> io::Result<Vec<Span>> {
        let (starts, durations, flags) = (self.starts()?, self.durations()?, self.flags()?);
        let (traces, own) = (self.traces()?, self.spans()?);
        let parents = self.parents(&own)?;
        let (resources, codes) = self.resources()?;
        let mut names = self.texts(Fixed::Name, wanted)?;
        let mut extras = self.texts(Fixed::Extras, wanted)?;
        let mut overflow = self.texts(Fixed::Overflow, wanted)?;
        let mut out: BTreeMap<usize, Span> = BTreeMap::new();
        for row in (0..self.rows()).filter(|row| wanted[*row]) {
            let extras: Vec<Extra> = match extras.remove(&row) {
                Some(json) => serde_json::from_str(&json)?,
                None => Vec::new(),
            };
            let rest: Map<String, Json> = match overflow.remove(&row) {
                Some(json) => serde_json::from_str(&json)?,
                None => Map::new(),
            };
            let rest = rest.into_iter().map(|(key, value)| (key.into(), Value::from_json(value)));
            out.insert(
                row,
                Span {
                    trace: traces[row],
                    span: own[row],
                    parent: parents[row],
                    resource: resources[codes[row]].clone(),
                    name: names.remove(&row).unwrap_or_default().into(),
                    kind: flags[row].0,
                    status: flags[row].1,
                    start_ns: starts[row],
                    duration_ns: durations[row],
                    attributes: rest.collect(),
                    extras,
                },
            );
        }
        for (key, kind, place) in self.index.attributes() {
            let raw = self.load(place)?;
            let column = Column::read(&raw, kind, self.index.rows)?;
            for (at, row) in column.rows.iter().enumerate() {
                if let Some(span) = out.get_mut(&(*row as usize)) {
                    span.attributes.push((key.to_owned().into(), column.value(at, kind)));
                }
            }
        }
        Ok(out.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::index::HEADER_BYTES;
    use proptest::prelude::*;

    struct InMemory(Vec<u8>);

    impl Load for InMemory {
        fn load(&self, place: &ColumnPlace) -> io::Result<Vec<u8>> {
            let start = place.offset as usize;
            let stored = self.0.get(start..start + place.stored as usize).ok_or_else(damaged)?;
            inflate(place, stored.to_vec())
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[a-zé ]{0,12}".prop_map(|text| Value::Text(text.into())),
            any::<i64>().prop_map(Value::Int),
            (-1e9..1e9).prop_map(Value::Double),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Json("[1,\"a\"]".into())),
        ]
    }

    fn span() -> impl Strategy<Value = Span> {
        let attributes = prop::collection::btree_map("[a-c]{1,2}", value(), 0..6);
        let ids = (1u8..6, 1u64..40, prop::option::of(1u64..40));
        let times = (any::<u64>(), any::<u64>());
        (ids, times, 0usize..5, 0usize..3, attributes, "[a-z]{0,8}").prop_map(
            |((trace, own, parent), (start_ns, duration_ns), kind, status, attributes, name)| {
                let id = |n: u64| SpanId::new(n.to_be_bytes());
                let at_ns = start_ns;
                Span {
                    trace: TraceId::new([trace; 16]).unwrap(),
                    span: id(own).unwrap(),
                    parent: parent.and_then(id),
                    resource: Arc::new(Resource { service: name.clone(), ..Resource::default() }),
                    name: name.clone().into(),
                    kind: Kind::ALL[kind],
                    status: SpanStatus::ALL[status],
                    start_ns,
                    duration_ns,
                    attributes: attributes.into_iter().map(|(k, v)| (k.into(), v)).collect(),
                    extras: match status {
                        0 => Vec::new(),
                        _ => vec![Extra::Event { name, at_ns, attributes: Map::new() }],
                    },
                }
            },
        )
    }

    /// Attributes come back by column.
    fn sorted(mut span: Span) -> Span {
        span.attributes.sort_by(|a, b| a.0.cmp(&b.0));
        span
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<Span>> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or_else(damaged)?;
        let end = HEADER_BYTES + Index::lengths(header)?.0 as usize;
        let index = Index::read(header, bytes.get(HEADER_BYTES..end).ok_or_else(damaged)?)?;
        let body = InMemory(bytes[end..].to_vec());
        Fields::new(&index, &body).materialise(&vec![true; index.rows as usize])
    }

    proptest! {
        #[test]
        fn a_group_reads_back(spans in prop::collection::vec(span(), 1..60)) {
            let (_, bytes) = Encoder::new().unwrap().encode(&spans, 7).unwrap();
            let back: Vec<Span> = read(&bytes).unwrap().into_iter().map(sorted).collect();
            prop_assert_eq!(back, spans.into_iter().map(sorted).collect::<Vec<_>>());
        }

        #[test]
        fn a_damaged_group_is_refused(
            spans in prop::collection::vec(span(), 1..20),
            at: prop::sample::Index,
            flip in 1u8..,
        ) {
            let (_, mut bytes) = Encoder::new().unwrap().encode(&spans, 7).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            // The filter of words is not part of what is read here.
            let same = read(&bytes).is_ok_and(|back| back.len() == spans.len());
            let words = bytes.len() - at <= 64 << 10;
            prop_assert!(!same || words);
        }
    }
}
