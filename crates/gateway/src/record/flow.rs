//! One request on its way, and the accounting that ends exactly once.
//!
//! A [`Flight`] is made when a request is understood and lives until the last byte of its answer
//! has passed or somebody gave up; dropping it anywhere is safe and counts as "the caller went
//! away". [`FlowBody`] is the answer's body with its flight and connection aboard.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use archipel_model::Priority;
use archipel_rt::clock::{self, Instant};
use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::entry::listener::Busy;
use crate::guard::log::Note;
use crate::message::body::BodyError;
use crate::message::trace::Trace;
use crate::record::access::Access;
use crate::record::counters::Finished;
use crate::refusal::Problem;
use crate::safeguard::bulkhead::Place;
use crate::shadow::Watching;
use crate::shared::Shared;
use crate::upstream::instance::Instance;
use crate::upstream::link::Link;
use crate::way::Way;

/// What we report when there was nobody left to answer.
const CALLER_GONE: u16 = 499;

pub(crate) struct Flight {
    pub(crate) way: Arc<Way>,
    pub(crate) trace: Trace,
    shared: Arc<Shared>,
    instance: Option<Arc<Instance>>,
    entered: bool,
    started: Instant,
    head: Duration,
    method: Method,
    path: Option<PathAndQuery>,
    status: u16,
    bytes: u64,
    pub(crate) retries: u32,
    refusal: Option<Problem>,
    pub(crate) rule: Option<Box<str>>,
    broken: bool,
    ended: bool,
    /// Who sends it, when the choice of an instance depends on that.
    pub(crate) visitor: Option<u64>,
    /// How much what its caller does matters, where the way does not say it.
    pub(crate) inherited: Option<Priority>,
    /// That is remembered until the end.
    pub(crate) ranked: bool,
    /// Who is told of the answer, beside the caller.
    pub(crate) watching: Option<Box<Watching>>,
    fallback: Option<&'static str>,
    /// When the try under way began, where somebody wants to know.
    tried: Option<Instant>,
    place: Option<Place>,
    /// For the access log, where there is one.
    pub(crate) note: Option<Box<Note>>,
    /// Keeps the client's connection from counting as idle.
    busy: Option<Busy>,
}

/// What is known of a request before it is sent anywhere.
pub(crate) struct Start {
    pub(crate) way: Arc<Way>,
    pub(crate) trace: Trace,
    pub(crate) started: Instant,
    pub(crate) method: Method,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) busy: Option<Busy>,
}

impl Flight {
    pub(crate) fn new(shared: Arc<Shared>, start: Start) -> Self {
        start.way.series.inflight.fetch_add(1, Relaxed);
        Self {
            way: start.way,
            trace: start.trace,
            shared,
            instance: None,
            entered: false,
            started: start.started,
            head: Duration::ZERO,
            method: start.method,
            path: start.path,
            status: CALLER_GONE,
            bytes: 0,
            retries: 0,
            refusal: None,
            rule: None,
            broken: false,
            ended: false,
            visitor: None,
            inherited: None,
            ranked: false,
            watching: None,
            fallback: None,
            tried: None,
            place: None,
            note: None,
            busy: start.busy,
        }
    }

    /// For somebody else to keep the client's connection from counting as idle.
    pub(crate) fn part_busy(&mut self) -> Option<Busy> {
        self.busy.take()
    }

    /// The request takes another way, as a span beside this one. Returns the flight so far, for
    /// whoever ends it.
    pub(crate) fn pass_on(&mut self, way: Arc<Way>) -> Self {
        let start = Start {
            way,
            trace: self.trace.beside(),
            started: clock::now(),
            method: self.method.clone(),
            path: self.path.clone(),
            busy: self.busy.take(),
        };
        let mut next = Self::new(Arc::clone(&self.shared), start);
        (next.visitor, next.inherited) = (self.visitor, self.inherited);
        std::mem::replace(self, next)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The request is at this instance now; `timed` since, when how long it takes matters.
    pub(crate) fn enter(&mut self, instance: &Arc<Instance>, timed: Option<Instant>) {
        self.leave();
        instance.inflight.fetch_add(1, Relaxed);
        self.instance = Some(Arc::clone(instance));
        self.entered = true;
        self.tried = timed;
    }

    /// How long the last try has taken by now, if it was timed; and what "now" is.
    pub(crate) fn try_took(&self) -> Option<(Duration, Instant)> {
        let (tried, now) = (self.tried?, clock::now());
        Some((now.saturating_duration_since(tried), now))
    }

    pub(crate) fn is_at_instance(&self) -> bool {
        self.entered
    }

    pub(crate) fn instance(&self) -> Option<&Arc<Instance>> {
        self.instance.as_ref()
    }

    /// Takes a place that others wait for, until the end.
    pub(crate) fn occupy(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// It is no longer; which one it was is kept for the record.
    pub(crate) fn leave(&mut self) {
        if self.entered
            && let Some(instance) = &self.instance
        {
            instance.inflight.fetch_sub(1, Relaxed);
        }
        self.entered = false;
    }

    /// The head of the answer is here.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
        self.head = clock::now() - self.started;
    }

    /// The answer is ours.
    pub(crate) fn refused(&mut self, problem: Problem) {
        self.leave();
        self.refusal = Some(problem);
        self.answered(match problem {
            Problem::CallerGone => CALLER_GONE,
            problem => problem.status().as_u16(),
        });
    }

    /// The answer is what was declared for when there is none.
    pub(crate) fn fell_back(&mut self, kind: &'static str, why: Option<Problem>, status: u16) {
        self.leave();
        self.refusal = why;
        self.fallback = Some(kind);
        self.answered(status);
    }

    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Counts and reports; nothing after the first time.
    pub(crate) fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.leave();
        self.place = None;
        if self.ranked {
            self.shared.ranks.forget(self.trace.span);
        }
        self.way.series.inflight.fetch_sub(1, Relaxed);
        let duration = clock::now() - self.started;
        let finished = Finished {
            status: if self.status == CALLER_GONE { 0 } else { self.status },
            refused: self.refusal.is_some() && self.fallback.is_none(),
            broken: self.broken,
            retries: self.retries,
            bytes: self.bytes,
            duration,
        };
        self.way.series.add(&finished);
        if let Some(instance) = &self.instance {
            instance.series.add(&finished);
        }
        let path = self.path.as_ref().map_or("", PathAndQuery::path);
        self.shared.tap.send(self.started, path, || self.record(duration));
        if let Some(note) = self.note.take() {
            note.send(self.record(duration), path, duration);
        }
    }

    /// Without what the tap fills in: the start on the wall clock, and the path.
    fn record(&self, duration: Duration) -> Access {
        Access {
            at_ns: 0,
            trace_id: self.trace.trace,
            span_id: self.trace.span,
            parent: self.trace.parent,
            of: Arc::clone(self.way.series.key()),
            instance: self.instance.as_ref().and_then(|i| i.id.clone()),
            method: self.method.clone(),
            path: Bytes::new(),
            status: self.status,
            duration,
            head: self.head,
            bytes: self.bytes,
            retries: self.retries,
            refusal: self.refusal,
            fallback: self.fallback,
            rule: self.rule.clone(),
            broken: self.broken,
        }
    }
}

impl Drop for Flight {
    /// Without an end before, it is the caller who left, also in the middle of an answer: whoever
    /// closes a page that streams has not seen a failure. An instance's break is said by its body.
    fn drop(&mut self) {
        self.end();
    }
}

/// The body of an answer from an instance.
pub(crate) struct FlowBody {
    incoming: Incoming,
    link: Option<Box<Link>>,
    flight: Box<Flight>,
    /// Told at the next poll.
    failed: Option<BodyError>,
    idle: Option<Box<Idle>>,
}

/// Cuts an answer of which nothing arrives any more.
struct Idle {
    limit: Duration,
    alarm: Pin<Box<clock::Sleep>>,
    /// Something has arrived since the alarm was set.
    moved: bool,
}

impl Idle {
    fn new(limit: Duration) -> Box<Self> {
        Box::new(Self { limit, alarm: Box::pin(clock::sleep(limit)), moved: true })
    }

    /// Called while there is nothing to read: only that time counts, not the caller's slowness.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if std::mem::take(&mut self.moved) {
            self.alarm.as_mut().reset(clock::now() + self.limit);
        }
        self.alarm.as_mut().poll(cx).map(|()| BodyError::Idle { limit: self.limit })
    }
}

impl FlowBody {
    pub(crate) fn new(
        incoming: Incoming,
        link: Option<Box<Link>>,
        flight: Box<Flight>,
        idle: Option<Duration>,
    ) -> Self {
        Self { incoming, link, flight, failed: None, idle: idle.map(Idle::new) }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(busy) = &mut self.flight.busy {
            busy.taken();
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        // The first poll says that we want more; only then does the connection read on.
        let incoming = &mut self.incoming;
        let frame = match &mut self.link {
            None => Pin::new(incoming).poll_frame(cx),
            Some(link) => link.ask(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)),
        };
        if let Some(idle) = &mut self.idle {
            match frame {
                Poll::Ready(_) => idle.moved = true,
                Poll::Pending => {
                    if let Poll::Ready(error) = idle.poll(cx) {
                        self.link = None;
                        self.flight.broken = true;
                        self.flight.end();
                        return self.fail(error, cx);
                    }
                }
            }
        }
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(busy) = &mut self.flight.busy {
                    busy.hand();
                }
                if let Some(data) = frame.data_ref() {
                    self.flight.add_bytes(data.len() as u64);
                }
                if self.incoming.is_end_stream() {
                    self.end();
                }
            }
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(Err(_))) => {
                self.link = None;
                self.flight.broken = true;
                self.flight.end();
            }
        }
        match frame {
            Poll::Ready(Some(Err(error))) => self.fail(BodyError::Broken(error), cx),
            frame => frame.map_err(BodyError::Broken),
        }
    }

    /// hyper drops what it has not yet written when a body fails. One more turn lets the caller
    /// have the head and the part that did come.
    fn fail<T>(&mut self, error: BodyError, cx: &mut Context<'_>) -> Poll<T> {
        self.failed = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn end(&mut self) {
        if let Some(link) = self.link.take() {
            give_back(link, &self.flight);
        }
        self.flight.end();
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Keeps a connection for the next request, if this one is over on both sides: an instance may
/// answer before it has read the whole request, and then the rest of it is still to come.
pub(crate) fn give_back(mut link: Box<Link>, flight: &Flight) {
    if link.is_free(false)
        && let Some(instance) = &flight.instance
    {
        instance.keep(link);
    }
}
