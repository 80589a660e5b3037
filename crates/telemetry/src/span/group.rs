//! A row group as it is read: some thousand spans as columns, in the order in which they came.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use archipel_model::{SpanId, TraceId};
use serde_json::{Map, Value as Json};

use super::codec::{Reader, damaged, unzigzag};
use super::column::{Column, Type, Values};
use super::index::{ColumnPlace, Fixed, Index, Name};
use super::model::{Extra, Kind, Resource, Span, SpanStatus, Value};

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
    use crate::span::encode::Encoder;
    use crate::span::hop::{Hop, HopKind, Row};
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

    fn rows(spans: &[Span]) -> Vec<Row> {
        spans.iter().cloned().map(Row::Span).collect()
    }

    fn hop() -> impl Strategy<Value = Hop> {
        let ids = (1u8..6, 1u64..40, prop::option::of(1u64..40));
        let numbers = (any::<u64>(), any::<u64>(), 0u16..600, any::<u32>());
        (ids, numbers, 0usize..4, "/[a-cé]{0,2}", any::<bool>()).prop_map(
            |((trace, own, parent), (start_ns, duration_ns, code, bytes), kind, path, failed)| {
                let id = |n: u64| SpanId::new(n.to_be_bytes());
                Hop {
                    trace: TraceId::new([trace; 16]).unwrap(),
                    span: id(own).unwrap(),
                    parent: parent.and_then(id),
                    like: KINDS.with(|kinds| kinds[kind].clone()),
                    failed,
                    start_ns,
                    duration_ns,
                    path: path.into_bytes().into(),
                    code,
                    bytes: bytes.into(),
                    head_us: (bytes / 2).into(),
                    more: match failed {
                        true => vec![("error.type".into(), Value::Text("x".into()))],
                        false => Vec::new(),
                    },
                }
            },
        )
    }

    thread_local! {
        /// Some are equal and not the same.
        static KINDS: Vec<Arc<HopKind>> = (0..4)
            .map(|n| HopKind {
                resource: Arc::new(Resource { service: format!("s{}", n / 2), ..Resource::default() }),
                name: format!("GET {}", n / 2).into(),
                caller: "outside".to_owned(),
                method: "GET".into(),
                route: (n > 1).then(|| "/**".to_owned()),
            })
            .map(Arc::new)
            .collect();
    }

    /// The same in full.
    fn told(row: &Row) -> Span {
        let hop = match row {
            Row::Span(span) => return span.clone(),
            Row::Hop(hop) => hop,
        };
        let text = |text: &str| Value::Text(text.to_owned().into());
        let mut attributes = vec![
            ("archipel.hop".into(), Value::Bool(true)),
            ("archipel.caller".into(), text(&hop.like.caller)),
            ("http.request.method".into(), text(&hop.like.method)),
            ("url.path".into(), text(std::str::from_utf8(&hop.path).unwrap())),
            ("http.response.body.size".into(), Value::Int(hop.bytes as i64)),
            ("archipel.head_us".into(), Value::Int(hop.head_us as i64)),
        ];
        if let Some(route) = &hop.like.route {
            attributes.push(("http.route".into(), text(route)));
        }
        if hop.code > 0 {
            let code = Value::Int(hop.code.into());
            attributes.push(("http.response.status_code".into(), code));
        }
        attributes.extend(hop.more.iter().cloned());
        Span {
            trace: hop.trace,
            span: hop.span,
            parent: hop.parent,
            resource: hop.like.resource.clone(),
            name: hop.like.name.clone(),
            kind: Kind::Server,
            status: if hop.failed { SpanStatus::Error } else { SpanStatus::Unset },
            start_ns: hop.start_ns,
            duration_ns: hop.duration_ns,
            attributes,
            extras: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn hops_read_back_as_spans_among_others(
            rows in prop::collection::vec(
                prop_oneof![span().prop_map(Row::Span), hop().prop_map(Row::Hop)],
                1..60,
            ),
        ) {
            let (_, bytes) = Encoder::new().unwrap().encode(&rows, 7).unwrap();
            let back: Vec<Span> = read(&bytes).unwrap().into_iter().map(sorted).collect();
            prop_assert_eq!(back, rows.iter().map(|row| sorted(told(row))).collect::<Vec<_>>());
        }

        #[test]
        fn a_group_reads_back(spans in prop::collection::vec(span(), 1..60)) {
            let (_, bytes) = Encoder::new().unwrap().encode(&rows(&spans), 7).unwrap();
            let back: Vec<Span> = read(&bytes).unwrap().into_iter().map(sorted).collect();
            prop_assert_eq!(back, spans.into_iter().map(sorted).collect::<Vec<_>>());
        }

        #[test]
        fn a_damaged_group_is_refused(
            spans in prop::collection::vec(span(), 1..20),
            at: prop::sample::Index,
            flip in 1u8..,
        ) {
            let (_, mut bytes) = Encoder::new().unwrap().encode(&rows(&spans), 7).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            // The filter of words is not part of what is read here.
            let same = read(&bytes).is_ok_and(|back| back.len() == spans.len());
            let words = bytes.len() - at <= 64 << 10;
            prop_assert!(!same || words);
        }
    }
}
