//! Which messages are due: a pure function of the alerts and of what was told before.
//!
//! A channel is told of what began, once, and of its end, once; what goes on is repeated after
//! hours. All that is due together is one message. What came and went before a message left, and
//! what is silenced or explained by something else, is not told.

use std::collections::{BTreeMap, BTreeSet};

use archipel_model::{AlertPace, Severity, WatchName};

/// What matters of an alert here.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    pub(crate) firing: bool,
    /// When it began to fire, or when it was over.
    pub(crate) since_ms: u64,
    pub(crate) severity: Severity,
    pub(crate) notify: Option<&'a BTreeSet<WatchName>>,
    /// Silenced or explained.
    pub(crate) muted: bool,
    /// Channel → when it was told that this fires.
    pub(crate) told: &'a BTreeMap<String, u64>,
}

/// What one channel is to be told; positions among the candidates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) firing: Vec<usize>,
    pub(crate) resolved: Vec<usize>,
}

pub(crate) fn due(
    all: &[Candidate<'_>],
    channel: &WatchName,
    least: Severity,
    pace: &AlertPace,
    now_ms: u64,
) -> Option<Due> {
    let group_ms = millis(pace.group);
    let repeat_ms = millis(pace.repeat);
    let (mut due, mut oldest) = (Due::default(), None::<u64>);
    let mut repeats = Vec::new();
    for (at, alert) in all.iter().enumerate() {
        let told = alert.told.get(channel.as_str()).copied();
        let wanted = alert.severity >= least
            && alert.notify.is_none_or(|channels| channels.contains(channel));
        let news = match (alert.firing, told) {
            // Its end is told to whoever was told of its beginning, whatever changed meanwhile.
            (false, Some(_)) => {
                due.resolved.push(at);
                true
            }
            (true, None) if wanted && !alert.muted => {
                due.firing.push(at);
                true
            }
            (true, Some(told)) if wanted && !alert.muted => {
                if is_over(told, repeat_ms, now_ms) {
                    repeats.push(at);
                }
                false
            }
            _ => false,
        };
        if news {
            oldest = Some(oldest.map_or(alert.since_ms, |known| known.min(alert.since_ms)));
        }
    }
    let grouped = oldest.is_some_and(|oldest| is_over(oldest, group_ms, now_ms));
    if !grouped && repeats.is_empty() {
        return None;
    }
    if !grouped {
        due = Due::default();
    }
    due.firing.extend(repeats);
    Some(due)
}

/// What seems to lie ahead was before the clock was put back.
fn is_over(since_ms: u64, after_ms: u64, now_ms: u64) -> bool {
    now_ms.checked_sub(since_ms).is_none_or(|passed| passed >= after_ms)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn pace() -> AlertPace {
        AlertPace {
            group: Duration::from_secs(30),
            repeat: Duration::from_secs(3600),
            grace: Duration::ZERO,
        }
    }

    fn ops() -> WatchName {
        WatchName::new("ops").unwrap()
    }

    struct One {
        firing: bool,
        since_ms: u64,
        muted: bool,
        told: BTreeMap<String, u64>,
    }

    fn ask(all: &[One], now_ms: u64) -> Option<Due> {
        let candidates: Vec<Candidate<'_>> = all
            .iter()
            .map(|one| Candidate {
                firing: one.firing,
                since_ms: one.since_ms,
                severity: Severity::Page,
                notify: None,
                muted: one.muted,
                told: &one.told,
            })
            .collect();
        due(&candidates, &ops(), Severity::Ticket, &pace(), now_ms)
    }

    fn fresh(since_ms: u64) -> One {
        One { firing: true, since_ms, muted: false, told: BTreeMap::new() }
    }

    #[test]
    fn what_begins_within_half_a_minute_is_one_message() {
        let all = [fresh(1_000), fresh(20_000)];
        assert_eq!(ask(&all, 30_999), None);
        assert_eq!(ask(&all, 31_000), Some(Due { firing: vec![0, 1], resolved: vec![] }));
    }

    #[test]
    fn what_was_told_is_repeated_after_hours_and_its_end_is_told() {
        let mut all = [fresh(0)];
        all[0].told.insert("ops".into(), 1_000);
        assert_eq!(ask(&all, 3_600_000), None);
        assert!(ask(&all, 3_601_000).is_some());
        all[0].firing = false;
        all[0].since_ms = 50_000;
        assert_eq!(ask(&all, 79_999), None);
        assert_eq!(ask(&all, 80_000), Some(Due { firing: vec![], resolved: vec![0] }));
    }

    #[test]
    fn a_clock_that_was_put_back_holds_no_message_up() {
        let mut all = [fresh(86_400_000)];
        assert!(ask(&all, 1_000).is_some());
        all[0].told.insert("ops".into(), 86_400_000);
        assert!(ask(&all, 1_000).is_some_and(|due| due.firing == [0]), "repeated, then as before");
        all[0].told.insert("ops".into(), 1_000);
        assert_eq!(ask(&all, 2_000), None);
    }

    #[test]
    fn what_is_muted_is_told_when_it_no_longer_is() {
        let mut all = [fresh(0)];
        all[0].muted = true;
        assert_eq!(ask(&all, 999_999), None);
        all[0].muted = false;
        assert!(ask(&all, 999_999).is_some());
    }

    proptest! {
        /// However it goes on and off, messages about it alternate: begins, ends, begins.
        #[test]
        fn beginnings_and_ends_alternate(steps in prop::collection::vec((1u64..40_000, any::<bool>(), any::<bool>()), 1..200)) {
            let mut one = One { firing: false, since_ms: 0, muted: false, told: BTreeMap::new() };
            let (mut now, mut last) = (0, false);
            for (step, firing, muted) in steps {
                now += step;
                if one.firing != firing {
                    one.since_ms = now;
                }
                one.firing = firing;
                one.muted = muted;
                let Some(due) = ask(std::slice::from_ref(&one), now) else { continue };
                if !due.resolved.is_empty() {
                    prop_assert!(last, "an end without a beginning");
                    one.told.clear();
                    last = false;
                } else if !due.firing.is_empty() {
                    let repeat = one.told.get("ops").is_some_and(|told| now - told >= 3_600_000);
                    prop_assert!(!last || repeat, "told twice");
                    one.told.insert("ops".into(), now);
                    last = true;
                }
            }
        }
    }
}
