//! Takes away what has expired. Readers do not wait for it; it is about space.

use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::{Expect, KvError, StorageError, Tx};
use futures_util::future::join_all;

use crate::States;
use crate::record::Record;
use crate::space::{MARKS, read_mark};

const EVERY: Duration = Duration::from_secs(15);
/// Of one step.
const MARKS_MAX: usize = 256;

impl States {
    /// Sweeps from time to time, until told to stop.
    pub async fn keep_swept(self, stop: CancellationToken) {
        loop {
            let pause = match self.sweep().await {
                // There is more, and others have had their turn in between.
                Ok(MARKS_MAX) => Duration::ZERO,
                Ok(_) => EVERY,
                Err(StorageError::Closed { .. }) => return,
                Err(error) => {
                    tracing::warn!(error = archipel_rt::chain(&error), "expired state is kept");
                    EVERY
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = clock::sleep(pause) => {}
            }
        }
    }

    /// One bounded step. Returns how many marks were taken away.
    ///
    /// # Errors
    /// What the storage says; some may have been taken away.
    pub async fn sweep(&self) -> Result<usize, StorageError> {
        let now_ms = self.now_ms();
        let marks = self.kv.list(MARKS, None, MARKS_MAX).await?;
        let due = marks.into_iter().map(|(mark, _)| mark).take_while(|mark| {
            // What is no mark of ours goes first of all.
            read_mark(mark).is_none_or(|(due, _)| due <= now_ms)
        });
        let swept = join_all(due.map(|mark| self.sweep_one(mark, now_ms))).await;
        swept.into_iter().try_fold(0, |count, done| Ok(count + usize::from(done?)))
    }

    /// `false`: it was changed while we looked, so the next time.
    async fn sweep_one(&self, mark: String, now_ms: u64) -> Result<bool, StorageError> {
        let mut tx = Tx::new();
        if let Some((_, entry)) = read_mark(&mark) {
            match self.kv.get(&entry).await? {
                None => tx = tx.expect(entry, Expect::Absent),
                Some(found) => {
                    tx = tx.expect(entry.clone(), Expect::Version(found.version));
                    // It may have been written again since, with another time or with none.
                    if Record::decode(&found.value).is_ok_and(|record| !record.is_live(now_ms)) {
                        tx = tx.delete(entry);
                    }
                }
            }
        }
        match self.kv.commit(tx.delete(mark)).await {
            Ok(_) => Ok(true),
            Err(KvError::Conflict { .. }) => Ok(false),
            Err(KvError::Storage(error)) => Err(error),
        }
    }
}
