//! The one thread that writes a file.
//!
//! It drains the queue, applies all of it in one transaction and answers everybody after the
//! commit. An error rolls all of it back, and everybody whose work was in the transaction gets
//! it; work behind it in the queue is tried in a transaction of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use archipel_rt as rt;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::file::Opened;
use crate::StorageError;
use crate::error::show;

/// Commands in one commit: above this a longer transaction saves no more syncs worth having.
const BATCH_COMMANDS_MAX: usize = 4_096;
const QUEUE_COMMANDS_MAX: usize = 4_096;
/// What may wait in memory to be written, in KiB. Above it producers wait.
const QUEUE_KIB_MAX: u32 = 64 << 10;

pub(super) type Answer<T> = oneshot::Sender<Result<T, StorageError>>;

/// What a kind of file does with its commands. It keeps the answers until the transaction's end.
pub(super) trait Engine: Send + 'static {
    type Command: Send + 'static;

    /// Reads what it keeps in memory from the file; also after a failed transaction, when memory
    /// and file may have come apart.
    fn load(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Answers a command that no transaction could be begun for.
    fn refuse(&mut self, command: Self::Command, error: StorageError);

    /// Notes the answer first, then works inside the open transaction.
    fn apply(&mut self, connection: &Connection, command: Self::Command) -> rusqlite::Result<()>;

    /// The last thing before the commit: what is written once per transaction.
    fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Answers everybody since the last call.
    fn finish(&mut self, outcome: Result<(), StorageError>);
}

enum Message<C> {
    Work { command: C, _permit: OwnedSemaphorePermit },
    Close,
}

/// The handle of the thread; the thread ends when the handle is closed or dropped.
pub(super) struct Writer<C> {
    path: PathBuf,
    queue: rt::Sender<Message<C>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl<C> std::fmt::Debug for Writer<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({}, {:?})", self.path.display(), self.queue)
    }
}

impl<C: Send + 'static> Writer<C> {
    pub(super) fn start<E: Engine<Command = C>>(
        path: &Path,
        file: Opened,
        mut engine: E,
    ) -> Result<Self, StorageError> {
        engine.load(&file.connection).map_err(|e| StorageError::sqlite(path, "read", e))?;
        let (queue, messages) = rt::channel("storage.writer", QUEUE_COMMANDS_MAX);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let worker = Worker { path: path.to_owned(), file, engine, messages, stale: false };
        let thread = thread::Builder::new()
            .name(format!("db-{stem}"))
            .spawn(move || worker.run())
            .map_err(|e| StorageError::io(path, "given a writer thread", e))?;
        Ok(Self {
            path: path.to_owned(),
            queue,
            room: Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits for room in the queue and for the commit.
    pub(super) async fn submit<T>(
        &self,
        bytes: u64,
        command: impl FnOnce(Answer<T>) -> C + Send,
    ) -> Result<T, StorageError> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, QUEUE_KIB_MAX);
        let permit = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let permit = permit.map_err(|_| self.closed())?;
        let (answer, answered) = oneshot::channel();
        let message = Message::Work { command: command(answer), _permit: permit };
        self.queue.send(message).await.map_err(|_| self.closed())?;
        answered.await.map_err(|_| self.closed())?
    }

    pub(super) async fn close(&self) {
        let _ = self.queue.send(Message::Close).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let ended = rt::blocking(move || thread.join()).await;
            if ended.is_err() {
                tracing::error!(store = %self.path.display(), "the writer thread panicked");
            }
        }
    }

    fn closed(&self) -> StorageError {
        StorageError::Closed { store: show(&self.path) }
    }
}

struct Worker<E: Engine> {
    path: PathBuf,
    engine: E,
    messages: rt::Receiver<Message<E::Command>>,
    /// The engine's memory has to be read anew before the next transaction.
    stale: bool,
    file: Opened,
}

impl<E: Engine> Worker<E> {
    fn run(mut self) {
        let mut waiting = Vec::new();
        let mut open = true;
        while open {
            let Some(first) = self.messages.blocking_recv() else { break };
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Work { command, _permit } => waiting.push((command, _permit)),
                    Message::Close => {
                        open = false;
                        break;
                    }
                }
                if waiting.len() < BATCH_COMMANDS_MAX {
                    next = self.messages.try_recv().ok();
                }
            }
            let mut commands = std::mem::take(&mut waiting).into_iter();
            while commands.len() > 0 {
                self.transaction(&mut commands);
            }
        }
        // Leaves one tidy file behind; when it cannot, the next opening does the same.
        let _ = self.file.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn transaction(
        &mut self,
        commands: &mut impl ExactSizeIterator<Item = (E::Command, OwnedSemaphorePermit)>,
    ) {
        if let Err(error) = self.begin() {
            let error = self.failed(error);
            commands.for_each(|(command, _)| self.engine.refuse(command, error.clone()));
            return;
        }
        // Held to the end: what is being written still takes room.
        let mut permits = Vec::with_capacity(commands.len());
        let outcome = self.apply_all(commands, &mut permits).map_err(|error| self.failed(error));
        self.engine.finish(outcome);
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        let connection = &self.file.connection;
        if self.stale {
            self.engine.load(connection)?;
            self.stale = false;
        }
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    fn apply_all(
        &mut self,
        commands: &mut impl Iterator<Item = (E::Command, OwnedSemaphorePermit)>,
        permits: &mut Vec<OwnedSemaphorePermit>,
    ) -> rusqlite::Result<()> {
        let connection = &self.file.connection;
        for (command, permit) in commands.by_ref() {
            permits.push(permit);
            self.engine.apply(connection, command)?;
        }
        self.engine.seal(connection)?;
        connection.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    fn failed(&mut self, error: rusqlite::Error) -> StorageError {
        let connection = &self.file.connection;
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(store = %self.path.display(), %error, "rollback failed");
        }
        self.stale = true;
        StorageError::sqlite(&self.path, "written", error)
    }
}
