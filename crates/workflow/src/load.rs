//! Reading what was stored: at start, everything that has not ended.

use std::collections::{BTreeSet, HashMap};

use archipel_storage::{Kv, KvExt as _};
use dapr_durabletask_proto::HistoryEvent;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use crate::engine::Config;
use crate::error::WorkflowError;
use crate::event;
use crate::instance::{Instance, Saved};
use crate::key::Key;
use crate::migrate;
use crate::state::{Alarm, State};
use crate::stored::{self, ActiveV1, EventsV1, InstanceV1, MarkV1, Record as _};
use dapr_durabletask_proto::history_event::EventType;

/// Instances that are read together; so many histories are in memory at once.
const TOGETHER: usize = 500;
/// Records that are read at the same time.
const READS: usize = 32;
/// Rows in one read: more where most of them are wanted.
const PAGE_MIN: usize = 32;
const PAGE_MAX: usize = 1_024;

/// Its number, and the events in it.
type Row = (u32, Vec<HistoryEvent>);

/// What a row of `a/` says.
#[derive(Debug)]
pub(crate) struct Begun {
    pub key: Key,
    pub incarnation: u64,
    row: ActiveV1,
}

pub(crate) async fn load(kv: &dyn Kv, config: &Config) -> Result<State, WorkflowError> {
    migrate::to_this_layout(kv).await?;
    let meta = kv.get(stored::META).await?;
    let meta = meta.map(|entry| MarkV1::read(stored::META, &entry.value)).transpose()?;
    let mut state = State::new(meta.map_or(0, |mark| mark.incarnation), config);
    let mut place: Option<String> = None;
    loop {
        let page = kv.list("a/", place.as_deref(), TOGETHER).await?;
        let Some((last, _)) = page.last() else { return Ok(state) };
        place = Some(last.clone());
        let found = page.iter().map(|(record, entry)| active(record, &entry.value));
        for instance in instances(kv, &found.collect::<Result<Vec<_>, _>>()?).await? {
            take_up(&mut state, instance);
        }
    }
}

/// Many, in few reads where they were begun at about the same time.
pub(crate) async fn instances(kv: &dyn Kv, all: &[Begun]) -> Result<Vec<Instance>, WorkflowError> {
    let mut read = Vec::with_capacity(all.len());
    for some in all.chunks(TOGETHER).flat_map(|some| some.chunk_by(|a, b| a.key.app == b.key.app)) {
        let mut gets = Vec::with_capacity(some.len());
        for begun in some {
            gets.push(taken_up(kv, begun).boxed());
        }
        let begun: Vec<_> = futures_util::stream::iter(gets).buffered(READS).try_collect().await?;
        let mut histories = rows_of_many(kv, 'h', some).await?;
        let mut inboxes = rows_of_many(kv, 'q', some).await?;
        for mut instance in begun {
            let incarnation = instance.incarnation;
            let history = histories.remove(&incarnation).unwrap_or_default();
            fill(&mut instance, history, inboxes.remove(&incarnation).unwrap_or_default());
            read.push(instance);
        }
    }
    Ok(read)
}

/// The rows of executions of one app. What lies between them is read along, or skipped where it
/// is much.
async fn rows_of_many(
    kv: &dyn Kv,
    table: char,
    of: &[Begun],
) -> Result<HashMap<u64, Vec<Row>>, WorkflowError> {
    let mut found: HashMap<u64, Vec<Row>> = HashMap::new();
    let Some(Begun { key: Key { app, .. }, .. }) = of.first() else { return Ok(found) };
    let mut wanted: BTreeSet<u64> = of.iter().map(|begun| begun.incarnation).collect();
    let prefix = stored::table_prefix(table, app);
    let mut size = PAGE_MIN;
    let mut place: Option<String> = None;
    while let Some(first) = wanted.first().copied() {
        // Right before its first row, or behind what of it was read.
        let from = place.take().unwrap_or_else(|| stored::before_rows(table, app, first));
        let page = kv.list(&prefix, Some(&from), size).await?;
        let (rows, mut used) = (page.len(), 0);
        let mut last = None;
        for (name, entry) in page {
            let Some(incarnation) = stored::incarnation_of(&name) else { continue };
            if wanted.contains(&incarnation) {
                used += 1;
                let row = read_row(&name, &entry.value)?;
                found.entry(incarnation).or_default().push(row);
            }
            last = Some((incarnation, name));
        }
        let Some((incarnation, name)) = last else { break };
        let there = wanted.contains(&incarnation);
        wanted = wanted.split_off(&incarnation);
        if there {
            place = Some(name);
        } else {
            wanted.remove(&incarnation);
        }
        size = if used * 2 >= rows { (size * 2).min(PAGE_MAX) } else { (size / 2).max(PAGE_MIN) };
    }
    Ok(found)
}

/// Which instance a row of `a/` says to be active.
pub(crate) fn active(record: &str, value: &[u8]) -> Result<Begun, WorkflowError> {
    let row = ActiveV1::read(record, value)?;
    let (app, incarnation) = stored::execution_of(record).ok_or_else(|| WorkflowError::Stored {
        key: record.to_owned(),
        reason: "it names no app".to_owned(),
    })?;
    let key = Key::new(&app, &row.id)?;
    Ok(Begun { key, incarnation, row })
}

pub(crate) async fn instance(
    kv: &dyn Kv,
    key: &Key,
    incarnation: u64,
) -> Result<Instance, WorkflowError> {
    let mut instance = recorded(kv, key, incarnation).await?;
    let history = rows(kv, 'h', key, incarnation).await?;
    fill(&mut instance, history, rows(kv, 'q', key, incarnation).await?);
    Ok(instance)
}

async fn taken_up(kv: &dyn Kv, begun: &Begun) -> Result<Instance, WorkflowError> {
    if !begun.row.whole {
        return recorded(kv, &begun.key, begun.incarnation).await;
    }
    let mut instance = Instance::new(begun.key.clone(), begun.incarnation);
    instance.custom_status.clone_from(&begun.row.custom_status);
    instance.parked.clone_from(&begun.row.parked);
    instance.unrecorded = !begun.row.recorded;
    // What the row says is taken back when it is no longer so.
    instance.saved = Some(instance.to_save()).filter(Saved::says_more);
    Ok(instance)
}

/// With what only its record knows.
async fn recorded(kv: &dyn Kv, key: &Key, incarnation: u64) -> Result<Instance, WorkflowError> {
    let mut instance = Instance::new(key.clone(), incarnation);
    let name = stored::instance_key(key);
    if let Some(entry) = kv.get(&name).await? {
        let record = InstanceV1::read(&name, &entry.value)?;
        // One of another execution is of one that ended before this began.
        instance.unrecorded = record.incarnation != incarnation;
        if !instance.unrecorded {
            instance.custom_status = record.state.and_then(|state| state.custom_status);
            instance.parked = record.parked;
        }
    } else {
        instance.unrecorded = true;
    }
    Ok(instance)
}

fn fill(instance: &mut Instance, history: Vec<Row>, inbox: Vec<Row>) {
    for (row, events) in history {
        instance.next_row = row + 1;
        events.into_iter().for_each(|event| instance.absorb(event));
    }
    for (row, events) in inbox {
        for event in events {
            instance.arrive(&event);
            instance.inbox.push_back((row, event));
            instance.next_inbox_row = row + 1;
        }
    }
}

/// Lines up what an instance is waiting for.
pub(crate) fn take_up(state: &mut State, mut instance: Instance) {
    let (key, incarnation) = (instance.key.clone(), instance.incarnation);
    for (id, at) in &instance.timers {
        state.due.insert((event::instant(at), key.clone(), incarnation, Alarm::Timer(*id)));
    }
    let scheduled = instance.start().and_then(|(_, start)| start.scheduled_start_timestamp);
    let ended =
        |event: &HistoryEvent| matches!(event.event_type, Some(EventType::ExecutionTerminated(_)));
    if let Some(at) = scheduled
        && instance.history.is_empty()
        && !instance.inbox.iter().any(|(_, event)| ended(event))
    {
        instance.held = true;
        state.due.insert((event::instant(&at), key.clone(), incarnation, Alarm::Start));
    }
    let tasks: Vec<_> = instance.tasks.keys().copied().collect();
    instance.unrecorded &= state.role.is_none();
    if instance.unrecorded {
        state.unrecorded.insert(stored::instance_key(&key));
    }
    let shown = instance.describe().into();
    state.shown.insert(key.clone(), (incarnation, shown));
    state.active.insert(key.clone(), instance);
    for id in tasks {
        state.offer((key.clone(), incarnation, id));
    }
    state.line_up(&key);
    if let Some(instance) = state.active.get_mut(&key).filter(|instance| instance.is_idle()) {
        instance.rest();
    }
}

/// The history of one execution.
pub(crate) async fn history(
    kv: &dyn Kv,
    key: &Key,
    incarnation: u64,
) -> Result<Vec<HistoryEvent>, WorkflowError> {
    let rows = rows(kv, 'h', key, incarnation).await?;
    Ok(rows.into_iter().flat_map(|(_, events)| events).collect())
}

async fn rows(
    kv: &dyn Kv,
    table: char,
    key: &Key,
    incarnation: u64,
) -> Result<Vec<Row>, WorkflowError> {
    let found = kv.list_all(&stored::rows_prefix(table, &key.app, incarnation)).await?;
    found.iter().map(|(name, entry)| read_row(name, &entry.value)).collect()
}

fn read_row(name: &str, value: &[u8]) -> Result<Row, WorkflowError> {
    let events = EventsV1::read(name, value)?.events;
    let row = stored::row_of(name).ok_or_else(|| WorkflowError::Stored {
        key: name.to_owned(),
        reason: "it has no row number".to_owned(),
    })?;
    Ok((row, events))
}

#[cfg(test)]
mod tests {
    use archipel_storage::Tx;
    use archipel_storage::memory::MemoryKv;

    use super::*;

    #[tokio::test]
    async fn together_as_one_by_one() {
        let kv = MemoryKv::default();
        let mut dice = 7_u64;
        let mut roll = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) % sides
        };
        let mut all = Vec::new();
        for incarnation in 1..1_500 {
            let app = if incarnation % 7 == 0 { "orders" } else { "billing/eu" };
            let key = Key::new(app, &format!("i{incarnation}")).expect("valid");
            let mut tx = Tx::new().put(stored::instance_key(&key), InstanceV1::default().write());
            let long = if roll(40) == 0 { 300 } else { 6 };
            for (table, rows) in [('h', roll(long)), ('q', roll(3))] {
                for row in 0..u32::try_from(rows).expect("small") {
                    let name = format!("{table}{row} of {incarnation}");
                    let event = stored::events_row(&[event::raised(name, None)]);
                    tx = tx.put(stored::row_key(table, app, incarnation, row), event);
                }
            }
            kv.commit(tx).await.expect("written");
            // For a while few are wanted, for a while many.
            let few = (incarnation / 300) % 2 == 0;
            if roll(if few { 60 } else { 2 }) == 0 {
                all.push(Begun { key, incarnation, row: ActiveV1::default() });
            }
        }
        all.sort_by(|a, b| a.key.app.cmp(&b.key.app).then(a.incarnation.cmp(&b.incarnation)));
        let together = instances(&kv, &all).await.expect("reads");
        assert_eq!(together.len(), all.len());
        for (Begun { key, incarnation, .. }, found) in all.iter().zip(together) {
            let alone = instance(&kv, key, *incarnation).await.expect("reads");
            assert_eq!((&found.key, found.incarnation), (key, *incarnation));
            assert_eq!(found.history, alone.history, "{key}");
            assert_eq!(found.inbox, alone.inbox, "{key}");
            let next = (found.next_row, found.next_inbox_row);
            assert_eq!(next, (alone.next_row, alone.next_inbox_row), "{key}");
        }
    }
}
