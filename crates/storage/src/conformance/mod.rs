//! The contracts of [`crate::Log`] and [`crate::Kv`] as suites that every back end passes.
//!
//! A back end brings a fixture, which opens the same store again and again; the macros make one
//! test of each rule:
//!
//! ```ignore
//! log_conformance!(embedded, EmbeddedFixture::new());
//! kv_conformance!(embedded, EmbeddedFixture::new());
//! ```

mod kv;
mod log;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::kv::*;
pub use self::log::*;
use crate::{Kv, Logs};

/// Opens one and the same store each time; the one before is closed by then.
#[async_trait]
pub trait LogFixture: Send + Sync {
    async fn open(&self) -> Arc<dyn Logs>;
}

/// As [`LogFixture`].
#[async_trait]
pub trait KvFixture: Send + Sync {
    async fn open(&self) -> Arc<dyn Kv>;
}

/// A generator that replays from its seed; the suites print the seed when they fail, because it
/// is part of every assertion's message.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }
}

/// Each rule of [`crate::Log`] as one test.
#[macro_export]
macro_rules! log_conformance {
    ($name:ident, $fixture:expr) => {
        mod $name {
            use super::*;
            $crate::log_conformance!(@tests $fixture;
                positions_start_at_one_and_have_no_gaps
                a_read_is_bounded_by_records_and_bytes
                logs_do_not_see_each_other
                many_producers_get_distinct_positions_in_their_order
                a_batch_lies_together
                a_key_is_stored_once
                a_key_is_stored_once_also_after_reopening
                a_key_is_forgotten_outside_the_window
                truncated_records_are_gone_and_positions_go_on
                all_is_there_after_reopening
                a_reader_is_told_when_there_is_more
                times_never_decrease_and_can_be_sought
                what_is_too_large_is_refused_and_nothing_stored
                a_closed_store_says_so
                any_sequence_of_calls_agrees_with_a_model
            );
        }
    };
    (@tests $fixture:expr; $($test:ident)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $crate::conformance::$test(&$fixture).await;
        })+
    };
}

/// Each rule of [`crate::Kv`] as one test.
#[macro_export]
macro_rules! kv_conformance {
    ($name:ident, $fixture:expr) => {
        mod $name {
            use super::*;
            $crate::log_conformance!(@tests $fixture;
                what_is_put_can_be_read
                a_transaction_happens_whole_or_not_at_all
                an_expectation_guards_a_write
                a_version_never_comes_back
                a_list_is_ordered_and_paged
                counting_together_loses_nothing
                entries_are_there_after_reopening
                bad_keys_and_values_are_refused
                a_closed_kv_says_so
                any_sequence_of_transactions_agrees_with_a_model
            );
        }
    };
}
