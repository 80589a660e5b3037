//! What happened to the people: by step, and altogether.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    /// A 5xx.
    Status(u16),
    /// Not within a person's patience.
    TooSlow,
    Broken(String),
}

/// Written by all people at once.
#[derive(Debug)]
pub(crate) struct Notes {
    report: Mutex<Report>,
    begin: Instant,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Report {
    pub(crate) people: u64,
    /// Arrived while the shop was as full as allowed.
    pub(crate) turned_away: u64,
    /// Orders that the shop promised.
    accepted: BTreeSet<String>,
    /// Of those, the ones their buyers saw paid.
    confirmed: u64,
    steps: BTreeMap<&'static str, StepReport>,
    counts: BTreeMap<&'static str, u64>,
    /// Where one window ends and the next begins, in seconds.
    bounds: Vec<f64>,
}

#[derive(Debug, Default, Clone)]
struct StepReport {
    failures: BTreeMap<String, u64>,
    windows: Vec<Window>,
}

#[derive(Debug, Default, Clone)]
struct Window {
    micros: Vec<u64>,
    failed: u64,
}

impl Notes {
    pub(crate) fn new(begin: Instant, bounds: Vec<f64>) -> Self {
        Self { report: Mutex::new(Report { bounds, ..Report::default() }), begin }
    }

    /// `took` is from when the person meant to click.
    pub(crate) fn add(&self, step: &'static str, took: Duration, outcome: Outcome) {
        let clicked = self.begin.elapsed().saturating_sub(took).as_secs_f64();
        let mut report = self.lock();
        let window = report.bounds.iter().take_while(|bound| **bound <= clicked).count();
        let windows = report.bounds.len() + 1;
        let step = report.steps.entry(step).or_default();
        step.windows.resize_with(windows, Window::default);
        let window = &mut step.windows[window];
        window.micros.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        window.failed += u64::from(outcome != Outcome::Fine);
        let failure = match outcome {
            Outcome::Fine => return,
            Outcome::Status(status) => status.to_string(),
            Outcome::TooSlow => "too slow".to_owned(),
            Outcome::Broken(error) => error,
        };
        *step.failures.entry(failure).or_default() += 1;
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    pub(crate) fn accept(&self, order: &str) {
        self.lock().accepted.insert(order.to_owned());
    }

    pub(crate) fn confirmed(&self) {
        self.lock().confirmed += 1;
    }

    pub(crate) fn person(&self) {
        self.lock().people += 1;
    }

    pub(crate) fn turned_away(&self) {
        self.lock().turned_away += 1;
    }

    pub(crate) fn report(&self) -> Report {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    pub(crate) fn accepted_lines(&self) -> String {
        self.accepted.iter().map(|id| format!("{id}\n")).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        let step = |(name, step): (&&str, &StepReport)| {
            let sorted = step.sorted();
            let at = |share| millis(percentile(&sorted, share));
            let windows: Vec<Value> = step.windows.iter().map(Window::to_json).collect();
            let body = json!({
                "count": sorted.len(), "failures": step.failures,
                "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": at(1.0), "windows": windows,
            });
            ((*name).to_owned(), body)
        };
        let steps: serde_json::Map<String, Value> = self.steps.iter().map(step).collect();
        json!({
            "people": self.people, "turned_away": self.turned_away, "orders": self.accepted.len(),
            "confirmed": self.confirmed, "counts": self.counts, "steps": steps,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} people, {} turned away, {} orders, {} of them seen paid",
            self.people,
            self.turned_away,
            self.accepted.len(),
            self.confirmed
        )?;
        writeln!(
            f,
            "{:<14}{:>8}{:>8}{:>9}{:>9}{:>9}",
            "step", "count", "failed", "p50", "p99", "max"
        )?;
        for (name, step) in &self.steps {
            let sorted = step.sorted();
            let at = |share| format!("{:.0} ms", millis(percentile(&sorted, share)));
            let failed: u64 = step.failures.values().sum();
            let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
            writeln!(f, "{name:<14}{:>8}{failed:>8}{p50:>9}{p99:>9}{max:>9}", sorted.len())?;
            for (why, count) in &step.failures {
                writeln!(f, "{:<14}{count:>8} × {why}", "")?;
            }
        }
        for (what, count) in &self.counts {
            writeln!(f, "{count:>8} {what}")?;
        }
        Ok(())
    }
}

impl StepReport {
    fn sorted(&self) -> Vec<u64> {
        let mut sorted: Vec<u64> =
            self.windows.iter().flat_map(|window| window.micros.iter().copied()).collect();
        sorted.sort_unstable();
        sorted
    }
}

impl Window {
    /// Every single time: whoever puts steps together can still say what the slowest took.
    fn to_json(&self) -> Value {
        let times: Vec<u64> = self.micros.iter().map(|micros| micros / 1_000).collect();
        json!({"count": times.len(), "failed": self.failed, "ms": times})
    }
}

fn percentile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_failed_and_how_long_it_took() {
        let notes = Notes::new(Instant::now(), vec![3600.0]);
        for n in 1..=100 {
            notes.add("home", Duration::from_millis(n), Outcome::Fine);
        }
        notes.add("home", Duration::from_secs(15), Outcome::TooSlow);
        notes.add("home", Duration::from_millis(1), Outcome::Status(503));
        notes.accept("ord_2");
        notes.accept("ord_1");
        let report = notes.report();
        let home = &report.to_json()["steps"]["home"];
        assert_eq!((home["count"].as_u64(), home["max_ms"].as_f64()), (Some(102), Some(15_000.0)));
        assert_eq!(home["failures"]["503"], 1);
        let windows = home["windows"].as_array().expect("windows");
        assert_eq!((&windows[0]["count"], &windows[0]["failed"]), (&json!(102), &json!(2)));
        assert_eq!(windows[0]["ms"][99], 100);
        assert_eq!(windows[1], json!({"count": 0, "failed": 0, "ms": []}));
        assert_eq!(report.accepted_lines(), "ord_1\nord_2\n");
        assert!(report.to_string().contains("1 × too slow"));
    }
}
