//! What waits to be sent: bounded in bytes; the oldest goes when there is no room, because after
//! an outage the newest is what is asked for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Encoded, of one signal.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Of one request, before compression: collectors take four MiB unless told otherwise.
pub(super) const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A part of a request. Requests of OTLP are lists, so parts one after another are a request.
struct Part {
    bytes: Vec<u8>,
    items: u64,
}

#[derive(Default)]
struct Parts {
    all: VecDeque<Part>,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Queue {
    parts: Mutex<Parts>,
    pub(super) some: Notify,
    pub(super) sent: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Queue {
    pub(super) fn put(&self, bytes: Vec<u8>, items: u64) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.bytes += bytes.len();
        parts.all.push_back(Part { bytes, items });
        self.bound(&mut parts);
        drop(parts);
        self.some.notify_one();
    }

    fn bound(&self, parts: &mut Parts) {
        while parts.bytes > QUEUE_BYTES_MAX
            && let Some(oldest) = parts.all.pop_front()
        {
            parts.bytes -= oldest.bytes.len();
            self.lost.fetch_add(oldest.items, Relaxed);
        }
    }

    /// Whether a request would be full.
    pub(super) fn is_ample(&self) -> bool {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.bytes >= REQUEST_BYTES_MAX
    }

    /// The oldest, as much as fits a request.
    pub(super) fn take(&self) -> Option<Held<'_>> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let first = parts.all.pop_front()?;
        let (mut bytes, mut items) = (first.bytes, first.items);
        parts.bytes -= bytes.len();
        while let Some(next) = parts.all.front()
            && bytes.len() + next.bytes.len() <= REQUEST_BYTES_MAX
            && let Some(next) = parts.all.pop_front()
        {
            parts.bytes -= next.bytes.len();
            bytes.extend_from_slice(&next.bytes);
            items += next.items;
        }
        Some(Held { queue: self, part: Some(Part { bytes, items }) })
    }

    /// Nobody wants it any more: all of it is lost. How many that is.
    pub(super) fn clear(&self) -> u64 {
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        let lost = parts.all.iter().map(|part| part.items).sum();
        self.lost.fetch_add(lost, Relaxed);
        lost
    }
}

/// What is being sent. Dropped before it is `done` it goes back to where it was, so that a new
/// target gets it; the old one may have it as well.
pub(super) struct Held<'a> {
    queue: &'a Queue,
    part: Option<Part>,
}

impl Held<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.part.as_ref().map_or(&[], |part| &part.bytes)
    }

    pub(super) fn items(&self) -> u64 {
        self.part.as_ref().map_or(0, |part| part.items)
    }

    pub(super) fn done(mut self) {
        self.part = None;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let Some(part) = self.part.take() else { return };
        let mut parts = self.queue.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.bytes += part.bytes.len();
        parts.all.push_front(part);
        self.queue.bound(&mut parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_is_counted() {
        let queue = Queue::default();
        for n in 0..20u8 {
            queue.put(vec![n; 1 << 20], 10);
        }
        assert_eq!(queue.lost.load(Relaxed), 40);
        let first = queue.take().unwrap();
        assert_eq!((first.bytes()[0], first.bytes().len(), first.items()), (4, 1 << 20, 10));
        first.done();
        (0..15).for_each(|_| queue.take().unwrap().done());
        queue.put(vec![1; 10], 1);
        queue.put(vec![2; 10], 2);
        let both = queue.take().unwrap();
        assert_eq!((both.bytes().len(), both.items()), (20, 3));
        both.done();
        assert!(queue.take().is_none());
    }

    #[test]
    fn what_was_not_sent_goes_to_the_next_or_is_counted() {
        let queue = Queue::default();
        queue.put(vec![1; 10], 1);
        queue.put(vec![2; REQUEST_BYTES_MAX], 2);
        drop(queue.take());
        assert_eq!(queue.take().unwrap().bytes()[0], 1, "the oldest first, as before");
        assert_eq!((queue.clear(), queue.lost.load(Relaxed)), (3, 3));
        assert!(queue.take().is_none());
    }
}
