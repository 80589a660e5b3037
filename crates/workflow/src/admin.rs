//! What people and retention do to instances: list, find, purge.

use std::collections::BTreeSet;
use std::time::Duration;

use archipel_rt::clock::{self, Instant};
use dapr_durabletask_proto::{OrchestrationStatus, PurgeInstanceFilter, WorkflowState};

use crate::engine::{Engine, Shared};
use crate::error::WorkflowError;
use crate::event::instant;
use crate::instance;
use crate::key::{Key, app_prefix};
use crate::pages::{Listed, Pages};
use crate::sharing;
use crate::stored;

const PAGE: usize = 500;

/// How long a purge waits for what a terminated instance had begun: that has been told to end as
/// well, and ends when its own worker has had a turn.
const CHILDREN_END_WITHIN: Duration = Duration::from_secs(10);

/// Which instances; an empty filter lets all pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub name: Option<String>,
    /// Somewhere in the instance's name.
    pub id: Option<String>,
    pub statuses: Vec<OrchestrationStatus>,
    pub created_from: Option<std::time::SystemTime>,
    pub created_to: Option<std::time::SystemTime>,
}

impl From<&PurgeInstanceFilter> for Filter {
    fn from(of: &PurgeInstanceFilter) -> Self {
        Self {
            name: None,
            id: None,
            statuses: of.runtime_status().collect(),
            created_from: of.created_time_from.as_ref().map(instant),
            created_to: of.created_time_to.as_ref().map(instant),
        }
    }
}

impl Filter {
    pub(crate) fn passes(&self, state: &WorkflowState) -> bool {
        let created = state.created_timestamp.as_ref().map(instant);
        self.name.as_ref().is_none_or(|name| *name == state.name)
            && self.id.as_ref().is_none_or(|id| state.instance_id.contains(id.as_str()))
            && (self.statuses.is_empty() || self.statuses.contains(&state.workflow_status()))
            && self.created_from.is_none_or(|from| created.is_some_and(|at| at >= from))
            && self.created_to.is_none_or(|to| created.is_some_and(|at| at <= to))
    }
}

impl Engine {
    /// Instances of an app after the one named `after`, in the order of their names, at most
    /// `max`. The second value says whether there may be more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        app: &str,
        filter: &Filter,
        after: Option<&str>,
        max: usize,
    ) -> Result<(Vec<WorkflowState>, bool), WorkflowError> {
        let prefix = format!("i/{}", app_prefix(app));
        let after = after.map(|id| Key::new(app, id)).transpose()?;
        let mut pages = Pages::new(&self.shared, prefix, after.map(|k| stored::instance_key(&k)));
        let mut found = Vec::new();
        while let Some(page) = pages.next().await? {
            for Listed { state, .. } in page {
                if !filter.passes(&state) {
                    continue;
                }
                if found.len() == max {
                    return Ok((found, true));
                }
                found.push(state);
            }
        }
        Ok((found, false))
    }

    /// Removes an instance that has ended (with `force`, any), and with `recursive` everything
    /// that it had begun. Returns how many are gone. What a terminated one had begun may still be
    /// about to end: it is waited for.
    ///
    /// # Errors
    /// [`WorkflowError::NotFound`], [`WorkflowError::NotCompleted`]; then nothing is removed.
    pub async fn purge(
        &self,
        key: &Key,
        recursive: bool,
        force: bool,
    ) -> Result<u32, WorkflowError> {
        self.purge_within(key, recursive, force, CHILDREN_END_WITHIN).await
    }

    async fn purge_within(
        &self,
        key: &Key,
        recursive: bool,
        force: bool,
        patience: Duration,
    ) -> Result<u32, WorkflowError> {
        if self.get(key, false).await?.is_none() {
            return Err(WorkflowError::NotFound { id: key.id.to_string() });
        }
        let deadline = clock::now() + patience;
        let (mut all, mut next) = (BTreeSet::new(), vec![(key.clone(), None::<(Key, bool)>)]);
        while let Some((key, of)) = next.pop() {
            let Some(mut state) = self.get(&key, false).await? else { continue };
            if let Some((of, terminated)) = of {
                // Its name may have been another's when it was to be begun.
                if !instance::is_child_of(&state, &key.app, &of) {
                    continue;
                }
                if terminated && !force {
                    let Some(ended) = self.ended_by(deadline, &key, state).await? else { continue };
                    state = ended;
                }
            }
            if !force && !instance::is_terminal(state.workflow_status) {
                return Err(WorkflowError::NotCompleted { id: key.id.to_string() });
            }
            if all.insert(key.clone()) && recursive {
                let children = self.shared.stored_children(&key).await?;
                let terminated = state.workflow_status() == OrchestrationStatus::Terminated;
                let of = |child| (child, Some((key.clone(), terminated)));
                next.extend(children.into_iter().map(of));
            }
        }
        let mut gone = 0;
        for key in all {
            gone += u32::from(self.shared.remove(&key, force).await?);
        }
        Ok(gone)
    }

    /// The instance when it has ended, or as it is at `deadline`; `None` when it is gone.
    async fn ended_by(
        &self,
        deadline: Instant,
        key: &Key,
        state: WorkflowState,
    ) -> Result<Option<WorkflowState>, WorkflowError> {
        let ended = |state: Option<&WorkflowState>| {
            state.is_none_or(|state| instance::is_terminal(state.workflow_status))
        };
        let waited = clock::timeout_at(deadline, self.wait(key, false, ended)).await;
        waited.unwrap_or(Ok(Some(state)))
    }

    /// Removes the instances of an app that have ended and that `filter` lets pass.
    ///
    /// # Errors
    /// When the store fails; some may be gone then.
    pub async fn purge_where(
        &self,
        app: &str,
        filter: &Filter,
        recursive: bool,
    ) -> Result<u32, WorkflowError> {
        let (mut gone, mut place) = (0, None::<String>);
        loop {
            let (page, more) = self.list(app, filter, place.as_deref(), PAGE).await?;
            for state in &page {
                if instance::is_terminal(state.workflow_status) {
                    let key = Key::new(app, &state.instance_id)?;
                    match self.purge_within(&key, recursive, false, Duration::ZERO).await {
                        Ok(count) => gone += count,
                        // Gone with its parent, begun anew, or with a child still at work.
                        Err(
                            WorkflowError::NotFound { .. } | WorkflowError::NotCompleted { .. },
                        ) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            place = page.last().map(|state| state.instance_id.clone());
            if !more {
                return Ok(gone);
            }
        }
    }
}

impl Shared {
    /// False when it is gone already, or active again and not to be forced.
    pub(crate) async fn remove(&self, key: &Key, force: bool) -> Result<bool, WorkflowError> {
        if let Some(removed) = sharing::remove_elsewhere(self, key, force).await {
            return removed;
        }
        let Some(incarnation) = self.incarnation(key).await? else { return Ok(false) };
        let record = self.record(key).await?.and_then(|record| record.state);
        let ended = stored::done_key_of(&record.unwrap_or_default(), key);
        let (removed, durable) = self.change_and(|state, unit| {
            if !state.mine(key) {
                // Handed over just now.
                return false;
            }
            let active = state.active.get(key).is_some_and(|i| i.completed.is_none());
            if active && !force {
                return false;
            }
            state.erase(key, incarnation, unit);
            ended.into_iter().for_each(|record| unit.delete(record));
            true
        });
        durable.wait().await?;
        Ok(removed)
    }
}
