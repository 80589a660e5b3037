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
    let (asked, stopping) = (CancellationToken::new(), stop.clone());
    let told = asked.clone();
    let watch = async move {
        stopping.stopped().await;
        told.cancel();
    };
    // The worker comes back by itself whenever its stream ends.
    let (ended, ()) = tokio::join!(worker.start(asked), watch);
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

/// Every activity: records what there is to record, then asks what there is to ask. Whatever
/// that comes to is an answer; what to do about it is for the machine to say.
async fn perform(app: &App, context: &ActivityContext, input: Option<&str>) -> Outcome {
    let id: OrderId = context.orchestration_id().parse().map_err(other)?;
    let work: Work = serde_json::from_str(input.unwrap_or_default())?;
    let (action, tries) = (work.action, work.saga.attempt);
    let order = record(app, context, id, Arc::new(work)).await?;
    let Some(action) = action else { return Ok(Some("null".to_owned())) };
    let trace = order.trace.clone().unwrap_or_else(Trace::start);
    let (timeout, hold) = (app.policy.timeout(tries), app.policy.hold);
    let answer = with_trace(trace, app.remote.perform(action, &order, timeout, hold)).await;
    Ok(Some(serde_json::to_string(&answer)?))
}

/// Tries until it is written: the order cannot go on before, and nobody could do it better.
async fn record(
    app: &App,
    context: &ActivityContext,
    id: OrderId,
    work: Arc<Work>,
) -> dapr_durabletask::api::Result<Order> {
    let mut failures = 0;
    loop {
        let (of_writer, id_of_writer, its_work) = (app.clone(), id.clone(), work.clone());
        let written = app
            .db
            .write(move |tx| Order::record(&of_writer.live, tx, &id_of_writer, &its_work))
            .await;
        match written {
            Ok(Some(order)) => return Ok(order),
            Ok(None) => return Err(other(format!("{id} is not in the database"))),
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
