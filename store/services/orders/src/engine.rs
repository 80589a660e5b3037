//! The workflow engine, as far as orders ask it something: begins workflows and tells them.

use std::fmt;
use std::time::Duration;

use dapr_durabletask::api::DurableTaskError;
use dapr_durabletask::client::{NewOrchestrationOptions, TaskHubGrpcClient};
use store_kit::OrderId;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

use crate::App;
use crate::conductor::{Conductor, Signal};
use crate::order::Order;
use crate::signal::{self, Letter};
use crate::workflow;

const RPC_MAX: Duration = Duration::from_secs(5);

/// Why a letter was not taken.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine did not answer, or our own database: it is not the letter's fault.
    Away(String),
    /// There was an answer, and it was no.
    Refused(String),
    /// It will not be another one.
    Never(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) | Self::Refused(why) | Self::Never(why) => f.write_str(why),
        }
    }
}

/// Brings one letter.
pub(crate) async fn deliver(app: &App, engine: &Channel, letter: &Letter) -> Result<(), Failure> {
    let brought = timeout(RPC_MAX, async {
        match &letter.input {
            None => start(app, engine, &letter.order).await.map(drop),
            Some(Ok(input)) => {
                raise(app, engine, &letter.order, Signal { seq: letter.seq, input: input.clone() })
                    .await
            }
            Some(Err(why)) => Err(Failure::Never(format!("it cannot be read: {why}"))),
        }
    });
    brought.await.unwrap_or_else(|_| Err(Failure::Away("no answer in time".to_owned())))
}

async fn raise(app: &App, engine: &Channel, id: &OrderId, told: Signal) -> Result<(), Failure> {
    for _ in 0..2 {
        match event(engine, id, &told).await {
            Err(error) if code(&error) == Some(Code::NotFound) => {
                // Ended and forgotten, or the engine has lost its memory.
                if !start(app, engine, id).await? {
                    return Ok(());
                }
            }
            other => return other.map_err(|error| failure(&error)),
        }
    }
    // Told later again: what is open must hear it.
    Err(Failure::Refused(format!("the engine took the workflow of {id} and does not know it")))
}

async fn event(engine: &Channel, id: &OrderId, told: &Signal) -> Result<(), DurableTaskError> {
    let mut client = TaskHubGrpcClient::from_channel(engine.clone());
    let text = serde_json::to_string(told)?;
    client.raise_orchestration_event(id.as_str(), workflow::SIGNAL, Some(text)).await
}

/// Starts the workflow of an open order where its row stands, and tells it what its row has not
/// heard. Not again while there is one that goes on; one that failed or was terminated is
/// replaced. False when the order is not open, and hears nothing any more.
async fn start(app: &App, engine: &Channel, id: &OrderId) -> Result<bool, Failure> {
    let own = id.clone();
    let found = app.db.read(move |conn| {
        let order = Order::find(conn, &own)?;
        let heard = order.as_ref().map_or(0, |order| order.heard);
        Ok((order, signal::of_order(conn, &own, (heard + 1, i64::MAX))?))
    });
    let (order, unheard) = found.await.map_err(|problem| Failure::Away(problem.to_string()))?;
    let Some(order) = order.filter(|order| !order.saga.status.is_final()) else {
        return Ok(false);
    };
    let policy = app.policy.as_ref().clone();
    let trace = order.trace.as_ref().map(|trace| trace.as_str().to_owned());
    let conductor = Conductor::new(id.to_string(), order.saga, order.revision, policy)
        .with_trace(trace)
        .having_heard(order.heard);
    let input = serde_json::to_string(&conductor);
    let input = input.map_err(|error| Failure::Refused(error.to_string()))?;
    // With a moment to start at, the engine does not wait for the first turn.
    let options = NewOrchestrationOptions::new()
        .with_instance_id(id.as_str())
        .with_input(input)
        .with_start_time(chrono::DateTime::UNIX_EPOCH);
    let mut client = TaskHubGrpcClient::from_channel(engine.clone());
    match client.schedule_new_orchestration_with_options(workflow::ORDER, options).await {
        Err(error) if code(&error) == Some(Code::AlreadyExists) => return Ok(true),
        Err(error) => return Err(failure(&error)),
        Ok(_) => {}
    }
    for letter in unheard {
        let Some(Ok(input)) = letter.input else { continue };
        let told = event(engine, id, &Signal { seq: letter.seq, input }).await;
        // What it refuses now it refused before, and that was told.
        if let Err(Failure::Away(why)) = told.map_err(|error| failure(&error)) {
            return Err(Failure::Away(why));
        }
    }
    Ok(true)
}

fn failure(error: &DurableTaskError) -> Failure {
    use Code::{Cancelled, DeadlineExceeded, Unavailable, Unknown};
    let away = match error {
        DurableTaskError::GrpcError(status) => {
            matches!(status.code(), Unavailable | Unknown | Cancelled | DeadlineExceeded)
        }
        _ => false,
    };
    let why = error.to_string();
    if away { Failure::Away(why) } else { Failure::Refused(why) }
}

fn code(error: &DurableTaskError) -> Option<Code> {
    match error {
        DurableTaskError::GrpcError(status) => Some(status.code()),
        _ => None,
    }
}
