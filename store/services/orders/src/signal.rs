//! What an order's workflow is told, kept until the workflow has it for certain.
//!
//! Whatever an order hears (that it begins, a fact, a wish) is written here in the transaction
//! that takes it, so it is taken when that is committed, and told to the workflow afterwards,
//! again and again until the engine has it durably. The number makes a repetition harmless: an
//! order does not hear a number twice. So neither a crash here nor one there loses anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dapr_durabletask::api::DurableTaskError;
use dapr_durabletask::client::{NewOrchestrationOptions, TaskHubGrpcClient};
use rusqlite::Connection;
use store_kit::{OrderId, Problem, Stop, Tx};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use tonic::transport::Channel;

use crate::App;
use crate::conductor::{Conductor, Signal};
use crate::machine::{Input, Status};
use crate::order::Order;
use crate::workflow;

/// How many are told at a time.
const BATCH_MAX: u32 = 256;
const RPC_MAX: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);
/// What was told is removed together, so that removing costs next to nothing.
const TIDY_EVERY: Duration = Duration::from_secs(2);

/// Wakes who tells; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail(Arc<Notify>);

/// Puts in the mail that the order begins.
pub(crate) fn begin(app: &App, tx: &Tx<'_>, id: &OrderId) -> Result<(), Problem> {
    put(app, tx, id, None)
}

/// Puts in the mail what an order is to hear.
pub(crate) fn tell(app: &App, tx: &Tx<'_>, id: &OrderId, input: &Input) -> Result<(), Problem> {
    put(app, tx, id, Some(serde_json::to_string(input)?))
}

fn put(app: &App, tx: &Tx<'_>, id: &OrderId, input: Option<String>) -> Result<(), Problem> {
    tx.prepare_cached("INSERT INTO signal(order_id, input) VALUES(?, ?)")?.execute((id, input))?;
    let mail = app.mail.clone();
    tx.after_commit(move || mail.0.notify_one());
    Ok(())
}

/// Tells every order that asks one of these parties, all at once.
pub(crate) fn tell_all(
    app: &App,
    tx: &Tx<'_>,
    among: &[Status],
    input: &Input,
) -> Result<(), Problem> {
    tx.prepare_cached(
        "INSERT INTO signal(order_id, input) SELECT id, ?1 FROM orders \
         WHERE status IN (SELECT value FROM json_each(?2))",
    )?
    .execute((serde_json::to_string(input)?, serde_json::to_string(among)?))?;
    let mail = app.mail.clone();
    tx.after_commit(move || mail.0.notify_one());
    Ok(())
}

struct Letter {
    seq: i64,
    order: OrderId,
    /// `None`: the order begins.
    input: Option<Input>,
}

/// Tells what is in the mail for as long as the service runs.
pub(crate) async fn run(app: App, channel: Channel, stop: Stop) {
    if let Err(problem) = begin_all(&app).await {
        tracing::error!(%problem, "could not look for orders that are open");
    }
    let (mut told, mut tidied, mut tidied_at) = (0, 0, Instant::now());
    let mut away = false;
    while !stop.is_stopped() {
        let letters = match app.db.read(move |conn| unread(conn, told)).await {
            Ok(letters) => letters,
            Err(problem) => {
                tracing::error!(%problem, "could not read the mail of the workflows");
                sleep(AGAIN).await;
                continue;
            }
        };
        if tidied < told && tidied_at.elapsed() >= TIDY_EVERY {
            // Left over, it would only be told again after a restart.
            let sweep =
                move |tx: &Tx<'_>| Ok(tx.execute("DELETE FROM signal WHERE seq <= ?", [told])?);
            if app.db.write(sweep).await.is_ok() {
                (tidied, tidied_at) = (told, Instant::now());
            }
        }
        if letters.is_empty() {
            tokio::select! {
                biased;
                () = stop.stopped() => return,
                () = app.mail.0.notified() => {}
                () = sleep(TIDY_EVERY), if tidied < told => {}
            }
            continue;
        }
        let last = letters.last().map_or(told, |letter| letter.seq);
        let failed = tell_batch(&app, &channel, letters).await;
        told = failed.as_ref().map_or(last, |(seq, _)| seq - 1);
        if let Some((_, why)) = &failed {
            if !away {
                tracing::warn!(why, "the workflow engine does not answer; orders wait for it");
            }
            tokio::select! {
                biased;
                () = stop.stopped() => return,
                () = sleep(AGAIN) => {}
            }
        } else if away {
            tracing::info!("the workflow engine answers again");
        }
        away = failed.is_some();
    }
}

/// Every open order has its workflow. Those of before there were workflows get theirs, as do
/// all if the engine has lost its memory; where there is one already, nothing happens.
async fn begin_all(app: &App) -> Result<(), Problem> {
    let open: Vec<Status> = Status::ALL.iter().copied().filter(|s| !s.is_final()).collect();
    let open = serde_json::to_string(&open)?;
    app.db
        .write(move |tx| {
            tx.execute(
                "INSERT INTO signal(order_id) SELECT id FROM orders \
                 WHERE status IN (SELECT value FROM json_each(?))",
                [open],
            )?;
            Ok(())
        })
        .await
}

fn unread(conn: &Connection, after: i64) -> Result<Vec<Letter>, Problem> {
    let mut rows = conn.prepare_cached(
        "SELECT seq, order_id, input FROM signal WHERE seq > ? ORDER BY seq LIMIT ?",
    )?;
    let rows = rows.query_map((after, BATCH_MAX), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?))
    })?;
    rows.map(|row| {
        let (seq, order, input) = row?;
        let input = input.map(|text| serde_json::from_str(&text)).transpose()?;
        Ok(Letter { seq, order, input })
    })
    .collect()
}

/// Each order's one after the other, those of different orders at the same time. Says the first
/// number that was not told; what is behind it is told again.
async fn tell_batch(app: &App, engine: &Channel, letters: Vec<Letter>) -> Option<(i64, String)> {
    let mut by_order: BTreeMap<OrderId, Vec<Letter>> = BTreeMap::new();
    for letter in letters {
        by_order.entry(letter.order.clone()).or_default().push(letter);
    }
    let told = by_order.into_values().map(|letters| async move {
        for letter in letters {
            let sent = timeout(RPC_MAX, deliver(app, engine, &letter)).await;
            let failed = match sent {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(_) => "no answer in time".to_owned(),
            };
            return Some((letter.seq, failed));
        }
        None
    });
    let ended = futures_util::future::join_all(told).await;
    ended.into_iter().flatten().min_by_key(|(seq, _)| *seq)
}

async fn deliver(app: &App, engine: &Channel, letter: &Letter) -> Result<(), String> {
    let mut client = TaskHubGrpcClient::from_channel(engine.clone());
    let Some(input) = &letter.input else {
        return start(app, &mut client, &letter.order).await.map(drop);
    };
    let signal = Signal { seq: letter.seq, input: input.clone() };
    let signal = serde_json::to_string(&signal).map_err(|error| error.to_string())?;
    let id = letter.order.as_str();
    for _ in 0..2 {
        let raised =
            client.raise_orchestration_event(id, workflow::SIGNAL, Some(signal.clone())).await;
        match raised {
            Err(error) if code(&error) == Some(Code::NotFound) => {
                // Ended and forgotten, or the engine has lost its memory.
                if !start(app, &mut client, &letter.order).await? {
                    return Ok(());
                }
            }
            other => return other.map_err(|error| error.to_string()),
        }
    }
    // Told later again: what is open must hear it.
    Err(format!("the engine took the workflow of {id} and does not know it"))
}

/// Starts the workflow of an open order where its row stands. Not again, if there is one. False
/// when the order is not open, and hears nothing any more.
async fn start(app: &App, client: &mut TaskHubGrpcClient, id: &OrderId) -> Result<bool, String> {
    let own = id.clone();
    let order =
        app.db.read(move |conn| Order::find(conn, &own)).await.map_err(|p| p.to_string())?;
    let Some(order) = order.filter(|order| !order.saga.status.is_final()) else {
        return Ok(false);
    };
    let policy = app.policy.as_ref().clone();
    let trace = order.trace.as_ref().map(|trace| trace.as_str().to_owned());
    let conductor = Conductor::new(id.to_string(), order.saga, order.revision, policy)
        .with_trace(trace)
        .having_heard(order.heard);
    let input = serde_json::to_string(&conductor).map_err(|error| error.to_string())?;
    // With a moment to start at, the engine does not wait for the first turn.
    let options = NewOrchestrationOptions::new()
        .with_instance_id(id.as_str())
        .with_input(input)
        .with_start_time(chrono::DateTime::UNIX_EPOCH)
        .with_enforce_unique_instance_id();
    match client.schedule_new_orchestration_with_options(workflow::ORDER, options).await {
        Err(error) if code(&error) != Some(Code::AlreadyExists) => Err(error.to_string()),
        _ => Ok(true),
    }
}

fn code(error: &DurableTaskError) -> Option<Code> {
    match error {
        DurableTaskError::GrpcError(status) => Some(status.code()),
        _ => None,
    }
}
