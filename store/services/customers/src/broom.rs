//! Deletes sign-ins that are over.

use std::time::Duration;

use store_kit::{Db, Stop};

const DAY: Duration = Duration::from_secs(86_400);
const LOOK_EVERY: Duration = Duration::from_secs(3600);

pub(crate) async fn run(db: Db, stop: Stop) {
    loop {
        let swept = db.write(|tx| {
            tx.execute("DELETE FROM family WHERE expires_at < ?", [tx.now()])?;
            // Kept for a day, so that a token of it is told why.
            tx.execute("DELETE FROM family WHERE ended_at < ?", [tx.now() - DAY])?;
            Ok(())
        });
        if let Err(problem) = swept.await {
            tracing::warn!(%problem, "could not delete old sign-ins; trying again later");
        }
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
