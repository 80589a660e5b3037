//! Signing in, staying signed in, signing out.
//!
//! A sign-in begins a family of refresh tokens. Each token works once and is followed by the
//! next of its family. If one is used a second time, two people hold it, and we cannot tell who
//! is the thief: the whole family ends.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store_kit::{Bearer, Claims, CustomerId, Input, Problem, Timestamp, Tx};
use uuid::Uuid;

use crate::App;
use crate::accounts;
use crate::contact::Kind;

const ACCESS: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(86_400);
/// A refresh token that is not used for so long is worthless.
const IDLE_DAYS: u32 = 30;
/// After so long one signs in again, however busy one was.
const FAMILY_DAYS: u32 = 180;
/// Devices of one member; the one that signed in first is signed out.
const FAMILIES_MAX: u32 = 20;
const PASSWORD_BYTES_MAX: usize = 1024;

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/sessions", post(sign_in))
        .route("/v1/sessions/refresh", post(refresh))
        .route("/v1/sessions/current", delete(sign_out))
        .with_state(app)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    email: String,
    password: String,
}

#[derive(Serialize)]
struct Tokens {
    customer_id: CustomerId,
    token: String,
    refresh_token: String,
    expires_in: u64,
}

impl IntoResponse for Tokens {
    fn into_response(self) -> axum::response::Response {
        ([(header::CACHE_CONTROL, "no-store")], axum::Json(self)).into_response()
    }
}

async fn sign_in(State(app): State<App>, Input(body): Input<SignIn>) -> Result<Tokens, Problem> {
    let refused = || Problem::unauthorised("The address or the password is wrong.");
    if body.email.len() > 254 || body.password.len() > PASSWORD_BYTES_MAX {
        return Err(refused());
    }
    let email = accounts::email_key(&body.email);
    let asked = email.clone();
    let found = app.db.read(move |conn| accounts::credential(conn, &asked)).await?;
    let (customer, hash) = found.unzip();
    let matches = app.hasher.verify(&email, body.password, hash).await?;
    let customer = customer.filter(|_| matches).ok_or_else(refused)?;
    let of_writer = app.clone();
    let issued = app.db.write(move |tx| {
        let family = begin_family(tx, &customer)?;
        issue(&of_writer, tx, customer, &family)
    });
    issued.await
}

fn begin_family(tx: &Tx<'_>, customer: &CustomerId) -> Result<String, Problem> {
    tx.prepare_cached(
        "DELETE FROM family WHERE id IN (SELECT id FROM family WHERE customer_id = ? \
         ORDER BY ended_at IS NULL DESC, created_at DESC LIMIT -1 OFFSET ?)",
    )?
    .execute(params![customer, FAMILIES_MAX - 1])?;
    let family = format!("ses_{}", Uuid::now_v7().simple());
    tx.prepare_cached(
        "INSERT INTO family(id, customer_id, created_at, expires_at) VALUES(?, ?, ?, ?)",
    )?
    .execute(params![family, customer, tx.now(), tx.now() + FAMILY_DAYS * DAY])?;
    Ok(family)
}

/// A new pair of tokens of a family.
fn issue(app: &App, tx: &Tx<'_>, customer: CustomerId, family: &str) -> Result<Tokens, Problem> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(Problem::internal)?;
    let refresh_token = format!("rt_{}", B64.encode(secret));
    tx.prepare_cached("INSERT INTO refresh(token_hash, family_id, expires_at) VALUES(?, ?, ?)")?
        .execute(params![hash(&refresh_token), family, tx.now() + IDLE_DAYS * DAY])?;
    let mut claims = Claims::new(customer.clone(), Kind::Member.as_str(), tx.now(), ACCESS);
    claims.sid = Some(family.to_owned());
    let token = app.signer.sign(&claims)?;
    Ok(Tokens { customer_id: customer, token, refresh_token, expires_in: ACCESS.as_secs() })
}

/// A leaked database must not let anybody in. The tokens are random, so a fast hash will do.
fn hash(token: &str) -> String {
    B64.encode(Sha256::digest(token))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

/// What a refresh token turned out to be.
enum Shown {
    Good(Tokens),
    UsedBefore { family: String },
    Worthless(&'static str),
}

async fn refresh(State(app): State<App>, Input(body): Input<Refresh>) -> Result<Tokens, Problem> {
    let of_writer = app.clone();
    // The end of a family must be committed although the answer is a refusal.
    match app.db.write(move |tx| show(&of_writer, tx, &body.refresh_token)).await? {
        Shown::Good(tokens) => Ok(tokens),
        Shown::UsedBefore { family } => {
            tracing::warn!(
                session = family,
                "a refresh token was used twice; its sign-in has ended"
            );
            Err(Problem::unauthorised("This refresh token was used before; sign in again."))
        }
        Shown::Worthless(why) => Err(Problem::unauthorised(why)),
    }
}

struct Known {
    family: String,
    customer: CustomerId,
    used: bool,
    ended: bool,
    expires_at: Timestamp,
}

fn show(app: &App, tx: &Tx<'_>, token: &str) -> Result<Shown, Problem> {
    let known = tx
        .prepare_cached(
            "SELECT f.id, f.customer_id, r.used_at IS NOT NULL, f.ended_at IS NOT NULL, min(r.expires_at, f.expires_at) \
             FROM refresh r JOIN family f ON f.id = r.family_id WHERE r.token_hash = ?",
        )?
        .query_row([hash(token)], |row| {
            Ok(Known {
                family: row.get(0)?,
                customer: row.get(1)?,
                used: row.get(2)?,
                ended: row.get(3)?,
                expires_at: row.get(4)?,
            })
        })
        .optional()?;
    let Some(known) = known else { return Ok(Shown::Worthless("This is no refresh token.")) };
    if known.ended {
        return Ok(Shown::Worthless("This sign-in has ended; sign in again."));
    }
    if known.used {
        end(tx, &known.family, "a token was used twice")?;
        return Ok(Shown::UsedBefore { family: known.family });
    }
    if known.expires_at <= tx.now() {
        return Ok(Shown::Worthless("This sign-in is too old; sign in again."));
    }
    tx.prepare_cached("UPDATE refresh SET used_at = ? WHERE token_hash = ?")?
        .execute(params![tx.now(), hash(token)])?;
    issue(app, tx, known.customer, &known.family).map(Shown::Good)
}

fn end(tx: &Tx<'_>, family: &str, why: &str) -> Result<(), Problem> {
    tx.prepare_cached(
        "UPDATE family SET ended_at = ?, ended_why = ? WHERE id = ? AND ended_at IS NULL",
    )?
    .execute(params![tx.now(), why, family])?;
    Ok(())
}

/// Ends the sign-in that the token came from. Guests have none: their token just expires.
async fn sign_out(State(app): State<App>, who: Bearer) -> Result<StatusCode, Problem> {
    if let Some(family) = who.claims.sid {
        app.db.write(move |tx| end(tx, &family, "signed out")).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
