//! An answer that is stored while its caller gets it.
//!
//! A task reads it from the instance at the instance's pace, so neither a slow caller nor one who
//! leaves keeps it from those who wait. What turns out to be too large to be stored goes on to its
//! caller as any other answer, at the caller's pace.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use archipel_rt::CancellationToken;
use archipel_rt::clock::{self, Instant};
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::Notify;

use crate::cache::ledger::Charge;
use crate::entry::listener::Busy;
use crate::message::body::{Body, BodyError};

/// How long an answer is read on whose caller has left.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// Between the task that reads and the caller.
#[derive(Default)]
struct Feed {
    state: Mutex<State>,
    /// The caller has left.
    left: Notify,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Frame<Bytes>>,
    end: Option<End>,
    ended: bool,
    waker: Option<Waker>,
}

enum End {
    Whole,
    Broken(BodyError),
    /// The caller reads on by itself.
    Rest(Body),
}

/// Splits an answer in two: the caller's body, and the work that gathers it. The work returns
/// nothing unless the whole answer was read and there was room.
pub(crate) fn tee(
    body: Body,
    busy: Option<Busy>,
    charge: Charge,
    max: usize,
    cut: CancellationToken,
) -> (Body, impl Future<Output = Option<(Bytes, Charge)>> + Send + 'static) {
    let feed = Arc::new(Feed::default());
    let left = body.size_hint().exact();
    let reader = Reader { feed: Arc::clone(&feed), left, rest: None, failed: None, _busy: busy };
    (Body::new(reader), gather(body, feed, charge, max, cut))
}

async fn gather(
    body: Body,
    feed: Arc<Feed>,
    charge: Charge,
    max: usize,
    cut: CancellationToken,
) -> Option<(Bytes, Charge)> {
    let mut body = body;
    let ends = EndsAnyway(Arc::clone(&feed));
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut alone: Option<Instant> = None;
    let mut storable = true;
    loop {
        let frame = {
            let left = pin!(feed.left.notified());
            let late = pin!(clock::sleep_until(alone.unwrap_or_else(clock::now)));
            tokio::select! {
                biased;
                () = cut.cancelled() => return None,
                () = left, if alone.is_none() => {
                    alone = Some(clock::now() + ALONE_MAX);
                    continue;
                }
                () = late, if alone.is_some() => return None,
                frame = body.frame() => frame,
            }
        };
        let frame = match frame {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                feed.end(End::Broken(error));
                return None;
            }
        };
        match frame.data_ref() {
            Some(data) if charge.bytes() + data.len() <= max && charge.grow(data.len()) => {
                pieces.push(data.clone());
            }
            // Too large, or with trailers, which would have to be stored as well.
            _ => storable = false,
        }
        feed.push(frame);
        if !storable {
            feed.end(End::Rest(body));
            return None;
        }
    }
    feed.end(End::Whole);
    // Also a single piece is copied: it may be a small part of a large buffer.
    let mut whole = BytesMut::with_capacity(charge.bytes());
    pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
    drop(ends);
    Some((whole.freeze(), charge))
}

/// A caller must not wait for work that was given up.
struct EndsAnyway(Arc<Feed>);

impl Drop for EndsAnyway {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if !state.ended {
            state.end = Some(End::Broken(BodyError::Source("the gateway stops".into())));
            wake(state);
        }
    }
}

impl Feed {
    fn push(&self, frame: Frame<Bytes>) {
        let mut state = self.state();
        state.frames.push_back(frame);
        wake(state);
    }

    fn end(&self, end: End) {
        let mut state = self.state();
        state.end = Some(end);
        state.ended = true;
        wake(state);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: std::sync::MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The caller's side.
struct Reader {
    feed: Arc<Feed>,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    rest: Option<Body>,
    /// Told at the next poll.
    failed: Option<BodyError>,
    /// Keeps the caller's connection from counting as idle.
    _busy: Option<Busy>,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest {
            return Pin::new(rest).poll_frame(cx);
        }
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut state = this.feed.state();
        if let Some(frame) = state.frames.pop_front() {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            this.left = this.left.map(|left| left.saturating_sub(length));
            return Poll::Ready(Some(Ok(frame)));
        }
        match state.end.take() {
            Some(End::Whole) => {
                state.end = Some(End::Whole);
                Poll::Ready(None)
            }
            Some(End::Broken(error)) => {
                // As for any answer that breaks off: what did come is written first.
                drop(state);
                this.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(End::Rest(rest)) => {
                drop(state);
                Pin::new(this.rest.insert(rest)).poll_frame(cx)
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Some(rest) => rest.size_hint(),
            None => self.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.feed.left.notify_one();
    }
}
