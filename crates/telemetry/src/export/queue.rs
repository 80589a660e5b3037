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
        while parts.bytes > QUEUE_BYTES_MAX
            && let Some(oldest) = parts.all.pop_front()
        {
            parts.bytes -= oldest.bytes.len();
            self.lost.fetch_add(oldest.items, Relaxed);
        }
        drop(parts);
        self.some.notify_one();
    }

    /// Whether a request would be full.
    pub(super) fn is_ample(&self) -> bool {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.bytes >= REQUEST_BYTES_MAX
    }

    /// The oldest, as much as fits a request, and how many items that is.
    pub(super) fn take(&self) -> Option<(Vec<u8>, u64)> {
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
        Some((bytes, items))
    }

    /// Nobody wants it any more.
    pub(super) fn clear(&self) {
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = Parts::default();
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
        let (first, items) = queue.take().unwrap();
        assert_eq!((first[0], first.len(), items), (4, 1 << 20, 10));
        (0..15).for_each(|_| assert!(queue.take().is_some()));
        queue.put(vec![1; 10], 1);
        queue.put(vec![2; 10], 2);
        assert_eq!(queue.take().map(|(bytes, items)| (bytes.len(), items)), Some((20, 3)));
        assert!(queue.take().is_none());
    }
}
