//! What stands in services' databases: tables, and statements that read.

use archipel_control::Environment;
use archipel_model::DatabaseEngine;
use archipel_rt::clock;
use archipel_storage::inspect::{InspectError, QUERY_TIME_MAX, ROWS_MAX, Source};
use http::StatusCode;
use serde::Deserialize;

use crate::admin::{Done, parse, starting};
use crate::answer::{self, Answer, bad, control_problem, problem};
use crate::server::Shared;
use crate::{topology, view};

const VEIL: &str = "••••••";

pub(crate) async fn tables(shared: &Shared, service: &str) -> Done {
    let (engine, source) = source(shared, service).await?;
    let tables = source.tables().await.map_err(|error| refusal(&error))?;
    let table = |of: archipel_storage::inspect::Table| view::Table {
        name: of.name,
        kind: of.kind,
        rows: of.rows,
        estimated: of.estimated,
        bytes: of.bytes,
        columns: of.columns,
    };
    Ok(answer::json(&view::Tables {
        schema: view::Tables::SCHEMA.to_owned(),
        service: service.to_owned(),
        engine: topology::engine(engine).to_owned(),
        tables: tables.into_iter().map(table).collect(),
        time_max_ms: u64::try_from(QUERY_TIME_MAX.as_millis()).unwrap_or(u64::MAX),
        rows_max: ROWS_MAX as u64,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    sql: String,
}

pub(crate) async fn query(shared: &Shared, service: &str, body: &[u8]) -> Done {
    let Query { sql } = parse(body)?;
    let (_, source) = source(shared, service).await?;
    let started = clock::now();
    let found = source.query(&sql).await.map_err(|error| refusal(&error))?;
    let took = clock::now().saturating_duration_since(started);
    let hidden: Vec<bool> = found.columns.iter().map(|name| is_secret(name)).collect();
    let veiled = |row: Vec<Option<String>>| -> Vec<Option<String>> {
        let cells = row.into_iter().zip(&hidden);
        cells.map(|(cell, hide)| cell.map(|text| if *hide { VEIL.into() } else { text })).collect()
    };
    let masked = found.columns.iter().zip(&hidden).filter(|(_, hide)| **hide);
    Ok(answer::json(&view::Rows {
        schema: view::Rows::SCHEMA.to_owned(),
        masked: masked.map(|(name, _)| name.clone()).collect(),
        rows: found.rows.into_iter().map(veiled).collect(),
        columns: found.columns,
        more: found.more,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// By what it is called: a courtesy to whoever looks over a shoulder. The person could name the
/// column otherwise, or open the file.
fn is_secret(column: &str) -> bool {
    const WORDS: [&str; 8] = [
        "password", "passwd", "secret", "token", "credential", "private_key", "api_key", "apikey",
    ];
    let column = column.to_ascii_lowercase();
    WORDS.iter().any(|word| column.contains(word))
}

async fn source(shared: &Shared, name: &str) -> Result<(DatabaseEngine, Source), Answer> {
    let control = &shared.parts.control;
    let snapshot = control.watch().borrow().clone().ok_or_else(starting)?;
    let Environment { own, .. } = control.environment(name).await.map_err(|e| control_problem(&e))?;
    let declared = snapshot.plan.app.services.iter().find(|(known, _)| known.as_str() == name);
    let Some(database) = declared.and_then(|(_, of)| of.database.as_ref()) else {
        return Err(bad(format!("`{name}` has no database")));
    };
    let url = own.get("DATABASE_URL");
    let source = match (own.get("DATABASE_PATH"), url) {
        (Some(path), _) => Source::Sqlite(path.into()),
        (None, Some(url)) if url.starts_with("postgres") => Source::Postgres(url.clone()),
        (None, Some(_)) => {
            return Err(bad(format!("the database of `{name}` is of a kind not known here")));
        }
        (None, None) => {
            let text = format!("the database of `{name}` is not made yet");
            return Err(problem(StatusCode::CONFLICT, text, Some(1)));
        }
    };
    Ok((database.engine, source))
}

fn refusal(error: &InspectError) -> Answer {
    let status = match error {
        InspectError::Statement(_) => StatusCode::UNPROCESSABLE_ENTITY,
        InspectError::Open(_) => StatusCode::BAD_GATEWAY,
        InspectError::TooLong(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    problem(status, error.to_string(), Some(1))
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn columns_that_hold_secrets_are_known_by_their_names() {
        for column in ["password_hash", "API_KEY", "session_token", "clientSecret"] {
            assert!(is_secret(column), "{column}");
        }
        for column in ["id", "order_key", "idempotency_key", "status", "passed"] {
            assert!(!is_secret(column), "{column}");
        }
    }
}
