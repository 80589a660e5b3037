//! The loop of a writer: commands in batches, each batch a turn off the async threads, because a
//! turn writes to the disk.

use archipel_rt::clock::{self, Instant};
use archipel_rt::{CancellationToken, Receiver, blocking};

pub(crate) trait Turns: Send + Sized + 'static {
    type Command: Send + 'static;
    /// The most that one turn takes.
    const BATCH: usize;

    /// When there is something to do without a command.
    fn due(&self) -> Instant;

    /// Does what the batch and the time ask for; gives the batch back empty.
    fn turn(self, batch: Vec<Self::Command>) -> (Self, Vec<Self::Command>);

    /// After the last turn.
    fn finish(self);
}

/// Runs until told to stop, and then until nothing waits any more.
pub(crate) async fn run<W: Turns>(
    mut writer: W,
    mut commands: Receiver<W::Command>,
    stop: CancellationToken,
) {
    let mut batch = Vec::with_capacity(W::BATCH);
    let mut stopping = false;
    while !stopping {
        let due = writer.due();
        tokio::select! {
            biased;
            count = commands.recv_many(&mut batch, W::BATCH) => stopping = count == 0,
            () = clock::sleep_until(due) => {}
            () = stop.cancelled() => stopping = true,
        }
        if stopping {
            commands.close();
        }
        loop {
            (writer, batch) = blocking(move || writer.turn(batch)).await;
            if !stopping || commands.recv_many(&mut batch, W::BATCH).await == 0 {
                break;
            }
        }
    }
    blocking(move || writer.finish()).await;
}
