//! All instances, in the order of their names, page by page.
//!
//! The store has the records of most; of those that have none yet ([`State::unrecorded`]), and of
//! all that are at work, memory knows how they are.
//!
//! [`State::unrecorded`]: crate::state::State::unrecorded

use std::collections::BTreeMap;
use std::ops::Bound;

use dapr_durabletask_proto::WorkflowState;

use crate::engine::Shared;
use crate::error::WorkflowError;
use crate::key::Key;
use crate::stored::{InstanceV1, Record as _};

const PAGE: usize = 500;

pub(crate) struct Listed {
    pub key: Key,
    pub state: WorkflowState,
    /// Why it was given up until a person does something.
    pub parked: Option<String>,
}

pub(crate) struct Pages<'a> {
    shared: &'a Shared,
    prefix: String,
    /// `None`: at the end.
    place: Option<Bound<String>>,
}

impl<'a> Pages<'a> {
    /// Those whose records have, or would have, keys under `prefix` and after `after`.
    pub(crate) fn new(shared: &'a Shared, prefix: String, after: Option<String>) -> Self {
        let place = after.map_or_else(|| Bound::Included(prefix.clone()), Bound::Excluded);
        Self { shared, prefix, place: Some(place) }
    }

    /// May be empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Listed>>, WorkflowError> {
        let Some(place) = self.place.take() else { return Ok(None) };
        // First memory, then the store: who gets its record in between is in both, not in neither.
        let unrecorded = self.unrecorded(&place);
        let after = match &place {
            Bound::Excluded(after) => Some(after.as_str()),
            _ => None,
        };
        let stored = self.shared.kv.list(&self.prefix, after, PAGE).await?;
        // The store gives fewer when they are large, but none only at its end.
        let end = [
            stored.last().map(|(name, _)| name),
            unrecorded.last().filter(|_| unrecorded.len() == PAGE),
        ];
        let end = end.into_iter().flatten().min().cloned();
        let mut page: BTreeMap<String, Option<InstanceV1>> = BTreeMap::new();
        let within = |name: &String| end.as_ref().is_none_or(|end| name <= end);
        page.extend(unrecorded.into_iter().filter(&within).map(|name| (name, None)));
        for (name, entry) in stored.into_iter().filter(|(name, _)| within(name)) {
            let record = InstanceV1::read(&name, &entry.value)?;
            page.insert(name, Some(record));
        }
        self.place = end.map(Bound::Excluded);
        let mut listed = Vec::with_capacity(page.len());
        for (name, record) in page {
            let Some(key) = name.strip_prefix("i/").and_then(Key::from_path) else { continue };
            let shown = self.shared.shown(&key, false);
            let record = match record {
                // It has ended since, and has a record now, or it was never there for long.
                None if shown.is_none() => self.shared.record(&key).await?,
                record => record,
            };
            let parked = match &shown {
                Some(_) => self.parked(&key),
                None => record.as_ref().and_then(|record| record.parked.clone()),
            };
            let Some(state) = shown.or(record.and_then(|record| record.state)) else { continue };
            listed.push(Listed { key, state, parked });
        }
        Ok(Some(listed))
    }

    fn parked(&self, key: &Key) -> Option<String> {
        self.shared.lock().active.get(key)?.parked.clone()
    }

    fn unrecorded(&self, place: &Bound<String>) -> Vec<String> {
        let state = self.shared.lock();
        let from = state.unrecorded.range((place.clone(), Bound::Unbounded));
        from.take_while(|name| name.starts_with(&self.prefix)).take(PAGE).cloned().collect()
    }
}
