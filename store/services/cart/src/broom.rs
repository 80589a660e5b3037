//! Deletes what nobody will ask for again.

use std::time::Duration;

use rusqlite::params;
use store_kit::{Db, Stop};

const DAY: Duration = Duration::from_secs(86_400);
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How many carts are deleted in one transaction: others want to write too.
const BATCH: u32 = 500;

pub(crate) async fn run(db: Db, stop: Stop) {
    loop {
        let swept = db.write(|tx| {
            let old = tx.now() - 90 * DAY;
            let carts = tx.execute(
                "DELETE FROM cart WHERE id IN (SELECT id FROM cart WHERE updated_at < ? \
                 AND (state = 'CLOSED' OR owner IS NULL) LIMIT ?)",
                params![old, BATCH],
            )?;
            // An order that still has facts to come after this long is looked at by people.
            tx.execute("DELETE FROM ordered WHERE at < ?", [old])?;
            Ok(carts)
        });
        let wait = match swept.await {
            Ok(carts) if carts >= BATCH as usize => Duration::from_millis(100),
            Ok(_) => LOOK_EVERY,
            Err(problem) => {
                tracing::warn!(%problem, "could not delete old carts; trying again later");
                LOOK_EVERY
            }
        };
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
