//! Numbers and strings as bytes. Reading checks every length: a file may hold anything.

use std::io;

/// What was read is not what we wrote.
pub(crate) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the telemetry file is damaged here")
}

/// Seven bits a byte, least first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number that `from` begins with, which is taken away; protobuf writes them the same way.
pub(crate) fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (at, byte) in from.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (at * 7);
        if byte & 0x80 == 0 {
            *from = &from[at + 1..];
            return Some(value);
        }
    }
    None
}

/// Small whatever the sign.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn varint(&mut self) -> io::Result<u64> {
        take_varint(&mut self.0).ok_or_else(damaged)
    }

    pub(crate) fn count(&mut self) -> io::Result<usize> {
        usize::try_from(self.varint()?).map_err(|_| damaged())
    }

    pub(crate) fn take(&mut self, bytes: usize) -> io::Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().ok_or_else(damaged)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn text(&mut self) -> io::Result<&'a str> {
        let bytes = self.count()?;
        std::str::from_utf8(self.take(bytes)?).map_err(|_| damaged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_texts_read_back(n: u64, i: i64, text: String) {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            put_varint(&mut out, zigzag(i));
            put_text(&mut out, text.as_bytes());
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.varint().unwrap(), n);
            prop_assert_eq!(unzigzag(reader.varint().unwrap()), i);
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while !reader.0.is_empty() && reader.text().is_ok() {}
        }
    }
}
