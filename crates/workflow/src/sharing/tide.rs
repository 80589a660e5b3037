//! The loop of a member: takes in what has come, looks who lives, and moves towards an even share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};

use super::balance::plan;
use super::lease::{Members, Silence, bury};
use super::lend::ABSENCE;
use super::shards::{Holders, take};
use super::stored::{self, BeatV1};
use super::{LOOK, LOOK_WITH_BELL, mail};
use crate::engine::{Engine, Shared};
use crate::error::WorkflowError;
use crate::stored::Record as _;

/// Between two looks at all members, however often the bell rings.
const MEMBERS_MIN: Duration = Duration::from_millis(100);
const AFTER_ERROR: Duration = Duration::from_millis(500);

pub(crate) async fn run(engine: &Engine, stop: &CancellationToken) {
    let shared = &engine.shared;
    let Some(wake) = shared.lock().role.as_ref().map(|role| Arc::clone(&role.wake)) else { return };
    let mut bell = shared.kv.bell();
    let every = if bell.is_some() { LOOK_WITH_BELL } else { LOOK };
    let mut tide = Tide::default();
    while !stop.is_cancelled() {
        let pause = match tide.round(engine).await {
            Ok(true) => {
                tide.looked = None;
                continue;
            }
            Ok(false) => every,
            // This member died; it is about to join again.
            Err(WorkflowError::Closing) => AFTER_ERROR,
            Err(error) => {
                let error = archipel_rt::chain(&error);
                tracing::warn!(error, "the store that workflows share does not answer");
                AFTER_ERROR
            }
        };
        let rung = async {
            let heard = match &mut bell {
                Some(bell) => bell.changed().await.is_ok(),
                None => false,
            };
            if !heard {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = wake.notified() => tide.looked = None,
            () = rung => {}
            () = clock::sleep(pause) => {}
        }
    }
}

#[derive(Default)]
struct Tide {
    silence: Silence,
    looked: Option<clock::Instant>,
    /// When a member was last seen with workers of an app.
    present: HashMap<(String, String), clock::Instant>,
    /// What was last told of our own workers.
    told: Vec<String>,
}

impl Tide {
    /// True when something has moved, and there may be more to do.
    async fn round(&mut self, engine: &Engine) -> Result<bool, WorkflowError> {
        let shared = &engine.shared;
        if shared.fence().is_none() {
            return Ok(false);
        }
        mail::take_in(engine).await?;
        let now = clock::now();
        let mut moved = false;
        if self.looked.is_none_or(|looked| now - looked >= MEMBERS_MIN) {
            self.looked = Some(now);
            moved = self.look(shared).await?;
        }
        drop(shared.change(|state, unit| {
            state.recall(unit);
            state.lend(unit);
        }));
        Ok(moved)
    }

    async fn look(&mut self, shared: &Shared) -> Result<bool, WorkflowError> {
        let (me, lease, own) = {
            let state = shared.lock();
            let Some(role) = &state.role else { return Ok(false) };
            (role.me.clone(), role.sharing.lease, state.apps_with_workers())
        };
        if own != self.told {
            self.told.clone_from(&own);
            drop(shared.change(|_, unit| {
                unit.put(stored::beat_key(&me), BeatV1 { version: 0, apps: own.clone() }.write());
                unit.ring();
            }));
        }
        let mut members = Members::read(&*shared.kv).await?;
        if let Some(seen) = members.0.get_mut(&me) {
            seen.apps = own;
        }
        let dead = self.silence.dead(&members, lease, 2 * LOOK_WITH_BELL, clock::now());
        for dead in dead.into_iter().filter(|dead| *dead != me) {
            if bury(shared, &dead, &members).await? {
                members.0.remove(&dead);
            }
        }
        let live = self.presence(&members);
        let mut holders = Holders::read(&*shared.kv).await?;
        let wanted = self.meet(shared, &me, &live);
        let named = live.values().flatten().cloned();
        let held = holders.0.keys().cloned();
        let apps: BTreeSet<String> = named.chain(held).chain(wanted).collect();
        let mut moved = false;
        for app in apps {
            moved |= self.level(shared, &me, &app, &live, &mut holders).await?;
        }
        Ok(moved)
    }

    /// Each member that lives, with the apps of which it has or just had workers.
    fn presence(&mut self, members: &Members) -> BTreeMap<String, BTreeSet<String>> {
        let now = clock::now();
        for (member, seen) in &members.0 {
            for app in &seen.apps {
                self.present.insert((member.clone(), app.clone()), now);
            }
        }
        self.present
            .retain(|(member, _), seen| members.0.contains_key(member) && now - *seen < ABSENCE);
        let mut live: BTreeMap<_, BTreeSet<_>> =
            members.0.keys().map(|member| (member.clone(), BTreeSet::new())).collect();
        for (member, app) in self.present.keys() {
            live.entry(member.clone()).or_default().insert(app.clone());
        }
        live
    }

    /// Notes who the others are. Returns the apps of which somebody here has need.
    fn meet(
        &self,
        shared: &Shared,
        me: &str,
        live: &BTreeMap<String, BTreeSet<String>>,
    ) -> Vec<String> {
        let mut state = shared.lock();
        let Some(role) = state.role.as_mut().filter(|role| role.me == me) else {
            return Vec::new();
        };
        role.others.clone_from(live);
        role.others.remove(me);
        role.wanted.iter().map(ToString::to_string).collect()
    }

    /// Moves this member's share of one app towards what it is to be.
    async fn level(
        &self,
        shared: &Shared,
        me: &str,
        app: &str,
        live: &BTreeMap<String, BTreeSet<String>>,
        holders: &mut Holders,
    ) -> Result<bool, WorkflowError> {
        let with: Vec<&str> =
            live.iter().filter(|(_, apps)| apps.contains(app)).map(|(m, _)| m.as_str()).collect();
        let members =
            if with.is_empty() { live.keys().map(String::as_str).collect() } else { with };
        let records = holders.of(app).clone();
        let ours: BTreeSet<u8> = match &shared.lock().role {
            Some(role) if role.me == me => {
                role.held.iter().filter(|(of, _)| **of == *app).map(|(_, shard)| *shard).collect()
            }
            _ => return Ok(false),
        };
        let mut alive = Vec::with_capacity(records.len());
        for (shard, (holder, _)) in (0..).zip(&records) {
            // What is ours in the store and not in memory was taken in an attempt that failed.
            let lost = holder.as_deref() == Some(me) && !ours.contains(&shard);
            let holder = holder.as_deref().filter(|holder| live.contains_key(*holder) && !lost);
            alive.push(holder);
        }
        let plan = plan(me, &members, &alive);
        if !plan.give_up.is_empty() {
            shared.change(|state, unit| state.give_up(app, &plan.give_up, unit)).wait().await?;
            return Ok(true);
        }
        if plan.claim.is_empty() {
            return Ok(false);
        }
        take(shared, app, &plan.claim, &records).await?;
        Ok(true)
    }
}
