//! Asks a second instance for the same when the first takes unusually long; the first good answer
//! counts, and the other request is dropped, which its instance sees as a caller who left.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use http::{Method, Request};

use crate::hop::{choice, deadline};
use crate::message::body::Body;
use crate::safeguard::admission;
use crate::safeguard::hedge::Hedge;
use crate::shared::Shared;
use crate::upstream::instance::{Answer, Failure, Instance, Speaks};
use crate::upstream::service::Live;

/// Only what asks and changes nothing: `PUT` may be repeated, but not race with itself.
pub(crate) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

pub(crate) struct Race<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) live: &'a Live,
    pub(crate) hedge: &'a Hedge,
    pub(crate) first: &'a Arc<Instance>,
    /// Those that were tried before.
    pub(crate) tried: &'a [Arc<Instance>],
    pub(crate) after: Duration,
    pub(crate) connect: Duration,
    pub(crate) until: Option<Instant>,
}

/// The second instance, when the answer is from there, and when it was asked.
type Winner = Option<(Arc<Instance>, Instant)>;

impl Race<'_> {
    /// `spare` makes the second request.
    pub(crate) async fn run(
        self,
        request: Request<Body>,
        spare: impl FnOnce() -> Request<Body>,
    ) -> (Result<Answer, Failure>, Winner) {
        let began = clock::now();
        let mut first = pin!(self.first.send(request, false, false, self.connect));
        tokio::select! {
            biased;
            sent = first.as_mut() => return (sent, None),
            () = clock::sleep(self.after) => {}
        }
        let Some(other) = self.other() else { return (first.await, None) };
        let asked = clock::now();
        let mut again = spare();
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(asked);
            deadline::put(again.headers_mut(), left, other.speaks == Speaks::Http2);
        }
        let _busy = Busy::new(&other);
        let mut second = pin!(other.send(again, false, false, self.connect));
        let win = || {
            self.hedge.won();
            self.first.latency.add_failure(clock::now() - began, self.shared.millis());
            Some((Arc::clone(&other), asked))
        };
        tokio::select! {
            biased;
            sent = first.as_mut() => match is_good(&sent) {
                true => (sent, None),
                false => match second.await {
                    better if is_good(&better) => (better, win()),
                    _ => (sent, None),
                },
            },
            sent = second.as_mut() => match is_good(&sent) {
                true => (sent, win()),
                false => (first.await, None),
            },
        }
    }

    /// Another instance, if there is a fit one and the budget allows it.
    fn other(&self) -> Option<Arc<Instance>> {
        let mut tried = self.tried.to_vec();
        tried.push(Arc::clone(self.first));
        let other = choice::pick(self.shared, self.live, &tried, None, None)?;
        let known = tried.iter().any(|instance| Arc::ptr_eq(instance, &other));
        (!known && self.hedge.may_send()).then_some(other)
    }
}

fn is_good(sent: &Result<Answer, Failure>) -> bool {
    let fails = |a: &Answer| admission::is_failure(a.response.status(), a.response.headers());
    sent.as_ref().is_ok_and(|answer| !fails(answer))
}

/// Counts the second request while it runs.
struct Busy<'a>(&'a Instance);

impl<'a> Busy<'a> {
    fn new(instance: &'a Instance) -> Self {
        instance.inflight.fetch_add(1, Relaxed);
        Self(instance)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Relaxed);
    }
}
