//! Lets holds lapse when their time is over.

use std::time::Duration;

use store_kit::{Stop, Timestamp};

use crate::{App, reservation};

/// How many lapse in one transaction: others want to write too.
const BATCH: u32 = 100;
/// We look at least this often, so that a clock that was set forward is noticed, and so that
/// only a hold shorter than this needs to wake us.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn run(app: App, stop: Stop) {
    loop {
        let wait = match app.db.write(|tx| Ok((reservation::expire(tx, BATCH)?, tx.now()))).await {
            Ok((next, now)) => until(next, now),
            Err(problem) => {
                tracing::warn!(%problem, "could not let holds lapse; trying again");
                LOOK_EVERY
            }
        };
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = app.lapses_soon.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    next.map_or(LOOK_EVERY, |next| next.since(now)).min(LOOK_EVERY)
}
