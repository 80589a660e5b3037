//! What copies and fallbacks have come to, per route: numbers, and the last examples.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use archipel_model::TraceId;

/// Examples that are kept of one route; the oldest goes.
const EXAMPLES_MAX: usize = 20;

/// One route at one moment; the numbers only grow.
#[derive(Debug, Clone)]
pub struct RouteReport {
    /// As in [`SeriesKey::route`](crate::SeriesKey).
    pub route: Arc<str>,
    /// Requests that were answered by the fallback, or should have been.
    pub fell_back: u64,
    pub mirror: CopyCount,
    /// `done` are those of which both answers were heard.
    pub compare: CopyCount,
    pub differing: u64,
    /// Newest last.
    pub examples: Vec<Example>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyCount {
    pub done: u64,
    /// By [`Skipped`].
    pub skipped: [u64; Skipped::ALL.len()],
}

/// Why a copy was not sent, or not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// Too many copies were under way.
    TooMany,
    /// A body was larger than what is kept of it.
    TooLarge,
    /// The caller, or the main answer, broke off or took too long.
    Incomplete,
    /// The copy got no answer.
    NoAnswer,
    /// One of the answers was compressed without being asked to.
    Encoded,
    /// The main answer was dropped for that of the fallback.
    FellBack,
}

impl Skipped {
    pub const ALL: [Self; 6] = [
        Self::TooMany,
        Self::TooLarge,
        Self::Incomplete,
        Self::NoAnswer,
        Self::Encoded,
        Self::FellBack,
    ];

    pub fn slug(self) -> &'static str {
        match self {
            Self::TooMany => "too-many",
            Self::TooLarge => "too-large",
            Self::Incomplete => "incomplete",
            Self::NoAnswer => "no-answer",
            Self::Encoded => "encoded",
            Self::FellBack => "fell-back",
        }
    }
}

/// One pair of answers that were not the same.
#[derive(Debug, Clone)]
pub struct Example {
    pub at_ms: u64,
    pub trace_id: TraceId,
    /// Method and path, with the names of its parameters.
    pub line: String,
    pub status: u16,
    pub status_other: u16,
    pub differences: Vec<Difference>,
    /// There were more.
    pub more: bool,
}

/// One place where they differ. Values are shortened, and hidden where they look private.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `status`, `header:content-type`, `body`, or a JSON pointer.
    pub at: String,
    pub main: String,
    pub other: String,
}

/// The live numbers of one route.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) fell_back: AtomicU64,
    pub(crate) mirror: Counts,
    pub(crate) compare: Counts,
    differing: AtomicU64,
    examples: Mutex<VecDeque<Example>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) done: AtomicU64,
    skipped: [AtomicU64; Skipped::ALL.len()],
}

impl Counts {
    pub(crate) fn skip(&self, why: Skipped) {
        self.skipped[why as usize].fetch_add(1, Relaxed);
    }

    fn read(&self) -> CopyCount {
        CopyCount {
            done: self.done.load(Relaxed),
            skipped: std::array::from_fn(|i| self.skipped[i].load(Relaxed)),
        }
    }
}

impl Watch {
    /// Both answers were heard; `example`: they differ.
    pub(crate) fn compared(&self, example: Option<Example>) {
        self.compare.done.fetch_add(1, Relaxed);
        let Some(example) = example else { return };
        self.differing.fetch_add(1, Relaxed);
        let mut examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        if examples.len() == EXAMPLES_MAX {
            examples.pop_front();
        }
        examples.push_back(example);
    }

    fn read(&self, route: &Arc<str>) -> RouteReport {
        let examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        RouteReport {
            route: Arc::clone(route),
            fell_back: self.fell_back.load(Relaxed),
            mirror: self.mirror.read(),
            compare: self.compare.read(),
            differing: self.differing.load(Relaxed),
            examples: examples.iter().cloned().collect(),
        }
    }
}

/// All routes that have something to tell. They outlive a change of the table.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    all: Mutex<HashMap<Arc<str>, Arc<Watch>>>,
}

impl Watches {
    pub(crate) fn of(&self, route: &Arc<str>) -> Arc<Watch> {
        Arc::clone(self.lock().entry(Arc::clone(route)).or_default())
    }

    /// Forgets the routes of which nothing is watched any more.
    pub(crate) fn prune(&self) {
        self.lock().retain(|_, watch| Arc::strong_count(watch) > 1);
    }

    pub(crate) fn read(&self) -> Vec<RouteReport> {
        let mut all: Vec<RouteReport> =
            self.lock().iter().map(|(route, watch)| watch.read(route)).collect();
        all.sort_by(|a, b| a.route.cmp(&b.route));
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Watch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
