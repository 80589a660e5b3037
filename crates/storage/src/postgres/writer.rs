//! The one task that writes: it takes all transactions that wait and sends them as one call.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{CancellationToken, Receiver, clock};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::connect::{PostgresUrl, Session};
use crate::{BATCH_BYTES_MAX, Expect, KvError, StorageError, Tx, Version, Write};

const COMMIT: &str = "SELECT * FROM archipel.commit_1($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const BATCH_MAX: usize = 2_048;
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) type Answer = oneshot::Sender<Result<Version, KvError>>;

pub(super) struct Work {
    pub(super) tx: Tx,
    pub(super) bytes: u64,
    pub(super) answer: Answer,
    /// Held to the end: what is being written still takes room.
    pub(super) _permit: OwnedSemaphorePermit,
}

pub(super) struct Writer {
    url: PostgresUrl,
    namespace: i32,
    link: Option<(Session, Statement)>,
    /// After an attempt that failed: not before.
    next_try: Option<(clock::Instant, Duration, StorageError)>,
}

impl Writer {
    pub(super) fn new(url: PostgresUrl, namespace: i32) -> Self {
        Self { url, namespace, link: None, next_try: None }
    }

    /// Until `stop`, then what is left.
    pub(super) async fn run(mut self, mut queue: Receiver<Work>, stop: CancellationToken) {
        let mut waiting: VecDeque<Work> = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let next = tokio::select! {
                    biased;
                    next = queue.recv() => next,
                    () = stop.cancelled() => {
                        queue.close();
                        queue.recv().await
                    }
                };
                let Some(first) = next else { return };
                waiting.push_back(first);
            }
            while waiting.len() < BATCH_MAX
                && let Ok(next) = queue.try_recv()
            {
                waiting.push_back(next);
            }
            let batch = take_batch(&mut waiting);
            self.write(batch).await;
        }
    }

    async fn write(&mut self, batch: Vec<Work>) {
        match self.send(&batch).await {
            Ok(row) => answer(batch, &row),
            // One of them cannot be written; the others shall not suffer for it.
            Err(Failed::Refused(_)) if batch.len() > 1 => {
                for work in batch {
                    let alone = [work];
                    match self.send(&alone).await {
                        Ok(row) => answer(alone.into(), &row),
                        Err(error) => refuse(alone.into(), &error.into()),
                    }
                }
            }
            Err(error) => refuse(batch, &error.into()),
        }
    }

    async fn send(&mut self, batch: &[Work]) -> Result<Row, Failed> {
        let namespace = self.namespace;
        let (session, statement) = self.link().await.map_err(Failed::NotSent)?;
        let parts = Parts::of(batch);
        let count = i32::try_from(batch.len()).unwrap_or(i32::MAX);
        let ring = batch.iter().any(|work| work.tx.ring);
        let what: [&(dyn ToSql + Sync); 9] = [
            &namespace,
            &count,
            &parts.e_tx,
            &parts.e_key,
            &parts.e_version,
            &parts.w_tx,
            &parts.w_key,
            &parts.w_value,
            &ring,
        ];
        let error = match session.client.query_one(&*statement, &what).await {
            Ok(row) => return Ok(row),
            Err(error) => error,
        };
        let store = self.url.to_string();
        Err(match error.as_db_error() {
            // The transaction was rolled back. A server that goes down may have said so after
            // the commit.
            Some(said) if *said.code() != SqlState::ADMIN_SHUTDOWN && !is_fatal(said) => {
                let source = Arc::new(error);
                Failed::Refused(StorageError::Refused { store, action: "written", source })
            }
            _ => {
                self.link = None;
                Failed::Lost(StorageError::Io { store, action: "written", source: Arc::new(error) })
            }
        })
    }

    async fn link(&mut self) -> Result<&mut (Session, Statement), StorageError> {
        if self.link.as_ref().is_some_and(|(session, _)| session.client.is_closed()) {
            self.link = None;
        }
        if self.link.is_none() {
            if let Some((at, _, error)) = &self.next_try
                && *at > clock::now()
            {
                return Err(error.clone());
            }
            match self.connect().await {
                Ok(link) => {
                    self.next_try = None;
                    self.link = Some(link);
                }
                Err(error) => {
                    let last = self.next_try.take().map(|(_, pause, _)| pause * 2);
                    let pause = last.unwrap_or(PAUSE_FIRST).min(PAUSE_MAX);
                    self.next_try = Some((clock::now() + pause, pause, error.clone()));
                    return Err(error);
                }
            }
        }
        Ok(self.link.as_mut().expect("made above"))
    }

    async fn connect(&self) -> Result<(Session, Statement), StorageError> {
        let session = self.url.connect(|_| {}).await?;
        let statement = session.client.prepare(COMMIT).await;
        let statement = statement.map_err(|source| StorageError::Unreachable {
            store: self.url.to_string(),
            source: Arc::new(source),
        })?;
        Ok((session, statement))
    }
}

enum Failed {
    /// Nothing was applied: there was no connection.
    NotSent(StorageError),
    /// Nothing was applied: the server says so.
    Refused(StorageError),
    /// Nobody knows.
    Lost(StorageError),
}

impl From<Failed> for StorageError {
    fn from(failed: Failed) -> Self {
        let (Failed::NotSent(error) | Failed::Refused(error) | Failed::Lost(error)) = failed;
        error
    }
}

fn is_fatal(said: &tokio_postgres::error::DbError) -> bool {
    matches!(said.severity(), "FATAL" | "PANIC")
}

/// As many as may go together. The checks of one see the store before all of them, so who expects
/// something of a key that one before it writes comes with the next.
fn take_batch(waiting: &mut VecDeque<Work>) -> Vec<Work> {
    let (mut batch, mut bytes, mut written) = (Vec::new(), 0, HashSet::new());
    while let Some(work) = waiting.pop_front() {
        bytes += work.bytes;
        let depends = work.tx.expects.iter().any(|(key, _)| written.contains(key));
        if !batch.is_empty() && (depends || bytes > BATCH_BYTES_MAX) {
            waiting.push_front(work);
            break;
        }
        written.extend(work.tx.writes.iter().map(|write| write.key().to_owned()));
        batch.push(work);
    }
    batch
}

/// A batch as the function takes it.
#[derive(Default)]
struct Parts<'a> {
    e_tx: Vec<i32>,
    e_key: Vec<&'a str>,
    e_version: Vec<i64>,
    w_tx: Vec<i32>,
    w_key: Vec<&'a str>,
    w_value: Vec<Option<&'a [u8]>>,
}

impl<'a> Parts<'a> {
    fn of(batch: &'a [Work]) -> Self {
        let mut parts = Self::default();
        for (number, work) in (1..).zip(batch) {
            for (key, expect) in &work.tx.expects {
                parts.e_tx.push(number);
                parts.e_key.push(key);
                parts.e_version.push(match expect {
                    Expect::Absent => -1,
                    // None was ever given so high.
                    Expect::Version(version) => i64::try_from(version.0).unwrap_or(i64::MAX),
                });
            }
            let mut last: HashMap<&str, Option<&Bytes>> = HashMap::new();
            for write in &work.tx.writes {
                match write {
                    Write::Put { key, value } => last.insert(key, Some(value)),
                    Write::Delete { key } => last.insert(key, None),
                };
            }
            for (key, value) in last {
                parts.w_tx.push(number);
                parts.w_key.push(key);
                parts.w_value.push(value.map(AsRef::as_ref));
            }
        }
        parts
    }
}

fn answer(batch: Vec<Work>, row: &Row) {
    let base: i64 = row.get(0);
    let failed: Vec<i32> = row.get(1);
    let keys: Option<Vec<String>> = row.get(2);
    let failed: HashMap<i32, String> = failed.into_iter().zip(keys.into_iter().flatten()).collect();
    for (number, work) in (1..).zip(batch) {
        let result = match failed.get(&number) {
            Some(key) => Err(KvError::Conflict { key: key.clone() }),
            None => Ok(Version(u64::try_from(base + i64::from(number)).unwrap_or_default())),
        };
        drop(work.answer.send(result));
    }
}

fn refuse(batch: Vec<Work>, error: &StorageError) {
    for work in batch {
        drop(work.answer.send(Err(KvError::Storage(error.clone()))));
    }
}
