//! Reading, and hearing that others have written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::connect::{PostgresUrl, Session};
use crate::{Entry, LIST_BYTES_MAX, StorageError, Version};

const GET: &str = "SELECT version, value FROM archipel.entry WHERE namespace = $1 AND key = $2";
const LIST: &str = "SELECT key, version, value FROM (
        SELECT key, version, value,
               sum(octet_length(value)) OVER (ORDER BY key) - octet_length(value) AS before
        FROM (
            SELECT key, version, value FROM archipel.entry
            WHERE namespace = $1 AND key >= $2 AND key > $3 AND ($4::text IS NULL OR key < $4)
            ORDER BY key LIMIT $5
        ) found
    ) summed WHERE before < $6 ORDER BY key";

/// A read has no effect, so it is repeated over a lost connection for this long.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

pub(super) struct Reader {
    url: PostgresUrl,
    namespace: i32,
    link: Mutex<Option<Arc<Link>>>,
    /// One at a time makes a new connection.
    connecting: tokio::sync::Mutex<()>,
    rung: Arc<watch::Sender<u64>>,
    closed: CancellationToken,
}

struct Link {
    session: Session,
    get: Statement,
    list: Statement,
}

impl Reader {
    pub(super) fn new(url: PostgresUrl, namespace: i32, closed: CancellationToken) -> Self {
        let (link, connecting) = (Mutex::new(None), tokio::sync::Mutex::new(()));
        let rung = Arc::new(watch::Sender::new(0));
        Self { url, namespace, link, connecting, rung, closed }
    }

    pub(super) fn bell(&self) -> watch::Receiver<u64> {
        self.rung.subscribe()
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        let rows = self.query(|link| &link.get, &[&self.namespace, &key]).await?;
        Ok(rows.first().map(|row| entry(row, 0)))
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<Vec<(String, Entry)>, StorageError> {
        let end = successor(prefix);
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let bytes = i64::try_from(LIST_BYTES_MAX).unwrap_or(i64::MAX);
        let what: [&(dyn ToSql + Sync); 6] = [&self.namespace, &prefix, &after, &end, &max, &bytes];
        let rows = self.query(|link| &link.list, &what).await?;
        Ok(rows.iter().map(|row| (row.get(0), entry(row, 1))).collect())
    }

    async fn query(
        &self,
        statement: impl Fn(&Link) -> &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StorageError> {
        let deadline = clock::now() + PATIENCE;
        let mut pause = PAUSE_FIRST;
        loop {
            let error = match self.link().await {
                Ok(link) => {
                    let asked = link.session.client.query(statement(&link), parameters);
                    let answer = tokio::select! {
                        biased;
                        answer = asked => answer,
                        () = self.closed.cancelled() => return Err(self.is_closed()),
                    };
                    match answer {
                        Ok(rows) => return Ok(rows),
                        Err(error) => self.url.failed("read", error),
                    }
                }
                Err(error) => error,
            };
            if clock::now() >= deadline || self.closed.is_cancelled() {
                return Err(if self.closed.is_cancelled() { self.is_closed() } else { error });
            }
            tokio::select! {
                biased;
                () = self.closed.cancelled() => {}
                () = clock::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn is_closed(&self) -> StorageError {
        StorageError::Closed { store: self.url.to_string() }
    }

    fn standing(&self) -> Option<Arc<Link>> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        link.filter(|link| !link.session.client.is_closed())
    }

    async fn link(&self) -> Result<Arc<Link>, StorageError> {
        if self.closed.is_cancelled() {
            return Err(self.is_closed());
        }
        if let Some(link) = self.standing() {
            return Ok(link);
        }
        let _alone = self.connecting.lock().await;
        if let Some(link) = self.standing() {
            return Ok(link);
        }
        let (rung, own) = (Arc::clone(&self.rung), self.namespace.to_string());
        let session = self.url.connect(move |payload| {
            if payload == own {
                rung.send_modify(|count| *count += 1);
            }
        });
        let session = session.await?;
        let failed = |source| self.url.failed("read", source);
        session.client.batch_execute("LISTEN archipel").await.map_err(failed)?;
        let get = session.client.prepare(GET).await.map_err(failed)?;
        let list = session.client.prepare(LIST).await.map_err(failed)?;
        let link = Arc::new(Link { session, get, list });
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&link));
        // What was rung while nobody listened was not heard.
        self.rung.send_modify(|count| *count += 1);
        Ok(link)
    }

    pub(super) fn close(&self) {
        drop(self.link.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// A connection, so that what rings is heard, also where nothing is read.
    pub(super) async fn listen(&self) -> bool {
        self.link().await.is_ok()
    }
}

fn entry(row: &Row, at: usize) -> Entry {
    let version: i64 = row.get(at);
    Entry {
        version: Version(u64::try_from(version).unwrap_or_default()),
        value: Bytes::copy_from_slice(row.get(at + 1)),
    }
}

/// The first text after all that begin with `prefix`; `None`: there is none. In UTF-8 the order
/// of bytes is the order of characters.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn the_successor_comes_right_after_all_with_the_prefix() {
        assert_eq!(successor("a/").as_deref(), Some("a0"));
        assert_eq!(successor("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(successor("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!((successor(""), successor("\u{10ffff}")), (None, None));
    }
}
