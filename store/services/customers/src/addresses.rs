//! Where a customer has things sent.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use store_kit::{Bearer, Input, Problem, UrlPath, text_enum};
use uuid::Uuid;

use crate::App;
use crate::accounts::unknown;
use crate::contact::{Customer, Faults};

const ADDRESSES_MAX: u32 = 20;

text_enum! {
    /// Where the store sends things.
    enum Country { France = "FR", Germany = "DE", Britain = "GB", America = "US" }
}

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/me/addresses", get(list).post(add))
        .route("/v1/me/addresses/{id}", delete(remove))
        .with_state(app)
}

#[derive(Serialize)]
struct Address {
    id: String,
    name: String,
    line1: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    line2: String,
    postcode: String,
    city: String,
    country: Country,
}

const COLUMNS: &str = "id, name, line1, line2, postcode, city, country";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Address> {
    Ok(Address {
        id: row.get(0)?,
        name: row.get(1)?,
        line1: row.get(2)?,
        line2: row.get(3)?,
        postcode: row.get(4)?,
        city: row.get(5)?,
        country: row.get(6)?,
    })
}

#[derive(Serialize)]
struct Items {
    items: Vec<Address>,
}

/// The newest first.
async fn list(State(app): State<App>, who: Bearer) -> Result<axum::Json<Items>, Problem> {
    let items = app.db.read(move |conn| {
        let sql = format!("SELECT {COLUMNS} FROM address WHERE customer_id = ? ORDER BY id DESC");
        let mut rows = conn.prepare_cached(&sql)?;
        let rows = rows.query_map([who.customer()], from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    });
    Ok(axum::Json(Items { items: items.await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAddress {
    name: String,
    line1: String,
    #[serde(default)]
    line2: Option<String>,
    postcode: String,
    city: String,
    country: Country,
}

/// Keeps an address; the same one again is the one that is there.
async fn add(
    State(app): State<App>,
    who: Bearer,
    Input(new): Input<NewAddress>,
) -> Result<(StatusCode, axum::Json<Address>), Problem> {
    let mut faults = Faults::default();
    let address = Address {
        id: format!("adr_{}", Uuid::now_v7().simple()),
        name: faults.text("/name", &new.name, 1, 100),
        line1: faults.text("/line1", &new.line1, 1, 120),
        line2: faults.text("/line2", new.line2.as_deref().unwrap_or_default(), 0, 120),
        postcode: faults.text("/postcode", &new.postcode, 1, 16),
        city: faults.text("/city", &new.city, 1, 80),
        country: new.country,
    };
    faults.check()?;
    app.db
        .write(move |tx| {
            let customer = who.customer();
            Customer::find(tx, customer)?.ok_or_else(unknown)?;
            let Address { id, name, line1, line2, postcode, city, country } = &address;
            let sql = format!(
                "SELECT {COLUMNS} FROM address WHERE customer_id = ? AND name = ? AND line1 = ? \
                 AND line2 = ? AND postcode = ? AND city = ? AND country = ?"
            );
            let same = tx
                .prepare_cached(&sql)?
                .query_row(params![customer, name, line1, line2, postcode, city, country], from_row)
                .optional()?;
            if let Some(same) = same {
                return Ok((StatusCode::OK, axum::Json(same)));
            }
            let count: u32 = tx
                .prepare_cached("SELECT count(*) FROM address WHERE customer_id = ?")?
                .query_row([customer], |row| row.get(0))?;
            if count >= ADDRESSES_MAX {
                let many = format!("At most {ADDRESSES_MAX} addresses are kept.");
                return Err(Problem::validation(many).field("", "remove one first"));
            }
            tx.prepare_cached(
                "INSERT INTO address(id, customer_id, name, line1, line2, postcode, city, country, created_at) \
                 VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![id, customer, name, line1, line2, postcode, city, country, tx.now()])?;
            Ok((StatusCode::CREATED, axum::Json(address)))
        })
        .await
}

/// Forgets one of one's own addresses. One that is not there is forgotten already.
async fn remove(
    State(app): State<App>,
    who: Bearer,
    UrlPath(id): UrlPath<String>,
) -> Result<StatusCode, Problem> {
    app.db
        .write(move |tx| {
            tx.prepare_cached("DELETE FROM address WHERE id = ? AND customer_id = ?")?
                .execute(params![id, who.customer()])?;
            Ok(StatusCode::NO_CONTENT)
        })
        .await
}
