//! The ways in by HTTP. Every answer with a cart has its version as `ETag`.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use store_kit::{CartId, CustomerId, Db, Input, Money, Optional, Problem, Sku, UrlPath};

use crate::contents::{self, Cart, QTY_MAX};

pub(crate) fn routes(db: Db) -> Router {
    Router::new()
        .route("/v1/carts", post(create))
        .route("/v1/carts/{id}", get(show).post(act))
        .route("/v1/carts/{id}/lines/{sku}", put(set_line).delete(remove_line))
        .with_state(db)
}

/// A cart with its `ETag`.
struct Shown(StatusCode, Cart);

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        let etag = format!("\"{}\"", self.1.version);
        (self.0, [(header::ETAG, etag)], axum::Json(self.1)).into_response()
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    owner: Option<CustomerId>,
}

/// A new cart, or the open one that the owner has.
async fn create(State(db): State<Db>, Optional(wish): Optional<Create>) -> Result<Shown, Problem> {
    db.write(move |tx| {
        if let Some(owner) = &wish.owner
            && let Some(cart) = contents::open_of(tx, owner)?
        {
            return Ok(Shown(StatusCode::OK, cart));
        }
        contents::create(tx, wish.owner.as_ref()).map(|cart| Shown(StatusCode::CREATED, cart))
    })
    .await
}

async fn show(State(db): State<Db>, UrlPath(id): UrlPath<CartId>) -> Result<Shown, Problem> {
    db.read(move |conn| contents::get(conn, &id)).await.map(|cart| Shown(StatusCode::OK, cart))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLine {
    qty: u32,
    seen_price: Option<Money>,
}

async fn set_line(
    State(db): State<Db>,
    UrlPath((id, sku)): UrlPath<(CartId, Sku)>,
    headers: HeaderMap,
    Input(wish): Input<SetLine>,
) -> Result<Shown, Problem> {
    if !(1..=QTY_MAX).contains(&wish.qty) {
        return Err(Problem::validation("So many cannot be put into a cart.")
            .field("/qty", format!("1 to {QTY_MAX}")));
    }
    contents::check_price(wish.seen_price)?;
    let expected = if_match(&headers)?;
    db.write(move |tx| {
        let cart = contents::get_open(tx, &id, expected.as_deref())?;
        contents::put(tx, &cart, &sku, wish.qty, wish.seen_price)
    })
    .await
    .map(|cart| Shown(StatusCode::OK, cart))
}

async fn remove_line(
    State(db): State<Db>,
    UrlPath((id, sku)): UrlPath<(CartId, Sku)>,
    headers: HeaderMap,
) -> Result<Shown, Problem> {
    let expected = if_match(&headers)?;
    db.write(move |tx| {
        let cart = contents::get_open(tx, &id, expected.as_deref())?;
        contents::remove(tx, &cart, &sku)
    })
    .await
    .map(|cart| Shown(StatusCode::OK, cart))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    from: CartId,
}

/// `POST /v1/carts/{id}:merge`. The router has no parameters with an ending, so it is cut here.
async fn act(
    State(db): State<Db>,
    UrlPath(target): UrlPath<String>,
    headers: HeaderMap,
    Input(wish): Input<Merge>,
) -> Result<Shown, Problem> {
    let Some(id) = target.strip_suffix(":merge") else {
        return Err(Problem::not_found("action of that name; there is :merge"));
    };
    let id: CartId = id.parse().map_err(|_| Problem::not_found("such cart"))?;
    let expected = if_match(&headers)?;
    db.write(move |tx| {
        let into = contents::get_open(tx, &id, expected.as_deref())?;
        let from = contents::get(tx, &wish.from)?;
        contents::merge(tx, &into, &from)
    })
    .await
    .map(|cart| Shown(StatusCode::OK, cart))
}

/// The versions that `If-Match` allows; `None` when any will do. Tags that are not ours match
/// nothing.
fn if_match(headers: &HeaderMap) -> Result<Option<Vec<i64>>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value
        .to_str()
        .map_err(|_| Problem::validation("If-Match has characters that no ETag has."))?;
    if text.trim() == "*" {
        return Ok(None);
    }
    let version = |tag: &str| tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    Ok(Some(text.split(',').filter_map(version).collect()))
}
