//! From our spans, lines and series back to the messages of OTLP.

use std::sync::Arc;

use archipel_model::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value as Any,
};
use opentelemetry_proto::tonic::resource::v1::Resource as WireResource;
use opentelemetry_proto::tonic::{logs::v1 as logs, trace::v1 as trace};
use prost::Message;
use serde_json::{Map, Value as Json};

use crate::Level;
use crate::record::LogRecord;
use crate::span::{Extra, Hop, Kind, Resource, Row, Span, SpanStatus, Text, Value};

/// What made what we made ourselves.
pub(super) const SCOPE: &str = "archipel";
/// Of one part of a request, so that parts stay smaller than requests.
const PART_ITEMS: usize = 256;

/// Parts of requests, with how many spans each has.
pub(super) fn spans(rows: &[Row]) -> Vec<(Vec<u8>, u64)> {
    rows.chunks(PART_ITEMS).map(|rows| (part_of_spans(rows), rows.len() as u64)).collect()
}

fn part_of_spans(rows: &[Row]) -> Vec<u8> {
    // Few resources in a part, and the same one mostly in a row.
    let mut groups: Vec<(&Arc<Resource>, bool, Vec<trace::Span>)> = Vec::new();
    for row in rows {
        let (of, own, span) = match row {
            Row::Span(span) => (&span.resource, false, of_span(span)),
            Row::Hop(hop) => (&hop.like.resource, true, of_hop(hop)),
        };
        let same = |group: &(&Arc<Resource>, bool, _)| Arc::ptr_eq(group.0, of) && group.1 == own;
        match groups.iter_mut().rev().find(|group| same(group)) {
            Some((_, _, spans)) => spans.push(span),
            None => groups.push((of, own, vec![span])),
        }
    }
    let groups = groups.into_iter().map(|(of, own, spans)| trace::ResourceSpans {
        resource: Some(resource(&of.service, &of.instance, &of.attributes)),
        scope_spans: vec![trace::ScopeSpans {
            scope: own.then(scope),
            spans,
            ..trace::ScopeSpans::default()
        }],
        ..trace::ResourceSpans::default()
    });
    ExportTraceServiceRequest { resource_spans: groups.collect() }.encode_to_vec()
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: SCOPE.to_owned(), ..InstrumentationScope::default() }
}

pub(super) fn resource(
    service: &str,
    instance: &str,
    attributes: &Map<String, Json>,
) -> WireResource {
    let mut all = vec![text("service.name", service.to_owned())];
    if !instance.is_empty() {
        all.push(text("service.instance.id", instance.to_owned()));
    }
    all.extend(attributes.iter().map(|(key, value)| pair(key.clone(), any(value))));
    WireResource { attributes: all, ..WireResource::default() }
}

fn of_span(span: &Span) -> trace::Span {
    let mut message = String::new();
    let mut attributes = Vec::with_capacity(span.attributes.len());
    for (key, value) in &span.attributes {
        match (&**key, value) {
            // Where the receiver has put it.
            ("otel.status_description", Value::Text(text)) => message = text.to_string(),
            _ => attributes.push(pair(key.to_string(), of_value(value))),
        }
    }
    let (mut events, mut links) = (Vec::new(), Vec::new());
    for extra in &span.extras {
        match extra {
            Extra::Event { name, at_ns, attributes } => events.push(trace::span::Event {
                time_unix_nano: *at_ns,
                name: name.clone(),
                attributes: pairs(attributes),
                dropped_attributes_count: 0,
            }),
            Extra::Link { trace, span, attributes } => links.push(trace::span::Link {
                trace_id: trace.bytes().to_vec(),
                span_id: span.bytes().to_vec(),
                attributes: pairs(attributes),
                ..trace::span::Link::default()
            }),
        }
    }
    let code = match span.status {
        SpanStatus::Unset => 0,
        SpanStatus::Ok => 1,
        SpanStatus::Error => 2,
    };
    let told = code > 0 || !message.is_empty();
    trace::Span {
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
            Kind::Producer => 4,
            Kind::Consumer => 5,
        },
        name: span.name.to_string(),
        attributes,
        events,
        links,
        status: told.then_some(trace::Status { message, code }),
        ..frame(span.trace, span.span, span.parent, span.start_ns, span.duration_ns)
    }
}

fn frame(
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    start_ns: u64,
    duration_ns: u64,
) -> trace::Span {
    trace::Span {
        trace_id: trace.bytes().to_vec(),
        span_id: span.bytes().to_vec(),
        parent_span_id: parent.map(|id| id.bytes().to_vec()).unwrap_or_default(),
        start_time_unix_nano: start_ns,
        end_time_unix_nano: start_ns.saturating_add(duration_ns),
        ..trace::Span::default()
    }
}

fn of_hop(hop: &Hop) -> trace::Span {
    let like = &hop.like;
    let int = |number: u64| Any::IntValue(i64::try_from(number).unwrap_or(i64::MAX));
    let mut attributes = vec![
        text("archipel.caller", like.caller.clone()),
        text("http.request.method", like.method.to_string()),
        text("url.path", String::from_utf8_lossy(&hop.path).into_owned()),
        pair("http.response.body.size".to_owned(), Some(int(hop.bytes))),
        pair("archipel.hop".to_owned(), Some(Any::BoolValue(true))),
        pair("archipel.head_us".to_owned(), Some(int(hop.head_us))),
    ];
    attributes.extend(like.route.as_ref().map(|route| text("http.route", route.clone())));
    if hop.code > 0 {
        let code = Some(int(hop.code.into()));
        attributes.push(pair("http.response.status_code".to_owned(), code));
    }
    attributes.extend(hop.more.iter().map(|(key, value)| pair(key.to_string(), of_value(value))));
    trace::Span {
        kind: 2,
        name: like.name.to_string(),
        attributes,
        status: hop.failed.then(|| trace::Status { message: String::new(), code: 2 }),
        ..frame(hop.trace, hop.span, hop.parent, hop.start_ns, hop.duration_ns)
    }
}

/// The same of log records.
pub(super) fn lines(records: &[LogRecord]) -> Vec<(Vec<u8>, u64)> {
    records.chunks(PART_ITEMS).map(|of| (part_of_lines(of), of.len() as u64)).collect()
}

fn part_of_lines(records: &[LogRecord]) -> Vec<u8> {
    let mut groups: Vec<(&LogRecord, Vec<logs::LogRecord>)> = Vec::new();
    for record in records {
        let line = of_line(record);
        match groups.iter_mut().rev().find(|(of, _)| of.instance == record.instance) {
            Some((_, lines)) => lines.push(line),
            None => groups.push((record, vec![line])),
        }
    }
    let groups = groups.into_iter().map(|(of, log_records)| {
        let instance = of.instance.to_string();
        logs::ResourceLogs {
            resource: Some(resource(of.instance.service.as_str(), &instance, &Map::new())),
            scope_logs: vec![logs::ScopeLogs { log_records, ..logs::ScopeLogs::default() }],
            ..logs::ResourceLogs::default()
        }
    });
    ExportLogsServiceRequest { resource_logs: groups.collect() }.encode_to_vec()
}

fn of_line(record: &LogRecord) -> logs::LogRecord {
    let (number, word) = match record.level {
        Some(Level::Trace) => (1, "TRACE"),
        Some(Level::Debug) => (5, "DEBUG"),
        Some(Level::Info) => (9, "INFO"),
        Some(Level::Warn) => (13, "WARN"),
        Some(Level::Error) => (17, "ERROR"),
        None => (0, ""),
    };
    let at_ns = record.at_ms.saturating_mul(1_000_000);
    let mut attributes = pairs(&record.fields);
    attributes.push(text("log.iostream", record.stream.as_str().to_owned()));
    let id = |text: &Option<String>| text.as_deref().and_then(bytes_of_hex).unwrap_or_default();
    logs::LogRecord {
        time_unix_nano: at_ns,
        observed_time_unix_nano: at_ns,
        severity_number: number,
        severity_text: word.to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(record.message.clone())) }),
        attributes,
        trace_id: id(&record.trace_id),
        span_id: id(&record.span_id),
        ..logs::LogRecord::default()
    }
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |of: &[u8]| u8::from_str_radix(std::str::from_utf8(of).ok()?, 16).ok();
    digits.map(byte).collect()
}

pub(super) fn text(key: &str, value: String) -> KeyValue {
    pair(key.to_owned(), Some(Any::StringValue(value)))
}

fn pair(key: String, value: Option<Any>) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value }), ..KeyValue::default() }
}

fn pairs(map: &Map<String, Json>) -> Vec<KeyValue> {
    map.iter().map(|(key, value)| pair(key.clone(), any(value))).collect()
}

fn of_value(value: &Value) -> Option<Any> {
    match value {
        Value::Text(text) => Some(Any::StringValue(Text::to_string(text))),
        Value::Int(number) => Some(Any::IntValue(*number)),
        Value::Double(number) => Some(Any::DoubleValue(*number)),
        Value::Bool(yes) => Some(Any::BoolValue(*yes)),
        Value::Json(_) => any(&value.to_json()),
    }
}

fn any(json: &Json) -> Option<Any> {
    let whole = |of: &Json| AnyValue { value: any(of) };
    match json {
        Json::Null => None,
        Json::Bool(yes) => Some(Any::BoolValue(*yes)),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Some(Any::IntValue(whole)),
            None => Some(Any::DoubleValue(number.as_f64().unwrap_or_default())),
        },
        Json::String(text) => Some(Any::StringValue(text.clone())),
        Json::Array(list) => {
            Some(Any::ArrayValue(ArrayValue { values: list.iter().map(whole).collect() }))
        }
        Json::Object(map) => Some(Any::KvlistValue(KeyValueList { values: pairs(map) })),
    }
}
