//! Finds open orders whose workflow has ended, and has it begin again.
//!
//! A workflow ends with its order. One that failed, or that somebody terminated or purged, has
//! left its order behind with goods held and money on hold, and would never let go of them. The
//! row is never behind what the order has asked for, so a new workflow takes it up from there.

use std::collections::BTreeMap;
use std::time::Duration;

use dapr_durabletask::client::TaskHubGrpcClient;
use store_kit::{Backoff, OrderId, Problem, Stop};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::App;
use crate::order::Order;
use crate::signal;

/// An order that changed a moment ago has a workflow.
const QUIET: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looked at in one go; the next go takes the next ones.
const LOOK_MAX: u32 = 64;
const RPC_MAX: Duration = Duration::from_secs(5);
/// One that ends again and again is begun again, but not all the time.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(30), max: Duration::from_secs(600) };
/// Orders remembered for that.
const BEGUN_MAX: usize = 1024;

struct Begun {
    times: u32,
    not_before: Instant,
}

pub(crate) async fn run(app: App, engine: Channel, stop: Stop) {
    let mut after = None::<OrderId>;
    let mut begun: BTreeMap<OrderId, Begun> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = sleep(LOOK_EVERY) => {}
        }
        let quiet = match quiet(&app, after.take()).await {
            Ok(quiet) => quiet,
            Err(problem) => {
                tracing::warn!(%problem, "could not look for orders that stand still");
                continue;
            }
        };
        after = quiet.last().filter(|_| quiet.len() == LOOK_MAX as usize).cloned();
        for id in quiet {
            // An engine that does not answer is asked again later.
            let Some(how) = ended(&engine, &id).await else { continue };
            if let Err(problem) = begin_again(&app, &mut begun, &id, how).await {
                tracing::warn!(order_id = %id, %problem, "could not begin the workflow again");
            }
        }
    }
}

async fn quiet(app: &App, after: Option<OrderId>) -> Result<Vec<OrderId>, Problem> {
    let before = app.db.clock().now() - QUIET;
    app.db.read(move |conn| Order::open_since(conn, before, after.as_ref(), LOOK_MAX)).await
}

/// How the workflow of an order ended, if it has.
async fn ended(engine: &Channel, id: &OrderId) -> Option<String> {
    let mut client = TaskHubGrpcClient::from_channel(engine.clone());
    let asked = client.get_orchestration_state(id.as_str(), false);
    match timeout(RPC_MAX, asked).await {
        Ok(Ok(None)) => Some("is gone".to_owned()),
        Ok(Ok(Some(state))) if state.runtime_status.is_terminal() => {
            let why = state.failure_details.map(|details| details.message).unwrap_or_default();
            Some(format!("{:?} {why}", state.runtime_status).trim().to_lowercase())
        }
        _ => None,
    }
}

async fn begin_again(
    app: &App,
    begun: &mut BTreeMap<OrderId, Begun>,
    id: &OrderId,
    how: String,
) -> Result<(), Problem> {
    let now = Instant::now();
    begun.retain(|_, begun| now < begun.not_before + AGAIN.max);
    let times = match begun.get(id) {
        Some(begun) if now < begun.not_before => return Ok(()),
        Some(begun) => begun.times + 1,
        None if begun.len() >= BEGUN_MAX => return Ok(()),
        None => 1,
    };
    begun.insert(id.clone(), Begun { times, not_before: now + AGAIN.wait(times, 1.0) });
    tracing::error!(order_id = %id, how, times, "the workflow ended before its order; it begins again");
    let (of_writer, id) = (app.clone(), id.clone());
    app.db.write(move |tx| signal::begin(&of_writer, tx, &id)).await
}
