//! Instances that ended a moment ago and that somebody waits for: whoever is told of an end asks
//! for the result at once, and need not read the store for it.

use std::collections::{HashMap, VecDeque};

use dapr_durabletask_proto::WorkflowState;
use prost::Message as _;

use crate::key::Key;

const ENTRIES_MAX: usize = 2_048;
/// Larger ones are read from the store.
const ENTRY_BYTES_MAX: usize = 16 << 10;

/// As they durably are, with their payloads. The oldest goes first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    states: HashMap<Key, WorkflowState>,
    order: VecDeque<Key>,
}

impl Recent {
    pub(crate) fn put(&mut self, key: Key, state: WorkflowState) {
        if state.encoded_len() > ENTRY_BYTES_MAX {
            return;
        }
        if self.order.len() >= ENTRIES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.states.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.states.insert(key, state);
    }

    pub(crate) fn get(&self, key: &Key, payloads: bool) -> Option<WorkflowState> {
        let mut state = self.states.get(key)?.clone();
        if !payloads {
            (state.input, state.output, state.failure_details) = (None, None, None);
        }
        Some(state)
    }

    /// It is another now, or none. Its place in the order goes when its turn comes.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.states.remove(key);
    }
}
