//! The ways in by HTTP.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use rusqlite::params_from_iter;
use serde::{Deserialize, Serialize};
use store_kit::{Command, Input, OrderId, Problem, Reply, Sku, Tx, UrlPath, UrlQuery};

use crate::reservation::{self, Reservation};
use crate::shelf::{self, Line, Stock};
use crate::{App, expiry};

/// A hold longer than a day is no hold.
const TTL_MAX_S: u64 = 86_400;
const SKUS_MAX: usize = 200;
const RECEIPT_MAX: u32 = 1_000_000;

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/reservations/{order_id}", put(hold).delete(release).get(show))
        .route("/v1/reservations/{order_id}/confirm", post(confirm))
        .route("/v1/reservations/{order_id}/extend", post(extend))
        .route("/v1/stock", get(stock))
        .route("/v1/receipts", post(receive))
        .with_state(app)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    lines: Vec<Line>,
    ttl_s: u64,
}

async fn hold(
    State(app): State<App>,
    UrlPath(order): UrlPath<OrderId>,
    Command { key, body }: Command<Hold>,
) -> Result<Reply, Problem> {
    let ttl = ttl(body.ttl_s)?;
    app.db
        .clone()
        .once(key, move |tx| answer(&app, tx, reservation::hold(tx, &order, body.lines, ttl)?))
        .await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn confirm(
    State(app): State<App>,
    UrlPath(order): UrlPath<OrderId>,
    Command { key, .. }: Command<Option<Nothing>>,
) -> Result<Reply, Problem> {
    app.db.once(key, move |tx| Reply::json(200, &reservation::confirm(tx, &order)?)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extend {
    ttl_s: u64,
}

async fn extend(
    State(app): State<App>,
    UrlPath(order): UrlPath<OrderId>,
    Input(body): Input<Extend>,
) -> Result<Reply, Problem> {
    let ttl = ttl(body.ttl_s)?;
    app.db.clone().write(move |tx| answer(&app, tx, reservation::extend(tx, &order, ttl)?)).await
}

async fn release(
    State(app): State<App>,
    UrlPath(order): UrlPath<OrderId>,
    Command { key, .. }: Command<Option<Nothing>>,
) -> Result<Reply, Problem> {
    app.db.once(key, move |tx| Reply::json(200, &reservation::release(tx, &order)?)).await
}

async fn show(
    State(app): State<App>,
    UrlPath(order): UrlPath<OrderId>,
) -> Result<axum::Json<Reservation>, Problem> {
    let name = order.clone();
    let found = app.db.read(move |conn| reservation::find(conn, &order)).await?;
    found.map(axum::Json).ok_or_else(|| Problem::not_found(format!("reservation of {name}")))
}

#[derive(Deserialize)]
struct Which {
    sku: Option<String>,
}

#[derive(Serialize)]
struct Items {
    items: Vec<Stock>,
}

/// Skus that we do not know are left out.
async fn stock(
    State(app): State<App>,
    UrlQuery(which): UrlQuery<Which>,
) -> Result<axum::Json<Items>, Problem> {
    let text = which.sku.unwrap_or_default();
    let skus: Vec<Sku> = text
        .split(',')
        .filter(|sku| !sku.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|error: store_kit::BadId| Problem::validation(error.to_string()))?;
    if skus.is_empty() || skus.len() > SKUS_MAX {
        return Err(Problem::validation(format!("Ask for 1 to {SKUS_MAX} skus: ?sku=A,B.")));
    }
    let items = app.db.read(move |conn| {
        let marks = vec!["?"; skus.len()].join(",");
        let sql =
            format!("SELECT {} FROM stock WHERE sku IN ({marks}) ORDER BY sku", Stock::COLUMNS);
        let mut rows = conn.prepare(&sql)?;
        let rows = rows.query_map(params_from_iter(skus), Stock::from_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    });
    Ok(axum::Json(Items { items: items.await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    sku: Sku,
    qty: u32,
}

#[derive(Serialize)]
struct Received {
    movement_id: i64,
    #[serde(flatten)]
    stock: Stock,
}

async fn receive(
    State(app): State<App>,
    Command { key, body }: Command<Receipt>,
) -> Result<Reply, Problem> {
    if !(1..=RECEIPT_MAX).contains(&body.qty) {
        return Err(
            Problem::validation("Nothing to receive.").field("/qty", format!("1 to {RECEIPT_MAX}"))
        );
    }
    app.db
        .once(key, move |tx| {
            let movement_id = shelf::receive(tx, &body.sku, body.qty)?;
            let stock = shelf::find(tx, &body.sku)?
                .ok_or_else(|| Problem::internal("received into nothing"))?;
            Reply::json(201, &Received { movement_id, stock })
        })
        .await
}

fn ttl(seconds: u64) -> Result<Duration, Problem> {
    if (1..=TTL_MAX_S).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(Problem::validation("Nobody holds that long.")
            .field("/ttl_s", format!("1 to {TTL_MAX_S} seconds")))
    }
}

/// Answers with the reservation and, when it lapses before the next look at the holds, wakes the
/// one who looks.
fn answer(app: &App, tx: &Tx<'_>, reservation: Reservation) -> Result<Reply, Problem> {
    let soon = tx.now() + expiry::LOOK_EVERY;
    if reservation.expires_at.is_some_and(|at| at < soon) {
        let lapses_soon = app.lapses_soon.clone();
        tx.after_commit(move || lapses_soon.notify_one());
    }
    Reply::json(200, &reservation)
}
