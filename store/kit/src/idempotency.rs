//! Commands that may be sent twice and must act once.
//!
//! The answer is stored in the transaction of the effect. A second request with the same key
//! waits behind the first in the writer's queue and then finds the answer, so "still running"
//! cannot be seen here.
//!
//! Stored are successes and decided refusals. A failure of ours, or a refusal that says
//! "not now", is not stored: the same key may try again.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::db::{Db, Tx};
use crate::problem::{self, Problem};

/// The identity of a command: its key, where it was sent, and what it said.
#[derive(Debug, Clone)]
pub struct Key {
    pub(crate) key: String,
    pub(crate) route: String,
    pub(crate) fingerprint: String,
}

impl Key {
    /// Replaces the fingerprint by what `seal` makes of it. For a command that carries a secret:
    /// the plain fingerprint is a fast hash of it, which must not lie in a database.
    #[must_use]
    pub fn sealed(mut self, seal: impl FnOnce(&str) -> String) -> Self {
        self.fingerprint = seal(&self.fingerprint);
        self
    }
}

/// What a command answers; it can be stored and given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    body: String,
    replayed: bool,
}

impl Reply {
    pub fn json(status: u16, body: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self { status, body: serde_json::to_string(body)?, replayed: false })
    }

    pub fn empty(status: u16) -> Self {
        Self { status, body: String::new(), replayed: false }
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body read as a `T`: for a caller within the service.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = if self.status >= 400 { problem::CONTENT_TYPE } else { "application/json" };
        let empty = self.body.is_empty();
        let mut response = (status, self.body).into_response();
        let headers = response.headers_mut();
        if empty {
            headers.remove(header::CONTENT_TYPE);
        } else {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if self.replayed {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

impl Db {
    /// Runs `effect` once for this key and answers the same ever after.
    ///
    /// # Errors
    /// 422 `idempotency-key-reused` when the key came with another request; failures and
    /// refusals of `effect` that are not final; those of [`Db::write`].
    pub async fn once<F>(&self, key: Key, effect: F) -> Result<Reply, Problem>
    where
        F: FnOnce(&Tx<'_>) -> Result<Reply, Problem> + Send + 'static,
    {
        self.write(move |tx| tx.once(&key, effect)).await
    }
}

impl Tx<'_> {
    /// [`Db::once`] inside a transaction that does more.
    pub fn once(
        &self,
        key: &Key,
        effect: impl FnOnce(&Self) -> Result<Reply, Problem>,
    ) -> Result<Reply, Problem> {
        if let Some(reply) = self.stored_reply(key)? {
            return Ok(reply);
        }
        let reply = match self.attempt(|| effect(self)) {
            Ok(reply) => reply,
            Err(problem) if problem.is_final() => {
                let body = problem.to_json(self.trace()).to_string();
                Reply { status: problem.status(), body, replayed: false }
            }
            Err(problem) => return Err(problem),
        };
        self.prepare_cached(
            "INSERT INTO idempotency(key, route, fingerprint, status, body, created_at) VALUES(?,?,?,?,?,?)",
        )?
        .execute(params![key.key, key.route, key.fingerprint, reply.status, reply.body, self.now()])?;
        Ok(reply)
    }

    fn stored_reply(&self, key: &Key) -> Result<Option<Reply>, Problem> {
        let row: Option<(String, u16, String)> = self
            .prepare_cached(
                "SELECT fingerprint, status, body FROM idempotency WHERE key = ? AND route = ?",
            )?
            .query_row(params![key.key, key.route], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        match row {
            None => Ok(None),
            Some((fingerprint, ..)) if fingerprint != key.fingerprint => Err(Problem::new(
                422,
                "idempotency-key-reused",
                "This key was used for another request",
            )
            .detail("Use a new Idempotency-Key for a new request.")),
            Some((_, status, body)) => Ok(Some(Reply { status, body, replayed: true })),
        }
    }
}
