//! A TOML document as a tree in which every key and value knows where it stands.
//!
//! The parser's own tree borrows from one text and cannot be merged across files; this one owns
//! its values, and a span names its file. So a problem found after defaults, service and profile
//! were merged still points at the line that the user wrote.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Code;
use crate::sink::{Sink, shown};
use crate::source::{FileId, Span};

/// Deeper than any key of the format goes; the guard is for files made to exhaust the stack.
const DEPTH_MAX: usize = 24;

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Time,
    List(Vec<Node>),
    Table(Table),
    /// Already reported; whoever meets it says nothing.
    Broken,
}

pub(crate) type Table = BTreeMap<String, Entry>;

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Span,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self.value {
            Value::Integer(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.table()?.get(key)
    }

    /// The entries of the table under `key`; none when it is absent or something else.
    pub(crate) fn entries(&self, key: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let table = self.get(key).and_then(Node::table);
        table.into_iter().flatten().map(|(name, entry)| (name.as_str(), entry))
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "a boolean",
            Value::Time => "a date or time",
            Value::List(_) => "an array",
            Value::Table(_) => "a table",
            Value::Broken => "something unreadable",
        }
    }
}

/// Reads one text. Syntax errors go to `out`, and what could be read is returned all the same.
pub(crate) fn parse(text: &str, file: FileId, out: &mut Sink) -> Node {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        crate::syntax::report(text, &errors, file, out);
    }
    let root_span = Span::new(file, root.span());
    let mut reader = TreeReader { file, out };
    let table = reader.table(root.get_ref(), 0);
    bury(root.into_inner());
    Node { value: Value::Table(table), span: root_span }
}

struct TreeReader<'a> {
    file: FileId,
    out: &'a mut Sink,
}

impl TreeReader<'_> {
    fn table(&mut self, table: &DeTable<'_>, depth: usize) -> Table {
        let mut entries = Table::new();
        for (key, value) in table {
            let key_span = Span::new(self.file, key.span());
            let node = self.node(value, depth + 1);
            entries.insert(key.get_ref().to_string(), Entry { key: key_span, node });
        }
        entries
    }

    fn node(&mut self, spanned: &Spanned<DeValue<'_>>, depth: usize) -> Node {
        let span = Span::new(self.file, spanned.span());
        let value = match spanned.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) if depth > DEPTH_MAX => {
                self.out
                    .report(Code::TooDeep, span, "tables and arrays are nested too deeply here")
                    .label(format!("more than {DEPTH_MAX} levels"))
                    .help("no key of an application file is this deep; check the brackets");
                Value::Broken
            }
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item, depth + 1)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, depth)),
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(_) => Value::Time,
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    // After a syntax error the parser puts an empty number in place of the value.
                    Err(_) if number.as_str().is_empty() => Value::Broken,
                    Err(_) => {
                        let message = format!("`{}` does not fit 64 bits", shown(number.as_str()));
                        self.out
                            .report(Code::OutOfBounds, span, message)
                            .label("too large a number");
                        Value::Broken
                    }
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => Value::Broken,
            },
        };
        Node { value, span }
    }
}

/// Drops a table level by level. The compiler's own drop recurses, and a hostile file of a few
/// kilobytes (80 dotted keys inside 80 inline tables) would overflow the stack with it.
pub(crate) fn bury(table: DeTable<'_>) {
    let mut waiting: Vec<DeValue<'_>> = table.into_iter().map(|(_, v)| v.into_inner()).collect();
    while let Some(value) = waiting.pop() {
        match value {
            DeValue::Table(table) => waiting.extend(table.into_iter().map(|(_, v)| v.into_inner())),
            DeValue::Array(items) => waiting.extend(items.into_iter().map(Spanned::into_inner)),
            _ => {}
        }
    }
}
