//! Where the machine meets the database: one input, one transaction.

use rusqlite::Connection;
use store_kit::{OrderId, Problem, Tx, jitter};

use crate::App;
use crate::machine::{Circumstances, Input, Saga, Step, step};
use crate::order::Order;

/// What became of an input.
pub(crate) enum Met {
    /// There is no such order.
    Unknown,
    /// The order had moved on since the version that the input was meant for.
    Stale,
    Step(Box<Step>),
}

/// What would become of `saga` now, by `input`.
pub(crate) fn decide(app: &App, saga: &Saga, input: &Input, now: store_kit::Timestamp) -> Step {
    step(saga, input, Circumstances { now, random: jitter(), policy: &app.policy })
}

/// Lets the order meet `input`, and stores and publishes what follows. With `version`, only if
/// the order is still at it.
pub(crate) fn meet(
    app: &App,
    tx: &Tx<'_>,
    id: &OrderId,
    version: Option<u32>,
    input: &Input,
) -> Result<Met, Problem> {
    let Some(order) = Order::find(tx, id)? else { return Ok(Met::Unknown) };
    if version.is_some_and(|version| version != order.saga.version) {
        return Ok(Met::Stale);
    }
    let step = decide(app, &order.saga, input, tx.now());
    if step.saga != order.saga {
        order.store(tx, &step)?;
        let (live, id) = (app.live.clone(), id.clone());
        tx.after_commit(move || live.changed(&id));
    }
    Ok(Met::Step(Box::new(step)))
}

/// After an input from outside: whoever drives orders looks at this one at once, if it is due.
pub(crate) fn wake_if_due(app: &App, tx: &Tx<'_>, id: &OrderId, saga: &Saga) {
    if saga.next_run_at.is_some_and(|next| next <= tx.now()) {
        let (wake, id) = (app.wake.clone(), id.clone());
        tx.after_commit(move || wake.order(id));
    }
}

/// The order, or 404.
pub(crate) fn require(conn: &Connection, id: &OrderId) -> Result<Order, Problem> {
    Order::find(conn, id)?.ok_or_else(|| Problem::not_found(format!("order {id}")))
}
