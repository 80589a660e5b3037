//! Reading what was stored: at start, everything that has not ended.

use archipel_storage::{Kv, KvExt as _};
use dapr_durabletask_proto::HistoryEvent;

use crate::engine::Config;
use crate::error::WorkflowError;
use crate::event;
use crate::instance::Instance;
use crate::key::Key;
use crate::migrate;
use crate::state::{Alarm, State};
use crate::stored::{self, ActiveV1, EventsV1, InstanceV1, MarkV1, Record as _};
use dapr_durabletask_proto::history_event::EventType;

pub(crate) async fn load(kv: &dyn Kv, config: &Config) -> Result<State, WorkflowError> {
    migrate::to_this_layout(kv).await?;
    let meta = kv.get(stored::META).await?;
    let meta = meta.map(|entry| MarkV1::read(stored::META, &entry.value)).transpose()?;
    let mut state = State::new(meta.map_or(0, |mark| mark.incarnation), config);
    for (record, entry) in kv.list_all("a/").await? {
        let id = ActiveV1::read(&record, &entry.value)?.id;
        let (app, incarnation) = stored::execution_of(&record).ok_or_else(|| {
            WorkflowError::Stored { key: record.clone(), reason: "it names no app".to_owned() }
        })?;
        let key = Key::new(&app, &id)?;
        let instance = instance(kv, &key, incarnation).await?;
        take_up(&mut state, instance);
    }
    Ok(state)
}

async fn instance(kv: &dyn Kv, key: &Key, incarnation: u64) -> Result<Instance, WorkflowError> {
    let mut instance = Instance::new(key.clone(), incarnation);
    let name = stored::instance_key(key);
    if let Some(entry) = kv.get(&name).await? {
        let record = InstanceV1::read(&name, &entry.value)?;
        instance.custom_status = record.state.and_then(|state| state.custom_status);
        instance.parked = record.parked;
    }
    for (row, events) in rows(kv, 'h', key, incarnation).await? {
        instance.next_row = row + 1;
        events.into_iter().for_each(|event| instance.absorb(event));
    }
    for (row, events) in rows(kv, 'q', key, incarnation).await? {
        for event in events {
            instance.arrive(&event);
            instance.inbox.push_back((row, event));
            instance.next_inbox_row = row + 1;
        }
    }
    Ok(instance)
}

/// Lines up what an instance is waiting for.
fn take_up(state: &mut State, mut instance: Instance) {
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
) -> Result<Vec<(u32, Vec<HistoryEvent>)>, WorkflowError> {
    let found = kv.list_all(&stored::rows_prefix(table, &key.app, incarnation)).await?;
    let read = found.into_iter().map(|(name, entry)| {
        let events = EventsV1::read(&name, &entry.value)?.events;
        let row = stored::row_of(&name).ok_or_else(|| WorkflowError::Stored {
            key: name,
            reason: "it has no row number".to_owned(),
        })?;
        Ok((row, events))
    });
    read.collect()
}
