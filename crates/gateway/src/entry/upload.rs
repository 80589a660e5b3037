//! The body of a request, as a client may send it: not larger than its route allows, not slower
//! than a real upload, and remembered when it is given up before its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::entry::wire::Marks;
use crate::message::body::BodyError;

pub(crate) struct Upload {
    incoming: Incoming,
    /// What may still come, and the whole of it for the message.
    limit: Option<(u64, u64)>,
    pace: Option<Pace>,
    marks: Option<Arc<Marks>>,
}

/// At least `min` bytes in each `window` of waiting for the client. Time in which nobody asks
/// for more does not count: then the app is slow, not the client.
pub(crate) struct Pace {
    window: Duration,
    min: u64,
    waited: Duration,
    bytes: u64,
    /// Since when we have been waiting.
    since: Option<Instant>,
    /// Only there once something had to be waited for.
    alarm: Option<Pin<Box<clock::Sleep>>>,
}

impl Upload {
    /// `marks`: of an HTTP/1 connection, which has to be closed with care when the body is given
    /// up; HTTP/2 ends the stream alone.
    pub(crate) fn new(
        incoming: Incoming,
        limit: Option<u64>,
        pace: Option<Pace>,
        marks: Option<Arc<Marks>>,
    ) -> Self {
        Self { incoming, limit: limit.map(|limit| (limit, limit)), pace, marks }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            return match self.pace.as_mut().is_some_and(|pace| pace.is_over(cx)) {
                true => Poll::Ready(Some(Err(BodyError::Slow))),
                false => Poll::Pending,
            };
        };
        let frame = frame.transpose().map_err(BodyError::Broken)?;
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            let length = data.len() as u64;
            if let Some(pace) = &mut self.pace {
                pace.came(length);
            }
            if let Some((left, limit)) = &mut self.limit {
                let Some(rest) = left.checked_sub(length) else {
                    return Poll::Ready(Some(Err(BodyError::TooLarge { limit: *limit })));
                };
                *left = rest;
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(marks) = &self.marks
            && !self.incoming.is_end_stream()
        {
            marks.unread.store(true, Relaxed);
        }
    }
}

impl Pace {
    pub(crate) fn new(window: Duration, min: u64) -> Self {
        Self { window, min, waited: Duration::ZERO, bytes: 0, since: None, alarm: None }
    }

    fn came(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(since) = self.since.take() {
            self.waited += clock::now() - since;
        }
    }

    /// Nothing is there: has that been so for too long?
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let now = clock::now();
        let since = *self.since.get_or_insert(now);
        if self.waited + (now - since) >= self.window {
            if self.bytes < self.min {
                return true;
            }
            (self.waited, self.bytes, self.since) = (Duration::ZERO, 0, Some(now));
        }
        let due = now + (self.window - self.waited).saturating_sub(now - self.since.unwrap_or(now));
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(clock::sleep_until(due)));
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        // Ready only by a hair: then look again at once.
        if alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        false
    }
}
