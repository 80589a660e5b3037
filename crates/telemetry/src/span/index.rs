//! What is known of a row group without reading it: enough to pass most of them over.
//!
//! A group on disk: `magic · length of the index · length of the body · CRC of both lengths and
//! the index · index · body`. The body is the columns one after the other, each compressed and
//! with its own CRC in the index, so that a question reads the columns it needs.

use std::io;

use super::codec::{Reader, damaged, put_text, put_varint};
use super::column::Type;

/// The digit is the version of the format.
const MAGIC: [u8; 4] = *b"ARC1";
pub(crate) const HEADER_BYTES: usize = 16;
/// No group of ours comes near; a damaged length does.
const PART_BYTES_MAX: u32 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Fixed {
    Trace,
    Span,
    Parent,
    Start,
    Duration,
    Flags,
    Resource,
    Name,
    /// The distinct resources, as JSON.
    Resources,
    /// Events and links, as JSON.
    Extras,
    /// Attributes beyond the number of columns, as JSON.
    Overflow,
    Words,
}

impl Fixed {
    const ALL: [Self; 12] = [
        Self::Trace,
        Self::Span,
        Self::Parent,
        Self::Start,
        Self::Duration,
        Self::Flags,
        Self::Resource,
        Self::Name,
        Self::Resources,
        Self::Extras,
        Self::Overflow,
        Self::Words,
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Fixed(Fixed),
    Attribute(Box<str>, Type),
}

#[derive(Debug, Clone)]
pub(crate) struct ColumnPlace {
    pub(crate) name: Name,
    pub(crate) offset: u32,
    pub(crate) stored: u32,
    pub(crate) raw: u32,
    pub(crate) crc: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// Counts the groups of the store; a tail carries the number of the group it will be.
    pub(crate) number: u64,
    pub(crate) rows: u32,
    pub(crate) start_min: u64,
    pub(crate) start_max: u64,
    pub(crate) duration_max: u64,
    pub(crate) errors: u32,
    pub(crate) services: Vec<Box<str>>,
    /// The first bytes of each trace id, sorted.
    pub(crate) fingerprints: Vec<u32>,
    pub(crate) columns: Vec<ColumnPlace>,
}

pub(crate) fn fingerprint(trace: &[u8; 16]) -> u32 {
    // The last bytes: of ids that begin with a time, they are the random part.
    u32::from_le_bytes([trace[12], trace[13], trace[14], trace[15]])
}

impl Index {
    pub(crate) fn column(&self, fixed: Fixed) -> Option<&ColumnPlace> {
        self.columns.iter().find(|place| place.name == Name::Fixed(fixed))
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, Type, &ColumnPlace)> {
        self.columns.iter().filter_map(|place| match &place.name {
            Name::Attribute(key, kind) => Some((&**key, *kind, place)),
            Name::Fixed(_) => None,
        })
    }

    pub(crate) fn may_hold_trace(&self, fingerprint: u32) -> bool {
        self.fingerprints.binary_search(&fingerprint).is_ok()
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        self.columns.iter().map(|place| u64::from(place.stored)).sum()
    }

    /// The header and the index, as they stand before the body.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        for number in [self.number, u64::from(self.rows), self.start_min, self.start_max] {
            put_varint(&mut out, number);
        }
        put_varint(&mut out, self.duration_max);
        put_varint(&mut out, u64::from(self.errors));
        put_varint(&mut out, self.services.len() as u64);
        for service in &self.services {
            put_text(&mut out, service.as_bytes());
        }
        put_varint(&mut out, self.fingerprints.len() as u64);
        for fingerprint in &self.fingerprints {
            out.extend_from_slice(&fingerprint.to_le_bytes());
        }
        put_varint(&mut out, self.columns.len() as u64);
        for place in &self.columns {
            match &place.name {
                Name::Fixed(fixed) => out.push(*fixed as u8),
                Name::Attribute(key, kind) => {
                    out.push(0x80 | *kind as u8);
                    put_text(&mut out, key.as_bytes());
                }
            }
            for number in [place.offset, place.stored, place.raw] {
                put_varint(&mut out, u64::from(number));
            }
            out.extend_from_slice(&place.crc.to_le_bytes());
        }
        let index = (out.len() - HEADER_BYTES) as u32;
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&index.to_le_bytes());
        out[8..12].copy_from_slice(&(self.body_bytes() as u32).to_le_bytes());
        let crc = crc(&out[4..12], &out[HEADER_BYTES..]);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The lengths of index and body.
    pub(crate) fn lengths(header: &[u8; HEADER_BYTES]) -> io::Result<(u32, u32)> {
        let mut reader = Reader(header);
        let magic: [u8; 4] = reader.array()?;
        let index = u32::from_le_bytes(reader.array()?);
        let body = u32::from_le_bytes(reader.array()?);
        if magic != MAGIC || index > PART_BYTES_MAX || body > PART_BYTES_MAX {
            return Err(damaged());
        }
        Ok((index, body))
    }

    pub(crate) fn read(header: &[u8; HEADER_BYTES], index: &[u8]) -> io::Result<Self> {
        let (_, body) = Self::lengths(header)?;
        let stored = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        if crc(&header[4..12], index) != stored {
            return Err(damaged());
        }
        let mut reader = Reader(index);
        let small = |n: u64| u32::try_from(n).map_err(|_| damaged());
        let mut out = Self {
            number: reader.varint()?,
            rows: small(reader.varint()?)?,
            start_min: reader.varint()?,
            start_max: reader.varint()?,
            duration_max: reader.varint()?,
            errors: small(reader.varint()?)?,
            ..Self::default()
        };
        for _ in 0..reader.count()? {
            out.services.push(reader.text()?.into());
        }
        for _ in 0..reader.count()? {
            out.fingerprints.push(u32::from_le_bytes(reader.array()?));
        }
        for _ in 0..reader.count()? {
            let [tag] = reader.array()?;
            let name = if tag & 0x80 != 0 {
                let kind = Type::ALL.get(usize::from(tag & 0x7f)).ok_or_else(damaged)?;
                Name::Attribute(reader.text()?.into(), *kind)
            } else {
                Name::Fixed(*Fixed::ALL.get(usize::from(tag)).ok_or_else(damaged)?)
            };
            let place = ColumnPlace {
                name,
                offset: small(reader.varint()?)?,
                stored: small(reader.varint()?)?,
                raw: small(reader.varint()?)?,
                crc: u32::from_le_bytes(reader.array()?),
            };
            let end = place.offset.checked_add(place.stored).ok_or_else(damaged)?;
            if end > body || place.raw > PART_BYTES_MAX {
                return Err(damaged());
            }
            out.columns.push(place);
        }
        Ok(out)
    }
}

fn crc(lengths: &[u8], index: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(lengths);
    crc.update(index);
    crc.finalize()
}
