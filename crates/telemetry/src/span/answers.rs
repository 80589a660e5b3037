//! What can be asked of the span store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use archipel_model::{SpanId, TraceId};
use archipel_rt::clock::{self, Instant};

use super::files::Group;
use super::group::Fields;
use super::index::{Fixed, fingerprint};
use super::model::{Span, SpanStatus};
use super::search::{Plan, SpanQuery, values};
use super::store::SpanStore;
use std::sync::Arc;
use std::time::Duration;

/// A trace of a batch job may have millions; nobody looks at them all.
pub const TRACE_SPANS_MAX: usize = 20_000;
/// How long a question may take; then what was found is the answer, and says so.
const PATIENCE: Duration = Duration::from_secs(5);

/// A trace in one line.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSummary {
    pub trace: TraceId,
    /// Of the span without a parent, or the earliest.
    pub root_name: String,
    pub root_service: String,
    /// Its `url.path`, where it has one.
    pub root_path: Option<String>,
    pub start_ns: u64,
    /// From the first start to the last end.
    pub duration_ns: u64,
    pub spans: u32,
    pub errors: u32,
    /// Spans by service.
    pub services: BTreeMap<String, u32>,
}

/// An answer, and whether everything was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    pub found: T,
    /// Time ran out: what is older than this was not looked at.
    pub cut_at_ns: Option<u64>,
}

/// Spans of one stretch of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bucket {
    pub start_ns: u64,
    pub count: u64,
    pub errors: u64,
    pub durations: Durations,
}

/// How long spans took: four classes per doubling, so a quantile is right to a quarter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations(BTreeMap<u32, u64>);

impl Durations {
    pub fn add(&mut self, ns: u64) {
        let class = if ns < 4 {
            ns as u32
        } else {
            let log = 63 - ns.leading_zeros();
            (log - 1) * 4 + ((ns >> (log - 2)) & 3) as u32
        };
        *self.0.entry(class).or_default() += 1;
    }

    fn upper(class: u32) -> u64 {
        let next = u64::from(class) + 1;
        if next <= 4 {
            return next;
        }
        // The last class ends beyond what 64 bits hold.
        u64::try_from(u128::from(4 + next % 4) << (next / 4 - 1)).unwrap_or(u64::MAX)
    }

    /// (upper bound in nanoseconds, spans), without empty ones.
    pub fn classes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(class, count)| (Self::upper(*class), *count))
    }

    /// The upper bound of the class in which the fraction `q` lies.
    pub fn quantile(&self, q: f64) -> u64 {
        let count: u64 = self.0.values().sum();
        let wanted = (count as f64 * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (upper, count) in self.classes() {
            seen += count;
            if seen >= wanted {
                return upper;
            }
        }
        0
    }
}

/// Walks the groups that may match, newest first, until time is up or `each` has enough.
fn walk(
    groups: &[Arc<Group>],
    query: &SpanQuery,
    mut each: impl FnMut(&Fields<'_>, Vec<bool>) -> io::Result<bool>,
) -> io::Result<Option<u64>> {
    let plan = Plan::new(query);
    let until: Instant = clock::now() + PATIENCE;
    for group in groups.iter().rev() {
        if clock::now() > until {
            return Ok(Some(group.index.start_max));
        }
        if !plan.may_match(group)? {
            continue;
        }
        let fields = Fields::new(&group.index, &**group);
        let rows = plan.rows(&fields)?;
        if rows.contains(&true) && !each(&fields, rows)? {
            break;
        }
    }
    Ok(None)
}

impl SpanStore {
    /// All spans of a trace by their start, at most [`TRACE_SPANS_MAX`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn trace(&self, trace: TraceId) -> io::Result<Vec<Span>> {
        self.ask(move |groups| {
            let mut found = Vec::new();
            let wanted = fingerprint(trace.bytes());
            for group in groups.iter().rev().filter(|group| group.index.may_hold_trace(wanted)) {
                let fields = Fields::new(&group.index, &**group);
                let rows: Vec<bool> = fields.traces()?.iter().map(|of| *of == trace).collect();
                if rows.contains(&true) {
                    found.extend(fields.materialise(&rows)?);
                }
                if found.len() >= TRACE_SPANS_MAX {
                    break;
                }
            }
            found.sort_by_key(|span: &Span| (span.start_ns, std::cmp::Reverse(span.duration_ns)));
            found.truncate(TRACE_SPANS_MAX);
            Ok(found)
        })
        .await
    }

    /// The newest `limit` spans that match, newest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn spans(&self, query: SpanQuery, limit: usize) -> io::Result<Answer<Vec<Span>>> {
        self.ask(move |groups| {
            let mut found = Vec::new();
            let cut_at_ns = walk(groups, &query, |fields, mut rows| {
                keep_last(&mut rows, limit - found.len());
                let mut spans = fields.materialise(&rows)?;
                spans.reverse();
                found.extend(spans);
                Ok(found.len() < limit)
            })?;
            found.sort_by_key(|span: &Span| std::cmp::Reverse(span.start_ns));
            Ok(Answer { found, cut_at_ns })
        })
        .await
    }

    /// The newest `limit` traces with a span that matches, newest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn traces(
        &self,
        query: SpanQuery,
        limit: usize,
    ) -> io::Result<Answer<Vec<TraceSummary>>> {
        self.ask(move |groups| {
            let mut wanted: HashSet<TraceId> = HashSet::new();
            let cut_at_ns = walk(groups, &query, |fields, rows| {
                let traces = fields.traces()?;
                for (_, trace) in rows.iter().zip(traces).rev().filter(|(hit, _)| **hit) {
                    if wanted.len() >= limit {
                        break;
                    }
                    wanted.insert(trace);
                }
                Ok(wanted.len() < limit)
            })?;
            let mut found = summaries(groups, &wanted)?;
            found.sort_by_key(|summary| std::cmp::Reverse(summary.start_ns));
            Ok(Answer { found, cut_at_ns })
        })
        .await
    }

    /// The `limit` traces with the slowest spans that match, slowest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn slowest(
        &self,
        query: SpanQuery,
        limit: usize,
    ) -> io::Result<Answer<Vec<TraceSummary>>> {
        self.ask(move |groups| {
            // The longest matching span of each trace.
            let mut longest: HashMap<TraceId, u64> = HashMap::new();
            let cut_at_ns = walk(groups, &query, |fields, rows| {
                let (traces, durations) = (fields.traces()?, fields.durations()?);
                for row in (0..rows.len()).filter(|row| rows[*row]) {
                    let of = longest.entry(traces[row]).or_default();
                    *of = durations[row].max(*of);
                }
                if longest.len() > limit.saturating_mul(8) {
                    longest = top(std::mem::take(&mut longest), limit);
                }
                Ok(true)
            })?;
            let wanted: HashSet<TraceId> = top(longest, limit).into_keys().collect();
            let mut found = summaries(groups, &wanted)?;
            found.sort_by_key(|summary| std::cmp::Reverse(summary.duration_ns));
            Ok(Answer { found, cut_at_ns })
        })
        .await
    }

    /// Matching spans over time, in stretches of `step_ns`; empty stretches are left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn histogram(
        &self,
        query: SpanQuery,
        step_ns: u64,
    ) -> io::Result<Answer<Vec<Bucket>>> {
        let step_ns = step_ns.max(1);
        self.ask(move |groups| {
            let mut buckets: BTreeMap<u64, Bucket> = BTreeMap::new();
            let cut_at_ns = walk(groups, &query, |fields, rows| {
                let (starts, durations) = (fields.starts()?, fields.durations()?);
                let flags = fields.flags()?;
                for row in (0..rows.len()).filter(|row| rows[*row]) {
                    let start_ns = starts[row] / step_ns * step_ns;
                    let bucket = buckets
                        .entry(start_ns)
                        .or_insert_with(|| Bucket { start_ns, ..Bucket::default() });
                    bucket.count += 1;
                    bucket.errors += u64::from(flags[row].1 == SpanStatus::Error);
                    bucket.durations.add(durations[row]);
                }
                Ok(true)
            })?;
            Ok(Answer { found: buckets.into_values().collect(), cut_at_ns })
        })
        .await
    }
}

/// Matching spans with the same values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Of the keys asked for; nothing where a span has no such value.
    pub values: Vec<String>,
    pub count: u64,
    pub errors: u64,
    pub durations: Durations,
}

/// Of a key that differs in every span nobody reads more.
const TALLIES_MAX: usize = 10_000;

impl SpanStore {
    /// Matching spans by the values of `keys`, most first. What would be more than ten thousand
    /// lines is left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn tally(
        &self,
        query: SpanQuery,
        keys: Vec<String>,
    ) -> io::Result<Answer<Vec<Tally>>> {
        self.ask(move |groups| {
            let mut tallies: HashMap<Vec<String>, Tally> = HashMap::new();
            let cut_at_ns = walk(groups, &query, |fields, rows| {
                let columns: Vec<Vec<String>> =
                    keys.iter().map(|key| values(key, fields, &rows)).collect::<io::Result<_>>()?;
                let (durations, flags) = (fields.durations()?, fields.flags()?);
                for row in (0..rows.len()).filter(|row| rows[*row]) {
                    let key: Vec<String> = columns.iter().map(|of| of[row].clone()).collect();
                    if tallies.len() >= TALLIES_MAX && !tallies.contains_key(&key) {
                        continue;
                    }
                    let tally = tallies.entry(key).or_default();
                    tally.count += 1;
                    tally.errors += u64::from(flags[row].1 == SpanStatus::Error);
                    tally.durations.add(durations[row]);
                }
                Ok(true)
            })?;
            let named = tallies.into_iter().map(|(values, tally)| Tally { values, ..tally });
            let mut found: Vec<Tally> = named.collect();
            found.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.values.cmp(&b.values)));
            Ok(Answer { found, cut_at_ns })
        })
        .await
    }
}

/// The traces with the longest spans.
fn top(longest: HashMap<TraceId, u64>, limit: usize) -> HashMap<TraceId, u64> {
    let mut all: Vec<(TraceId, u64)> = longest.into_iter().collect();
    all.sort_unstable_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    all.truncate(limit);
    all.into_iter().collect()
}

fn keep_last(rows: &mut [bool], count: usize) {
    let mut left = count;
    for row in rows.iter_mut().rev().filter(|row| **row) {
        *row = left > 0;
        left = left.saturating_sub(1);
    }
}

struct Growing {
    summary: TraceSummary,
    end_ns: u64,
    has_root: bool,
}

/// Of these traces, from all groups that may hold one of their spans; each is read once.
fn summaries(groups: &[Arc<Group>], wanted: &HashSet<TraceId>) -> io::Result<Vec<TraceSummary>> {
    let prints: Vec<u32> = wanted.iter().map(|trace| fingerprint(trace.bytes())).collect();
    let mut growing: HashMap<TraceId, Growing> = HashMap::new();
    for group in groups {
        if !prints.iter().any(|print| group.index.may_hold_trace(*print)) {
            continue;
        }
        let fields = Fields::new(&group.index, &**group);
        let traces = fields.traces()?;
        let rows: Vec<bool> = traces.iter().map(|trace| wanted.contains(trace)).collect();
        if !rows.contains(&true) {
            continue;
        }
        let (starts, durations, flags) = (fields.starts()?, fields.durations()?, fields.flags()?);
        let own: Vec<SpanId> = fields.spans()?;
        let parents = fields.parents(&own)?;
        let (resources, codes) = fields.resources()?;
        let mut names = fields.texts(Fixed::Name, &rows)?;
        let mut paths = values("url.path", &fields, &rows)?;
        for row in (0..rows.len()).filter(|row| rows[*row]) {
            let service = &resources[codes[row]].service;
            let of = growing.entry(traces[row]).or_insert_with(|| Growing {
                summary: TraceSummary {
                    trace: traces[row],
                    root_name: String::new(),
                    root_service: String::new(),
                    root_path: None,
                    start_ns: u64::MAX,
                    duration_ns: 0,
                    spans: 0,
                    errors: 0,
                    services: BTreeMap::new(),
                },
                end_ns: 0,
                has_root: false,
            });
            let is_root = parents[row].is_none();
            if !of.has_root && (is_root || starts[row] < of.summary.start_ns) {
                of.has_root |= is_root;
                of.summary.root_name = names.remove(&row).unwrap_or_default();
                of.summary.root_service.clone_from(service);
                let path = std::mem::take(&mut paths[row]);
                of.summary.root_path = (!path.is_empty()).then_some(path);
            }
            of.summary.start_ns = of.summary.start_ns.min(starts[row]);
            of.end_ns = of.end_ns.max(starts[row].saturating_add(durations[row]));
            of.summary.spans += 1;
            of.summary.errors += u32::from(flags[row].1 == SpanStatus::Error);
            *of.summary.services.entry(service.clone()).or_default() += 1;
        }
    }
    let done = |of: Growing| {
        let duration_ns = of.end_ns.saturating_sub(of.summary.start_ns);
        TraceSummary { duration_ns, ..of.summary }
    };
    Ok(growing.into_values().map(done).collect())
}

#[cfg(test)]
mod tests {
    use super::Durations;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_lies_within_a_quarter_of_its_class(ns in 0u64..u64::MAX / 4) {
            let mut durations = Durations::default();
            durations.add(ns);
            let upper = durations.quantile(0.5);
            prop_assert!(ns < upper && upper <= (ns + 1).max(ns + ns.div_ceil(3)), "{} {}", ns, upper);
        }
    }

    #[test]
    fn no_duration_panics() {
        let mut durations = Durations::default();
        [0, 3, 4, u64::MAX].into_iter().for_each(|ns| durations.add(ns));
        assert_eq!(durations.classes().map(|(_, count)| count).sum::<u64>(), 4);
        assert!(durations.quantile(1.0) > 1 << 62);
    }
}
