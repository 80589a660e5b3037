//! Whose turn it is: the order of starts and of stops over all instances, in pure code.
//!
//! Starts go level by level, and never more at once than the machine has cores for; but neither
//! may let one bad program hold up the rest: a level counts as settled once everything in it is
//! ready or has failed once, waits at most [`LEVEL_WAIT_MAX`], and a slow start gives its place
//! to the next after [`SLOT_MAX`].

use std::collections::BTreeMap;
use std::time::Duration;

use archipel_model::InstanceId;
use archipel_rt::clock::Instant;

pub(crate) const LEVEL_WAIT_MAX: Duration = Duration::from_secs(30);
pub(crate) const SLOT_MAX: Duration = Duration::from_secs(10);

/// What the order depends on, of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) level: u32,
    pub(crate) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Waits for its turn; `first`: it has not failed yet.
    Pending { since: Instant, first: bool },
    /// Spawned at `since` and not ready yet; `first` as above.
    Starting { since: Instant, first: bool },
    /// Everything else: higher levels need not wait for it.
    Settled,
}

/// Who may start now, and when to ask again if nothing happens before.
pub(crate) fn turns(
    places: &BTreeMap<InstanceId, Place>,
    starts_max: usize,
    now: Instant,
) -> (Vec<InstanceId>, Option<Instant>) {
    let mut again: Option<Instant> = None;
    let mut ask_at = |at: Instant| again = Some(again.map_or(at, |earlier| earlier.min(at)));
    let mut running = 0;
    // The lowest level that others have to wait for.
    let mut unsettled = u32::MAX;
    for place in places.values() {
        match place.standing {
            Standing::Pending { first: true, .. } => unsettled = unsettled.min(place.level),
            Standing::Starting { since, first } => {
                if first {
                    unsettled = unsettled.min(place.level);
                }
                if now < since + SLOT_MAX {
                    running += 1;
                    ask_at(since + SLOT_MAX);
                }
            }
            Standing::Pending { first: false, .. } | Standing::Settled => {}
        }
    }
    let mut waiting: Vec<(u32, Instant, &InstanceId)> = Vec::new();
    for (id, place) in places {
        let Standing::Pending { since, first } = place.standing else { continue };
        if first && place.level > unsettled && now < since + LEVEL_WAIT_MAX {
            ask_at(since + LEVEL_WAIT_MAX);
        } else {
            waiting.push((place.level, since, id));
        }
    }
    waiting.sort();
    let free = starts_max.max(1).saturating_sub(running);
    (waiting.into_iter().take(free).map(|(_, _, id)| id.clone()).collect(), again)
}

/// The lowest level's instances that higher ones have to wait for.
pub(crate) fn unsettled(places: &BTreeMap<InstanceId, Place>) -> Vec<InstanceId> {
    let unsettled = places.iter().filter(|(_, place)| {
        matches!(
            place.standing,
            Standing::Pending { first: true, .. } | Standing::Starting { first: true, .. }
        )
    });
    let lowest = unsettled.clone().map(|(_, place)| place.level).min();
    unsettled.filter(|(_, place)| Some(place.level) == lowest).map(|(id, _)| id.clone()).collect()
}

/// Who may be stopped now: those above which nothing runs any more. `running` holds the level of
/// everything that still has a process.
pub(crate) fn stoppable(running: &BTreeMap<InstanceId, u32>) -> Vec<InstanceId> {
    let Some(top) = running.values().max() else { return Vec::new() };
    running.iter().filter(|(_, level)| *level == top).map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(list: &[(&str, u32, Standing)]) -> BTreeMap<InstanceId, Place> {
        list.iter()
            .map(|(id, level, standing)| {
                (id.parse().unwrap(), Place { level: *level, standing: *standing })
            })
            .collect()
    }

    fn names(ids: &[InstanceId]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_level_waits_for_the_ones_below() {
        let now = archipel_rt::clock::now();
        let pending = Standing::Pending { since: now, first: true };
        let starting = Standing::Starting { since: now, first: true };
        let check = |list: &[(&str, u32, Standing)], max: usize, expected: &[&str]| {
            assert_eq!(names(&turns(&places(list), max, now).0), expected);
        };
        check(&[("a-0", 1, pending), ("b-0", 0, pending)], 8, &["b-0"]);
        check(&[("a-0", 1, pending), ("b-0", 0, starting)], 8, &[]);
        check(&[("a-0", 1, pending), ("b-0", 0, Standing::Settled)], 8, &["a-0"]);
        // One that has failed holds nobody up and waits for nobody.
        let again = Standing::Pending { since: now, first: false };
        check(&[("a-0", 1, pending), ("b-0", 0, again)], 8, &["b-0", "a-0"]);
        check(&[("a-0", 1, again), ("b-0", 0, starting)], 8, &["a-0"]);
        // Never more than so many at once.
        check(&[("a-0", 0, pending), ("b-0", 0, pending), ("c-0", 0, starting)], 2, &["a-0"]);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let now = archipel_rt::clock::now();
        let pending = Standing::Pending { since: now, first: true };
        let stuck = Standing::Starting { since: now, first: true };
        let list = places(&[("a-0", 1, pending), ("b-0", 0, stuck)]);
        let (none, again) = turns(&list, 1, now);
        assert!(none.is_empty());
        let later = again.unwrap();
        assert_eq!(later, now + SLOT_MAX);
        let (ids, _) = turns(&list, 1, now + LEVEL_WAIT_MAX);
        assert_eq!(names(&ids), ["a-0"]);
    }

    #[test]
    fn stops_go_from_the_top() {
        let running: BTreeMap<InstanceId, u32> =
            [("a-0", 0), ("b-0", 2), ("b-1", 2)].map(|(id, l)| (id.parse().unwrap(), l)).into();
        assert_eq!(names(&stoppable(&running)), ["b-0", "b-1"]);
        assert!(stoppable(&BTreeMap::new()).is_empty());
    }
}
