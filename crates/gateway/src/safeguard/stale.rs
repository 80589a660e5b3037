//! The last good answers of one edge, for when there are none.
//!
//! Nobody must get what was meant for somebody else. So an answer belongs to a request that is the
//! same in everything that may say who asks: only headers known to say nothing of it are left out
//! of the key. Requests with credentials or cookies are not kept at all, nor answers that set a
//! cookie, are marked private, or depend on what is left out.
//!
//! Not a cache: nothing is answered from here while the service answers.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};

use crate::message::body::{Body, BodyError};

/// Of all answers of one edge together, with their heads and keys.
const BYTES_MAX: usize = 8 << 20;
const ANSWER_BYTES_MAX: usize = 512 << 10;
/// An answer that is not older than this need not be kept again.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Stale(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<Key, Arc<Answer>>,
    /// Oldest first; may hold what was replaced since.
    order: VecDeque<(Key, Instant)>,
    bytes: usize,
}

/// Everything in a request that may matter for its answer.
pub(crate) type Key = Arc<[u8]>;

pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
    size: usize,
}

/// The key of a request that may be answered from here.
pub(crate) fn key_of<B>(request: &Request<B>) -> Option<Key> {
    let headers = request.headers();
    let personal = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
    if *request.method() != Method::GET || personal.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let matters = headers.iter().filter(|(name, _)| !is_neutral(name.as_str()));
    let mut lines: Vec<_> = matters.map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    lines.sort_unstable();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut key = Vec::with_capacity(256);
    key.extend_from_slice(path.as_bytes());
    for (name, value) in lines {
        // Neither can hold a line feed.
        key.push(b'\n');
        key.extend_from_slice(name.as_bytes());
        key.push(b':');
        key.extend_from_slice(value);
    }
    Some(key.into())
}

/// Says nothing of who asks, and changes nothing about a whole answer.
fn is_neutral(name: &str) -> bool {
    matches!(
        name,
        "traceparent"
            | "tracestate"
            | "baggage"
            | "b3"
            | "x-request-id"
            | "user-agent"
            | "connection"
            | "keep-alive"
            | "te"
            | "content-length"
            | "cache-control"
            | "pragma"
            | "if-none-match"
            | "if-modified-since"
            | "referer"
            | "priority"
            | "dnt"
            | "via"
            | "upgrade-insecure-requests"
            | "forwarded"
            | "x-real-ip"
            | "grpc-timeout"
            | "x-envoy-expected-rq-timeout-ms"
            | "dapr-api-token"
    ) || ["sec-fetch-", "sec-ch-", "x-b3-", "x-forwarded-"].iter().any(|p| name.starts_with(p))
}

/// Whether an answer may be given to whoever sends the same key.
fn is_common(status: StatusCode, headers: &HeaderMap) -> bool {
    let words = |name| {
        let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        values.flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii)
    };
    let private = words(header::CACHE_CONTROL).any(|word| {
        let name = word.split(|b| *b == b'=').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"private") || name.eq_ignore_ascii_case(b"no-store")
    });
    let varies = words(header::VARY).any(|word| {
        let name = String::from_utf8_lossy(word).to_ascii_lowercase();
        name == "*" || is_neutral(&name)
    });
    status == StatusCode::OK && !private && !varies && !headers.contains_key(header::SET_COOKIE)
}

impl Stale {
    pub(crate) fn find(&self, key: &Key, age_max: Duration) -> Option<Arc<Answer>> {
        let kept = self.lock();
        kept.answers.get(key).filter(|answer| answer.age() <= age_max).cloned()
    }

    /// Passes an answer on, and keeps a copy of it when it ends well and may be kept.
    pub(crate) fn remember(self: &Arc<Self>, key: Key, answer: Response<Body>) -> Response<Body> {
        let size = answer.body().size_hint();
        if !is_common(answer.status(), answer.headers())
            || size.lower() > ANSWER_BYTES_MAX as u64
            || self.find(&key, FRESH).is_some()
        {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let mut recording = Recording {
            body,
            kept: Some(Recorded {
                store: Arc::clone(self),
                key,
                headers: head.headers.clone(),
                bytes: BytesMut::new(),
            }),
        };
        recording.note_end();
        Response::from_parts(head, Body::new(recording))
    }

    fn keep(&self, key: Key, headers: HeaderMap, body: Bytes) {
        let head: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
        let size = key.len() * 2 + head + body.len() + 256;
        let at = clock::now();
        let answer = Arc::new(Answer { status: StatusCode::OK, headers, body, at, size });
        let mut kept = self.lock();
        kept.bytes += size;
        if let Some(before) = kept.answers.insert(Arc::clone(&key), answer) {
            kept.bytes -= before.size;
        }
        kept.order.push_back((key, at));
        while kept.bytes > BYTES_MAX || kept.order.len() > kept.answers.len() * 2 + 16 {
            let Some((key, at)) = kept.order.pop_front() else { break };
            if kept.answers.get(&key).is_some_and(|answer| answer.at == at)
                && let Some(oldest) = kept.answers.remove(&key)
            {
                kept.bytes -= oldest.size;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.at)
    }

    /// As it was, and how old it is.
    pub(crate) fn again(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        // RFC 9111, section 5.1; on top of what it had already.
        let before = self.headers.get(header::AGE).and_then(|age| age.to_str().ok()?.parse().ok());
        let age = self.age().as_secs().saturating_add(before.unwrap_or(0));
        response.headers_mut().insert(header::AGE, HeaderValue::from(age));
        response
    }
}

/// A body that is copied while it passes.
struct Recording {
    body: Body,
    kept: Option<Recorded>,
}

struct Recorded {
    store: Arc<Stale>,
    key: Key,
    headers: HeaderMap,
    bytes: BytesMut,
}

impl Recording {
    fn note(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        match frame.data_ref() {
            Some(data) if kept.bytes.len() + data.len() <= ANSWER_BYTES_MAX => {
                kept.bytes.extend_from_slice(data);
            }
            // Too much, or trailers, which nothing that is kept has.
            _ => self.kept = None,
        }
    }

    fn note_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(kept) = self.kept.take()
        {
            kept.store.keep(kept.key, kept.headers, kept.bytes.freeze());
        }
    }
}

impl http_body::Body for Recording {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                self.note(frame);
                self.note_end();
            }
            Poll::Ready(Some(Err(_))) => self.kept = None,
            Poll::Ready(None) => self.note_end(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn answer(body: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Body::from(body.to_owned())).unwrap()
    }

    async fn pass(store: &Arc<Stale>, key: &Key, answer: Response<Body>) {
        let passed = store.remember(Arc::clone(key), answer).into_body();
        passed.collect(1 << 24).await.unwrap();
    }

    #[test]
    fn nobody_shares_a_key_with_somebody_else() {
        let plain = key_of(&request("/a?b=1", &[("host", "x")])).unwrap();
        let noise = [("user-agent", "y"), ("traceparent", "00-1"), ("host", "x")];
        assert_eq!(plain, key_of(&request("/a?b=1", &noise)).unwrap());
        for other in [("x-customer-id", "7"), ("accept-language", "de"), ("range", "bytes=0-1")] {
            assert_ne!(plain, key_of(&request("/a?b=1", &[("host", "x"), other])).unwrap());
        }
        assert_ne!(plain, key_of(&request("/a?b=2", &[("host", "x")])).unwrap());
        for personal in [("cookie", "a=1"), ("authorization", "Bearer x")] {
            assert!(key_of(&request("/", &[personal])).is_none());
        }
        assert!(key_of(&Request::post("/").body(()).unwrap()).is_none());
    }

    #[tokio::test]
    async fn only_common_answers_are_kept() {
        let key = key_of(&request("/", &[])).unwrap();
        let long = Duration::from_secs(60);
        for mine in [
            ("set-cookie", "a=1"),
            ("cache-control", "max-age=5, Private"),
            ("cache-control", "no-store"),
            ("vary", "accept, user-agent"),
            ("vary", "*"),
        ] {
            let store = Arc::new(Stale::default());
            pass(&store, &key, answer("x", &[mine])).await;
            assert!(store.find(&key, long).is_none(), "{mine:?}");
        }
        let store = Arc::new(Stale::default());
        pass(&store, &key, answer("x", &[("vary", "accept"), ("x-a", "1")])).await;
        let again = store.find(&key, long).unwrap().again();
        assert_eq!(again.headers()["x-a"], "1");
        assert_eq!(again.headers()["age"], "0");
        assert_eq!(again.into_body().collect(10).await.unwrap(), "x");
        // Half an answer is none.
        let store = Arc::new(Stale::default());
        let broken =
            futures_util::stream::iter([Ok(Bytes::from("x")), Err(std::io::Error::other("y"))]);
        let passed = store.remember(Arc::clone(&key), Response::new(Body::stream(broken)));
        assert!(passed.into_body().collect(10).await.is_err());
        assert!(store.find(&key, long).is_none());
    }

    #[tokio::test]
    async fn there_is_only_so_much_room() {
        let store = Arc::new(Stale::default());
        let big = "x".repeat(ANSWER_BYTES_MAX);
        let keys: Vec<Key> =
            (0..40).map(|n| key_of(&request(&format!("/{n}"), &[])).unwrap()).collect();
        for key in &keys {
            pass(&store, key, answer(&big, &[])).await;
        }
        assert!(store.lock().bytes <= BYTES_MAX);
        assert!(store.find(&keys[0], FRESH).is_none() && store.find(&keys[39], FRESH).is_some());
        let huge = "x".repeat(ANSWER_BYTES_MAX + 1);
        let key = key_of(&request("/huge", &[])).unwrap();
        pass(&store, &key, answer(&huge, &[])).await;
        assert!(store.find(&key, FRESH).is_none());
    }
}
