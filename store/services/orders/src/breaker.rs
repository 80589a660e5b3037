//! Watches parties that are away, and sends the orders on that waited for one when it is back.
//!
//! Without this an order would sleep out its back-off, up to half a minute, although the
//! service that it waits for was restarted within a second.

use std::time::Duration;

use rusqlite::params;
use store_kit::{Problem, Stop};

use crate::App;
use crate::machine::{Party, Status};

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

/// Makes every order due that is backing off from this party.
async fn send_on(app: &App, party: Party) -> Result<(), Problem> {
    let waiting: Vec<&str> = Status::ALL
        .iter()
        .filter(|status| status.asks() == Some(party))
        .map(|status| status.as_str())
        .collect();
    let (wake, waiting) = (app.wake.clone(), serde_json::to_string(&waiting)?);
    app.db
        .write(move |tx| {
            tx.execute(
                "UPDATE saga SET next_run_at = ?1 WHERE attempt > 0 AND next_run_at > ?1 AND order_id IN \
                 (SELECT id FROM orders WHERE status IN (SELECT value FROM json_each(?2)))",
                params![tx.now(), waiting],
            )?;
            tx.after_commit(move || wake.all());
            Ok(())
        })
        .await
}
