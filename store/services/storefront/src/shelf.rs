//! Answers of other services, kept for when they do not answer.
//!
//! Three ages: young answers are used without asking (a busy shop asks once a few seconds, not
//! once a visitor), older ones are asked again, and when nobody answers the old one is better
//! than an empty page; the page then says that it may be out of date.
//!
//! A callee that just failed is left alone for a moment, so that a service that hangs costs one
//! visitor its time-out and not every visitor.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store_kit::Outcome;

/// Answers older than this are not shown any more.
const STALE_MAX: Duration = Duration::from_secs(6 * 3600);
const PAUSE_MS: i64 = 1500;

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Found<T> {
    Fresh(Arc<T>),
    /// Nobody answered; this is what was said before.
    Stale(Arc<T>),
    /// The answer is that there is no such thing.
    Nothing,
    /// Nobody answered and nothing is kept.
    Away,
}

impl<T> Found<T> {
    pub(crate) fn value(&self) -> Option<&T> {
        match self {
            Self::Fresh(value) | Self::Stale(value) => Some(value),
            Self::Nothing | Self::Away => None,
        }
    }

    /// The page should say that it may be out of date.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Away)
    }
}

/// A bounded collection of answers of one shape.
pub(crate) struct Shelf<T> {
    kept: Mutex<HashMap<String, (Instant, Arc<T>)>>,
    most: usize,
}

impl<T> Shelf<T> {
    pub(crate) fn of(most: usize) -> Self {
        Self { kept: Mutex::new(HashMap::new()), most }
    }

    /// Looks for `key`, asking when what is kept is older than `young`.
    pub(crate) async fn find<F>(
        &self,
        key: &str,
        young: Duration,
        pulse: &Pulse,
        ask: F,
    ) -> Found<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let kept = self.get(key);
        if let Some((age, value)) = &kept
            && *age < young
        {
            return Found::Fresh(Arc::clone(value));
        }
        if pulse.resting() {
            return stale(kept);
        }
        match ask.await {
            Outcome::Ok(answer) => {
                pulse.good();
                let value = Arc::new(answer.body);
                self.put(key, Arc::clone(&value));
                Found::Fresh(value)
            }
            Outcome::Refused(refusal) if refusal.status == 404 => {
                pulse.good();
                Found::Nothing
            }
            Outcome::Refused(refusal) => {
                tracing::warn!(
                    callee = refusal.callee,
                    status = refusal.status,
                    detail = refusal.detail,
                    key,
                    "refused"
                );
                stale(kept)
            }
            Outcome::NoAnswer(silence) => {
                pulse.bad();
                tracing::warn!(
                    callee = silence.callee,
                    why = silence.why,
                    key,
                    "no answer; using what is kept"
                );
                stale(kept)
            }
        }
    }

    fn get(&self, key: &str) -> Option<(Duration, Arc<T>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).map(|(at, value)| (at.elapsed(), Arc::clone(value)))
    }

    fn put(&self, key: &str, value: Arc<T>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.most && !kept.contains_key(key) {
            // Rare enough for a scan: the oldest quarter goes.
            let mut ages: Vec<Instant> = kept.values().map(|(at, _)| *at).collect();
            ages.sort_unstable();
            let limit = ages[ages.len() / 4];
            kept.retain(|_, (at, _)| *at > limit);
        }
        kept.insert(key.to_owned(), (Instant::now(), value));
    }
}

fn stale<T>(kept: Option<(Duration, Arc<T>)>) -> Found<T> {
    match kept {
        Some((age, value)) if age < STALE_MAX => Found::Stale(value),
        _ => Found::Away,
    }
}

/// Whether a callee answered lately.
pub(crate) struct Pulse {
    began: Instant,
    /// Milliseconds after `began` until which it is left alone.
    rest_until: AtomicI64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { began: Instant::now(), rest_until: AtomicI64::new(0) }
    }
}

impl Pulse {
    fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn resting(&self) -> bool {
        self.rest_until.load(Ordering::Relaxed) > self.now()
    }

    pub(crate) fn good(&self) {
        self.rest_until.store(0, Ordering::Relaxed);
    }

    pub(crate) fn bad(&self) {
        self.rest_until.store(self.now() + PAUSE_MS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store_kit::{Answer, NoAnswer};

    fn answer(n: u32) -> Outcome<u32> {
        Outcome::Ok(Answer { status: 200, body: n, headers: Default::default() })
    }

    fn silence() -> Outcome<u32> {
        Outcome::NoAnswer(NoAnswer {
            callee: "x",
            why: "away".into(),
            retry_after: None,
            status: None,
        })
    }

    #[tokio::test]
    async fn what_was_said_before_is_shown_when_nobody_answers() {
        let (shelf, pulse) = (Shelf::of(10), Pulse::default());
        let young = Duration::ZERO;
        assert!(matches!(shelf.find("a", young, &pulse, async { silence() }).await, Found::Away));
        pulse.good();
        assert!(
            matches!(shelf.find("a", young, &pulse, async { answer(1) }).await, Found::Fresh(v) if *v == 1)
        );
        assert!(
            matches!(shelf.find("a", young, &pulse, async { silence() }).await, Found::Stale(v) if *v == 1)
        );
        let asked =
            shelf.find("a", young, &pulse, async { panic!("left alone after a failure") }).await;
        assert!(matches!(asked, Found::Stale(_)));
    }

    #[tokio::test]
    async fn young_answers_are_not_asked_for_again() {
        let (shelf, pulse) = (Shelf::of(10), Pulse::default());
        let young = Duration::from_secs(60);
        shelf.find("a", young, &pulse, async { answer(1) }).await;
        let again = shelf.find("a", young, &pulse, async { panic!("not asked") }).await;
        assert_eq!(again.value(), Some(&1));
    }

    #[tokio::test]
    async fn it_never_holds_more_than_it_may() {
        let (shelf, pulse) = (Shelf::of(8), Pulse::default());
        for n in 0..100 {
            shelf.find(&n.to_string(), Duration::ZERO, &pulse, async move { answer(n) }).await;
            assert!(shelf.kept.lock().unwrap().len() <= 8);
        }
        assert_eq!(
            shelf.find("99", Duration::from_secs(9), &pulse, async { silence() }).await.value(),
            Some(&99)
        );
    }
}
