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
use tokio::time::{Instant, timeout_at};

use crate::App;
use crate::create::{self, NewOrder};
use crate::live::Watching;
use crate::machine::{Circumstances, Input as Wish, Status, Step, Verdict, step};
use crate::order::{Address, Order};
use crate::signal;
use crate::view::View;

/// How long the answer to a wish may wait for the workflow.
const HEARD_MAX: Duration = Duration::from_secs(2);

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
            let order = own(Order::require(conn, &id)?, &customer)?;
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
    let too_late = || {
        Problem::new(409, "too-late-to-cancel", "Too late to cancel")
            .detail("The parcel is packed and being paid for or has left; you can send it back.")
    };
    let (of_writer, own_id) = (app.clone(), id.clone());
    app.db
        .write(move |tx| {
            let order = own(Order::require(tx, &own_id)?, who.customer())?;
            wish(&of_writer, tx, &order, &Wish::Cancel, too_late)
        })
        .await?;
    // The workflow may be a step ahead of the row: what it says counts.
    let heard = |order: &Order| order.saga.cancel_requested || !order.saga.is_cancellable();
    let order = heard_out(&app, &id, heard).await?;
    if order.saga.is_called_off() || order.saga.is_cancellable() {
        return accepted(&order);
    }
    Err(too_late())
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
    let not_now = || {
        Problem::new(409, "no-card-needed", "No card is needed now")
            .detail("The order does not wait for another card.")
    };
    let (of_writer, own_id) = (app.clone(), id.clone());
    let attempt = app
        .db
        .write(move |tx| {
            let order = own(Order::require(tx, &own_id)?, who.customer())?;
            let (given, current) = (&method.payment_token, order.saga.pay_attempt);
            let asked = order.saga.status == Status::AwaitingMethod;
            if !asked && order.method_token == *given && current > 1 {
                // The same wish again: a double click, or a lost answer.
                return Ok(current);
            }
            wish(&of_writer, tx, &order, &Wish::NewMethod, not_now)?;
            // An attempt has one card, whatever is given twice.
            if Order::add_card(tx, &own_id, current + 1, given)? != *given {
                return Err(not_now());
            }
            Ok(current + 1)
        })
        .await?;
    let order = heard_out(&app, &id, |order| {
        order.saga.pay_attempt >= attempt || order.saga.status != Status::AwaitingMethod
    });
    accepted(&order.await?)
}

async fn ship_to(
    State(app): State<App>,
    UrlPath(id): UrlPath<OrderId>,
) -> Result<axum::Json<Address>, Problem> {
    let order = app.db.read(move |conn| Order::require(conn, &id)).await?;
    Ok(axum::Json(order.agreed.ship_to))
}

async fn retry(State(app): State<App>, UrlPath(id): UrlPath<OrderId>) -> Result<Reply, Problem> {
    let of_writer = app.clone();
    app.db
        .write(move |tx| {
            let order = Order::require(tx, &id)?;
            let over = || {
                Problem::new(409, "order-closed", "The order is closed")
                    .detail("There is nothing left to do.")
            };
            wish(&of_writer, tx, &order, &Wish::RetryNow, over)?;
            signal::send_again(&of_writer, tx, &id)?;
            accepted(&order)
        })
        .await
}

/// Passes on what a person asks for, unless it is clear already that it comes too late, or
/// needless.
fn wish(
    app: &App,
    tx: &Tx<'_>,
    order: &Order,
    wish: &Wish,
    refusal: impl Fn() -> Problem,
) -> Result<(), Problem> {
    let at = Circumstances { now: tx.now(), random: 0.0, policy: &app.policy };
    match step(&order.saga, wish, at) {
        Step { verdict: Verdict::TooLate, .. } => Err(refusal()),
        Step { saga, .. } if saga == order.saga => Ok(()),
        _ => signal::tell(app, tx, &order.agreed.id, wish),
    }
}

/// Waits until the workflow has `heard`, so that the page that follows shows it; not for long,
/// because it hears it in any case.
async fn heard_out(
    app: &App,
    id: &OrderId,
    heard: impl Fn(&Order) -> bool,
) -> Result<Order, Problem> {
    let until = Instant::now() + HEARD_MAX;
    let mut watching = app.live.watch(id);
    loop {
        let own_id = id.clone();
        let order = app.db.read(move |conn| Order::require(conn, &own_id)).await?;
        let Some(watching) = watching.as_mut().filter(|_| !heard(&order)) else {
            return Ok(order);
        };
        if timeout_at(until, watching.changed()).await.is_err() {
            return Ok(order);
        }
    }
}

fn accepted(order: &Order) -> Result<Reply, Problem> {
    Reply::json(202, &json!({"order_id": order.agreed.id, "status": order.saga.status}))
}
