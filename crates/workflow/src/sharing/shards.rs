//! Taking a shard and giving it up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use archipel_storage::{Expect, Kv, KvError, KvExt as _, Tx, Version};

use super::lend::{Lent, lent_task};
use super::stored::{self, LetterV1, ShardV1, TaskV1};
use super::{SHARDS, shard_of};
use crate::engine::Shared;
use crate::error::WorkflowError;
use crate::instance::Instance;
use crate::key::{Key, app_prefix};
use crate::load;
use crate::noted::record;
use crate::pool::TaskId;
use crate::recent::Recent;
use crate::state::{State, Unit};
use crate::stored::{META, MarkV1, Record as _};

/// Who takes shards may give so many incarnations before it takes others: all that are given
/// later are higher, whoever gives them.
const INCARNATIONS: u64 = 1 << 32;

/// The holder that the store names, and the version that says so.
type Holder = (Option<String>, Option<Version>);

/// Of each app's shards.
#[derive(Debug, Default)]
pub(crate) struct Holders(pub BTreeMap<String, Vec<Holder>>);

impl Holders {
    pub(crate) async fn read(kv: &dyn Kv) -> Result<Self, WorkflowError> {
        let mut found = Self::default();
        for (record, entry) in kv.list_all(stored::SHARDS).await? {
            let Some((app, shard)) = stored::shard_named(&record) else { continue };
            let holder = ShardV1::read(&record, &entry.value)?.holder;
            if let Some(place) = found.of(&app).get_mut(usize::from(shard)) {
                *place = (Some(holder).filter(|holder| !holder.is_empty()), Some(entry.version));
            }
        }
        Ok(found)
    }

    pub(crate) fn of(&mut self, app: &str) -> &mut Vec<Holder> {
        let none = || vec![(None, None); usize::from(SHARDS)];
        self.0.entry(app.to_owned()).or_insert_with(none)
    }
}

/// Takes shards that nobody holds who lives, and their active instances. False: somebody was
/// faster, or this member has died in between.
///
/// # Errors
/// When the store fails.
pub(crate) async fn take(
    shared: &Shared,
    app: &str,
    shards: &[u8],
    holders: &[Holder],
) -> Result<bool, WorkflowError> {
    let Some(me) = shared.lock().role.as_ref().map(|role| role.me.clone()) else {
        return Ok(false);
    };
    let Some((fence, version)) = shared.fence() else { return Ok(false) };
    let meta = shared.kv.get(META).await?;
    let first = match &meta {
        Some(entry) => MarkV1::read(META, &entry.value)?.incarnation,
        None => 0,
    };
    let expect = |version: Option<Version>| version.map_or(Expect::Absent, Expect::Version);
    let mark = MarkV1 { version: 0, incarnation: first + INCARNATIONS };
    let mut tx = Tx::new()
        .expect(fence, Expect::Version(version))
        .expect(META, expect(meta.map(|entry| entry.version)))
        .put(META, mark.write());
    for shard in shards {
        let record = stored::shard_key(app, *shard);
        let version = holders.get(usize::from(*shard)).and_then(|(_, version)| *version);
        let held = ShardV1 { version: 0, holder: me.clone() };
        tx = tx.expect(&record, expect(version)).put(record, held.write());
    }
    match shared.kv.commit(tx).await {
        Ok(_) => {}
        Err(KvError::Conflict { .. }) => return Ok(false),
        Err(KvError::Storage(error)) => return Err(error.into()),
    }
    let (instances, busy) = read(shared, app, shards).await?;
    let count = instances.len();
    let mut state = shared.lock();
    let Some(role) = state.role.as_mut().filter(|role| role.me == me) else { return Ok(false) };
    let app: Arc<str> = app.into();
    role.held.extend(shards.iter().map(|shard| (Arc::clone(&app), *shard)));
    role.incarnations_end = first + INCARNATIONS;
    state.incarnation = first;
    // Others may have had these shards since.
    state.recent = Recent::default();
    let mut unit = Unit::default();
    for mut instance in instances {
        state.still_busy(&mut instance, &busy);
        let unrecorded = instance.unrecorded.then(|| instance.key.clone());
        load::take_up(&mut state, instance);
        // It began when nobody else was on the store; now others look for its record.
        if let Some(instance) = unrecorded.and_then(|key| state.active.get_mut(&key)) {
            instance.saved = None;
            record(instance, &mut unit);
        }
    }
    drop(shared.queue.push(unit));
    state.due_changed.notify_one();
    state.chores.notify_one();
    tracing::info!(app = %app, shards = shards.len(), instances = count, "workflows are taken over");
    Ok(true)
}

/// The active instances of the shards, and which of their activities others have.
///
/// Whoever has one takes its row away when the answer is in the mail. So rows are read before
/// letters: an activity that is in neither is with nobody.
async fn read(
    shared: &Shared,
    app: &str,
    shards: &[u8],
) -> Result<(Vec<Instance>, HashMap<TaskId, Option<Lent>>), WorkflowError> {
    let kv = &*shared.kv;
    let ours = |key: &Key| *key.app == *app && shards.contains(&shard_of(key));
    let mut busy = HashMap::new();
    for (record, entry) in kv.list_all(stored::TASKS).await? {
        let task = TaskV1::read(&record, &entry.value)?;
        if let Some(id) = task.task_id().filter(|id| ours(&id.0)) {
            busy.insert(id, lent_task(&record, &task));
        }
    }
    for (record, entry) in kv.list_all(&format!("{}{}", stored::MAIL, app_prefix(app))).await? {
        let Ok(letter) = LetterV1::read(&record, &entry.value) else { continue };
        let Ok(key) = Key::new(&letter.app, &letter.id) else { continue };
        if let Some(answer) = letter.answer.filter(|_| ours(&key)) {
            busy.insert((key, answer.incarnation, answer.task), None);
        }
    }
    let mut keys = Vec::new();
    for (record, entry) in kv.list_all(&format!("a/{}", app_prefix(app))).await? {
        let begun = load::active(&record, &entry.value)?;
        if ours(&begun.key) {
            keys.push(begun);
        }
    }
    Ok((load::instances(kv, &keys).await?, busy))
}

impl State {
    /// Hands shards over: from this unit on they are nobody's. Activities that workers have go on;
    /// the next holder is told of them.
    pub(crate) fn give_up(&mut self, app: &str, shards: &[u8], unit: &mut Unit) {
        let ours = |key: &Key| *key.app == *app && shards.contains(&shard_of(key));
        let keys: Vec<_> = self.active.keys().filter(|key| ours(key)).cloned().collect();
        for key in &keys {
            self.lend_what_runs(key, unit);
            self.release(key, unit);
            self.active.remove(key);
        }
        self.shown.retain(|key, _| !ours(key));
        let app: Arc<str> = app.into();
        for shard in shards {
            if let Some(role) = &mut self.role {
                role.held.remove(&(Arc::clone(&app), *shard));
            }
            unit.put(stored::shard_key(&app, *shard), ShardV1::default().write());
        }
        // Whoever waits looks into the store from now on.
        self.watchers.retain(|key, watcher| !ours(key) || watcher.send(()).is_ok());
        unit.ring();
        tracing::info!(%app, shards = shards.len(), instances = keys.len(), "workflows are handed over");
    }

    /// The end of this member.
    pub(crate) fn leave(&mut self, unit: &mut Unit) {
        let Some(role) = &self.role else { return };
        let me = role.me.clone();
        let mut held: BTreeMap<Arc<str>, Vec<u8>> = BTreeMap::new();
        for (app, shard) in &role.held {
            held.entry(Arc::clone(app)).or_default().push(*shard);
        }
        for (app, shards) in held {
            self.give_up(&app, &shards, unit);
        }
        unit.delete(stored::member_key(&me));
        unit.delete(stored::beat_key(&me));
        unit.ring();
    }
}
