//! Objectives: how fast the budget of failures is spent, over several windows at once.
//!
//! One window alone either comes late or comes for every hiccup. So a long one says that it
//! matters and a short one says that it still goes on (the pairs are those of «The Site
//! Reliability Workbook», chapter 5). With little traffic one failure is a large share: below ten
//! bad ones in the long window nothing is said.

use std::collections::BTreeMap;

use archipel_model::Severity;
use serde::{Deserialize, Serialize};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Minutes are kept for the windows that need them.
const MINUTES_KEPT: u64 = 7 * 60;
const HOURS_KEPT: u64 = 32 * 24;
/// Bad requests in the long window below which nothing is said.
pub(crate) const BAD_MIN: u64 = 10;

struct Pair {
    word: &'static str,
    long_ms: u64,
    short_ms: u64,
    times: f64,
    severity: Severity,
}

const PAIRS: [Pair; 4] = [
    Pair {
        word: "fast",
        long_ms: HOUR_MS,
        short_ms: 5 * MINUTE_MS,
        times: 14.4,
        severity: Severity::Page,
    },
    Pair {
        word: "fast",
        long_ms: 6 * HOUR_MS,
        short_ms: 30 * MINUTE_MS,
        times: 6.0,
        severity: Severity::Page,
    },
    Pair {
        word: "slow",
        long_ms: 24 * HOUR_MS,
        short_ms: 2 * HOUR_MS,
        times: 3.0,
        severity: Severity::Ticket,
    },
    Pair {
        word: "slow",
        long_ms: 72 * HOUR_MS,
        short_ms: 6 * HOUR_MS,
        times: 1.0,
        severity: Severity::Ticket,
    },
];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spent {
    pub(crate) all: u64,
    pub(crate) bad: u64,
}

impl Spent {
    fn add(&mut self, more: Self) {
        self.all += more.all;
        self.bad += more.bad;
    }

    /// As a multiple of what the target allows.
    pub(crate) fn burn(self, target: f64) -> f64 {
        if self.all == 0 {
            return 0.0;
        }
        self.bad as f64 / self.all as f64 / (1.0 - target).max(1e-9)
    }
}

/// What was counted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Everything before this moment is counted; a whole minute.
    pub(crate) counted_ms: u64,
    minutes: BTreeMap<u64, Spent>,
    hours: BTreeMap<u64, Spent>,
}

/// One speed at which the budget goes, with what was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Burning {
    pub(crate) word: &'static str,
    pub(crate) severity: Severity,
    pub(crate) holds: bool,
    pub(crate) burn: f64,
    pub(crate) spent: Spent,
    pub(crate) long_ms: u64,
}

impl Ledger {
    /// Adds one whole minute.
    pub(crate) fn put(&mut self, at_ms: u64, spent: Spent) {
        let minute = at_ms / MINUTE_MS;
        if spent.all > 0 {
            self.minutes.entry(minute).or_default().add(spent);
            self.hours.entry(at_ms / HOUR_MS).or_default().add(spent);
        }
    }

    pub(crate) fn counted(&mut self, until_ms: u64) {
        self.counted_ms = until_ms;
        let minute = (until_ms / MINUTE_MS).saturating_sub(MINUTES_KEPT);
        self.minutes = self.minutes.split_off(&minute);
        let hour = (until_ms / HOUR_MS).saturating_sub(HOURS_KEPT);
        self.hours = self.hours.split_off(&hour);
    }

    /// What was spent in the last `window_ms` that are counted. Long windows begin with an hour.
    pub(crate) fn within(&self, window_ms: u64) -> Spent {
        let from = self.counted_ms.saturating_sub(window_ms);
        let mut sum = Spent::default();
        if window_ms <= 6 * HOUR_MS {
            self.minutes.range(from / MINUTE_MS..).for_each(|(_, spent)| sum.add(*spent));
        } else {
            self.hours.range(from.div_ceil(HOUR_MS)..).for_each(|(_, spent)| sum.add(*spent));
        }
        sum
    }

    pub(crate) fn burning(&self, target: f64, window_ms: u64) -> Vec<Burning> {
        let mut found: Vec<Burning> = Vec::new();
        for pair in PAIRS.iter().filter(|pair| pair.long_ms <= window_ms) {
            let (long, short) = (self.within(pair.long_ms), self.within(pair.short_ms));
            let burn = long.burn(target);
            let holds =
                long.bad >= BAD_MIN && burn >= pair.times && short.burn(target) >= pair.times;
            let this = Burning {
                word: pair.word,
                severity: pair.severity,
                holds,
                burn,
                spent: long,
                long_ms: pair.long_ms,
            };
            match found.iter_mut().find(|known| known.word == pair.word) {
                Some(known) if holds && !known.holds => *known = this,
                Some(_) => {}
                None => found.push(this),
            }
        }
        // What is told as a page is no ticket as well.
        if found.iter().any(|of| of.word == "fast" && of.holds) {
            found.iter_mut().filter(|of| of.word == "slow").for_each(|of| of.holds = false);
        }
        found
    }

    /// Share of the budget that is left; below zero when more was spent.
    pub(crate) fn left(&self, target: f64, window_ms: u64) -> f64 {
        1.0 - self.within(window_ms).burn(target)
    }

    /// Burn by hour over the last day, for a plot.
    pub(crate) fn day(&self, target: f64) -> Vec<f64> {
        let last = self.counted_ms / HOUR_MS;
        let hours = last.saturating_sub(23)..=last;
        hours.map(|hour| self.hours.get(&hour).copied().unwrap_or_default().burn(target)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000 * HOUR_MS;

    fn ledger(minutes: u64, each: impl Fn(u64) -> Spent) -> Ledger {
        let mut ledger = Ledger::default();
        for minute in 0..minutes {
            ledger.put(START + minute * MINUTE_MS, each(minute));
        }
        ledger.counted(START + minutes * MINUTE_MS);
        ledger
    }

    fn words(ledger: &Ledger) -> Vec<&'static str> {
        let all = ledger.burning(0.999, 30 * 24 * HOUR_MS);
        all.into_iter().filter(|b| b.holds).map(|b| b.word).collect()
    }

    #[test]
    fn a_burst_of_failures_pages_while_it_goes_on() {
        let bursting =
            ledger(60, |minute| Spent { all: 100, bad: if minute >= 50 { 20 } else { 0 } });
        assert_eq!(words(&bursting), ["fast"]);
        let over = ledger(60, |minute| Spent { all: 100, bad: if minute < 25 { 20 } else { 0 } });
        assert!(!words(&over).contains(&"fast"), "the last half hour was well");
    }

    #[test]
    fn one_failure_of_few_requests_says_nothing() {
        let quiet = ledger(60, |minute| Spent { all: 1, bad: u64::from(minute == 59) });
        assert_eq!(words(&quiet), Vec::<&str>::new());
    }

    #[test]
    fn a_slow_leak_is_a_ticket() {
        let leaking = ledger(4 * 24 * 60, |_| Spent { all: 1_000, bad: 4 });
        assert_eq!(words(&leaking), ["slow"]);
        assert!(leaking.left(0.999, 72 * HOUR_MS) < 0.0);
        assert_eq!(ledger(10, |_| Spent { all: 9, bad: 0 }).left(0.99, HOUR_MS), 1.0);
    }

    #[test]
    fn what_is_old_is_forgotten_and_what_is_kept_is_exact() {
        let long = ledger(40 * 24 * 60, |_| Spent { all: 1, bad: 0 });
        assert!(long.minutes.len() as u64 <= MINUTES_KEPT + 1);
        assert!(long.hours.len() as u64 <= HOURS_KEPT + 1);
        assert_eq!(long.within(5 * MINUTE_MS).all, 5);
        assert_eq!(long.within(6 * HOUR_MS).all, 360);
        assert_eq!(long.within(24 * HOUR_MS).all, 24 * 60);
    }
}
