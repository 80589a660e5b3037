//! Every request through the data plane as a span, whether or not its services are instrumented.
//!
//! The data plane hands over a record when a request is over and never waits for us: what does
//! not fit its queue is dropped and counted. Here the records become hops of the span store, in
//! batches; what many of them have in common is made once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use archipel_gateway::{Access, Caller, Records, SeriesKey};
use archipel_model::InstanceId;
use archipel_rt::CancellationToken;
use archipel_telemetry::{Hop, HopKind, Resource, SpanStore, Text, Value};
use http::Method;

/// Records of one thread that may wait to become spans; at ten thousand a second, nearly a second.
pub(crate) const QUEUE: usize = 8 << 10;
/// More kinds than this in one run are not remembered, only made again.
const KINDS_MAX: usize = 4096;

/// Runs until told to stop, and then until nothing waits any more.
pub(crate) async fn run(mut records: Records, store: SpanStore, stop: CancellationToken) {
    let mut kinds = Kinds::default();
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = records.recv_many(&mut batch) => if count == 0 { return },
            () = stop.cancelled(), if !records.is_closed() => {
                records.close();
                continue;
            }
        }
        let news = batch.drain(..).filter(is_news);
        let hops = news.map(|access| hop(access, &mut kinds)).collect();
        // No room: counted by the store.
        store.take_hops(hops);
    }
}

/// Our own pulls of outboxes go on day and night; those that went well would be most of all
/// traces and say nothing. What we deliver is posted.
fn is_news(access: &Access) -> bool {
    let pull = access.of.caller == Caller::Archipel && access.method == "GET";
    !pull || access.status >= 400 || access.broken
}

#[derive(Default)]
struct Kinds(HashMap<(Method, Option<InstanceId>, SeriesKey), Arc<HopKind>>, Option<Last>);

/// Of hops in a row, most are of one kind.
struct Last {
    method: Method,
    instance: Option<InstanceId>,
    of: Arc<SeriesKey>,
    kind: Arc<HopKind>,
}

impl Kinds {
    fn of(&mut self, access: &Access) -> Arc<HopKind> {
        if let Some(last) = &self.1
            && Arc::ptr_eq(&last.of, &access.of)
            && last.instance == access.instance
            && last.method == access.method
        {
            return Arc::clone(&last.kind);
        }
        if self.0.len() >= KINDS_MAX {
            self.0.clear();
        }
        let key = (access.method.clone(), access.instance.clone(), (*access.of).clone());
        let made = self.0.entry(key).or_insert_with(|| Arc::new(kind(access)));
        let kind = Arc::clone(made);
        self.1 = Some(Last {
            method: access.method.clone(),
            instance: access.instance.clone(),
            of: Arc::clone(&access.of),
            kind: Arc::clone(&kind),
        });
        kind
    }
}

fn kind(access: &Access) -> HopKind {
    let method = method(access.method.as_str());
    let SeriesKey { caller, callee, route } = &*access.of;
    let name = match (route, callee, caller) {
        (Some(route), _, _) => format!("{method} {}", target(route)).into(),
        (None, Some(callee), Caller::Service(_) | Caller::Archipel) => {
            format!("{method} {callee}").into()
        }
        _ => method.clone(),
    };
    // A hop belongs to the service it leads to: there its time is spent.
    let resource = Resource {
        service: callee.as_ref().map_or_else(|| "gateway".to_owned(), ToString::to_string),
        instance: access.instance.as_ref().map(ToString::to_string).unwrap_or_default(),
        attributes: serde_json::Map::new(),
    };
    HopKind {
        resource: Arc::new(resource),
        name,
        caller: caller.to_string(),
        method,
        route: route.as_deref().map(ToOwned::to_owned),
    }
}

/// A route without the method that it may begin with; no host and no path is a word alone.
fn target(route: &str) -> &str {
    match route.split_once(' ') {
        Some((method, rest)) if !method.contains('/') => rest,
        _ => route,
    }
}

fn hop(access: Access, kinds: &mut Kinds) -> Hop {
    let like = kinds.of(&access);
    let mut more: Vec<(Text, Value)> = Vec::new();
    if access.retries > 0 {
        more.push(("http.request.resend_count".into(), Value::Int(access.retries.into())));
    }
    // That a caller gave up, or asked for what is not there, is no fault of the service.
    let failed = access.status >= 500 || access.broken;
    let error: Option<Text> = match (access.refusal, access.broken) {
        (Some(problem), _) => Some(problem.slug().into()),
        (None, true) => Some("broken-off".into()),
        (None, false) if failed => Some(access.status.to_string().into()),
        (None, false) => None,
    };
    if let Some(kind) = access.fallback {
        more.push(("archipel.fallback".into(), Value::Text(kind.into())));
    }
    if let Some(error) = error {
        more.push(("error.type".into(), Value::Text(error)));
    }
    if let (Some(problem), Some(rule)) = (access.refusal, access.rule) {
        more.push(("archipel.refusal.rule".into(), Value::Text(rule.into_string().into())));
        more.push(("archipel.refusal.help".into(), Value::Text(problem.advice().into())));
    }
    Hop {
        trace: access.trace_id,
        span: access.span_id,
        parent: access.parent,
        like,
        failed,
        start_ns: access.at_ns,
        duration_ns: u64::try_from(access.duration.as_nanos()).unwrap_or(u64::MAX),
        path: access.path,
        code: access.status,
        bytes: access.bytes,
        head_us: u64::try_from(access.head.as_micros()).unwrap_or(u64::MAX),
        more,
    }
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
    use archipel_model::{ServiceName, SpanId, TraceId};
    use std::time::Duration;

    fn access() -> Access {
        let of = SeriesKey {
            caller: Caller::Outside,
            callee: Some(ServiceName::new("orders").unwrap()),
            route: Some("/orders/*".into()),
        };
        Access {
            at_ns: 5,
            trace_id: TraceId::new([1; 16]).unwrap(),
            span_id: SpanId::new([2; 8]).unwrap(),
            parent: None,
            of: Arc::new(of),
            instance: Some("orders-1".parse().unwrap()),
            method: "GET".parse().unwrap(),
            path: "/orders/17".into(),
            status: 200,
            duration: Duration::from_millis(3),
            head: Duration::from_millis(2),
            bytes: 10,
            retries: 0,
            refusal: None,
            fallback: None,
            rule: None,
            broken: false,
        }
    }

    fn made(change: impl FnOnce(&mut Access)) -> Hop {
        let mut access = access();
        change(&mut access);
        hop(access, &mut Kinds::default())
    }

    #[test]
    fn a_hop_is_a_span_of_the_service_it_leads_to() {
        let hop = made(|_| {});
        assert_eq!(
            (hop.like.resource.service.as_str(), &*hop.like.name),
            ("orders", "GET /orders/*")
        );
        assert_eq!(hop.like.resource.instance, "orders-1");
        assert_eq!((hop.start_ns, hop.duration_ns, hop.head_us), (5, 3_000_000, 2_000));
        assert_eq!((hop.failed, hop.code, hop.bytes), (false, 200, 10));
        assert_eq!((hop.like.caller.as_str(), &*hop.path), ("outside", &b"/orders/17"[..]));
        assert!(hop.more.is_empty());
    }

    #[test]
    fn a_hop_of_a_route_with_a_method_names_the_method_once() {
        let check = |method: &str, route: &str, name: &str| {
            let hop = made(|access| {
                access.method = method.parse().unwrap();
                access.of =
                    Arc::new(SeriesKey { route: Some(route.into()), ..(*access.of).clone() });
            });
            assert_eq!((&*hop.like.name, hop.like.route.as_deref()), (name, Some(route)));
        };
        check("GET", "GET /media/**", "GET /media/**");
        check("HEAD", "GET shop.test/media/**", "HEAD shop.test/media/**");
        check("GET", "/media/** x-beta:1", "GET /media/** x-beta:1");
        check("GET", "GET /media/** x-beta:1", "GET /media/** x-beta:1");
    }

    #[test]
    fn only_what_the_service_is_to_blame_for_is_an_error() {
        let failed = |status: u16| made(|access| access.status = status).failed;
        assert!(failed(503));
        assert!(!failed(404));
        assert!(!failed(499));
        let broken = made(|access| access.broken = true);
        assert!(broken.failed);
        assert_eq!(broken.more, [("error.type".into(), Value::Text("broken-off".into()))]);
    }

    #[test]
    fn what_stood_in_for_an_answer_says_why() {
        let hop = made(|access| {
            access.fallback = Some("stale");
            access.refusal = Some(archipel_gateway::Problem::Timeout);
        });
        assert!(!hop.failed, "the caller has an answer");
        let text = |text: &str| Value::Text(text.to_owned().into());
        let said =
            [("archipel.fallback".into(), text("stale")), ("error.type".into(), text("timeout"))];
        assert_eq!(hop.more, said);
    }

    #[test]
    fn only_pulls_that_fail_are_told() {
        let told = |method: &str, status: u16| {
            let method = method.parse().unwrap();
            let of = SeriesKey { caller: Caller::Archipel, ..(*access().of).clone() };
            is_news(&Access { of: Arc::new(of), method, status, ..access() })
        };
        assert!(!told("GET", 200));
        assert!(told("GET", 500));
        assert!(told("POST", 200));
        assert!(is_news(&access()));
    }

    #[test]
    fn hops_of_one_kind_share_it_and_no_others_do() {
        let mut kinds = Kinds::default();
        let mut kind = |change: fn(&mut Access)| {
            let mut access = access();
            change(&mut access);
            hop(access, &mut kinds).like
        };
        let first = kind(|_| {});
        let other = kind(|access| access.instance = Some("orders-2".parse().unwrap()));
        assert_eq!(other.resource.instance, "orders-2");
        assert_eq!(&*kind(|access| access.method = Method::PUT).name, "PUT /orders/*");
        assert!(Arc::ptr_eq(&first, &kind(|_| {})));
        assert!(Arc::ptr_eq(&first, &kind(|access| access.status = 500)));
    }

    #[test]
    fn a_request_cannot_make_names_without_end() {
        let hop = made(|access| {
            access.method = "BREW".parse().unwrap();
            access.of = Arc::new(SeriesKey { route: None, ..(*access.of).clone() });
        });
        assert_eq!(&*hop.like.name, "_OTHER");
    }
}
