//! The way of access records from the requests to their one reader.
//!
//! Without a reader nothing is built. A slow one loses records, which are counted; it never slows
//! a request. Each thread has a queue of its own, and the reader is woken by the first record
//! after a silence and by a full batch, not by every one: a record costs a few dozen
//! nanoseconds, and a request alone on the machine wakes no second thread for its own sake.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use archipel_rt::clock::{self, Instant};
use bytes::BytesMut;
use tokio::sync::Notify;

use crate::cores;
use crate::record::access::{Access, PATH_BYTES_MAX};

/// So many of one thread wake the reader at once.
const BATCH: usize = 512;
/// How long a record may wait for others.
const LINGER: Duration = Duration::from_millis(200);

/// Where access records go, if anywhere.
#[derive(Default)]
pub(crate) struct Tap {
    to: ArcSwapOption<Queue>,
    dropped: AtomicU64,
}

impl Tap {
    pub(crate) fn subscribe(&self, capacity: usize) -> Records {
        let queue = Arc::new(Queue::new(capacity));
        if let Some(before) = self.to.swap(Some(Arc::clone(&queue))) {
            before.close();
        }
        Records { queue }
    }

    /// Whether it is worth remembering what a record will need.
    pub(crate) fn is_open(&self) -> bool {
        self.to.load().is_some()
    }

    /// `access` builds a record without its start on the wall clock and its path.
    pub(crate) fn send(&self, started: Instant, path: &str, access: impl FnOnce() -> Access) {
        let to = self.to.load();
        let Some(queue) = to.as_ref() else { return };
        if queue.closed.load(Relaxed) {
            self.to.store(None);
        } else if !queue.push(started, path, access) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

struct Queue {
    shards: Box<[Shard]>,
    /// Of one shard.
    capacity: usize,
    /// The reader has found nothing and waits for the first record.
    asleep: AtomicBool,
    closed: AtomicBool,
    wake: Notify,
}

/// On cache lines of its own: threads write to theirs all the time.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    records: Vec<Unfinished>,
    /// The paths of all of them, one after the other.
    paths: BytesMut,
}

struct Unfinished {
    access: Access,
    started: Instant,
    path_bytes: usize,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn new(capacity: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shards: (0..threads).map(|_| Shard::default()).collect(),
            capacity,
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// `false`: there is no room.
    fn push(&self, started: Instant, path: &str, access: impl FnOnce() -> Access) -> bool {
        let mut waiting = self.shards[thread_number() % self.shards.len()].lock();
        if waiting.records.len() >= self.capacity {
            return false;
        }
        let path = cut(path);
        waiting.paths.extend_from_slice(path.as_bytes());
        waiting.records.push(Unfinished { access: access(), started, path_bytes: path.len() });
        let full = waiting.records.len() == BATCH;
        drop(waiting);
        // The reader looks at every shard after it has said that it sleeps: whoever put a record
        // there later sees it asleep.
        if full || (self.asleep.load(Relaxed) && self.asleep.swap(false, Relaxed)) {
            self.wake.notify_one();
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().records.is_empty())
    }

    fn take(&self, into: &mut Vec<Access>) -> usize {
        let before = into.len();
        let (now, wall) = (clock::now(), clock::wall());
        for shard in &self.shards {
            let Waiting { records, paths } = {
                let mut waiting = shard.lock();
                if waiting.records.is_empty() {
                    continue;
                }
                let next = Vec::with_capacity(waiting.records.len().min(2 * BATCH));
                let records = std::mem::replace(&mut waiting.records, next);
                Waiting { records, paths: waiting.paths.split() }
            };
            let mut paths = paths.freeze();
            into.extend(records.into_iter().map(|of| Access {
                at_ns: nanos(wall, now.saturating_duration_since(of.started)),
                path: paths.split_to(of.path_bytes),
                ..of.access
            }));
        }
        into.len() - before
    }

    fn close(&self) {
        self.closed.store(true, Relaxed);
        self.wake.notify_one();
    }
}

fn cut(path: &str) -> &str {
    let mut end = path.len().min(PATH_BYTES_MAX);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}

/// Nanoseconds since 1970 of what began that long ago. One look at the wall clock serves many
/// records.
fn nanos(wall: SystemTime, ago: Duration) -> u64 {
    let at = wall.checked_sub(ago).and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    at.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed));
    }
    // Those of the cores, which make nearly all records, never share a queue.
    match cores::own() {
        0 => OWN.with(Cell::get),
        core => core - 1,
    }
}

/// The reader's end. Dropped, no more records are made.
pub struct Records {
    queue: Arc<Queue>,
}

impl Records {
    /// Waits for records, a moment longer for more of them, and appends all. Returns how many:
    /// none, when there will be none any more. Those of one thread come in their order.
    ///
    /// Dropped before it returns, it has taken nothing.
    pub async fn recv_many(&mut self, into: &mut Vec<Access>) -> usize {
        let queue = &*self.queue;
        loop {
            if queue.closed.load(Relaxed) {
                return queue.take(into);
            }
            queue.asleep.store(true, Relaxed);
            if queue.is_empty() {
                queue.wake.notified().await;
            }
            queue.asleep.store(false, Relaxed);
            if !queue.closed.load(Relaxed) {
                // Woken by a full batch, or by the end.
                let _ = clock::timeout(LINGER, queue.wake.notified()).await;
            }
            let count = queue.take(into);
            if count > 0 {
                return count;
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        self.queue.closed.load(Relaxed)
    }

    /// No more records; those that wait can still be taken.
    pub fn close(&mut self) {
        self.queue.close();
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use archipel_model::{SpanId, TraceId};
    use http::Method;

    use super::*;
    use crate::record::access::Caller;
    use crate::record::counters::SeriesKey;

    fn access(status: u16) -> Access {
        let of = SeriesKey { caller: Caller::Outside, callee: None, route: None };
        Access {
            at_ns: 0,
            trace_id: TraceId::new([1; 16]).unwrap(),
            span_id: SpanId::new([1; 8]).unwrap(),
            parent: None,
            of: Arc::new(of),
            instance: None,
            method: Method::GET,
            path: bytes::Bytes::new(),
            status,
            duration: Duration::ZERO,
            head: Duration::ZERO,
            bytes: 0,
            retries: 0,
            refusal: None,
            rule: None,
            broken: false,
            fallback: None,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_record_is_lost_or_left_behind() {
        const EACH: usize = 20_000;
        let tap = Arc::new(Tap::default());
        let mut records = tap.subscribe(2 * EACH);
        let senders: Vec<_> = (0..3_usize)
            .map(|sender| {
                let tap = Arc::clone(&tap);
                std::thread::spawn(move || {
                    for n in 0..EACH {
                        tap.send(clock::now(), &format!("/{sender}/{n}"), || access(200));
                        if n % 5_000 == 0 {
                            // Lets the reader fall asleep now and then.
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut seen = Vec::new();
        while seen.len() < 3 * EACH {
            records.recv_many(&mut seen).await;
        }
        for sender in senders {
            sender.join().unwrap();
        }
        for sender in 0..3 {
            let own = format!("/{sender}/");
            let paths: Vec<&str> = seen
                .iter()
                .map(|access| std::str::from_utf8(&access.path).unwrap())
                .filter(|path| path.starts_with(&own))
                .collect();
            let wanted: Vec<String> = (0..EACH).map(|n| format!("/{sender}/{n}")).collect();
            assert_eq!(paths, wanted);
        }
        records.close();
        assert_eq!(records.recv_many(&mut seen).await, 0);
        assert_eq!(tap.dropped(), 0);
    }

    #[tokio::test]
    async fn the_start_is_told_on_the_wall_clock_and_paths_have_a_bound() {
        let tap = Tap::default();
        tap.send(clock::now(), "/unseen", || unreachable!("nobody listens"));
        let mut records = tap.subscribe(4);
        let before = clock::wall_ms();
        tap.send(clock::now(), &"/ä".repeat(2_000), || access(200));
        let mut seen = Vec::new();
        records.recv_many(&mut seen).await;
        let at = seen[0].at_ns / 1_000_000;
        assert!((before - 1..=clock::wall_ms()).contains(&at), "{before} {at}");
        assert_eq!(std::str::from_utf8(&seen[0].path).unwrap().len(), PATH_BYTES_MAX - 1);
        let mut newer = tap.subscribe(4);
        assert_eq!(records.recv_many(&mut seen).await, 0, "somebody else has taken over");
        drop(records);
        tap.send(clock::now(), "/", || access(404));
        newer.recv_many(&mut seen).await;
        assert_eq!(seen[1].status, 404);
        drop(newer);
        tap.send(clock::now(), "/", || unreachable!("nobody listens any more"));
        assert!(!tap.is_open());
    }
}
