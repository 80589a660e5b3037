//! Drives orders: takes those that are due and leads each from step to step.
//!
//! Whoever changes an order says so when the change is committed, and the order is taken up at
//! once; the database is looked through only when something in it is due. Lost wake-ups do no
//! harm (there is always a next look), and neither does a crash: what an order waits for stands
//! in its row, and its requests keep their keys.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use store_kit::{OrderId, Problem, Stop, Timestamp, Trace, with_trace};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::App;
use crate::machine::{Input, Saga};
use crate::order::{self, Order};
use crate::saga::{self, Met};

/// How many orders are led at once. Each has at most one request under way.
const ORDERS_MAX: usize = 64;
/// How many orders may wait to be led in memory; the rest waits in the database.
const READY_MAX: usize = 1024;
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After so many steps in a row an order lets others go first.
const STEPS_MAX: u32 = 32;

/// Tells the worker what to look at.
#[derive(Debug, Clone)]
pub(crate) struct Wake {
    orders: mpsc::Sender<OrderId>,
    look: Arc<Notify>,
}

pub(crate) struct Wakes {
    orders: mpsc::Receiver<OrderId>,
    look: Arc<Notify>,
}

pub(crate) fn wake() -> (Wake, Wakes) {
    let (orders, woken) = mpsc::channel(READY_MAX);
    let look = Arc::new(Notify::new());
    (Wake { orders, look: look.clone() }, Wakes { orders: woken, look })
}

impl Wake {
    /// This order is due.
    pub(crate) fn order(&self, id: OrderId) {
        if self.orders.try_send(id).is_err() {
            self.look.notify_one();
        }
    }

    /// Many orders may be due.
    pub(crate) fn all(&self) {
        self.look.notify_one();
    }
}

/// What the loop knows of the orders it leads.
#[derive(Default)]
struct Desk {
    ready: VecDeque<OrderId>,
    /// In `ready` or led; `true`: something happened to it meanwhile, look again.
    known: HashMap<OrderId, bool>,
    led: HashMap<tokio::task::Id, OrderId>,
}

impl Desk {
    fn put(&mut self, id: OrderId) {
        if let Some(again) = self.known.get_mut(&id) {
            *again = true;
        } else {
            self.known.insert(id.clone(), false);
            self.ready.push_back(id);
        }
    }

    fn done(&mut self, task: tokio::task::Id) {
        let Some(id) = self.led.remove(&task) else { return };
        if self.known.remove(&id) == Some(true) {
            self.put(id);
        }
    }
}

pub(crate) async fn run(app: App, mut wakes: Wakes, stop: Stop) {
    let mut desk = Desk::default();
    let mut running: JoinSet<Option<Timestamp>> = JoinSet::new();
    let mut look_at = Instant::now();
    loop {
        while running.len() < ORDERS_MAX
            && let Some(id) = desk.ready.pop_front()
        {
            // What happened until now is seen by the look that starts now.
            desk.known.insert(id.clone(), false);
            let task = running.spawn(lead(app.clone(), id.clone(), stop.clone())).id();
            desk.led.insert(task, id);
        }
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(ended) = running.join_next_with_id() => match ended {
                Ok((task, next)) => {
                    desk.done(task);
                    look_at = look_at.min(from_now(&app, next));
                }
                Err(error) => {
                    tracing::error!(%error, "leading an order failed; it is taken up again");
                    desk.done(error.id());
                }
            },
            Some(id) = wakes.orders.recv(), if desk.ready.len() < READY_MAX => desk.put(id),
            () = wakes.look.notified() => look_at = Instant::now(),
            () = tokio::time::sleep_until(look_at), if desk.ready.is_empty() => {
                look_at = Instant::now() + look(&app, &mut desk).await;
            }
        }
    }
    // What is under way ends with its answer or its time-out.
    while running.join_next().await.is_some() {}
}

/// Puts what is due on the desk, and says how long nothing else will be.
async fn look(app: &App, desk: &mut Desk) -> Duration {
    let now = app.db.clock().now();
    match app.db.read(move |conn| order::due(conn, now, READY_MAX as u32)).await {
        Ok((ids, next)) => {
            let full = ids.len() >= READY_MAX;
            let known: HashSet<OrderId> = desk.known.keys().cloned().collect();
            ids.into_iter().filter(|id| !known.contains(id)).for_each(|id| desk.put(id));
            let wait = next.map_or(LOOK_EVERY, |next| next.since(now)).min(LOOK_EVERY);
            if full { Duration::from_millis(10) } else { wait.max(Duration::from_millis(1)) }
        }
        Err(problem) => {
            tracing::error!(%problem, "could not look for orders that are due");
            Duration::from_secs(1)
        }
    }
}

fn from_now(app: &App, next: Option<Timestamp>) -> Instant {
    let wait = next.map_or(LOOK_EVERY, |next| next.since(app.db.clock().now()));
    Instant::now() + wait.min(LOOK_EVERY)
}

/// Leads one order for as long as it is due. Says when it is due again.
async fn lead(app: App, id: OrderId, stop: Stop) -> Option<Timestamp> {
    let led = async {
        let Some(order) = find(&app, &id).await? else { return Ok(None) };
        let trace = order.trace.clone().unwrap_or_else(Trace::start);
        with_trace(trace, steps(&app, order, &stop)).await
    };
    led.await.unwrap_or_else(|problem: Problem| {
        tracing::error!(order_id = %id, %problem, "could not lead the order; trying again");
        Some(app.db.clock().now() + Duration::from_secs(1))
    })
}

async fn find(app: &App, id: &OrderId) -> Result<Option<Order>, Problem> {
    let id = id.clone();
    app.db.read(move |conn| Order::find(conn, &id)).await
}

async fn steps(app: &App, mut order: Order, stop: &Stop) -> Result<Option<Timestamp>, Problem> {
    for _ in 0..STEPS_MAX {
        let now = app.db.clock().now();
        match order.saga.next_run_at {
            Some(next) if next <= now && !stop.is_stopped() => {}
            next => return Ok(next),
        }
        let input = match saga::decide(app, &order.saga, &Input::Due, now).call {
            Some(action) => {
                let timeout = app.policy.timeout(order.saga.attempt);
                let answer = app.remote.perform(action, &order, timeout, app.policy.hold).await;
                Input::Reply(action, answer)
            }
            None => Input::Due,
        };
        match meet(app, &order, input).await? {
            Some(saga) => order.saga = saga,
            // It moved on while we asked. What we heard is of yesterday; asking again is safe.
            None => match find(app, &order.agreed.id).await? {
                Some(fresh) => order = fresh,
                None => return Ok(None),
            },
        }
    }
    Ok(Some(app.db.clock().now()))
}

/// Stores what came of a step. `None`: the order moved on meanwhile.
async fn meet(app: &App, order: &Order, input: Input) -> Result<Option<Saga>, Problem> {
    let (id, version) = (order.agreed.id.clone(), order.saga.version);
    let of_writer = app.clone();
    let met =
        app.db.write(move |tx| saga::meet(&of_writer, tx, &id, Some(version), &input)).await?;
    let Met::Step(step) = met else { return Ok(None) };
    let id = &order.agreed.id;
    for made in &step.moves {
        let (from, to) = (made.from.as_str(), made.to.as_str());
        tracing::info!(order_id = %id, from, to, why = made.why, "order moved");
    }
    let tries = step.saga.attempt;
    if step.moves.is_empty() && tries > 0 && tries.is_multiple_of(10) {
        tracing::warn!(order_id = %id, status = step.saga.status.as_str(), tries, "the step does not succeed");
    }
    Ok(Some(step.saga))
}
