//! What is known of each service right now: the input of every decision and of every display.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{InstanceState, Service, ServiceName};
use archipel_supervisor::InstanceStatus;

use crate::plan::Plan;

/// Failures in a row after which another try is not expected to end better.
const HOPELESS_AFTER: u32 = 3;

/// How far a service is before its first process may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    /// Not part of this run.
    LeftOut,
    Waiting,
    Building,
    Migrating,
    Done(Built),
    Failed {
        /// `build`, `database` or `migration`.
        phase: &'static str,
        reason: String,
        last_lines: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Of the inputs; part of what makes an instance's specification.
    pub hash: String,
    /// `None`: nothing had changed, or there is nothing to build.
    pub took: Option<Duration>,
    pub had_build: bool,
}

/// Everything that people may want to know, as one immutable value.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub plan: Arc<Plan>,
    /// Counts the manifests applied: tells a state before an `apply` from one after it.
    pub generation: u64,
    pub services: BTreeMap<ServiceName, ServiceState>,
    /// Of Archipel itself: listeners that could not be opened and the like.
    pub problems: Vec<String>,
    /// Why the public entrance does not listen.
    pub gateway_error: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ServiceState {
    pub preparation: Preparation,
    pub instances: Vec<Arc<InstanceStatus>>,
    pub desired: u32,
    /// Every instance is of the latest specification, none of an older one.
    pub current: bool,
}

impl ServiceState {
    pub fn ready(&self) -> u32 {
        let ready = self.instances.iter().filter(|i| i.state == InstanceState::Ready).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// One word for the whole service: that of its least well instance, or of what precedes it.
    pub fn state(&self) -> InstanceState {
        let worst = self.instances.iter().map(|instance| instance.state).max_by_key(|s| rank(*s));
        match (&self.preparation, worst) {
            // A new build that fails does not take the running version down.
            (Preparation::Failed { .. }, Some(state)) if state == InstanceState::Ready => state,
            (Preparation::Failed { .. }, _) => InstanceState::Failed,
            (Preparation::LeftOut, None) => InstanceState::Stopped,
            (_, Some(state)) => state,
            (Preparation::Building, None) => InstanceState::Building,
            (Preparation::Migrating, None) => InstanceState::Migrating,
            (Preparation::Waiting | Preparation::Done(_), None) => InstanceState::Pending,
        }
    }

    /// Why it is not as it should be, in one sentence.
    pub fn reason(&self) -> Option<String> {
        match &self.preparation {
            Preparation::Failed { phase, reason, .. } => Some(format!("{phase} failed: {reason}")),
            Preparation::LeftOut => Some("not part of this run (--only)".to_owned()),
            _ => self.worst().and_then(|instance| instance.reason.clone()),
        }
    }

    /// An instance will be ready soon, if all goes well: callers may wait for it. A first build
    /// or a migration takes longer than anybody waits.
    pub fn is_awaited(&self) -> bool {
        let coming = |instance: &InstanceStatus| match instance.state {
            InstanceState::Pending
            | InstanceState::Starting
            | InstanceState::Draining
            | InstanceState::Stopping => true,
            InstanceState::BackingOff => instance.attempt < HOPELESS_AFTER,
            _ => false,
        };
        let told = self.instances.is_empty() && self.desired > 0;
        matches!(self.preparation, Preparation::Done(_))
            && (told || self.instances.iter().any(|instance| coming(instance)))
    }

    pub fn last_lines(&self) -> &[String] {
        match &self.preparation {
            Preparation::Failed { last_lines, .. } => last_lines,
            _ => self.worst().map_or(&[], |instance| &instance.last_lines),
        }
    }

    fn worst(&self) -> Option<&InstanceStatus> {
        self.instances
            .iter()
            .filter(|instance| instance.state != InstanceState::Ready)
            .max_by_key(|instance| rank(instance.state))
            .map(Arc::as_ref)
    }

    /// All that was asked for is there, or it ended as it may.
    pub fn is_settled_well(&self) -> bool {
        match self.preparation {
            Preparation::LeftOut => true,
            Preparation::Done(_) => {
                let fine = |state| {
                    matches!(
                        state,
                        InstanceState::Ready | InstanceState::Completed | InstanceState::Stopped
                    )
                };
                let count = u32::try_from(self.instances.len()).unwrap_or(u32::MAX);
                self.current
                    && count >= self.desired
                    && self.instances.iter().all(|i| fine(i.state))
            }
            _ => false,
        }
    }

    /// It will not get well by waiting, or hardly: a person has to look.
    pub fn needs_a_person(&self) -> bool {
        let hopeless = |instance: &InstanceStatus| {
            let tries =
                instance.state == InstanceState::BackingOff && instance.attempt >= HOPELESS_AFTER;
            tries || instance.state == InstanceState::Failed
        };
        matches!(self.preparation, Preparation::Failed { .. })
            || self.current && self.instances.iter().any(|instance| hopeless(instance))
    }
}

/// How bad a state is, for choosing the one to show.
fn rank(state: InstanceState) -> u8 {
    match state {
        InstanceState::Ready => 0,
        InstanceState::Completed => 1,
        InstanceState::Stopped => 2,
        InstanceState::Draining => 3,
        InstanceState::Stopping => 4,
        InstanceState::Pending => 5,
        InstanceState::Building => 6,
        InstanceState::Migrating => 7,
        InstanceState::Starting => 8,
        InstanceState::Degraded => 9,
        InstanceState::BackingOff => 10,
        InstanceState::Failed => 11,
    }
}

/// The sentence for callers of a service that has no endpoint.
pub(crate) fn note_for_callers(service: &Service, state: &ServiceState) -> String {
    let word = state.state();
    match state.reason() {
        Some(reason) => format!("{} is {word}: {reason}", service.name),
        None => format!("{} is {word}", service.name),
    }
}
