//! What was refused, by problem and by the rule that spoke.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::refusal::{Problem, Refusal};

/// Rules are declared lines, so there are only so many; should one ever be made from a request,
/// this holds.
const PAIRS_MAX: usize = 4_096;
const OTHERS: &str = "other";

/// Answers of one kind that we made ourselves; only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalCount {
    pub problem: Problem,
    pub rule: String,
    pub count: u64,
}

#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<HashMap<Problem, HashMap<String, u64>>>,
}

impl Tally {
    pub(crate) fn count(&self, refusal: &Refusal) {
        self.add(refusal.problem, &refusal.rule);
    }

    pub(crate) fn add(&self, problem: Problem, rule: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counts.values().map(HashMap::len).sum::<usize>() >= PAIRS_MAX;
        let of = counts.entry(problem).or_default();
        if let Some(count) = of.get_mut(rule) {
            *count += 1;
            return;
        }
        let rule = if full { OTHERS } else { rule };
        *of.entry(rule.to_owned()).or_default() += 1;
    }

    pub(crate) fn read(&self) -> Vec<RefusalCount> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |problem: Problem, of: &HashMap<String, u64>| -> Vec<RefusalCount> {
            let count = |(rule, count): (&String, &u64)| RefusalCount {
                problem,
                rule: rule.clone(),
                count: *count,
            };
            of.iter().map(count).collect()
        };
        let mut all: Vec<RefusalCount> =
            counts.iter().flat_map(|(problem, of)| one(*problem, of)).collect();
        drop(counts);
        all.sort_by(|a, b| (a.problem.slug(), &a.rule).cmp(&(b.problem.slug(), &b.rule)));
        all
    }
}
