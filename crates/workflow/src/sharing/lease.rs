//! A member's life: it joins, it beats, it is declared dead by others, it joins anew.
//!
//! No two machines' clocks are compared. A member lives while its beat changes; who looks on
//! adds up, on its own clock, for how long it has seen no change, and counts only time in which
//! it could look: neither its own pauses nor those of the store are held against anybody.
//! Declaring somebody dead is a transaction that expects the beat to be as it was seen last.

use std::collections::HashMap;
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::{Entry, Expect, Kv, KvError, KvExt as _, Tx, Version};

use super::stored::{self, BeatV1, MemberV1};
use crate::engine::Shared;
use crate::error::WorkflowError;
use crate::state::State;
use crate::stored::Record as _;

const BEATS_PER_LEASE: u32 = 5;
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Makes the member's record.
///
/// # Errors
/// When the store fails.
pub(crate) async fn join(shared: &Shared) -> Result<(), WorkflowError> {
    let (me, name) = {
        let state = shared.lock();
        let Some(role) = &state.role else { return Ok(()) };
        (role.me.clone(), role.sharing.name.clone())
    };
    let member = stored::member_key(&me);
    let record = MemberV1 { version: 0, name, since_ms: clock::wall_ms() }.write();
    let sent = clock::now();
    let tx = Tx::new()
        .expect(&member, Expect::Absent)
        .put(&member, record)
        .put(stored::beat_key(&me), BeatV1::default().write());
    let joined = match shared.kv.commit(tx).await {
        Ok(version) => version,
        // An attempt of which nobody knew how it ended had been successful.
        Err(KvError::Conflict { .. }) => match shared.kv.get(&member).await? {
            Some(entry) => entry.version,
            None => return Err(WorkflowError::Closing),
        },
        Err(KvError::Storage(error)) => return Err(error.into()),
    };
    let mut state = shared.lock();
    if let Some(role) = &mut state.role {
        role.joined = Some(joined);
        role.good_until = sent + role.sharing.lease;
    }
    Ok(())
}

/// After this member was declared dead: all that was in memory and in line is void.
pub(crate) async fn rejoin(shared: &Shared, stop: &CancellationToken) {
    {
        let mut state = shared.lock();
        tracing::warn!(
            "this process did not say for too long that it lives; others go on with its \
             workflows, and it takes part anew"
        );
        state.start_over();
        shared.discard();
    }
    let mut pause = RETRY_FIRST;
    while !stop.is_cancelled() {
        match join(shared).await {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(error = archipel_rt::chain(&error), "workflows wait: not joined");
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = clock::sleep(pause) => {}
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
    shared.lock().stir();
}

/// Says again and again that this member lives. It goes the way of all commits: a process that
/// can write nothing is dead.
pub(crate) async fn beat(shared: &Shared, stop: &CancellationToken) {
    let every = match &shared.lock().role {
        Some(role) => role.sharing.lease / BEATS_PER_LEASE,
        None => return,
    };
    loop {
        let sent = clock::now();
        let (me, durable) = shared.change_and(|state, unit| {
            let apps = state.apps_with_workers();
            let me = state.role.as_ref().map(|role| role.me.clone()).unwrap_or_default();
            let beat = BeatV1 { version: 0, apps };
            unit.put(stored::beat_key(&me), beat.write());
            me
        });
        let durable = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            durable = durable.wait() => durable.is_ok(),
        };
        if durable {
            shared.lock().confirmed(&me, sent);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = clock::sleep(every) => {}
        }
    }
}

impl State {
    pub(super) fn apps_with_workers(&self) -> Vec<String> {
        let with = self.pools.iter().filter(|(_, pool)| !pool.streams.is_empty());
        let mut apps: Vec<_> = with.map(|(app, _)| app.to_string()).collect();
        apps.sort();
        apps
    }

    fn confirmed(&mut self, me: &str, sent: clock::Instant) {
        let doubted = self.in_doubt();
        if let Some(role) = self.role.as_mut().filter(|role| role.me == me) {
            role.good_until = sent + role.sharing.lease;
            if doubted {
                let apps: Vec<_> = self.pools.keys().cloned().collect();
                apps.iter().for_each(|app| self.dispatch(app));
            }
        }
    }
}

/// The members as they are in the store.
#[derive(Debug, Default)]
pub(crate) struct Members(pub HashMap<String, Seen>);

#[derive(Debug)]
pub(crate) struct Seen {
    pub apps: Vec<String>,
    member: Version,
    beat: Option<Version>,
}

impl Members {
    pub(crate) async fn read(kv: &dyn Kv) -> Result<Self, WorkflowError> {
        let mut found = HashMap::new();
        for (record, entry) in kv.list_all(stored::MEMBERS).await? {
            let Some(member) = record.strip_prefix(stored::MEMBERS) else { continue };
            let seen = Seen { apps: Vec::new(), member: entry.version, beat: None };
            found.insert(member.to_owned(), seen);
        }
        for (record, Entry { value, version }) in kv.list_all(stored::BEATS).await? {
            let member = record.strip_prefix(stored::BEATS).and_then(|m| found.get_mut(m));
            if let Some(seen) = member {
                seen.apps = BeatV1::read(&record, &value)?.apps;
                seen.beat = Some(version);
            }
        }
        Ok(Self(found))
    }
}

/// For how long each of the others has shown no sign of life.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    of: HashMap<String, (Option<Version>, Duration)>,
    looked: Option<clock::Instant>,
}

impl Silence {
    /// Those who have been silent for `lease`. A look that took place long after the one before
    /// counts for `gap_max` only.
    pub(crate) fn dead(
        &mut self,
        members: &Members,
        lease: Duration,
        gap_max: Duration,
        now: clock::Instant,
    ) -> Vec<String> {
        let gap = self.looked.map_or(Duration::ZERO, |looked| now - looked).min(gap_max);
        self.looked = Some(now);
        self.of.retain(|member, _| members.0.contains_key(member));
        let mut dead = Vec::new();
        for (member, seen) in &members.0 {
            let (beat, silent) =
                self.of.entry(member.clone()).or_insert((seen.beat, Duration::ZERO));
            if *beat == seen.beat {
                *silent += gap;
            } else {
                (*beat, *silent) = (seen.beat, Duration::ZERO);
            }
            if *silent >= lease {
                dead.push(member.clone());
            }
        }
        dead
    }
}

/// Declares a member dead, if its beat is still as it was seen. From then on it can write nothing.
///
/// # Errors
/// When the store fails.
pub(crate) async fn bury(
    shared: &Shared,
    dead: &str,
    members: &Members,
) -> Result<bool, WorkflowError> {
    let Some(seen) = members.0.get(dead) else { return Ok(false) };
    let Some((fence, version)) = shared.fence() else { return Ok(false) };
    let (member, beat) = (stored::member_key(dead), stored::beat_key(dead));
    let tx = Tx::new()
        .expect(fence, Expect::Version(version))
        .expect(&beat, seen.beat.map_or(Expect::Absent, Expect::Version))
        .expect(&member, Expect::Version(seen.member));
    let replies = shared.kv.list(&stored::replies_prefix(dead), None, 500).await?;
    let tx = replies.into_iter().fold(tx, |tx, (record, _)| tx.delete(record));
    match shared.kv.commit(tx.delete(member).delete(beat).ring()).await {
        Ok(_) => {
            tracing::warn!(member = dead, "a process that shares the workflows is gone");
            Ok(true)
        }
        Err(KvError::Conflict { .. }) => Ok(false),
        Err(KvError::Storage(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_that_was_watched_counts() {
        let members = |beat: u64| {
            let seen = Seen { apps: Vec::new(), member: Version(1), beat: Some(Version(beat)) };
            Members(HashMap::from([("a".to_owned(), seen)]))
        };
        let (lease, gap) = (Duration::from_secs(5), Duration::from_secs(1));
        let start = clock::now();
        let mut silence = Silence::default();
        let mut look = |beat, at: u64| {
            silence.dead(&members(beat), lease, gap, start + Duration::from_secs(at))
        };
        assert!(look(2, 0).is_empty());
        // The one who looks was stopped for an hour.
        assert!(look(2, 3_600).is_empty());
        for second in 3_601..3_604 {
            assert!(look(2, second).is_empty(), "{second}");
        }
        assert!(look(3, 3_604).is_empty(), "it lives");
        for second in 3_605..3_609 {
            assert!(look(3, second).is_empty(), "{second}");
        }
        assert_eq!(look(3, 3_609), ["a"]);
    }
}
