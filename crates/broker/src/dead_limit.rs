//! How many dead letters are kept: the pure part, and the removal of what is too much.
//!
//! A subscriber that is wrong about every event would fill the disk with them. Each subscription
//! keeps so many, and so many bytes; beyond that the oldest go, which is said aloud once and
//! counted. Those that never got into a topic are one group of their own.

use archipel_storage::Tx;

use crate::broker::Inner;
use crate::dead::{self, DeadError, DeadFilter, DeadLetter, DeadState, Group, Held};

/// Of letters that belong to no subscription of the manifest.
const COUNT_DEFAULT: u64 = 10_000;
/// Deletions in one write.
const TX_MAX: usize = 500;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub count: u64,
    pub bytes: u64,
}

impl Limit {
    fn holds(self, held: Held) -> bool {
        held.count <= self.count && held.bytes <= self.bytes
    }

    /// Where removal stops: a little below, so that not every further letter needs one.
    fn rest(self) -> Self {
        Self { count: self.count - self.count / 10, bytes: self.bytes - self.bytes / 10 }
    }
}

/// The letters that go. `letters` is in the order they died; one that is under way stays.
fn excess(letters: Vec<DeadLetter>, limit: Limit) -> Vec<DeadLetter> {
    let bytes = letters.iter().map(|letter| letter.bytes as u64).sum();
    let mut held = Held { count: letters.len() as u64, bytes, dropped: 0 };
    if limit.holds(held) {
        return Vec::new();
    }
    let rest = limit.rest();
    let candidates = letters.into_iter().filter(|letter| letter.state == DeadState::Dead);
    let goes = |letter: &DeadLetter| {
        let over = !rest.holds(held);
        held.count -= u64::from(over);
        held.bytes -= if over { letter.bytes as u64 } else { 0 };
        over
    };
    candidates.take_while(goes).collect()
}

impl Inner {
    /// Makes every group of dead letters keep its limit.
    pub(crate) async fn limit_dead(&self) {
        let running = self.running.load_full();
        // Nothing is known of limits before the first application is in force.
        if running.topology.topics.is_empty() {
            return;
        }
        for (group, held) in self.dead.groups() {
            let of = |(service, topic): &(_, String)| {
                let mut subscriptions = running.topology.subscriptions.iter();
                subscriptions.find(|s| s.service == *service && s.topic.as_str() == topic)
            };
            let count = group.as_ref().and_then(of).map(|s| s.how.dead_letters_max.into());
            let count = count.unwrap_or(COUNT_DEFAULT);
            let limit = Limit { count, bytes: self.config.dead_bytes_max };
            if !limit.holds(held)
                && let Err(error) = self.drop_oldest(&group, limit).await
            {
                let error = archipel_rt::chain(&error);
                tracing::warn!(error, "the oldest dead letters could not be removed");
            }
        }
    }

    async fn drop_oldest(&self, group: &Group, limit: Limit) -> Result<(), DeadError> {
        let _no_replay = self.letters.lock().await;
        let (subscriber, topic) = group.clone().unzip();
        let filter = DeadFilter { topic, subscriber, max: usize::MAX, ..DeadFilter::default() };
        let mut letters = dead::list(&*self.kv, &filter).await?;
        letters.retain(|letter| dead::group(letter) == *group);
        for some in excess(letters, limit).chunks(TX_MAX) {
            let tx = some.iter().fold(Tx::new(), |tx, letter| dead::delete(tx, letter.id));
            self.commit_dead(tx).await?;
            some.iter().for_each(|letter| self.dead.remove(letter));
            if self.dead.dropped(group, some.len() as u64) {
                let (service, topic) = group.clone().unwrap_or_else(|| {
                    (
                        some[0].publisher.clone().expect("it comes from an outbox"),
                        some[0].topic.clone(),
                    )
                });
                tracing::error!(
                    %service, topic, limit = limit.count, bytes_limit = limit.bytes,
                    "there are more dead letters than are kept: the oldest are removed; said \
                     once, counted in `archipel events list`"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_those_under_way_stay() {
        let sample = include_bytes!("../test-data/dead-v1.json");
        let json: serde_json::Value = serde_json::from_slice(sample).unwrap();
        let letter: DeadLetter = serde_json::from_value(json).unwrap();
        let letters = |count: u32, bytes: usize| -> Vec<DeadLetter> {
            let state = |i| if i == 0 { DeadState::Replaying } else { DeadState::Dead };
            let of = |i| DeadLetter { attempts: i, state: state(i), bytes, ..letter.clone() };
            (0..count).map(of).collect()
        };
        let check = |count: u32, bytes: usize, expected: &[u32]| {
            let gone = excess(letters(count, bytes), Limit { count: 10, bytes: 1_000 });
            let gone: Vec<u32> = gone.iter().map(|letter| letter.attempts).collect();
            assert_eq!(gone, expected, "{count} of {bytes} bytes");
        };
        check(10, 100, &[]);
        check(11, 10, &[1, 2]);
        check(5, 300, &[1, 2]);
        check(1, 5_000, &[]);
        check(2, 5_000, &[1]);
        check(0, 0, &[]);
    }
}
