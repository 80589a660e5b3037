//! Requests that wait for something, counted so that more than so many need not.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts one waiting request for as long as it lives.
pub(crate) struct Waiting<'a> {
    count: &'a AtomicUsize,
    /// How many there were.
    pub(crate) before: usize,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
    }
}
