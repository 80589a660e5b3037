//! The ways in by HTTP.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store_kit::{Bearer, CustomerId, Input, OrderId, Problem, Reply, Stop, Tx, UrlPath, UrlQuery};

use crate::App;
use crate::create::{self, NewOrder};
use crate::live::Watching;
use crate::machine::{Input as Wish, Status, Verdict};
use crate::order::{Address, Order};
use crate::saga::{self, Met};
use crate::view::View;

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/orders", post(create).get(list))
        .route("/v1/orders/{id}", get(show))
        .route("/v1/orders/{id}/events", get(events))
        .route("/v1/orders/{id}/cancel", post(cancel))
        .route("/v1/orders/{id}/payment-method", post(payment_method))
        .route("/v1/orders/{id}/ship-to", get(ship_to))
        .route("/v1/orders/{id}/saga:retry", post(retry))
        .with_state(app)
}

async fn create(State(app): State<App>, Input(new): Input<NewOrder>) -> Result<Reply, Problem> {
    new.check()?;
    let of_writer = app.clone();
    app.db.write(move |tx| create::take(&of_writer, tx, new)).await
}

#[derive(Deserialize)]
struct Page {
    cursor: Option<OrderId>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Items {
    items: Vec<View>,
    next_cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    who: Bearer,
    UrlQuery(page): UrlQuery<Page>,
) -> Result<axum::Json<Items>, Problem> {
    let limit = page.limit.unwrap_or(20).clamp(1, 100);
    let items = app.db.read(move |conn| {
        let orders = Order::of_customer(conn, who.customer(), page.cursor.as_ref(), limit + 1)?;
        let more = orders.len() > limit as usize;
        let orders: Vec<Order> = orders.into_iter().take(limit as usize).collect();
        let next_cursor = orders.last().filter(|_| more).map(|order| order.agreed.id.to_string());
        let items =
            orders.into_iter().map(|order| View::of(conn, order)).collect::<Result<_, _>>()?;
        Ok(Items { items, next_cursor })
    });
    items.await.map(axum::Json)
}

async fn show(
    State(app): State<App>,
    UrlPath(id): UrlPath<OrderId>,
    who: Bearer,
) -> Result<axum::Json<View>, Problem> {
    view(&app, id, who.customer().clone()).await.map(axum::Json)
}

async fn view(app: &App, id: OrderId, customer: CustomerId) -> Result<View, Problem> {
    app.db
        .read(move |conn| {
            let order = own(saga::require(conn, &id)?, &customer)?;
            View::of(conn, order)
        })
        .await
}

/// Somebody else's order does not exist.
fn own(order: Order, customer: &CustomerId) -> Result<Order, Problem> {
    if order.agreed.customer_id == *customer {
        Ok(order)
    } else {
        Err(Problem::not_found(format!("order {}", order.agreed.id)))
    }
}

/// The order now and after every change, for as long as the page is open.
async fn events(
    State(app): State<App>,
    UrlPath(id): UrlPath<OrderId>,
    who: Bearer,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let customer = who.customer().clone();
    let busy = || Problem::overloaded("Too many order pages are open.");
    // Watched before it is read, so that no change falls in between.
    let watching = app.live.watch(&id).ok_or_else(busy)?;
    view(&app, id.clone(), customer.clone()).await?;
    let seat = Seat { stop: app.stop.clone(), app, id, customer, watching, last: String::new() };
    let changes = unfold(seat, |mut seat| async move {
        let event = seat.next().await?;
        Some((Ok(event), seat))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(changes).keep_alive(keep_alive))
}

struct Seat {
    app: App,
    id: OrderId,
    customer: CustomerId,
    watching: Watching,
    stop: Stop,
    /// What was sent last: a change that does not show is not sent.
    last: String,
}

impl Seat {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if !self.last.is_empty() {
                tokio::select! {
                    biased;
                    () = self.stop.stopped() => return None,
                    () = self.watching.changed() => {}
                }
            }
            let view = view(&self.app, self.id.clone(), self.customer.clone()).await.ok()?;
            let text = serde_json::to_string(&view).ok()?;
            if text != self.last {
                self.last = text;
                return Some(Event::default().event("order").data(&self.last));
            }
        }
    }
}

async fn cancel(
    State(app): State<App>,
    UrlPath(id): UrlPath<OrderId>,
    who: Bearer,
) -> Result<Reply, Problem> {
    let of_writer = app.clone();
    app.db
        .write(move |tx| {
            own(saga::require(tx, &id)?, who.customer())?;
            let too_late = || {
                Problem::new(409, "too-late-to-cancel", "Too late to cancel").detail(
                    "The parcel is packed and being paid for or has left; you can send it back.",
                )
            };
            wish(&of_writer, tx, &id, &Wish::Cancel, too_late)
        })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    payment_token: String,
}

async fn payment_method(
    State(app): State<App>,
    UrlPath(id): UrlPath<OrderId>,
    who: Bearer,
    Input(method): Input<Method>,
) -> Result<Reply, Problem> {
    if !(1..=200).contains(&method.payment_token.trim().len()) {
        return Err(Problem::validation("No card.").field("/payment_token", "1 to 200 characters"));
    }
    let of_writer = app.clone();
    app.db
        .write(move |tx| {
            let order = own(saga::require(tx, &id)?, who.customer())?;
            let asked = order.saga.status == Status::AwaitingMethod;
            if !asked && order.method_token == method.payment_token && order.saga.pay_attempt > 1 {
                // The same wish again: a double click, or a lost answer.
                return Reply::json(202, &json!({"order_id": id, "status": order.saga.status}));
            }
            let not_now = || {
                Problem::new(409, "no-card-needed", "No card is needed now")
                    .detail("The order does not wait for another card.")
            };
            let reply = wish(&of_writer, tx, &id, &Wish::NewMethod, not_now)?;
            tx.execute(
                "UPDATE saga SET method_token = ? WHERE order_id = ?",
                (&method.payment_token, &id),
            )?;
            Ok(reply)
        })
        .await
}

async fn ship_to(
    State(app): State<App>,
    UrlPath(id): UrlPath<OrderId>,
) -> Result<axum::Json<Address>, Problem> {
    let order = app.db.read(move |conn| saga::require(conn, &id)).await?;
    Ok(axum::Json(order.agreed.ship_to))
}

async fn retry(State(app): State<App>, UrlPath(id): UrlPath<OrderId>) -> Result<Reply, Problem> {
    let of_writer = app.clone();
    app.db
        .write(move |tx| {
            saga::require(tx, &id)?;
            let over = || {
                Problem::new(409, "order-closed", "The order is closed")
                    .detail("There is nothing left to do.")
            };
            wish(&of_writer, tx, &id, &Wish::RetryNow, over)
        })
        .await
}

/// What a person asks for: granted with 202, or refused.
fn wish(
    app: &App,
    tx: &Tx<'_>,
    id: &OrderId,
    wish: &Wish,
    refusal: impl Fn() -> Problem,
) -> Result<Reply, Problem> {
    let Met::Step(step) = saga::meet(app, tx, id, None, wish)? else {
        return Err(Problem::not_found(format!("order {id}")));
    };
    if step.verdict == Verdict::TooLate {
        return Err(refusal());
    }
    saga::wake_if_due(app, tx, id, &step.saga);
    Reply::json(202, &json!({"order_id": id, "status": step.saga.status}))
}
