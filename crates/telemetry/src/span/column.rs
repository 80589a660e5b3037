//! The columns of attributes: only the rows that have a value, texts through a dictionary.

use std::collections::HashMap;
use std::io;

use foldhash::fast::RandomState;

use super::codec::{Reader, damaged, put_text, put_varint, unzigzag, zigzag};
use super::model::Value;

/// What a column holds; one key may come with several types, each is a column of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Text,
    Int,
    Double,
    Bool,
    Json,
}

impl Type {
    pub(crate) const ALL: [Self; 5] = [Self::Text, Self::Int, Self::Double, Self::Bool, Self::Json];

    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Text(_) => Self::Text,
            Value::Int(_) => Self::Int,
            Value::Double(_) => Self::Double,
            Value::Bool(_) => Self::Bool,
            Value::Json(_) => Self::Json,
        }
    }
}

/// Which rows have a value: the distance from one to the next, mostly 1.
#[derive(Default)]
struct Rows {
    gaps: Vec<u8>,
    count: u32,
    next: u32,
}

impl Rows {
    fn push(&mut self, row: u32) {
        put_varint(&mut self.gaps, u64::from(row - self.next));
        self.next = row + 1;
        self.count += 1;
    }
}

/// Each different text once.
#[derive(Default)]
pub(crate) struct Dictionary {
    codes: HashMap<Box<str>, u32, RandomState>,
    bytes: Vec<u8>,
}

impl Dictionary {
    /// The code of a text, and whether it is new.
    pub(crate) fn code(&mut self, text: &str) -> (u32, bool) {
        if let Some(code) = self.codes.get(text) {
            return (*code, false);
        }
        let code = self.codes.len() as u32;
        put_text(&mut self.bytes, text.as_bytes());
        self.codes.insert(text.into(), code);
        (code, true)
    }
}

#[derive(Default)]
pub(crate) struct Builder {
    rows: Rows,
    values: Vec<u8>,
    dictionary: Dictionary,
}

impl Builder {
    /// Returns a text that this column did not know, for the filter of words.
    pub(crate) fn push<'a>(&mut self, row: u32, value: &'a Value) -> Option<&'a str> {
        match value {
            Value::Int(number) => self.push_int(row, *number),
            Value::Double(number) => {
                self.rows.push(row);
                self.values.extend_from_slice(&number.to_le_bytes());
            }
            Value::Bool(yes) => self.push_bool(row, *yes),
            Value::Text(text) | Value::Json(text) => return self.push_plain(row, text),
        }
        None
    }

    /// A text, which is returned when this column did not know it.
    pub(crate) fn push_plain<'a>(&mut self, row: u32, text: &'a str) -> Option<&'a str> {
        let (code, new) = self.dictionary.code(text);
        self.push_code(row, code);
        new.then_some(text)
    }

    /// The code of a text in this column, for many rows that have it, and whether it is new.
    pub(crate) fn code(&mut self, text: &str) -> (u32, bool) {
        self.dictionary.code(text)
    }

    pub(crate) fn push_code(&mut self, row: u32, code: u32) {
        self.rows.push(row);
        put_varint(&mut self.values, u64::from(code));
    }

    pub(crate) fn push_int(&mut self, row: u32, number: i64) {
        self.rows.push(row);
        put_varint(&mut self.values, zigzag(number));
    }

    pub(crate) fn push_bool(&mut self, row: u32, yes: bool) {
        self.rows.push(row);
        self.values.push(u8::from(yes));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.count == 0
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let dictionary = &self.dictionary;
        let bytes = self.rows.gaps.len() + dictionary.bytes.len() + self.values.len() + 32;
        let mut out = Vec::with_capacity(bytes);
        put_varint(&mut out, u64::from(self.rows.count));
        put_text(&mut out, &self.rows.gaps);
        put_varint(&mut out, dictionary.codes.len() as u64);
        put_text(&mut out, &dictionary.bytes);
        out.extend_from_slice(&self.values);
        out
    }
}

/// A column that was read: the rows that have a value, and their values.
pub(crate) struct Column<'a> {
    pub(crate) rows: Vec<u32>,
    pub(crate) values: Values<'a>,
}

pub(crate) enum Values<'a> {
    Text { dictionary: Vec<&'a str>, codes: Vec<u32> },
    Int(Vec<i64>),
    Double(Vec<f64>),
    Bool(Vec<bool>),
}

impl<'a> Column<'a> {
    /// `rows_max`: of the group, which bounds what a damaged file can make us allocate.
    pub(crate) fn read(bytes: &'a [u8], kind: Type, rows_max: u32) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let count = reader.count()?;
        let gaps = reader.count()?;
        let mut gaps = Reader(reader.take(gaps)?);
        if count > rows_max as usize {
            return Err(damaged());
        }
        let mut rows = Vec::with_capacity(count);
        let mut next = 0u64;
        for _ in 0..count {
            let row = next.checked_add(gaps.varint()?).ok_or_else(damaged)?;
            if row >= u64::from(rows_max) {
                return Err(damaged());
            }
            rows.push(row as u32);
            next = row + 1;
        }
        let texts = reader.count()?;
        let dictionary = reader.count()?;
        let mut dictionary = Reader(reader.take(dictionary)?);
        let values = match kind {
            Type::Int => Values::Int(
                rows.iter().map(|_| reader.varint().map(unzigzag)).collect::<io::Result<_>>()?,
            ),
            Type::Double => Values::Double(
                rows.iter()
                    .map(|_| reader.array().map(f64::from_le_bytes))
                    .collect::<io::Result<_>>()?,
            ),
            Type::Bool => Values::Bool(reader.take(count)?.iter().map(|byte| *byte != 0).collect()),
            Type::Text | Type::Json => {
                if texts > count {
                    return Err(damaged());
                }
                let dictionary =
                    (0..texts).map(|_| dictionary.text()).collect::<io::Result<Vec<_>>>()?;
                let mut codes = Vec::with_capacity(count);
                for _ in 0..count {
                    let code = reader.varint()?;
                    if code >= dictionary.len() as u64 {
                        return Err(damaged());
                    }
                    codes.push(code as u32);
                }
                Values::Text { dictionary, codes }
            }
        };
        Ok(Self { rows, values })
    }

    pub(crate) fn value(&self, at: usize, kind: Type) -> Value {
        match &self.values {
            Values::Int(values) => Value::Int(values[at]),
            Values::Double(values) => Value::Double(values[at]),
            Values::Bool(values) => Value::Bool(values[at]),
            Values::Text { dictionary, codes } => {
                let text = dictionary[codes[at] as usize].to_owned().into();
                if kind == Type::Json { Value::Json(text) } else { Value::Text(text) }
            }
        }
    }
}
