//! Facts from the other services, as inputs of the machine.

use serde::Deserialize;
use store_kit::{Event, OrderId, Problem, Tx, Verdict as Received};

use crate::App;
use crate::machine::{
    Circumstances, Fulfilment, FulfilmentState, Input, MoneyState, ParcelState, Payment, Status,
    Verdict, step,
};
use crate::order::Order;
use crate::signal;

/// What every event says that we listen to; the rest is read where it is needed.
#[derive(Deserialize)]
struct About {
    order_id: OrderId,
    #[serde(default)]
    attempt: u32,
    #[serde(default)]
    capture_id: Option<String>,
    #[serde(default)]
    action_url: Option<String>,
    #[serde(default)]
    tracking: Option<String>,
}

/// A message may be about no order.
#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    order_id: Option<String>,
    #[serde(default)]
    template: String,
    #[serde(default)]
    channel: String,
}

pub(crate) fn on_event(app: &App, tx: &Tx<'_>, event: &Event) -> Result<Received, Problem> {
    if event.topic() == "message.sent" {
        return match event.data() {
            Ok(sent) => message_sent(app, tx, &sent),
            Err(poison) => Ok(poison),
        };
    }
    let about: About = match event.data() {
        Ok(about) => about,
        Err(poison) => return Ok(poison),
    };
    let payment = |state| {
        let (attempt, capture_id, action_url) =
            (about.attempt, about.capture_id.clone(), about.action_url.clone());
        Input::PaymentFact(Payment { attempt, state, capture_id, action_url })
    };
    let parcel =
        |state| Input::FulfilmentFact(Fulfilment { state, tracking: about.tracking.clone() });
    let input = match event.topic() {
        "payment.authorised" => payment(MoneyState::Authorised),
        "payment.declined" => payment(MoneyState::Declined),
        "payment.action_required" => payment(MoneyState::RequiresAction),
        "payment.captured" => payment(MoneyState::Captured),
        "payment.voided" => payment(MoneyState::Voided),
        "payment.refunded" => payment(MoneyState::Refunded),
        "payment.expired" => payment(MoneyState::Expired),
        "payment.capture_failed" => Input::CaptureFailed,
        "fulfilment.created" => return taken_on(app, tx, &about.order_id),
        "fulfilment.packed" => parcel(ParcelState::Packed),
        "fulfilment.short" => parcel(ParcelState::Short),
        "fulfilment.cancelled" => parcel(ParcelState::Cancelled),
        "shipment.dispatched" => parcel(ParcelState::Dispatched),
        "shipment.delivered" => parcel(ParcelState::Delivered),
        "reservation.shipped" => return counted_down(app, tx, &about.order_id),
        "shipment.exception" => {
            tracing::warn!(order_id = %about.order_id, "the carrier has trouble with the parcel");
            return Ok(Received::Applied);
        }
        // The goods are taken again when the order is confirmed; until then nothing follows.
        "reservation.expired" => return Ok(Received::Applied),
        other => return Ok(Received::Poison(format!("orders does not subscribe to `{other}`"))),
    };
    meet(app, tx, &about.order_id, &input)
}

/// A fact that comes too early is refused here, by the row, and comes again: the row is never
/// behind what the order has asked for, so no fact that follows from that can be too early.
fn meet(app: &App, tx: &Tx<'_>, id: &OrderId, input: &Input) -> Result<Received, Problem> {
    let Some(order) = Order::find(tx, id)? else { return Ok(unknown(id)) };
    let at = Circumstances { now: tx.now(), random: 0.0, policy: &app.policy };
    let step = step(&order.saga, input, at);
    Ok(match step.verdict {
        Verdict::Taken if step.saga == order.saga => Received::Applied,
        Verdict::Taken => {
            signal::tell(app, tx, id, input)?;
            Received::Applied
        }
        Verdict::NotYet(why) => Received::NotYet(format!("{id}: {why}")),
        Verdict::TooLate => Received::Applied,
        Verdict::Impossible(why) => {
            tracing::error!(order_id = %id, why, "a fact contradicts the order");
            Received::Poison(format!("{id}: {why}"))
        }
    })
}

fn unknown(id: &OrderId) -> Received {
    Received::NotYet(format!("{id} is not known here yet"))
}

/// The warehouse knows of the order: it is shown, and nothing follows from it, so the workflow
/// is spared the turn.
fn taken_on(app: &App, tx: &Tx<'_>, id: &OrderId) -> Result<Received, Problem> {
    let (state, status) = (FulfilmentState::New, Status::Confirmed);
    let noted = tx
        .prepare_cached("UPDATE orders SET fulfilment_state = ? WHERE id = ? AND status = ?")?
        .execute((state.as_str(), id, status.as_str()))?;
    if noted == 0 && Order::find(tx, id)?.is_none() {
        return Ok(unknown(id));
    }
    let (live, id) = (app.live.clone(), id.clone());
    tx.after_commit(move || live.changed(&id));
    Ok(Received::Applied)
}

/// Inventory has counted the shelf down.
fn counted_down(app: &App, tx: &Tx<'_>, id: &OrderId) -> Result<Received, Problem> {
    note(app, tx, id, "counted_down_at")
}

/// The first text that a customer gets says that we have the order.
fn message_sent(app: &App, tx: &Tx<'_>, sent: &Sent) -> Result<Received, Problem> {
    let order = sent.order_id.as_deref().and_then(|id| id.parse::<OrderId>().ok());
    match order {
        Some(id) if sent.template == "received" && sent.channel == "sms" => {
            note(app, tx, &id, "texted_at")
        }
        _ => Ok(Received::Applied),
    }
}

/// Notes when something was first heard of, for the timeline.
fn note(app: &App, tx: &Tx<'_>, id: &OrderId, column: &'static str) -> Result<Received, Problem> {
    let sql = format!("UPDATE orders SET {column} = coalesce({column}, ?2) WHERE id = ?1");
    if tx.prepare_cached(&sql)?.execute((id, tx.now()))? == 0 {
        return Ok(unknown(id));
    }
    let (live, id) = (app.live.clone(), id.clone());
    tx.after_commit(move || live.changed(&id));
    Ok(Received::Applied)
}
