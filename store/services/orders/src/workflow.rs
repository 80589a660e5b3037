//! The workflow `order`, and its activities.
//!
//! The code of a workflow is run again from its history after every event, so it must do the
//! same each time: it asks the clock of its context, and leaves everything else to
//! [`Conductor`]. Activities are named by what they do, so the history of an order reads like
//! the table of the saga.
//!
//! A change to this file or to the machine that makes an order under way do something else than
//! its history says needs a new version: register the new code as the latest, keep the old one
//! beside it for those that began with it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dapr_durabletask::api::DurableTaskError;
use dapr_durabletask::task::{
    ActivityContext, CompletableTask, OrchestrationContext, TaskResult, when_any,
};
use dapr_durabletask::worker::{ReconnectPolicy, TaskHubGrpcWorker, WorkerOptions};
use serde::de::DeserializeOwned;
use store_kit::{Backoff, OrderId, Stop, Timestamp, Trace, with_trace};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::conductor::{Conductor, Signal, Work};
use crate::machine::{Action, Answer};
use crate::order::Order;

pub(crate) const ORDER: &str = "order";
const VERSION: &str = "1";
pub(crate) const SIGNAL: &str = "signal";
const RECORD: &str = "record";

/// After so many turns a workflow begins a new history, from where it stands: an order that
/// waits for days looks at its parcel twice a minute.
const TURNS_MAX: u32 = 200;
/// Turns and activities at once. An activity may wait for its callee for seconds, and must not
/// keep the turns of others waiting.
const WORK_MAX: usize = 1024;
/// Histories kept here, so that a turn is sent only what is new in it. One is about 10 KB at its
/// end; with less room than the orders of a rush need, each would be sent again at every turn.
const HISTORY_TTL: Duration = Duration::from_secs(60);
const HISTORY_BYTES: u64 = 16 << 20;
const RECORD_AGAIN: Backoff =
    Backoff { first: Duration::from_millis(50), max: Duration::from_secs(5) };

type Outcome = dapr_durabletask::api::Result<Option<String>>;

/// Takes turns and activities from the engine until the service stops.
pub(crate) async fn run(app: App, url: String, stop: Stop) {
    let reconnect = ReconnectPolicy::new()
        .with_initial_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(500));
    let options = WorkerOptions::new()
        .with_max_concurrent_work_items(WORK_MAX)
        .with_history_cache_ttl(HISTORY_TTL)
        .with_history_cache_max_bytes(HISTORY_BYTES)
        .with_reconnect_policy(reconnect);
    let mut worker = TaskHubGrpcWorker::with_options(&url, options);
    let registry = worker.registry_mut();
    registry.add_latest_orchestrator(ORDER, VERSION, conduct);
    for name in Action::NAMES.iter().chain([&RECORD]) {
        let app = app.clone();
        registry.add_named_activity(name, move |context, input| {
            let app = app.clone();
            async move { perform(&app, &context, input.as_deref()).await }
        });
    }
    let asked = CancellationToken::new();
    // The worker comes back by itself whenever its stream ends.
    let mut work = pin!(worker.start(asked.clone()));
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = stop.stopped() => {
            // What is under way ends first.
            asked.cancel();
            work.await
        }
    };
    if let Err(error) = ended {
        tracing::error!(%error, "the worker of the workflows ended");
    }
}

/// The workflow.
async fn conduct(context: OrchestrationContext) -> Outcome {
    let mut order: Conductor = context.input()?;
    let mut heard = context.wait_for_external_event(SIGNAL);
    let (mut request, mut recording) = (None::<CompletableTask>, None::<CompletableTask>);
    let mut alarm = None::<(Timestamp, CompletableTask)>;
    for turn in 0.. {
        if turn >= TURNS_MAX && order.is_idle() {
            context.continue_as_new(&order, true);
            return Ok(None);
        }
        for work in order.next(now(&context)) {
            let name = work.action.map_or(RECORD, Action::name);
            let task = context.call_activity(name, &work);
            *(if work.action.is_some() { &mut request } else { &mut recording }) = Some(task);
        }
        context.set_custom_status(order.saga().status.as_str());
        if order.is_done() {
            return Ok(None);
        }
        if let Some(wake) = order.wake_at()
            && alarm.as_ref().is_none_or(|(at, _)| *at > wake)
        {
            // An alarm cannot be taken back; one that comes too early does no harm.
            let timer = context.create_timer(wake.since(now(&context)));
            alarm = Some((wake, timer));
        }
        let waits = [Some(&heard), request.as_ref(), recording.as_ref()];
        let waits = waits.into_iter().flatten().chain(alarm.as_ref().map(|(_, timer)| timer));
        when_any(waits.cloned().collect()).await?;
        let now = now(&context);
        while let Some(signal) = result::<Signal>(&heard) {
            heard = context.wait_for_external_event(SIGNAL);
            if let Some(signal) = signal {
                order.hear(&signal, now);
            }
        }
        if let Some(answer) = request.as_ref().and_then(result::<Answer>) {
            request = None;
            order.answered(answer, now);
        }
        if let Some(good) = recording.as_ref().and_then(result::<()>) {
            recording = None;
            order.recording_ended(good.is_some(), now);
        }
        alarm = alarm.filter(|(_, timer)| !timer.is_complete());
    }
    unreachable!("an order has no end of turns")
}

/// Every activity: records what there is to record, and asks what there is to ask. Whatever
/// that comes to is an answer; what to do about it is for the machine to say.
///
/// The record is first in the line of the database's writer when the request leaves, so whatever
/// we are told in consequence finds it written; the disk and the callee work at the same time.
async fn perform(app: &App, context: &ActivityContext, input: Option<&str>) -> Outcome {
    let id: OrderId = context.orchestration_id().parse().map_err(other)?;
    let work: Arc<Work> = Arc::new(serde_json::from_str(input.unwrap_or_default())?);
    let trace = work.trace.as_deref().and_then(Trace::parse).unwrap_or_else(Trace::start);
    let recorded = with_trace(trace.clone(), record(app, context, &id, &work));
    let Some(action) = work.action else {
        recorded.await?;
        return Ok(Some("null".to_owned()));
    };
    let asked = with_trace(trace, ask(app, &id, action, &work));
    let (recorded, answer) = tokio::join!(recorded, asked);
    recorded?;
    Ok(Some(serde_json::to_string(&answer)?))
}

async fn ask(app: &App, id: &OrderId, action: Action, work: &Work) -> Answer {
    let (own_id, saga) = (id.clone(), work.saga.clone());
    let found = app.db.read(move |conn| Order::at(conn, &own_id, saga)).await;
    let Ok(Some(order)) = found else { return Answer::Silent(None) };
    let (timeout, hold) = (app.policy.timeout(work.saga.attempt), app.policy.hold);
    app.remote.perform(action, &order, timeout, hold).await
}

/// Tries until it is written: the order cannot go on before, and nobody could do it better.
async fn record(
    app: &App,
    context: &ActivityContext,
    id: &OrderId,
    work: &Arc<Work>,
) -> dapr_durabletask::api::Result<()> {
    let mut failures = 0;
    loop {
        let (live, own_id, its_work) = (app.live.clone(), id.clone(), Arc::clone(work));
        let written = app.db.write(move |tx| Order::record(&live, tx, &own_id, &its_work));
        match written.await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(other(format!("{id} is not in the database"))),
            Err(problem) => {
                failures += 1;
                tracing::warn!(order_id = %id, %problem, failures, "could not record; trying again");
                tokio::select! {
                    // Given back: the next worker does it.
                    () = context.cancelled() => return Err(other("the service stops")),
                    () = sleep(RECORD_AGAIN.wait(failures, 1.0)) => {}
                }
            }
        }
    }
}

fn other(error: impl std::fmt::Display) -> DurableTaskError {
    DurableTaskError::Other(error.to_string())
}

/// `None`: not yet. `Some(None)`: it failed.
fn result<T: DeserializeOwned>(task: &CompletableTask) -> Option<Option<T>> {
    Some(match task.get_result()? {
        TaskResult::Completed(text) => serde_json::from_str(text.as_deref().unwrap_or("null")).ok(),
        TaskResult::Failed(_) => None,
    })
}

fn now(context: &OrchestrationContext) -> Timestamp {
    Timestamp::from_millis(context.current_utc_datetime().timestamp_millis())
}
