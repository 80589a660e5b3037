//! Brings the letters of `signal` to the workflows.
//!
//! In the order of their numbers, many at once; those of one order one after the other. An order
//! whose letter is not taken is put aside, and tried again later and later: the others go on. When
//! the engine itself does not answer, everybody waits and nobody is put aside.

use std::collections::BTreeMap;
use std::time::Duration;

use store_kit::{Backoff, OrderId, Problem, Stop, Tx};
use tokio::time::{Instant, sleep, sleep_until};
use tonic::transport::Channel;

use crate::App;
use crate::engine::{Failure, deliver};
use crate::signal::{self, Letter};

/// How many are brought at a time.
const BATCH_MAX: u32 = 256;
/// After the engine did not answer.
const AGAIN: Duration = Duration::from_millis(100);
/// What was heard is removed together, so that removing costs next to nothing.
const TIDY_EVERY: Duration = Duration::from_secs(2);
/// For a letter that is not taken while others are.
const LATER: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(30) };
/// Then it is laid aside for a person: after about a minute and a half.
const TRIES_MAX: u32 = 10;
/// Orders that are put aside; with more, all wait.
const ASIDE_MAX: usize = 4096;

/// An order whose letters from `from` on wait.
struct Aside {
    from: i64,
    tries: u32,
    due: Instant,
    /// How many were brought to others at its last try: a failure counts when others got through.
    brought: u64,
}

struct Postman {
    app: App,
    engine: Channel,
    /// Up to here everything was brought, or its order is put aside.
    told: i64,
    brought: u64,
    aside: BTreeMap<OrderId, Aside>,
    away: bool,
}

/// Brings what is in the mail for as long as the service runs.
pub(crate) async fn run(app: App, engine: Channel, stop: Stop) {
    if let Err(problem) = app.db.write(signal::begin_all).await {
        tracing::error!(%problem, "could not look for orders that are open");
    }
    let aside = BTreeMap::new();
    let mut postman = Postman { app, engine, told: 0, brought: 0, aside, away: false };
    let (mut tidied, mut tidied_at) = (0, Instant::now());
    while !stop.is_stopped() {
        let idle = postman.go().await.unwrap_or_else(|problem| {
            tracing::error!(%problem, "could not read the mail of the workflows");
            Some(Instant::now() + AGAIN)
        });
        let untidy = postman.told > tidied;
        if untidy && tidied_at.elapsed() >= TIDY_EVERY {
            // Left over, it would only be told again after a restart.
            if postman.tidy().await.is_ok() {
                (tidied, tidied_at) = (postman.told, Instant::now());
            }
        }
        let Some(due) = idle else { continue };
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = postman.app.mail.0.notified(), if !postman.away => {}
            () = sleep(TIDY_EVERY), if untidy => {}
            () = sleep_until(due) => {}
        }
    }
}

impl Postman {
    /// Brings what can be brought now. `Some`: until then there is nothing to do, if no letter
    /// comes.
    async fn go(&mut self) -> Result<Option<Instant>, Problem> {
        let (now, after) = (Instant::now(), self.told);
        let fresh = self.app.db.read(move |conn| signal::unread(conn, after, BATCH_MAX)).await?;
        let mut by_order: BTreeMap<OrderId, Vec<Letter>> = BTreeMap::new();
        let last = fresh.last().map_or(after, |letter| letter.seq);
        for letter in fresh {
            if !self.aside.contains_key(&letter.order) {
                by_order.entry(letter.order.clone()).or_default().push(letter);
            }
        }
        let due = self.aside.iter().filter(|(_, aside)| aside.due <= now);
        let due: Vec<_> = due.map(|(id, aside)| (id.clone(), aside.from)).take(256).collect();
        for (id, from) in due {
            let own = id.clone();
            let read = move |conn: &_| signal::of_order(conn, &own, (from, last));
            by_order.insert(id, self.app.db.read(read).await?);
        }
        if by_order.is_empty() {
            self.told = last;
            if last > after {
                return Ok(None);
            }
            let next = self.aside.values().map(|aside| aside.due).min();
            return Ok(Some(next.unwrap_or(now + Duration::from_secs(3600))));
        }
        let bringing = by_order.into_iter().map(|(id, letters)| {
            let (app, engine) = (&self.app, &self.engine);
            async move { (id, bring(app, engine, letters).await) }
        });
        let ended = futures_util::future::join_all(bringing).await;
        self.settle(ended, last).await
    }

    async fn settle(
        &mut self,
        ended: Vec<(OrderId, Brought)>,
        last: i64,
    ) -> Result<Option<Instant>, Problem> {
        let silent = |brought: &Brought| matches!(brought.failed, Some((_, Failure::Away(_))));
        let brought: u64 = ended.iter().map(|(_, brought)| brought.count).sum();
        if brought == 0 && ended.iter().all(|(_, brought)| silent(brought)) {
            if !std::mem::replace(&mut self.away, true) {
                let why = ended.iter().find_map(|(_, brought)| brought.failed.as_ref());
                let why = why.map_or_else(String::new, |(_, failure)| failure.to_string());
                tracing::warn!(why, "the workflow engine does not answer; orders wait for it");
            }
            return Ok(Some(Instant::now() + AGAIN));
        }
        if std::mem::take(&mut self.away) {
            tracing::info!("the workflow engine answers again");
            // Whoever waited for the engine alone need not wait longer.
            self.aside.values_mut().for_each(|aside| aside.due = Instant::now());
        }
        self.brought += brought;
        let room = self.aside.len() + ended.len() <= ASIDE_MAX;
        for (id, brought) in ended {
            match brought.failed {
                None => drop(self.aside.remove(&id)),
                // Without room the others are told once more, until there is some.
                Some(_) if !room && !self.aside.contains_key(&id) => {}
                Some((seq, failure)) => self.put_aside(id, seq, &failure).await?,
            }
        }
        if !room {
            return Ok(Some(Instant::now() + AGAIN));
        }
        self.told = last;
        Ok(None)
    }

    async fn put_aside(&mut self, id: OrderId, seq: i64, failure: &Failure) -> Result<(), Problem> {
        let now = Instant::now();
        let fresh = Aside { from: seq, tries: 0, due: now, brought: 0 };
        let aside = self.aside.entry(id.clone()).or_insert(fresh);
        if aside.from != seq {
            (aside.from, aside.tries) = (seq, 0);
        }
        let counts = matches!(failure, Failure::Refused(_)) && self.brought > aside.brought;
        aside.tries += u32::from(counts);
        aside.brought = self.brought;
        aside.due = now + LATER.wait(aside.tries.max(1), 1.0);
        if aside.tries < TRIES_MAX && !matches!(failure, Failure::Never(_)) {
            tracing::warn!(order_id = %id, seq, why = %failure, tries = aside.tries, "the order could not be told; trying again later");
            return Ok(());
        }
        let (tries, why) = (aside.tries.max(1), failure.to_string());
        tracing::error!(order_id = %id, seq, why, tries, "the order cannot be told; laid in dead_letter");
        // Not passed over before that is written: nobody would bring it again.
        self.app.db.write(move |tx| signal::give_up(tx, seq, tries, &why)).await?;
        (aside.from, aside.tries, aside.due) = (seq + 1, 0, now);
        Ok(())
    }

    async fn tidy(&self) -> Result<(), Problem> {
        let (told, aside) = (self.told, self.aside.keys().cloned().collect::<Vec<_>>());
        self.app.db.write(move |tx: &Tx<'_>| signal::tidy(tx, told, &aside)).await
    }
}

/// What became of the letters of one order.
struct Brought {
    count: u64,
    /// The first that was not taken; those behind it were not tried.
    failed: Option<(i64, Failure)>,
}

async fn bring(app: &App, engine: &Channel, letters: Vec<Letter>) -> Brought {
    let mut count = 0;
    for letter in letters {
        if let Err(failure) = deliver(app, engine, &letter).await {
            return Brought { count, failed: Some((letter.seq, failure)) };
        }
        count += 1;
    }
    Brought { count, failed: None }
}
