//! The store itself: the contract over reader and writer.

use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{self as rt, CancellationToken, Tasks};
use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot, watch};

use super::connect::PostgresUrl;
use super::reader::Reader;
use super::schema;
use super::writer::{Work, Writer};
use crate::{Entry, Kv, KvError, StorageError, Tx, Version};

const QUEUE_MAX: usize = 4_096;
/// What may wait in memory to be written, in KiB. Above it callers wait.
const QUEUE_KIB_MAX: u32 = 64 << 10;
/// A server that hangs does not hold up the end for longer.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// The entries of one namespace of one database.
pub struct PostgresKv {
    url: PostgresUrl,
    queue: rt::Sender<Work>,
    room: Arc<Semaphore>,
    reader: Arc<Reader>,
    tasks: Tasks,
    closed: CancellationToken,
}

impl std::fmt::Debug for PostgresKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresKv({}, {:?})", self.url, self.queue)
    }
}

impl PostgresKv {
    /// Connects, and makes the tables when they are not there. `namespace` separates
    /// applications that share the database.
    ///
    /// # Errors
    /// [`StorageError::Unreachable`] when nobody answers or nobody lets us in,
    /// [`StorageError::Refused`] when the role may not do what is needed,
    /// [`StorageError::Newer`] after a newer Archipel.
    pub async fn open(url: PostgresUrl, namespace: &str) -> Result<Self, StorageError> {
        let session = url.connect(|_| {}).await?;
        let number = schema::prepare(&url, &session, namespace).await?;
        drop(session);
        let (stop, closed) = (CancellationToken::new(), CancellationToken::new());
        let tasks = Tasks::new(&stop);
        let (queue, work) = rt::channel("storage.postgres", QUEUE_MAX);
        let writer = Writer::new(url.clone(), number);
        let end = tasks.stop_token();
        tasks.spawn("storage.postgres.write", async move { writer.run(work, end).await });
        let reader = Arc::new(Reader::new(url.clone(), number, closed.clone()));
        let (own, end) = (Arc::clone(&reader), tasks.stop_token());
        tasks.spawn("storage.postgres.listen", async move {
            // Whoever reads makes a lost connection anew; this is for when nobody does.
            while !end.is_cancelled() {
                let _ = own.listen().await;
                tokio::select! {
                    biased;
                    () = end.cancelled() => {}
                    () = rt::clock::sleep(Duration::from_secs(1)) => {}
                }
            }
        });
        let room = Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize));
        Ok(Self { url, queue, room, reader, tasks, closed })
    }

    fn is_closed(&self) -> StorageError {
        StorageError::Closed { store: self.url.to_string() }
    }
}

#[async_trait]
impl Kv for PostgresKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        // The server takes no NUL, and no key has one.
        if key.contains('\0') {
            return Ok(None);
        }
        self.reader.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Entry)>, StorageError> {
        if prefix.contains('\0') || after.is_some_and(|after| after.contains('\0')) {
            return Err(StorageError::Invalid("no key has a NUL".to_owned()));
        }
        self.reader.list(prefix, after.unwrap_or(""), max).await
    }

    async fn commit(&self, tx: Tx) -> Result<Version, KvError> {
        let bytes = tx.check()?;
        if self.closed.is_cancelled() {
            return Err(self.is_closed().into());
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, QUEUE_KIB_MAX);
        let permit = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let permit = permit.map_err(|_| self.is_closed())?;
        let (answer, answered) = oneshot::channel();
        let work = Work { tx, bytes, answer, _permit: permit };
        self.queue.send(work).await.map_err(|_| self.is_closed())?;
        answered.await.map_err(|_| self.is_closed())?
    }

    fn bell(&self) -> Option<watch::Receiver<u64>> {
        Some(self.reader.bell())
    }

    async fn close(&self) {
        self.closed.cancel();
        if self.tasks.shutdown(CLOSE_MAX).await > 0 {
            tracing::warn!(store = %self.url, "it was left without an answer");
        }
        self.reader.close();
    }
}
