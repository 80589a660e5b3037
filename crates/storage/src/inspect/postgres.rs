//! A PostgreSQL database, in a transaction that the server keeps from writing.
//!
//! A statement is prepared first, which the server does with one statement only: what it runs
//! cannot end the transaction and begin another.
//!
//! Reading is not harmless to a superuser, who may read files of the server and end processes by
//! calling functions. Such a role is put down for the transaction to one that may read every table
//! and nothing else.

use std::pin::pin;

use archipel_rt::clock;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage as Message};

use super::{InspectError, QUERY_TIME_MAX, Rows, TABLES_MAX, Table, cut};

const TABLES: &str = "SELECT c.relname, \
     CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END, \
     c.reltuples::bigint::text, pg_catalog.pg_total_relation_size(c.oid)::text, \
     (SELECT string_agg(a.attname, E'\\n' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
     n.nspname \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
     AND n.nspname NOT LIKE 'pg\\_%' ORDER BY n.nspname, c.relname";

/// Small enough to be counted rather than estimated.
const COUNTED_MAX: i64 = 100_000;

/// What a superuser becomes; servers from version 14 have it.
const READER: &str = "pg_read_all_data";

pub(super) async fn query(url: &str, sql: &str) -> Result<Rows, InspectError> {
    within(url, async |client| run(client, sql).await).await
}

pub(super) async fn tables(url: &str) -> Result<Vec<Table>, InspectError> {
    within(url, list).await
}

/// The connection lives as long as this future: when it is dropped, the server sees the end of
/// the connection and stops.
async fn within<T>(
    url: &str,
    work: impl AsyncFnOnce(&Client) -> Result<T, InspectError>,
) -> Result<T, InspectError> {
    let open = |error: &tokio_postgres::Error| InspectError::Open(say(error));
    let mut config: Config = url.parse().map_err(|error| open(&error))?;
    config.connect_timeout(QUERY_TIME_MAX).application_name("archipel console");
    let limit = format!(
        "-c default_transaction_read_only=on -c statement_timeout={} -c lock_timeout=1000",
        QUERY_TIME_MAX.as_millis()
    );
    config.options(&limit);
    let asked = async {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| open(&error))?;
        let done = async {
            // Older servers do not know it; there the time limit alone stops a statement.
            let _ = client.batch_execute("SET client_connection_check_interval = '200ms'").await;
            client.batch_execute("BEGIN READ ONLY").await.map_err(refused)?;
            put_down(&client).await?;
            work(&client).await
        };
        match select(pin!(done), pin!(connection)).await {
            Either::Left((done, _)) => done,
            Either::Right((Err(error), _)) => Err(open(&error)),
            Either::Right((Ok(()), _)) => Err(InspectError::Open("it was closed".to_owned())),
        }
    };
    let limit = QUERY_TIME_MAX + QUERY_TIME_MAX / 5;
    clock::timeout(limit, asked).await.unwrap_or(Err(InspectError::TooLong(QUERY_TIME_MAX)))
}

/// A superuser gives up for this transaction what is more than reading.
async fn put_down(client: &Client) -> Result<(), InspectError> {
    const IS_SUPER: &str = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let found = client.query_opt(IS_SUPER, &[]).await.map_err(refused)?;
    if found.is_none_or(|row| !row.get::<_, bool>(0)) {
        return Ok(());
    }
    let down = client.batch_execute(&format!("SET LOCAL ROLE {READER}")).await;
    down.map_err(|error| {
        InspectError::Statement(format!(
            "this service connects as a superuser, who may do more than read, and `{READER}` is \
             not there to read as ({}); give it a role of its own, or use `archipel db shell`",
            say(&error)
        ))
    })
}

async fn run(client: &Client, sql: &str) -> Result<Rows, InspectError> {
    let statement = client.prepare(sql).await.map_err(refused)?;
    if statement.columns().is_empty() {
        let text = "only statements that read are run here".to_owned();
        return Err(InspectError::Statement(text));
    }
    let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    let mut found = Rows { columns, ..Rows::default() };
    let mut bytes = 0;
    // Its answer is text, of any type.
    let mut messages = pin!(client.simple_query_raw(sql).await.map_err(refused)?);
    while let Some(message) = messages.next().await {
        if let Message::Row(row) = message.map_err(refused)? {
            let cells = (0..row.len()).map(|i| row.get(i).map(cut)).collect();
            if !found.push(cells, &mut bytes) {
                break;
            }
        }
    }
    Ok(found)
}

async fn list(client: &Client) -> Result<Vec<Table>, InspectError> {
    let mut tables = Vec::new();
    let rows = client.simple_query(TABLES).await.map_err(refused)?;
    let rows = rows.iter().filter_map(|message| match message {
        Message::Row(row) => Some(row),
        _ => None,
    });
    for row in rows.take(TABLES_MAX) {
        let text = |i: usize| row.get(i).unwrap_or_default();
        let (name, schema) = (text(0), text(5));
        let estimate: i64 = text(2).parse().unwrap_or(-1);
        let kind = text(1);
        let counted = match kind == "table" && estimate < COUNTED_MAX {
            true => count(client, schema, name).await,
            false => None,
        };
        let guessed = (kind == "table").then(|| u64::try_from(estimate).ok()).flatten();
        tables.push(Table {
            name: if schema == "public" { name.to_owned() } else { format!("{schema}.{name}") },
            kind: kind.to_owned(),
            rows: counted.or(guessed),
            estimated: counted.is_none_or(|n| n >= COUNTED_MAX.unsigned_abs()),
            bytes: text(3).parse().ok(),
            columns: text(4).split('\n').map(str::to_owned).collect(),
        });
    }
    Ok(tables)
}

/// At most so many, as the estimate of a table that was never analysed says nothing.
async fn count(client: &Client, schema: &str, name: &str) -> Option<u64> {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let sql = format!(
        "SELECT count(*)::text FROM (SELECT 1 FROM {}.{} LIMIT {COUNTED_MAX}) AS t",
        quote(schema),
        quote(name)
    );
    let found = client.simple_query(&sql).await.ok()?;
    found.iter().find_map(|message| match message {
        Message::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: tokio_postgres::Error) -> InspectError {
    let stopped = Some(&tokio_postgres::error::SqlState::QUERY_CANCELED);
    if error.code() == stopped {
        return InspectError::TooLong(QUERY_TIME_MAX);
    }
    InspectError::Statement(say(&error))
}

/// In the server's words; never the URL with its password.
fn say(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => match said.hint() {
            Some(hint) => format!("{}; {hint}", said.message()),
            None => said.message().to_owned(),
        },
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
