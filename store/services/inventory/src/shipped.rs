//! The goods have left: the shelf counts down.

use serde::Deserialize;
use store_kit::{Event, OrderId, Problem, Tx, Verdict};

use crate::reservation::{self, State};
use crate::shelf::Line;

#[derive(Deserialize)]
struct Dispatched {
    order_id: OrderId,
    lines: Vec<Sent>,
}

/// A line of somebody else's event: members that we do not know are ignored.
#[derive(Deserialize)]
struct Sent {
    sku: store_kit::Sku,
    qty: u32,
}

pub(crate) fn on_event(tx: &Tx<'_>, event: &Event) -> Result<Verdict, Problem> {
    if event.topic() != "shipment.dispatched" {
        return Ok(Verdict::Poison(format!("inventory does not subscribe to `{}`", event.topic())));
    }
    match event.data::<Dispatched>() {
        Ok(dispatched) => on_dispatched(tx, dispatched),
        Err(poison) => Ok(poison),
    }
}

fn on_dispatched(tx: &Tx<'_>, dispatched: Dispatched) -> Result<Verdict, Problem> {
    let order = &dispatched.order_id;
    let Some(found) = reservation::find(tx, order)? else {
        return Ok(Verdict::NotYet(format!("nothing is reserved for {order} yet")));
    };
    let mut sent: Vec<Line> =
        dispatched.lines.into_iter().map(|l| Line { sku: l.sku, qty: l.qty }).collect();
    sent.sort();
    match found.state {
        State::Shipped => Ok(Verdict::Applied),
        State::Held => {
            Ok(Verdict::NotYet(format!("the reservation of {order} is not confirmed yet")))
        }
        State::Confirmed if found.lines == sent => {
            reservation::ship(tx, found)?;
            Ok(Verdict::Applied)
        }
        State::Confirmed => {
            Ok(Verdict::Poison(format!("other goods left than were reserved for {order}")))
        }
        // Nothing confirms an order and then lets it go without the warehouse having stopped, so
        // this is for people to find out.
        State::Expired | State::Released => {
            Ok(Verdict::Poison(format!("goods left for {order}, whose reservation had ended")))
        }
    }
}
