//! From the messages of OTLP to our spans and records, within limits.

use std::sync::Arc;

use archipel_model::{InstanceId, ServiceName, SpanId, TraceId};
use archipel_rt::clock;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::{logs, resource, trace};
use serde_json::{Map, Value as Json};

use super::super::span::{Extra, Kind, Resource, Span, SpanStatus, Text, Value};
use super::keys::Keys;
use crate::record::{LogRecord, Stream};
use crate::{Level, names};

pub(super) const ATTRIBUTES_MAX: usize = 128;
pub(super) const EXTRAS_MAX: usize = 128;
pub(super) const KEY_BYTES_MAX: usize = 256;
pub(super) const NAME_BYTES_MAX: usize = 1 << 10;
pub(super) const VALUE_BYTES_MAX: usize = 16 << 10;
/// A clock that is further ahead is wrong.
const AHEAD_NS_MAX: u64 = 24 * 3600 * 1_000_000_000;

pub(super) struct Converted<T> {
    pub(super) taken: Vec<T>,
    pub(super) rejected: Rejected,
}

/// What was refused of a request, and the first reason.
#[derive(Default)]
pub(super) struct Rejected {
    count: i64,
    reason: &'static str,
}

impl Rejected {
    pub(super) fn add(&mut self, reason: &'static str) {
        if self.count == 0 {
            self.reason = reason;
        }
        self.count += 1;
    }

    pub(super) fn told(self) -> Option<(i64, String)> {
        (self.count > 0).then(|| (self.count, self.reason.to_owned()))
    }
}

pub(super) fn spans(request: ExportTraceServiceRequest, sender: &ServiceName) -> Converted<Span> {
    let mut out = Converted { taken: Vec::new(), rejected: Rejected::default() };
    let latest = latest(clock::wall_ms());
    for group in request.resource_spans {
        let of = Arc::new(resource_of(group.resource, sender));
        for scope in group.scope_spans {
            let library = scope.scope.map(|scope| cut(scope.name, NAME_BYTES_MAX));
            for span in scope.spans {
                match span_of(span, &of, library.as_deref(), latest) {
                    Ok(span) => out.taken.push(span),
                    Err(reason) => out.rejected.add(reason),
                }
            }
        }
    }
    out
}

/// Who sent it decides whose it is.
pub(super) fn resource_of(
    resource: Option<resource::v1::Resource>,
    sender: &ServiceName,
) -> Resource {
    let mut attributes = Map::new();
    let mut instance = String::new();
    let given = resource.map(|resource| resource.attributes).unwrap_or_default();
    for KeyValue { key, value, .. } in given.into_iter().take(ATTRIBUTES_MAX) {
        let value = value.map_or(Json::Null, json);
        match key.as_str() {
            "service.name" if value.as_str() == Some(sender.as_str()) => {}
            "service.name" => drop(attributes.insert("otel.service.name".to_owned(), value)),
            "service.instance.id" => match own_instance(&value, sender) {
                Some(own) => instance = own.to_string(),
                None => drop(attributes.insert(key, value)),
            },
            _ => drop(attributes.insert(cut(key, KEY_BYTES_MAX), names::masked_json(value))),
        }
    }
    Resource { service: sender.to_string(), instance, attributes }
}

fn own_instance(value: &Json, sender: &ServiceName) -> Option<InstanceId> {
    let id: InstanceId = value.as_str()?.parse().ok()?;
    (id.service == *sender).then_some(id)
}

/// What there is of a span besides lists.
#[derive(Default)]
pub(super) struct Head {
    pub(super) trace: Option<TraceId>,
    pub(super) span: Option<SpanId>,
    pub(super) parent: Option<SpanId>,
    pub(super) name: String,
    pub(super) kind: i32,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) code: i32,
    /// Of the status.
    pub(super) message: String,
}

/// A span may begin so late.
pub(super) fn latest(now_ms: u64) -> u64 {
    now_ms.saturating_mul(1_000_000).saturating_add(AHEAD_NS_MAX)
}

fn span_of(
    span: trace::v1::Span,
    of: &Arc<Resource>,
    library: Option<&str>,
    latest: u64,
) -> Result<Span, &'static str> {
    let (code, message) = span.status.map_or((0, String::new()), |of| (of.code, of.message));
    let head = Head {
        trace: trace_id(&span.trace_id),
        span: span_id(&span.span_id),
        parent: span_id(&span.parent_span_id),
        name: cut(span.name, NAME_BYTES_MAX),
        kind: span.kind,
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        code,
        message: cut(message, VALUE_BYTES_MAX),
    };
    let events = span.events.into_iter().take(EXTRAS_MAX).map(of_event);
    let links = span.links.into_iter().take(EXTRAS_MAX).filter_map(of_link);
    let extras = events.chain(links).collect();
    finish(head, attributes(span.attributes), extras, of, library, latest)
}

pub(super) fn of_event(event: trace::v1::span::Event) -> Extra {
    Extra::Event {
        name: cut(event.name, NAME_BYTES_MAX),
        at_ns: event.time_unix_nano,
        attributes: map(event.attributes),
    }
}

pub(super) fn of_link(link: trace::v1::span::Link) -> Option<Extra> {
    Some(Extra::Link {
        trace: trace_id(&link.trace_id)?,
        span: span_id(&link.span_id)?,
        attributes: map(link.attributes),
    })
}

pub(super) fn finish(
    head: Head,
    mut attributes: Vec<(Text, Value)>,
    extras: Vec<Extra>,
    of: &Arc<Resource>,
    library: Option<&str>,
    latest: u64,
) -> Result<Span, &'static str> {
    let (Some(trace), Some(own)) = (head.trace, head.span) else {
        return Err("a span without a valid trace id and span id");
    };
    if head.start_ns > latest {
        return Err("a span that begins more than a day in the future");
    }
    if let Some(library) = library.filter(|name| !name.is_empty()) {
        attributes.push(("otel.scope.name".into(), Value::Text(library.to_owned().into())));
    }
    if !head.message.is_empty() {
        attributes.push(("otel.status_description".into(), Value::Text(head.message.into())));
    }
    Ok(Span {
        trace,
        span: own,
        parent: head.parent,
        resource: of.clone(),
        name: head.name.into(),
        kind: match head.kind {
            2 => Kind::Server,
            3 => Kind::Client,
            4 => Kind::Producer,
            5 => Kind::Consumer,
            _ => Kind::Internal,
        },
        status: match head.code {
            1 => SpanStatus::Ok,
            2 => SpanStatus::Error,
            _ => SpanStatus::Unset,
        },
        start_ns: head.start_ns,
        // A clock that was set back while the span ran.
        duration_ns: head.end_ns.saturating_sub(head.start_ns),
        attributes,
        extras,
    })
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::new(bytes.try_into().ok()?)
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::new(bytes.try_into().ok()?)
}

pub(super) fn attributes(given: Vec<KeyValue>) -> Vec<(Text, Value)> {
    let mut keys = Keys::default();
    let given = given.into_iter().take(ATTRIBUTES_MAX);
    given
        .filter_map(|KeyValue { key, value, .. }| {
            let (key, guard) = keys.of(&cut(key, KEY_BYTES_MAX));
            let value = match value?.value? {
                Any::StringValue(text) => Value::Text(cut(text, VALUE_BYTES_MAX).into()),
                Any::BoolValue(yes) => Value::Bool(yes),
                Any::IntValue(number) => Value::Int(number),
                Any::DoubleValue(number) => Value::Double(number),
                other => of_json(AnyValue { value: Some(other) }),
            };
            Some((key, guard.masked(value)))
        })
        .collect()
}

pub(super) fn of_json(value: AnyValue) -> Value {
    let text = json(value).to_string();
    // Half of a document is none.
    let fits = text.len() <= VALUE_BYTES_MAX;
    Value::Json(if fits { text.into() } else { "\"(too large)\"".into() })
}

fn map(given: Vec<KeyValue>) -> Map<String, Json> {
    let given = attributes(given).into_iter();
    given.map(|(key, value)| (key.into_owned(), value.to_json())).collect()
}

/// The decoder has bounded how deep this goes.
fn json(value: AnyValue) -> Json {
    match value.value {
        None | Some(Any::StringValueStrindex(_)) => Json::Null,
        Some(Any::StringValue(text)) => Json::String(cut(text, VALUE_BYTES_MAX)),
        Some(Any::BoolValue(yes)) => yes.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        Some(Any::ArrayValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Any::KvlistValue(list)) => {
            let pairs = list.values.into_iter();
            pairs.map(|of| (of.key, of.value.map_or(Json::Null, json))).collect()
        }
        Some(Any::BytesValue(bytes)) => Json::String(
            bytes.iter().take(VALUE_BYTES_MAX / 2).map(|b| format!("{b:02x}")).collect(),
        ),
    }
}

pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

pub(super) fn logs(
    request: ExportLogsServiceRequest,
    sender: &ServiceName,
) -> Converted<LogRecord> {
    let mut out = Converted { taken: Vec::new(), rejected: Rejected::default() };
    let now = clock::wall_ms();
    for group in request.resource_logs {
        let of = resource_of(group.resource, sender);
        let first = || InstanceId { service: sender.clone(), replica: 0 };
        let instance = of.instance.parse().unwrap_or_else(|_| first());
        for record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            out.taken.push(record_of(record, &instance, now));
        }
    }
    out
}

fn record_of(record: logs::v1::LogRecord, instance: &InstanceId, now: u64) -> LogRecord {
    let at = [record.time_unix_nano, record.observed_time_unix_nano];
    let at_ms = at.into_iter().find(|at| *at > 0).map_or(now, |at| at / 1_000_000);
    let level = match record.severity_number {
        1..=4 => Some(Level::Trace),
        5..=8 => Some(Level::Debug),
        9..=12 => Some(Level::Info),
        13..=16 => Some(Level::Warn),
        17..=24 => Some(Level::Error),
        _ => Level::of_word(&record.severity_text),
    };
    let mut fields = map(record.attributes);
    if !record.event_name.is_empty() {
        fields
            .insert("event_name".to_owned(), Json::String(cut(record.event_name, NAME_BYTES_MAX)));
    }
    let message = match record.body.map_or(Json::Null, json) {
        Json::String(text) => text,
        Json::Null => String::new(),
        other => other.to_string(),
    };
    LogRecord {
        // A record from tomorrow would be the newest for a day.
        at_ms: at_ms.min(now.saturating_add(60_000)),
        instance: instance.clone(),
        stream: Stream::Otlp,
        level,
        message,
        trace_id: trace_id(&record.trace_id).map(|id| id.to_string()),
        span_id: span_id(&record.span_id).map(|id| id.to_string()),
        fields,
    }
}
