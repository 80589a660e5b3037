//! The keys of a log's last records, to find out whether a record is there already.

use std::collections::{HashMap, VecDeque};

use crate::RecordKey;

#[derive(Debug, Default)]
pub(super) struct Window {
    seqs: HashMap<RecordKey, u64>,
    order: VecDeque<(u64, RecordKey)>,
}

impl Window {
    pub(super) fn get(&self, key: &RecordKey) -> Option<u64> {
        self.seqs.get(key).copied()
    }

    /// Notes a record appended at `seq`.
    pub(super) fn insert(&mut self, seq: u64, key: RecordKey) {
        self.seqs.insert(key, seq);
        self.order.push_back((seq, key));
    }

    pub(super) fn forget_before(&mut self, first: u64) {
        while let Some(&(seq, key)) = self.order.front()
            && seq < first
        {
            self.order.pop_front();
            if self.seqs.get(&key) == Some(&seq) {
                self.seqs.remove(&key);
            }
        }
    }
}
