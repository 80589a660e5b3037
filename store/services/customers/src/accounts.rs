//! Members and guests.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store_kit::{Bearer, Claims, Command, CustomerId, Input, Problem, Reply, Tx};

use crate::App;
use crate::contact::{Consent, Customer, Faults, Kind};

const GUEST_TOKEN: Duration = Duration::from_secs(24 * 3600);
const PASSWORD_CHARS_MIN: usize = 10;
/// Long sentences are welcome, but hashing a megabyte for a stranger is not.
const PASSWORD_BYTES_MAX: usize = 1024;

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/customers", post(register))
        .route("/v1/guests", post(become_guest))
        .route("/v1/me", get(me).patch(change))
        .with_state(app)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    email: String,
    password: String,
    name: String,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    locale: Option<String>,
}

#[derive(Serialize)]
struct Registered {
    customer_id: CustomerId,
}

async fn register(
    State(app): State<App>,
    Command { key, body }: Command<Register>,
) -> Result<Reply, Problem> {
    let mut faults = Faults::default();
    let who = read(&mut faults, Kind::Member, &body.email, &body.name, body.phone, body.locale);
    if body.password.chars().count() < PASSWORD_CHARS_MIN {
        faults.add("/password", format!("at least {PASSWORD_CHARS_MIN} characters"));
    } else if body.password.len() > PASSWORD_BYTES_MAX {
        faults.add("/password", format!("at most {PASSWORD_BYTES_MAX} bytes"));
    }
    faults.check()?;
    let hash = app.hasher.hash(&email_key(&who.email), body.password).await?;
    let key = key.sealed(|fingerprint| {
        let sealed = Sha256::new().chain_update(app.seal).chain_update(fingerprint).finalize();
        sealed.iter().map(|byte| format!("{byte:02x}")).collect()
    });
    app.db
        .once(key, move |tx| {
            refuse_taken(tx, &who.email)?;
            insert(tx, &who)?;
            tx.prepare_cached("INSERT INTO credential(customer_id, hash) VALUES(?, ?)")?
                .execute(params![who.customer_id, hash])?;
            Reply::json(201, &Registered { customer_id: who.customer_id })
        })
        .await
}

fn refuse_taken(tx: &Tx<'_>, email: &str) -> Result<(), Problem> {
    let taken = tx
        .prepare_cached("SELECT 1 FROM customer WHERE email_key = ? AND kind = 'member'")?
        .exists([email_key(email)])?;
    if !taken {
        return Ok(());
    }
    Err(Problem::new(409, "email-taken", "There is an account with this address")
        .detail("Sign in, or use another address.")
        .field("/email", "is in use"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Guest {
    name: String,
    email: String,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    locale: Option<String>,
}

#[derive(Serialize)]
struct GuestToken {
    customer_id: CustomerId,
    token: String,
}

async fn become_guest(
    State(app): State<App>,
    Command { key, body }: Command<Guest>,
) -> Result<Reply, Problem> {
    let mut faults = Faults::default();
    let who = read(&mut faults, Kind::Guest, &body.email, &body.name, body.phone, body.locale);
    faults.check()?;
    let signer = app.signer.clone();
    app.db
        .once(key, move |tx| {
            insert(tx, &who)?;
            let (id, kind) = (who.customer_id.clone(), who.kind.as_str());
            let token = signer.sign(&Claims::new(id, kind, tx.now(), GUEST_TOKEN))?;
            Reply::json(201, &GuestToken { customer_id: who.customer_id, token })
        })
        .await
}

fn read(
    faults: &mut Faults,
    kind: Kind,
    email: &str,
    name: &str,
    phone: Option<String>,
    locale: Option<String>,
) -> Customer {
    Customer {
        customer_id: CustomerId::new(),
        name: faults.text("/name", name, 1, 100),
        email: faults.email(email),
        phone: faults.phone(phone.as_deref().unwrap_or_default()),
        locale: faults.locale(locale.as_deref().unwrap_or("en")),
        kind,
        consent: Consent { sms: true, email: true },
    }
}

/// Two spellings of one address must not be two accounts.
pub(crate) fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

fn insert(tx: &Tx<'_>, who: &Customer) -> Result<(), Problem> {
    tx.prepare_cached(
        "INSERT INTO customer(id, kind, email, email_key, name, phone, locale, consent_sms, consent_email, created_at, updated_at) \
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
    )?
    .execute(params![
        who.customer_id, who.kind, who.email, email_key(&who.email), who.name, who.phone, who.locale,
        who.consent.sms, who.consent.email, tx.now()
    ])?;
    who.publish(tx, "customer.registered")
}

async fn me(State(app): State<App>, who: Bearer) -> Result<axum::Json<Customer>, Problem> {
    app.db
        .read(move |conn| Customer::find(conn, who.customer())?.ok_or_else(unknown))
        .await
        .map(axum::Json)
}

pub(crate) fn unknown() -> Problem {
    Problem::unauthorised("The customer of this token is not known here; sign in again.")
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<String>,
    phone: Option<String>,
    locale: Option<String>,
    consent: Option<ConsentChange>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentChange {
    sms: Option<bool>,
    email: Option<bool>,
}

/// Changes what is given. When nothing differs, nobody is told.
async fn change(
    State(app): State<App>,
    who: Bearer,
    Input(wish): Input<Change>,
) -> Result<axum::Json<Customer>, Problem> {
    let mut faults = Faults::default();
    let name = wish.name.map(|name| faults.text("/name", &name, 1, 100));
    let phone = wish.phone.map(|phone| faults.phone(&phone));
    let locale = wish.locale.map(|locale| faults.locale(&locale));
    faults.check()?;
    let consent = wish.consent.unwrap_or_default();
    app.db
        .write(move |tx| {
            let before = Customer::find(tx, who.customer())?.ok_or_else(unknown)?;
            let mut after = before.clone();
            after.name = name.unwrap_or(after.name);
            after.phone = phone.unwrap_or(after.phone);
            after.locale = locale.unwrap_or(after.locale);
            after.consent.sms = consent.sms.unwrap_or(after.consent.sms);
            after.consent.email = consent.email.unwrap_or(after.consent.email);
            if after != before {
                store(tx, &after)?;
            }
            Ok(axum::Json(after))
        })
        .await
}

fn store(tx: &Tx<'_>, who: &Customer) -> Result<(), Problem> {
    tx.prepare_cached(
        "UPDATE customer SET name = ?, phone = ?, locale = ?, consent_sms = ?, consent_email = ?, updated_at = ? WHERE id = ?",
    )?
    .execute(params![
        who.name, who.phone, who.locale, who.consent.sms, who.consent.email, tx.now(), who.customer_id
    ])?;
    who.publish(tx, "customer.contact_changed")
}

/// The member with this address and the hash of the password.
pub(crate) fn credential(
    conn: &rusqlite::Connection,
    email: &str,
) -> Result<Option<(CustomerId, String)>, Problem> {
    Ok(conn
        .prepare_cached(
            "SELECT c.id, p.hash FROM customer c JOIN credential p ON p.customer_id = c.id \
             WHERE c.email_key = ? AND c.kind = 'member'",
        )?
        .query_row([email_key(email)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}
