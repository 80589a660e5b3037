//! The tables, made or brought up to date when a store is opened.

use std::sync::Arc;

use super::connect::{PostgresUrl, Session};
use crate::StorageError;

const FORMAT: i32 = 1;
const CREATE: &str = include_str!("schema.sql");
/// Those who open at the same time make it one after the other. Any number that is ours.
const LOCK: i64 = 0x6172_6368_6970_656c;

/// Returns the number of the namespace.
pub(super) async fn prepare(
    url: &PostgresUrl,
    session: &Session,
    namespace: &str,
) -> Result<i32, StorageError> {
    let client = &session.client;
    let failed = |action| move |source| url.failed(action, source);
    let encoding: String = client
        .query_one("SELECT current_setting('server_encoding')", &[])
        .await
        .map_err(failed("read"))?
        .get(0);
    if encoding != "UTF8" {
        return Err(StorageError::Invalid(format!(
            "the database {url} has the encoding {encoding}; Archipel needs one with UTF8 \
             (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)"
        )));
    }
    match format(url, session).await? {
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => {
            let (found, known) = (found.into(), FORMAT.into());
            return Err(StorageError::Newer { store: url.to_string(), found, known });
        }
        _ => create(url, session).await?,
    }
    // Nothing is written when it is there: a number would be used up each time.
    let find = "SELECT id FROM archipel.namespace WHERE name = $1";
    let make = "INSERT INTO archipel.namespace (name) VALUES ($1) ON CONFLICT DO NOTHING";
    if let Some(row) = client.query_opt(find, &[&namespace]).await.map_err(failed("read"))? {
        return Ok(row.get(0));
    }
    client.execute(make, &[&namespace]).await.map_err(failed("written"))?;
    Ok(client.query_one(find, &[&namespace]).await.map_err(failed("read"))?.get(0))
}

async fn format(url: &PostgresUrl, session: &Session) -> Result<Option<i32>, StorageError> {
    let failed = |source| url.failed("read", source);
    // Not `to_regclass`: within a transaction that may answer from a cache.
    let there = "SELECT count(*) > 0 FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = 'archipel' AND c.relname = 'format'";
    if !session.client.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = session.client.query_opt("SELECT version FROM archipel.format", &[]).await;
    Ok(row.map_err(failed)?.map(|row| row.get(0)))
}

async fn create(url: &PostgresUrl, session: &Session) -> Result<(), StorageError> {
    let failed = |source: tokio_postgres::Error| StorageError::Refused {
        store: url.to_string(),
        action: "given the tables of Archipel (its role needs the right CREATE on the database)",
        source: Arc::new(source),
    };
    let run = async |sql: &str| session.client.batch_execute(sql).await.map_err(failed);
    run(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})")).await?;
    // Somebody else may have made it while we waited.
    let made = match format(url, session).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => run(CREATE).await,
        Err(error) => Err(error),
    };
    run(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    made
}
