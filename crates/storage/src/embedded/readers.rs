//! Read-only connections, made when needed and kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use archipel_rt as rt;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::file::open_reader;
use crate::StorageError;
use crate::error::show;

const CONNECTIONS_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Readers {
    path: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path: path.into(), idle: Arc::default(), turns: Semaphore::new(CONNECTIONS_MAX) }
    }

    /// Runs `work` on a connection of its own, on the blocking pool.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let closed = |_| StorageError::Closed { store: show(&self.path) };
        let _turn = self.turns.acquire().await.map_err(closed)?;
        let (path, idle) = (Arc::clone(&self.path), Arc::clone(&self.idle));
        rt::blocking(move || {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let read = || {
                let connection = kept.map_or_else(|| open_reader(&path), Ok)?;
                let value = work(&connection)?;
                Ok((connection, value))
            };
            // A connection on which something failed is not kept.
            let (connection, value) = read().map_err(|e| StorageError::sqlite(&path, "read", e))?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(value)
        })
        .await
    }

    /// Waits for the reads under way and refuses others.
    pub(super) async fn close(&self) {
        let all = u32::try_from(CONNECTIONS_MAX).expect("a small number");
        if let Ok(turns) = self.turns.acquire_many(all).await {
            turns.forget();
        }
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
