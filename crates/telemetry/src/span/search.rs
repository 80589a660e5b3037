//! Which rows of which groups answer a question.
//!
//! The index of a group says whether it can hold a match at all, then the filter of words. What
//! is left is judged column by column: each term reads the one column it is about.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use archipel_model::TraceId;

use super::bloom::{self, WHOLE_BYTES_MAX, json_words, words};
use super::column::{Column, Type, Values};
use super::files::Group;
use super::group::{Fields, Load};
use super::index::{Fixed, fingerprint};
use super::model::{Resource, Value};
use crate::expr::{Expr, Op, Operand};

/// Which spans are asked for.
#[derive(Debug, Clone, Default)]
pub struct SpanQuery {
    pub expr: Expr,
    pub since_ns: Option<u64>,
    pub until_ns: Option<u64>,
}

/// What a short name stands for.
fn attribute_of(key: &str) -> &str {
    match key {
        "caller" => "archipel.caller",
        "route" => "http.route",
        "method" => "http.request.method",
        "path" => "url.path",
        key => key,
    }
}

/// A number is the status of an answer, a word that of the span.
fn is_http_status(operand: &Operand) -> bool {
    operand.number.is_some()
}

/// What can be told of a question once, for all groups.
pub(crate) struct Plan<'a> {
    query: &'a SpanQuery,
    trace: Option<u32>,
    services: Vec<&'a Operand>,
    durations: Vec<(Op, f64)>,
    errors: bool,
    words: Vec<u64>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(query: &'a SpanQuery) -> Self {
        let mut plan = Self {
            query,
            trace: None,
            services: Vec::new(),
            durations: Vec::new(),
            errors: false,
            words: Vec::new(),
        };
        for term in query.expr.conjuncts() {
            plan.note(term);
        }
        plan
    }

    fn note(&mut self, term: &'a Expr) {
        match term {
            Expr::Text(operand) => self.note_words(operand),
            Expr::Compare { key, op: Op::Is, operand } => match key.as_str() {
                "service" => self.services.push(operand),
                "trace" => {
                    let id = TraceId::from_hex(operand.text.as_bytes());
                    self.trace = id.map(|id| fingerprint(id.bytes())).or(self.trace);
                }
                "status" if !is_http_status(operand) => self.errors |= operand.text == "error",
                "kind" | "status" | "duration" | "dur" | "span" | "root" => {}
                // Only texts are in the filter, and these may match other types.
                _ if operand.text.parse::<f64>().is_ok()
                    || matches!(operand.text.as_str(), "true" | "false") => {}
                _ if operand.number.is_some() => {}
                _ if !operand.prefix && operand.text.len() <= WHOLE_BYTES_MAX => {
                    self.words.push(bloom::hash(&operand.text));
                }
                _ => self.note_words(operand),
            },
            Expr::Compare { key, op, operand } if matches!(key.as_str(), "duration" | "dur") => {
                self.durations.extend(operand.number.map(|number| (*op, number)));
            }
            _ => {}
        }
    }

    fn note_words(&mut self, operand: &Operand) {
        let mut found: Vec<&str> = words(&operand.text).collect();
        // The last one may be the beginning of a longer one.
        if operand.prefix && operand.text.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            found.pop();
        }
        self.words.extend(found.into_iter().map(bloom::hash));
    }

    pub(crate) fn may_match(&self, group: &Group) -> io::Result<bool> {
        let index = &group.index;
        let long_enough = |(op, number): &(Op, f64)| match op {
            Op::Greater | Op::GreaterOrEqual => index.duration_max as f64 >= *number,
            _ => true,
        };
        let possible = self.query.since_ns.is_none_or(|since| index.start_max >= since)
            && self.query.until_ns.is_none_or(|until| index.start_min <= until)
            && self.trace.is_none_or(|trace| index.may_hold_trace(trace))
            && !(self.errors && index.errors == 0)
            && self.durations.iter().all(long_enough)
            && self.services.iter().all(|wanted| index.services.iter().any(|s| wanted.is(s)));
        if !possible || self.words.is_empty() {
            return Ok(possible);
        }
        let bits = index.column(Fixed::Words).map(|place| group.load(place)).transpose()?;
        Ok(bits.is_none_or(|bits| bloom::may_hold(&bits, &self.words)))
    }

    /// The rows of a group that match.
    pub(crate) fn rows(&self, fields: &Fields<'_>) -> io::Result<Vec<bool>> {
        let mut rows = judge(&self.query.expr, fields)?;
        if self.query.since_ns.is_some() || self.query.until_ns.is_some() {
            let since = self.query.since_ns.unwrap_or(0);
            let until = self.query.until_ns.unwrap_or(u64::MAX);
            for (row, start) in rows.iter_mut().zip(fields.starts()?) {
                *row &= (since..=until).contains(&start);
            }
        }
        Ok(rows)
    }
}

fn judge(expr: &Expr, fields: &Fields<'_>) -> io::Result<Vec<bool>> {
    let all = |value: bool| vec![value; fields.index.rows as usize];
    match expr {
        Expr::And(terms) => {
            let mut rows = all(true);
            for term in terms {
                if !rows.contains(&true) {
                    break;
                }
                rows.iter_mut().zip(judge(term, fields)?).for_each(|(row, more)| *row &= more);
            }
            Ok(rows)
        }
        Expr::Or(terms) => {
            let mut rows = all(false);
            for term in terms {
                rows.iter_mut().zip(judge(term, fields)?).for_each(|(row, more)| *row |= more);
            }
            Ok(rows)
        }
        Expr::Not(inner) => Ok(judge(inner, fields)?.into_iter().map(|row| !row).collect()),
        Expr::Text(operand) => text(operand, fields),
        Expr::Compare { key, op: Op::IsNot, operand } => {
            let rows = compare(key, Op::Is, operand, fields)?;
            Ok(rows.into_iter().map(|row| !row).collect())
        }
        Expr::Compare { key, op, operand } => compare(key, *op, operand, fields),
    }
}

fn compare(key: &str, op: Op, operand: &Operand, fields: &Fields<'_>) -> io::Result<Vec<bool>> {
    match key {
        "duration" | "dur" => {
            let durations = fields.durations()?;
            Ok(durations.into_iter().map(|ns| operand.is_number(op, ns as f64)).collect())
        }
        "kind" => Ok(fields.flags()?.iter().map(|(kind, _)| operand.is(kind.as_str())).collect()),
        "status" if !is_http_status(operand) => {
            Ok(fields.flags()?.iter().map(|(_, status)| operand.is(status.as_str())).collect())
        }
        "status" => attribute("http.response.status_code", op, operand, fields),
        "trace" => {
            let traces = fields.traces()?;
            let mut known: HashMap<TraceId, bool> = HashMap::new();
            let is = |trace: &TraceId| operand.is(&trace.to_string());
            Ok(traces.iter().map(|t| *known.entry(*t).or_insert_with(|| is(t))).collect())
        }
        "span" => Ok(fields.spans()?.iter().map(|span| operand.is(&span.to_string())).collect()),
        // Of a span without a parent: a whole request, not a part of one.
        "root" => {
            let wanted = operand.text != "false";
            let parents = fields.parents(&fields.spans()?)?;
            Ok(parents.iter().map(|parent| parent.is_none() == wanted).collect())
        }
        "name" => {
            let raw = fields.raw(Fixed::Name)?.unwrap_or_default();
            let mut rows = vec![false; fields.index.rows as usize];
            let column = Column::read(&raw, Type::Text, fields.index.rows)?;
            spread(&column, &mut rows, |text| operand.is(text));
            Ok(rows)
        }
        "service" => resource(fields, |of| operand.is(&of.service)),
        "instance" => resource(fields, |of| operand.is(&of.instance)),
        key => attribute(attribute_of(key), op, operand, fields),
    }
}

fn resource(fields: &Fields<'_>, is: impl Fn(&Resource) -> bool) -> io::Result<Vec<bool>> {
    let (distinct, codes) = fields.resources()?;
    let hits: Vec<bool> = distinct.iter().map(|of: &Arc<Resource>| is(of)).collect();
    Ok(codes.into_iter().map(|code| hits[code]).collect())
}

/// Whether one value is what was asked for, whatever its type.
fn is_value(op: Op, operand: &Operand, value: &Value) -> bool {
    let number = |number: f64, text: &str| match operand.number {
        Some(_) => operand.is_number(op, number),
        None => op == Op::Is && operand.is(text),
    };
    match value {
        _ if op == Op::Is && operand.is_any() => true,
        Value::Int(whole) => number(*whole as f64, &whole.to_string()),
        Value::Double(double) => number(*double, &double.to_string()),
        Value::Bool(yes) => op == Op::Is && operand.is(if *yes { "true" } else { "false" }),
        Value::Text(text) | Value::Json(text) if op == Op::Is => operand.is(text),
        // The same key comes as a text from one SDK and as a number from another.
        Value::Text(text) | Value::Json(text) => {
            text.parse().is_ok_and(|number| operand.is_number(op, number))
        }
    }
}

fn attribute(key: &str, op: Op, operand: &Operand, fields: &Fields<'_>) -> io::Result<Vec<bool>> {
    let mut rows = resource(fields, |of| {
        let value = of.attributes.get(key).cloned();
        value.is_some_and(|value| is_value(op, operand, &Value::from_json(value)))
    })?;
    for (name, kind, place) in fields.index.attributes() {
        if name != key {
            continue;
        }
        let raw = fields.load(place)?;
        let column = Column::read(&raw, kind, fields.index.rows)?;
        let is_text = |text: &str| is_value(op, operand, &Value::Text(text.to_owned().into()));
        if !spread(&column, &mut rows, is_text) {
            for (at, row) in column.rows.iter().enumerate() {
                rows[*row as usize] |= is_value(op, operand, &column.value(at, kind));
            }
        }
    }
    for (row, rest) in fields.texts(Fixed::Overflow, &vec![true; rows.len()])? {
        let mut rest: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&rest)?;
        let value = rest.remove(key).map(Value::from_json);
        rows[row] |= value.is_some_and(|value| is_value(op, operand, &value));
    }
    Ok(rows)
}

/// Judges each different text once. `false`: the column holds no texts.
fn spread(column: &Column<'_>, rows: &mut [bool], is: impl Fn(&str) -> bool) -> bool {
    let Values::Text { dictionary, codes } = &column.values else { return false };
    let hits: Vec<bool> = dictionary.iter().map(|text| is(text)).collect();
    if hits.contains(&true) {
        for (row, code) in column.rows.iter().zip(codes) {
            rows[*row as usize] |= hits[*code as usize];
        }
    }
    true
}

/// What the rows that `wanted` takes have under a key, as text; nothing elsewhere.
pub(crate) fn values(key: &str, fields: &Fields<'_>, wanted: &[bool]) -> io::Result<Vec<String>> {
    let mut out = vec![String::new(); wanted.len()];
    let rows = (0..wanted.len()).filter(|row| wanted[*row]);
    match key {
        "name" => {
            for (row, name) in fields.texts(Fixed::Name, wanted)? {
                out[row] = name;
            }
        }
        "kind" => {
            let flags = fields.flags()?;
            rows.for_each(|row| out[row] = flags[row].0.as_str().to_owned());
        }
        "service" | "instance" => {
            let (distinct, codes) = fields.resources()?;
            rows.for_each(|row| {
                let of = &distinct[codes[row]];
                out[row].clone_from(if key == "service" { &of.service } else { &of.instance });
            });
        }
        key => {
            let key = if key == "status" { "http.response.status_code" } else { attribute_of(key) };
            for (_, kind, place) in fields.index.attributes().filter(|(name, ..)| *name == key) {
                let raw = fields.load(place)?;
                let column = Column::read(&raw, kind, fields.index.rows)?;
                for (at, row) in column.rows.iter().enumerate() {
                    if wanted[*row as usize] {
                        out[*row as usize] = match column.value(at, kind) {
                            Value::Text(text) | Value::Json(text) => text.into_owned(),
                            other => other.to_json().to_string(),
                        };
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Names, every text of an attribute, events, and what the resource says.
fn text(operand: &Operand, fields: &Fields<'_>) -> io::Result<Vec<bool>> {
    let within = |value: &serde_json::Value| match value.as_str() {
        Some(text) => operand.is_within(text),
        None => operand.is_within(&value.to_string()),
    };
    let mut rows = resource(fields, |of| {
        operand.is_within(&of.service)
            || operand.is_within(&of.instance)
            || of.attributes.values().any(within)
    })?;
    for fixed in [Fixed::Name, Fixed::Extras, Fixed::Overflow] {
        if let Some(raw) = fields.raw(fixed)? {
            let column = Column::read(&raw, Type::Text, fields.index.rows)?;
            match fixed {
                Fixed::Name => spread(&column, &mut rows, |text| operand.is_within(text)),
                _ => spread(&column, &mut rows, |json| operand.is_within(&json_words(json))),
            };
        }
    }
    for (_, kind, place) in fields.index.attributes() {
        if matches!(kind, Type::Text | Type::Json) {
            let raw = fields.load(place)?;
            let column = Column::read(&raw, kind, fields.index.rows)?;
            match kind {
                Type::Json => {
                    spread(&column, &mut rows, |json| operand.is_within(&json_words(json)))
                }
                _ => spread(&column, &mut rows, |text| operand.is_within(text)),
            };
        }
    }
    Ok(rows)
}
