//! How many requests a service can take at once, found out from how long it takes.
//!
//! While a service is not busy, an answer takes what it takes: the base. When more are under way
//! and an answer takes over twice as long, requests queue up inside, and more of them would only
//! wait longer: the limit shrinks with the ratio of the two (the gradient), and otherwise grows by
//! its root. So the time of what is admitted stays within a few times the base however much is
//! asked for, and the rest is refused at once, those of low priority first.
//!
//! The base must neither be taken while the service is busy, or an overload would become the
//! norm, nor kept for ever, or a service that has become slower would be starved. So it rises only
//! while little is under way; and when a limit was busy for some seconds, it is cut to a quarter
//! for a moment: about a half of what fits without a queue, so that the truth shows.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_model::Priority;

const START: f32 = 64.0;
const FLOOR: f32 = 4.0;
const CEILING: f32 = 10_000.0;
/// How much longer than the base is still fine: requests differ.
const TOLERANCE: f32 = 2.0;
/// Decides no more often than this, and on no fewer samples.
const WINDOW_MS: u64 = 100;
const SAMPLES_MIN: u32 = 10;
/// Or after this, on what there is.
const WINDOW_MS_MAX: u64 = 1_000;
/// How many busy windows before the base is looked for again, and how many that may take.
const BUSY_MAX: u32 = 50;
const PROBE_MAX: u32 = 10;

#[derive(Debug)]
struct Gradient {
    limit: f32,
    /// Microseconds; 0: not known yet.
    base: f32,
    busy: u32,
    probe: Option<Probe>,
    window: Window,
}

/// The limit is low for a moment, to find out what an answer takes then.
#[derive(Debug)]
struct Probe {
    /// What it was.
    limit: f32,
    windows: u32,
    settled: u32,
}

#[derive(Debug, Default)]
struct Window {
    since: u64,
    count: u32,
    micros: f64,
    peak: u32,
}

impl Gradient {
    fn new(now: u64) -> Self {
        let window = Window { since: now, ..Window::default() };
        Self { limit: START, base: 0.0, busy: 0, probe: None, window }
    }

    /// One answer; `inflight` were under way, itself included.
    fn add(&mut self, took: Duration, inflight: u32, now: u64) {
        let window = &mut self.window;
        window.count += 1;
        window.micros += took.as_secs_f64() * 1e6;
        window.peak = window.peak.max(inflight);
        let lasted = now.saturating_sub(window.since);
        let full = lasted >= WINDOW_MS && window.count >= SAMPLES_MIN;
        if full || lasted >= WINDOW_MS_MAX {
            let last = std::mem::take(window);
            window.since = now;
            self.close(&last);
        }
    }

    fn close(&mut self, window: &Window) {
        let average = ((window.micros / f64::from(window.count)) as f32).max(1.0);
        if let Some(probe) = &mut self.probe {
            probe.windows += 1;
            let settled = window.peak as f32 <= self.limit + 1.0;
            probe.settled = if settled { probe.settled + 1 } else { 0 };
            // In the first settled one there are still answers that began before.
            if probe.settled >= 2 {
                self.base = average;
            }
            if probe.settled >= 2 || probe.windows >= PROBE_MAX {
                self.limit = probe.limit;
                self.probe = None;
            }
            return;
        }
        let busy = window.peak as f32 * 2.0 >= self.limit;
        let quiet = !busy || self.limit <= FLOOR;
        if self.base == 0.0 {
            self.base = average;
        } else if average < self.base {
            self.base += (average - self.base) * 0.5;
        } else if quiet {
            self.base += (average - self.base) * 0.1;
        }
        self.busy = if quiet { 0 } else { self.busy + 1 };
        if self.busy > BUSY_MAX {
            self.busy = 0;
            self.probe = Some(Probe { limit: self.limit, windows: 0, settled: 0 });
            self.limit = (self.limit / 4.0).max(FLOOR);
            return;
        }
        if !busy {
            // That it takes long has other reasons: it could not be for the number of requests.
            return;
        }
        let gradient = (TOLERANCE * self.base / average).clamp(0.5, 1.0);
        let next = self.limit * gradient + self.limit.sqrt();
        self.limit = (self.limit * 0.7 + next * 0.3).clamp(FLOOR, CEILING);
    }
}

/// Of one service, for all that lead to it.
#[derive(Debug)]
pub(crate) struct Limiter {
    inflight: AtomicU32,
    limit: AtomicU32,
    /// The same, but for those who matter most while the base is looked for.
    critical: AtomicU32,
    refused: AtomicU64,
    gradient: Mutex<Gradient>,
}

/// One admitted request.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Limiter>);

/// What there was when it was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) inflight: u32,
    pub(crate) limit: u32,
}

impl Limiter {
    pub(crate) fn new(now_ms: u64) -> Self {
        let gradient = Mutex::new(Gradient::new(now_ms));
        Self {
            inflight: AtomicU32::new(0),
            limit: AtomicU32::new(START as u32),
            critical: AtomicU32::new(START as u32),
            refused: AtomicU64::new(0),
            gradient,
        }
    }

    pub(crate) fn enter(self: &Arc<Self>, priority: Priority) -> Result<Slot, Full> {
        let limit = share(priority, self.limit.load(Relaxed), self.critical.load(Relaxed));
        let inflight = self.inflight.fetch_add(1, Relaxed);
        let slot = Slot(Arc::clone(self));
        if inflight >= limit {
            self.refused.fetch_add(1, Relaxed);
            return Err(Full { inflight, limit });
        }
        Ok(slot)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }
}

/// The rest is kept for those who matter more.
fn share(priority: Priority, limit: u32, critical: u32) -> u32 {
    match priority {
        Priority::Low => limit * 6 / 10,
        Priority::Normal => limit * 85 / 100,
        Priority::Critical => critical,
    }
}

impl Slot {
    /// It was answered, or given up after this time.
    pub(crate) fn answered(&self, took: Duration, now_ms: u64) {
        let limiter = &self.0;
        let inflight = limiter.inflight.load(Relaxed);
        // Whoever comes while another one decides adds nothing to it; that is one of many.
        let Ok(mut gradient) = limiter.gradient.try_lock() else { return };
        gradient.add(took, inflight, now_ms);
        let limit = gradient.limit as u32;
        limiter.limit.store(limit, Relaxed);
        let critical = gradient.probe.as_ref().map_or(limit, |probe| probe.limit as u32);
        limiter.critical.store(critical, Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A service of ten workers, asked every `every` microseconds for as long as said; returns how
    /// long the admitted took of the second half, sorted, and how many those were.
    struct Service {
        limiter: Arc<Limiter>,
        workers: Vec<u64>,
        ends: BTreeMap<(u64, u64), (Slot, u64)>,
        now: u64,
        n: u64,
    }

    impl Service {
        fn new() -> Self {
            let limiter = Arc::new(Limiter::new(0));
            Self { limiter, workers: vec![0; 10], ends: BTreeMap::new(), now: 0, n: 0 }
        }

        /// In microseconds. Every tenth request is of the priority asked about.
        fn run(&mut self, time: u64, every: u64, work: u64, odd: Priority) -> (Vec<u64>, [u64; 2]) {
            let (mut took, mut refused) = (Vec::new(), [0; 2]);
            let half = self.now + time / 2;
            for at in (self.now..self.now + time).step_by(every as usize) {
                self.now = at;
                while let Some(entry) = self.ends.first_entry().filter(|e| e.key().0 <= at) {
                    let ((end, _), (slot, began)) = entry.remove_entry();
                    slot.answered(Duration::from_micros(end - began), end / 1_000);
                    if began >= half {
                        took.push(end - began);
                    }
                }
                self.n += 1;
                let is_odd = self.n.is_multiple_of(10);
                match self.limiter.enter(if is_odd { odd } else { Priority::Normal }) {
                    Ok(slot) => {
                        let free = self.workers.iter_mut().min().unwrap();
                        *free = (*free).max(at) + work;
                        self.ends.insert((*free, self.n), (slot, at));
                    }
                    Err(_) => refused[usize::from(is_odd)] += u64::from(at >= half),
                }
            }
            took.sort_unstable();
            (took, refused)
        }
    }

    const SECOND: u64 = 1_000_000;

    #[test]
    fn what_a_service_can_do_is_not_refused() {
        let mut service = Service::new();
        // 80 % of what it can do.
        let (_, refused) = service.run(20 * SECOND, 2_500, 20_000, Priority::Low);
        assert_eq!(refused, [0, 0], "{:?}", service.limiter);
    }

    #[test]
    fn under_twice_the_load_the_admitted_stay_quick_and_the_important_get_through() {
        let check = |warm: bool, odd: Priority, odd_refused: std::ops::RangeInclusive<u64>| {
            let mut service = Service::new();
            if warm {
                service.run(5 * SECOND, 2_500, 20_000, odd);
            }
            let (took, refused) = service.run(60 * SECOND, 1_000, 20_000, odd);
            let p99 = took[took.len() * 99 / 100];
            // 500 a second is all that ten workers can do.
            let done = took.len() as u64 * 1_000 / (500 * 30);
            assert!(p99 < 120_000, "{p99} us at the limit {}", service.limiter.limit());
            assert!(done > 900, "{done} of a thousand possible");
            let share = refused[1] * 1_000 / 3_000;
            assert!(odd_refused.contains(&share), "{odd:?} {share} of a thousand refused");
        };
        for warm in [true, false] {
            check(warm, Priority::Critical, 0..=20);
            check(warm, Priority::Low, 900..=1_000);
        }
    }

    #[test]
    fn a_service_that_has_become_slower_is_not_starved() {
        let mut service = Service::new();
        service.run(5 * SECOND, 2_500, 20_000, Priority::Low);
        // Four times as slow: 125 a second.
        let (took, _) = service.run(60 * SECOND, 4_000, 80_000, Priority::Low);
        let done = took.len() as u64 * 1_000 / (125 * 30);
        assert!(done > 900, "{done} of a thousand possible, limit {}", service.limiter.limit());
        let (_, refused) = service.run(20 * SECOND, 2_500, 20_000, Priority::Normal);
        assert_eq!(refused, [0, 0], "and is well again");
    }
}
