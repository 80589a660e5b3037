//! Spans out of protobuf without the messages in between.
//!
//! A span of seven attributes is some thirty small pieces of memory when it is decoded into
//! messages first, and most of them live for a microsecond. Here each field goes from the bytes
//! it came as to where it is kept. What is rare or deep (resources, events, links, lists) is left
//! to the decoder.

use std::sync::Arc;

use archipel_model::{ServiceName, SpanId, TraceId};
use archipel_rt::clock;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::resource::v1::Resource as WireResource;
use opentelemetry_proto::tonic::trace::v1::span as wire;
use prost::Message;

use super::Refused;
use super::convert::{
    ATTRIBUTES_MAX, Converted, EXTRAS_MAX, Head, KEY_BYTES_MAX, NAME_BYTES_MAX, Rejected,
    VALUE_BYTES_MAX, cut, finish, latest, of_event, of_json, of_link, resource_of,
};
use super::keys::Keys;
use crate::span::codec::take_varint;
use crate::span::{Resource, Span, Text, Value};

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a field has another type than it should")),
        }
    }

    fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Number(number) | Self::Fixed(number) => Ok(number),
            Self::Bytes(_) => Err(Malformed("a field has another type than it should")),
        }
    }
}

#[derive(Debug)]
struct Malformed(&'static str);

impl From<prost::DecodeError> for Malformed {
    fn from(_: prost::DecodeError) -> Self {
        Self("a message within it is damaged")
    }
}

/// The fields of a message, one after another.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Fixed(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed(u32::from_le_bytes(self.array()?).into()),
            _ => return Err(Malformed("a field has a type that there is not")),
        };
        Ok(Some((tag >> 3, field)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        take_varint(&mut self.0).ok_or(Malformed("it ends in the middle of a number"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(Malformed("it ends in the middle of a field"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) =
            self.0.split_first_chunk().ok_or(Malformed("it ends in the middle of a field"))?;
        self.0 = rest;
        Ok(*taken)
    }
}

/// The spans of an `ExportTraceServiceRequest`.
pub(super) fn spans(message: &[u8], sender: &ServiceName) -> Result<Converted<Span>, Refused> {
    let mut walk = Walk {
        out: Converted { taken: Vec::new(), rejected: Rejected::default() },
        keys: Keys::default(),
        latest: latest(clock::wall_ms()),
    };
    match walk.request(message, sender) {
        Ok(()) => Ok(walk.out),
        Err(Malformed(why)) => Err(Refused::Bad(format!("the protobuf is not understood: {why}"))),
    }
}

struct Walk {
    out: Converted<Span>,
    keys: Keys,
    latest: u64,
}

impl Walk {
    fn request(&mut self, message: &[u8], sender: &ServiceName) -> Result<(), Malformed> {
        let mut fields = Fields(message);
        while let Some((tag, field)) = fields.next()? {
            if tag == 1 {
                self.group(field.bytes()?, sender)?;
            }
        }
        Ok(())
    }

    /// `ResourceSpans`; what its spans have in common may come after them.
    fn group(&mut self, message: &[u8], sender: &ServiceName) -> Result<(), Malformed> {
        let mut resource = None;
        let mut fields = Fields(message);
        while let Some((tag, field)) = fields.next()? {
            if tag == 1 {
                resource = Some(WireResource::decode(field.bytes()?)?);
            }
        }
        let of = Arc::new(resource_of(resource, sender));
        let mut fields = Fields(message);
        while let Some((tag, field)) = fields.next()? {
            if tag == 2 {
                self.scope(field.bytes()?, &of)?;
            }
        }
        Ok(())
    }

    fn scope(&mut self, message: &[u8], of: &Arc<Resource>) -> Result<(), Malformed> {
        let mut library = None;
        let mut fields = Fields(message);
        while let Some((tag, field)) = fields.next()? {
            if tag == 1 {
                let scope = InstrumentationScope::decode(field.bytes()?)?;
                library = Some(cut(scope.name, NAME_BYTES_MAX)).filter(|name| !name.is_empty());
            }
        }
        let mut fields = Fields(message);
        while let Some((tag, field)) = fields.next()? {
            if tag == 2 {
                match self.span(field.bytes()?, of, library.as_deref())? {
                    Ok(span) => self.out.taken.push(span),
                    Err(reason) => self.out.rejected.add(reason),
                }
            }
        }
        Ok(())
    }

    fn span(
        &mut self,
        message: &[u8],
        of: &Arc<Resource>,
        library: Option<&str>,
    ) -> Result<Result<Span, &'static str>, Malformed> {
        let mut head = Head::default();
        let (mut attributes, mut extras) = (Vec::with_capacity(12), Vec::new());
        let (mut events, mut links) = (0, 0);
        let mut fields = Fields(message);
        while let Some((tag, field)) = fields.next()? {
            match tag {
                1 => head.trace = field.bytes()?.try_into().ok().and_then(TraceId::new),
                2 => head.span = field.bytes()?.try_into().ok().and_then(SpanId::new),
                4 => head.parent = field.bytes()?.try_into().ok().and_then(SpanId::new),
                5 => head.name = text(field.bytes()?, NAME_BYTES_MAX),
                6 => head.kind = i32::try_from(field.number()?).unwrap_or_default(),
                7 => head.start_ns = field.number()?,
                8 => head.end_ns = field.number()?,
                9 if attributes.len() < ATTRIBUTES_MAX => {
                    attributes.extend(self.attribute(field.bytes()?)?);
                }
                11 if events < EXTRAS_MAX => {
                    events += 1;
                    extras.push(of_event(wire::Event::decode(field.bytes()?)?));
                }
                13 if links < EXTRAS_MAX => {
                    links += 1;
                    extras.extend(of_link(wire::Link::decode(field.bytes()?)?));
                }
                15 => {
                    let mut fields = Fields(field.bytes()?);
                    while let Some((tag, field)) = fields.next()? {
                        match tag {
                            2 => head.message = text(field.bytes()?, VALUE_BYTES_MAX),
                            3 => head.code = i32::try_from(field.number()?).unwrap_or_default(),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(finish(head, attributes, extras, of, library, self.latest))
    }

    fn attribute(&mut self, message: &[u8]) -> Result<Option<(Text, Value)>, Malformed> {
        let (mut key, mut value) = (None, None);
        let mut fields = Fields(message);
        while let Some((tag, field)) = fields.next()? {
            match tag {
                1 => key = Some(field.bytes()?),
                2 => value = Some(field.bytes()?),
                _ => {}
            }
        }
        let Some(value) = value else { return Ok(None) };
        let (key, guard) = match std::str::from_utf8(key.unwrap_or_default()) {
            Ok(key) if key.len() <= KEY_BYTES_MAX => self.keys.of(key),
            _ => self.keys.of(&text(key.unwrap_or_default(), KEY_BYTES_MAX)),
        };
        Ok(of_any(value)?.map(|value| (key, guard.masked(value))))
    }
}

/// `AnyValue`.
fn of_any(message: &[u8]) -> Result<Option<Value>, Malformed> {
    let mut value = None;
    let mut fields = Fields(message);
    while let Some((tag, field)) = fields.next()? {
        value = match tag {
            1 => Some(Value::Text(text(field.bytes()?, VALUE_BYTES_MAX).into())),
            2 => Some(Value::Bool(field.number()? != 0)),
            3 => Some(Value::Int(field.number()? as i64)),
            4 => Some(Value::Double(f64::from_bits(field.number()?))),
            5..=7 => return Ok(Some(of_json(AnyValue::decode(message)?))),
            _ => value,
        };
    }
    Ok(value)
}

/// A byte that is no text costs that byte and not the request.
fn text(bytes: &[u8], bytes_max: usize) -> String {
    cut(String::from_utf8_lossy(bytes).into_owned(), bytes_max)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::convert;
    use super::*;

    fn request() -> Vec<u8> {
        let text = |value: &str| json!({ "stringValue": value });
        let span = json!({
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7",
            "parentSpanId": "00f067aa0ba902b8", "name": "charge card", "kind": 3,
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000250000000",
            "traceState": "a=1", "flags": 257, "droppedAttributesCount": 2,
            "attributes": [
                { "key": "http.status_code", "value": { "intValue": "-502" } },
                { "key": "load", "value": { "doubleValue": 0.25 } },
                { "key": "retry", "value": { "boolValue": true } },
                { "key": "list", "value": { "arrayValue": { "values": [{ "intValue": 1 }] } } },
                { "key": "db.password", "value": text("hunter2") },
                { "key": "url.full", "value": text("http://h/p?token=abc&a=1") },
                { "key": "Straße", "value": text("İzmir") },
            ],
            "events": [{ "timeUnixNano": "1", "name": "exception",
                "attributes": [{ "key": "exception.message", "value": text("declined") }] }],
            "links": [{ "traceId": "4bf92f3577b34da6a3ce929d0e0e4737", "spanId": "00f067aa0ba902b9" }],
            "status": { "code": 2, "message": "upstream said no" },
        });
        let other = json!({ "traceId": "", "spanId": "", "name": "is none" });
        let request = json!({ "resourceSpans": [{
            "resource": { "attributes": [{ "key": "service.version", "value": text("1.4") }] },
            "scopeSpans": [{ "scope": { "name": "lib" }, "spans": [span.clone(), other, span] }],
        }]});
        let request: ExportTraceServiceRequest = serde_json::from_value(request).unwrap();
        request.encode_to_vec()
    }

    /// Whatever the decoder understands is understood here, and the same.
    fn compare(bytes: &[u8]) {
        let sender = ServiceName::new("orders").unwrap();
        let walked = spans(bytes, &sender);
        let Ok(decoded) = ExportTraceServiceRequest::decode(bytes) else { return };
        let (walked, decoded) = (walked.unwrap(), convert::spans(decoded, &sender));
        assert_eq!(walked.taken, decoded.taken);
        assert_eq!(walked.rejected.told(), decoded.rejected.told());
    }

    #[test]
    fn what_is_walked_is_what_would_be_decoded() {
        let bytes = request();
        compare(&bytes);
        let taken = spans(&bytes, &ServiceName::new("orders").unwrap()).unwrap();
        assert_eq!((taken.taken.len(), taken.rejected.told().unwrap().0), (2, 1));
        for length in 0..bytes.len() {
            compare(&bytes[..length]);
        }
    }

    #[test]
    fn a_byte_that_is_no_text_costs_that_byte() {
        let mut bytes = request();
        let at = bytes.windows(6).position(|of| of == b"charge").unwrap();
        bytes[at] = 0xff;
        let found = spans(&bytes, &ServiceName::new("orders").unwrap()).unwrap();
        assert_eq!(found.taken[0].name, "\u{fffd}harge card");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0usize..1_000, byte: u8, more in prop::collection::vec(any::<u8>(), 0..40)) {
            let sender = ServiceName::new("orders").unwrap();
            let mut bytes = request();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = spans(&bytes, &sender);
            bytes.splice(at..at, more.iter().copied());
            let _ = spans(&bytes, &sender);
            let _ = spans(&more, &sender);
        }
    }
}
