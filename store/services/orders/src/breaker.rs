//! Watches parties that are away, and sends the orders on that waited for one when it is back.
//!
//! Without this an order would sleep out its back-off, up to half a minute, although the
//! service that it waits for was restarted within a second.

use std::time::Duration;

use store_kit::{Problem, Stop};

use crate::App;
use crate::machine::{Input, Party, Status};
use crate::signal;

const PROBE_EVERY: Duration = Duration::from_millis(250);

pub(crate) async fn run(app: App, stop: Stop) {
    loop {
        let away = app.remote.away();
        for party in &away {
            if app.remote.is_back(*party).await
                && let Err(problem) = send_on(&app, *party).await
            {
                // They go on by themselves, only later.
                tracing::warn!(%problem, "could not wake the orders that waited");
            }
        }
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = app.remote.lost.notified(), if away.is_empty() => {}
            () = tokio::time::sleep(PROBE_EVERY), if !away.is_empty() => {}
        }
    }
}

/// Every order that asks this party asks again now.
async fn send_on(app: &App, party: Party) -> Result<(), Problem> {
    let waiting: Vec<Status> =
        Status::ALL.iter().copied().filter(|status| status.asks() == Some(party)).collect();
    let of_writer = app.clone();
    app.db.write(move |tx| signal::tell_all(&of_writer, tx, &waiting, &Input::RetryNow)).await
}
