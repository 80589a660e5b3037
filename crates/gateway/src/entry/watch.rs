//! Notices clients that hold a connection without using it.
//!
//! Looks every few seconds at a few counters instead of setting a timer per request, which would
//! cost as much as parsing the request. So the limits hold to within one tick.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use archipel_rt::clock;

use crate::entry::listener::Conn;
use crate::entry::stall;
use crate::entry::wire::Marks;

/// Until the connection should end.
pub(super) async fn watch(conn: &Conn, is_http2: bool) -> Verdict {
    let limits = &conn.door.shared.limits;
    let tick = (limits.head_timeout / 2).min(limits.client_stall / stall::TURNS_OF_PATIENCE);
    let mut watch = Watch::new(conn, is_http2);
    loop {
        tokio::select! {
            biased;
            () = conn.door.close.cancelled() => return Verdict::Idle,
            () = clock::sleep(tick) => match watch.look(tick) {
                Verdict::Fine => {}
                verdict => return verdict,
            },
        }
    }
}

struct Watch<'a> {
    conn: &'a Conn,
    is_http2: bool,
    seen: u32,
    /// Since when there has been no request.
    quiet: Duration,
    /// Of [`Marks::full`], and since when it has been that.
    full: u32,
    stuck: Duration,
    /// Since the pieces of answers had a new turn.
    turn: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Nothing for so long, or the door closes: what is under way ends, and nothing begins.
    Idle,
    /// A request head that does not get finished, or an answer that is not read.
    Stalled,
}

impl<'a> Watch<'a> {
    fn new(conn: &'a Conn, is_http2: bool) -> Self {
        let (quiet, stuck, turn) = Default::default();
        Self { conn, is_http2, seen: 0, quiet, full: 0, stuck, turn }
    }

    fn look(&mut self, tick: Duration) -> Verdict {
        match self.look_at_answers(tick) {
            Verdict::Fine => self.look_at_requests(tick),
            verdict => verdict,
        }
    }

    /// Is what goes out taken? Only the outside is asked: a service that reads slowly is a
    /// service at work.
    fn look_at_answers(&mut self, tick: Duration) -> Verdict {
        let limit = self.conn.door.shared.limits.client_stall;
        let full = self.conn.marks.full.load(Relaxed);
        if Marks::is_full(full) && full == self.full && self.conn.door.way_in.load().is_public() {
            self.stuck += tick;
            if self.stuck >= limit {
                return Verdict::Stalled;
            }
        } else {
            (self.full, self.stuck) = (full, Duration::ZERO);
        }
        let Some(handed) = &self.conn.handed else { return Verdict::Fine };
        self.turn += tick;
        if self.turn < limit / stall::TURNS_OF_PATIENCE {
            return Verdict::Fine;
        }
        self.turn = Duration::ZERO;
        if handed.next() { Verdict::Idle } else { Verdict::Fine }
    }

    fn look_at_requests(&mut self, tick: Duration) -> Verdict {
        let requests = self.conn.requests.load(Relaxed);
        if self.conn.inflight.load(Relaxed) > 0 || requests != self.seen {
            self.seen = requests;
            self.quiet = Duration::ZERO;
            self.conn.marks.came.store(false, Relaxed);
            return Verdict::Fine;
        }
        self.quiet += tick;
        let limits = &self.conn.door.shared.limits;
        let unfinished = !self.is_http2 && (requests == 0 || self.conn.marks.came.load(Relaxed));
        if unfinished && self.quiet >= limits.head_timeout {
            return Verdict::Stalled;
        }
        if self.quiet >= limits.idle_client { Verdict::Idle } else { Verdict::Fine }
    }
}
