//! Every request through the data plane as a span, whether or not its services are instrumented.
//!
//! The data plane hands over a record when a request is over and never waits for us: what does
//! not fit its queue is dropped and counted. Here the records become spans, in batches.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use archipel_gateway::{Access, Caller};
use archipel_model::{InstanceId, ServiceName};
use archipel_rt::{CancellationToken, Receiver};
use archipel_telemetry::{Kind, Resource, Span, SpanStatus, SpanStore, Text, Value};

/// Records that may wait to become spans; at ten thousand a second, nearly a second.
pub(crate) const QUEUE: usize = 8 << 10;
const BATCH: usize = 512;
/// More instances than this in one run are not remembered, only made again.
const RESOURCES_MAX: usize = 4096;
/// What nobody reads further.
const PATH_BYTES_MAX: usize = 2048;

/// Runs until told to stop, and then until nothing waits any more.
pub(crate) async fn run(mut records: Receiver<Access>, store: SpanStore, stop: CancellationToken) {
    let mut resources = Resources::default();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            count = records.recv_many(&mut batch, BATCH) => if count == 0 { return },
            () = stop.cancelled(), if !records.is_closed() => {
                records.close();
                continue;
            }
        }
        let news = batch.drain(..).filter(is_news);
        let spans = news.map(|access| span(access, &mut resources)).collect();
        // No room: counted by the store.
        store.take(spans);
    }
}

/// Our own pulls of outboxes go on day and night; those that went well would be most of all
/// traces and say nothing. What we deliver is posted.
fn is_news(access: &Access) -> bool {
    let pull = access.caller == Caller::Archipel && access.method == "GET";
    !pull || access.status >= 400 || access.broken
}

#[derive(Default)]
struct Resources(HashMap<(Option<ServiceName>, Option<InstanceId>), Arc<Resource>>);

impl Resources {
    /// A hop belongs to the service it leads to: there its time is spent.
    fn of(&mut self, callee: Option<ServiceName>, instance: Option<InstanceId>) -> Arc<Resource> {
        if self.0.len() >= RESOURCES_MAX {
            self.0.clear();
        }
        let made = self.0.entry((callee, instance)).or_insert_with_key(|(callee, instance)| {
            Arc::new(Resource {
                service: callee.as_ref().map_or_else(|| "gateway".to_owned(), ToString::to_string),
                instance: instance.as_ref().map(ToString::to_string).unwrap_or_default(),
                attributes: serde_json::Map::new(),
            })
        });
        made.clone()
    }
}

fn span(access: Access, resources: &mut Resources) -> Span {
    let method = method(access.method.as_str());
    let route = access.route.as_deref();
    let mut attributes: Vec<(Text, Value)> = Vec::with_capacity(10);
    let mut put = |key: &'static str, value: Value| attributes.push((key.into(), value));
    put("archipel.hop", Value::Bool(true));
    put("archipel.caller", text(access.caller.to_string()));
    put("http.request.method", Value::Text(method.clone()));
    if let Some(route) = route {
        put("http.route", text(route.to_owned()));
    }
    put("url.path", text(cut(access.path)));
    if access.status > 0 {
        put("http.response.status_code", Value::Int(access.status.into()));
    }
    put("http.response.body.size", number(access.bytes));
    put("archipel.head_us", number(access.head.as_micros() as u64));
    if access.retries > 0 {
        put("http.request.resend_count", Value::Int(access.retries.into()));
    }
    // That a caller gave up, or asked for what is not there, is no fault of the service.
    let failed = access.status >= 500 || access.broken;
    let error: Option<Text> = match (access.refusal, access.broken) {
        (Some(problem), _) => Some(problem.slug().into()),
        (None, true) => Some("broken-off".into()),
        (None, false) if failed => Some(access.status.to_string().into()),
        (None, false) => None,
    };
    if let Some(error) = error {
        put("error.type", Value::Text(error));
    }
    if let (Some(problem), Some(rule)) = (access.refusal, access.rule) {
        put("archipel.refusal.rule", text(rule.into_string()));
        put("archipel.refusal.help", Value::Text(problem.advice().into()));
    }
    let name = match (route, &access.callee, &access.caller) {
        (Some(route), _, _) => format!("{method} {route}").into(),
        (None, Some(callee), Caller::Service(_) | Caller::Archipel) => {
            format!("{method} {callee}").into()
        }
        _ => method,
    };
    Span {
        trace: access.trace_id,
        span: access.span_id,
        parent: access.parent,
        resource: resources.of(access.callee, access.instance),
        name,
        kind: Kind::Server,
        status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
        start_ns: access.at_ns,
        duration_ns: u64::try_from(access.duration.as_nanos()).unwrap_or(u64::MAX),
        attributes,
        extras: Vec::new(),
    }
}

fn text(text: String) -> Value {
    Value::Text(text.into())
}

fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn cut(mut path: String) -> String {
    let end = (0..=PATH_BYTES_MAX.min(path.len())).rev().find(|at| path.is_char_boundary(*at));
    path.truncate(end.unwrap_or_default());
    path
}

/// A method that nobody registered would make names without end.
fn method(method: &str) -> Text {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    Cow::Borrowed(KNOWN.into_iter().find(|known| *known == method).unwrap_or("_OTHER"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use archipel_model::{SpanId, TraceId};
    use std::time::Duration;

    fn access() -> Access {
        Access {
            at_ns: 5,
            trace_id: TraceId::new([1; 16]).unwrap(),
            span_id: SpanId::new([2; 8]).unwrap(),
            parent: None,
            caller: Caller::Outside,
            callee: Some(ServiceName::new("orders").unwrap()),
            instance: Some("orders-1".parse().unwrap()),
            route: Some("/orders/*".into()),
            method: "GET".parse().unwrap(),
            path: "/orders/17".into(),
            status: 200,
            duration: Duration::from_millis(3),
            head: Duration::from_millis(2),
            bytes: 10,
            retries: 0,
            refusal: None,
            rule: None,
            broken: false,
        }
    }

    fn made(change: impl FnOnce(&mut Access)) -> Span {
        let mut access = access();
        change(&mut access);
        span(access, &mut Resources::default())
    }

    #[test]
    fn a_hop_is_a_span_of_the_service_it_leads_to() {
        let span = made(|_| {});
        assert_eq!((span.resource.service.as_str(), &*span.name), ("orders", "GET /orders/*"));
        assert_eq!(span.resource.instance, "orders-1");
        assert_eq!((span.start_ns, span.duration_ns), (5, 3_000_000));
        assert_eq!(span.status, SpanStatus::Unset);
        assert_eq!(span.attribute("archipel.caller"), Some(&Value::Text("outside".into())));
        assert_eq!(span.attribute("http.response.status_code"), Some(&Value::Int(200)));
    }

    #[test]
    fn only_what_the_service_is_to_blame_for_is_an_error() {
        let status = |status: u16| made(|access| access.status = status).status;
        assert_eq!(status(503), SpanStatus::Error);
        assert_eq!(status(404), SpanStatus::Unset);
        assert_eq!(status(499), SpanStatus::Unset);
        let broken = made(|access| access.broken = true);
        assert_eq!(broken.status, SpanStatus::Error);
        assert_eq!(broken.attribute("error.type"), Some(&Value::Text("broken-off".into())));
    }

    #[test]
    fn only_pulls_that_fail_are_told() {
        let told = |method: &str, status: u16| {
            let method = method.parse().unwrap();
            is_news(&Access { caller: Caller::Archipel, method, status, ..access() })
        };
        assert!(!told("GET", 200));
        assert!(told("GET", 500));
        assert!(told("POST", 200));
        assert!(is_news(&access()));
    }

    #[test]
    fn a_request_cannot_make_names_without_end() {
        let span = made(|access| {
            access.method = "BREW".parse().unwrap();
            access.route = None;
            access.path = "/".repeat(100_000);
        });
        assert_eq!(&*span.name, "_OTHER");
        let Some(Value::Text(path)) = span.attribute("url.path") else { panic!() };
        assert_eq!(path.len(), PATH_BYTES_MAX);
    }
}
