//! Errors as groups: what fails in the same way is one line, however often it happened.
//!
//! A loop follows the lines and looks every few seconds at the spans that failed since it looked
//! last, so that nothing is added to the ways by which either is stored. Groups are saved in one small
//! file; what happened after the last save is found again in the stores.

mod book;
mod fingerprint;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_rt::{CancellationToken, blocking, clock};
use futures_util::StreamExt;
use futures_util::stream;

use crate::{Expr, Filter, Level, LogStore, SpanQuery, SpanStore};
use book::{Book, Happened};

pub use book::{ErrorGroup, Source};

const LOOK_EVERY: Duration = Duration::from_secs(3);
const SAVE_EVERY: Duration = Duration::from_secs(15);
/// Spans are told when they end, and come late: a look goes back so far.
const LATE_MS: u64 = 30_000;
/// What one look takes; of a flood the newest are counted, and the rest with the next look.
const LOOK_MAX: usize = 2_000;
/// A look after a long pause does not read days.
const BACK_MS_MAX: u64 = 3_600_000;

/// All groups of errors. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Errors {
    book: Arc<Mutex<Book>>,
}

impl Errors {
    /// Reads what was saved, and gives the loop that keeps it up to date, for its owner to run.
    /// A file that cannot be read is begun anew: what it told is in the stores as well.
    pub fn open(
        path: PathBuf,
        spans: SpanStore,
        logs: LogStore,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let book = Book::read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the errors known so far could not be read");
            }
            Book::default()
        });
        let errors = Self { book: Arc::new(Mutex::new(book)) };
        let look = Look {
            errors: errors.clone(),
            spans,
            logs,
            path,
            seen: [HashSet::new(), HashSet::new()],
            saved_at: clock::now(),
            changed: false,
            failing: false,
        };
        (errors, look.run(stop))
    }

    /// Groups that happened since, the latest first.
    pub fn since(&self, since_ms: u64) -> Vec<ErrorGroup> {
        self.with(|book| book.since(since_ms))
    }

    pub fn one(&self, id: &str) -> Option<ErrorGroup> {
        self.with(|book| book.one(id).cloned())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Look {
    errors: Errors,
    spans: SpanStore,
    logs: LogStore,
    path: PathBuf,
    /// Spans that were counted of the time that is looked at again; of late, and before that.
    seen: [HashSet<u64>; 2],
    saved_at: clock::Instant,
    changed: bool,
    failing: bool,
}

impl Look {
    async fn run(mut self, stop: CancellationToken) {
        let counted_ms = self.errors.with(|book| book.looked_ms);
        let since_ms = counted_ms.max(clock::wall_ms().saturating_sub(BACK_MS_MAX));
        let filter =
            Filter { since_ms: Some(since_ms + 1), level: Some(Level::Error), ..Filter::default() };
        let lines = match self.logs.follow(filter, LOOK_MAX).await {
            Ok(lines) => lines.left_stream(),
            Err(error) => {
                tracing::warn!(%error, "errors in logs are not grouped: the logs cannot be read");
                stream::pending().right_stream()
            }
        };
        let mut lines = std::pin::pin!(lines);
        let mut look_at = clock::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = clock::sleep_until(look_at) => {
                    look_at = clock::now() + LOOK_EVERY;
                    // The store says itself what is wrong with it.
                    if let Err(error) = self.look(since_ms).await {
                        tracing::debug!(%error, "could not look for errors");
                    }
                    if self.changed && self.saved_at + SAVE_EVERY <= clock::now() {
                        self.save().await;
                    }
                }
                // None: the writer has stopped, and so will we.
                Some(line) = lines.next() => {
                    self.errors.with(|book| book.add(Happened::of_line(&line)));
                    self.changed = true;
                }
            }
        }
        if self.changed {
            self.save().await;
        }
    }

    /// At spans that failed; those before `first_ms` are counted already.
    async fn look(&mut self, first_ms: u64) -> io::Result<()> {
        let now = clock::wall_ms();
        let looked = self.errors.with(|book| book.looked_ms);
        let since = looked.saturating_sub(LATE_MS).max(first_ms + 1);
        let failed = Expr::parse("status:error").map_err(io::Error::other)?;
        let since_ns = Some(since.saturating_mul(1_000_000));
        let query = SpanQuery { expr: failed, since_ns, until_ns: None };
        let spans = self.spans.spans(query, LOOK_MAX).await?.found;
        for one in spans.iter().filter_map(|span| Happened::of_span(span, &spans)) {
            let known = self.seen.iter().any(|seen| seen.contains(&one.key));
            if !known && self.seen[0].insert(one.key) {
                self.errors.with(|book| book.add(one));
                self.changed = true;
            }
        }
        if self.seen[0].len() > LOOK_MAX * 4 {
            let [full, _] = std::mem::take(&mut self.seen);
            self.seen = [HashSet::new(), full];
        }
        self.errors.with(|book| book.looked_ms = now);
        Ok(())
    }

    async fn save(&mut self) {
        let bytes = self.errors.with(|book| book.bytes());
        let path = self.path.clone();
        let done = blocking(move || book::write(&path, &bytes)).await;
        self.saved_at = clock::now();
        match done {
            Ok(()) => (self.changed, self.failing) = (false, false),
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(path = %self.path.display(), %error, "could not save the errors known so far; tried again");
            }
            Err(_) => {}
        }
    }
}
