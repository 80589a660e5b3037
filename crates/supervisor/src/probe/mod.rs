//! Asks an instance whether it has started, is ready, is alive.
//!
//! One task per process: first the startup probe until it passes, then readiness and liveness
//! side by side. Single answers are counted here; only a change of the verdict, or of what the
//! instance answers, is told, so that a thousand quiet instances cost a thousand small requests
//! now and then and nothing else.

mod ask;
mod grpc;
mod notify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{Check, Health, Probe};
use archipel_rt::clock::{self, Instant};
use archipel_rt::{CancellationToken, Sender, Tasks};
use tokio::sync::watch;

use crate::cgroup::Leaf;
use crate::spawn::Spawner;
use crate::spec::Isolation;

pub(crate) use ask::Asker;
pub(crate) use notify::NotifySocket;

/// What the loop learns from probing one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The latest answer differs from the one before.
    Answer {
        what: String,
        ok: bool,
        detail: String,
    },
    Started {
        ready: bool,
        detail: String,
    },
    Readiness {
        ok: bool,
        detail: String,
    },
    Unhealthy {
        detail: String,
    },
}

/// What a question needs to be put.
pub(crate) struct Subject {
    pub(crate) port: Option<u16>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) isolation: Isolation,
    pub(crate) leaf: Leaf,
    pub(crate) mark: String,
    pub(crate) spawner: Spawner,
    pub(crate) tasks: Tasks,
    /// Turns true when the startup pattern has been printed.
    pub(crate) pattern_seen: watch::Receiver<bool>,
    pub(crate) notify: Option<NotifySocket>,
}

/// One probe's counting.
struct Verdict {
    good: bool,
    in_a_row: u32,
}

impl Verdict {
    /// Counts an answer; `Some` when the verdict turns.
    fn count(&mut self, ok: bool, probe: &Probe) -> Option<bool> {
        if ok == self.good {
            self.in_a_row = 0;
            return None;
        }
        self.in_a_row += 1;
        let needed = if ok { probe.pass_after } else { probe.fail_after };
        if self.in_a_row < needed {
            return None;
        }
        self.good = ok;
        self.in_a_row = 0;
        Some(ok)
    }
}

pub(crate) struct Prober<T> {
    pub(crate) asker: Asker,
    pub(crate) health: Arc<Health>,
    /// How a process is named to the loop.
    pub(crate) tag: T,
    pub(crate) news: Sender<(T, News)>,
    pub(crate) stop: CancellationToken,
    pub(crate) last: Option<(bool, String)>,
    /// Where the grid of probes begins: the same for all.
    pub(crate) origin: Instant,
    /// Adopted and known to have started: no startup probe.
    pub(crate) has_started: bool,
}

impl<T: Clone + Send + 'static> Prober<T> {
    /// Runs until `stop`; dropping it between two answers loses nothing.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.probe() => {}
        }
    }

    async fn probe(&mut self) {
        let health = self.health.clone();
        if !self.has_started {
            self.startup(&health.startup).await;
            let first = if health.ready.check == health.startup.check {
                Ok(String::new())
            } else {
                self.ask("ready", &health.ready).await
            };
            let (ready, detail) = split(first);
            self.tell(News::Started { ready, detail }).await;
            self.steady(&health, ready).await;
        } else {
            self.steady(&health, true).await;
        }
    }

    async fn startup(&mut self, probe: &Probe) {
        let mut passes = 0;
        let mut every = probe.every.min(STARTUP_EVERY_FIRST);
        loop {
            if self.ask("startup", probe).await.is_ok() {
                passes += 1;
                if passes >= probe.pass_after.max(1) {
                    return;
                }
            } else {
                passes = 0;
            }
            clock::sleep(every.max(EVERY_MIN)).await;
            every = if every < probe.every {
                // Many programs start within milliseconds: that should not cost a whole pause.
                (every * 2).min(probe.every)
            } else {
                // A start that takes long is not found out much later by asking less often.
                (every + every / 8).min(probe.every.max(STARTUP_EVERY_MAX))
            };
        }
    }

    async fn steady(&mut self, health: &Health, ready: bool) {
        // An adopted process is looked at right away: nobody has, for a while.
        let first = if self.has_started { Duration::ZERO } else { health.ready.every };
        let mut ready_at = clock::now() + first;
        let mut live_at = health.live.as_ref().map(|live| clock::now() + live.every.max(EVERY_MIN));
        let mut readiness = Verdict { good: ready, in_a_row: 0 };
        let mut liveness = Verdict { good: true, in_a_row: 0 };
        loop {
            let due = live_at.map_or(ready_at, |live| live.min(ready_at));
            clock::sleep_until(due).await;
            if ready_at <= due {
                let (ok, detail) = split(self.ask("ready", &health.ready).await);
                ready_at = next(ready_at, health.ready.every, self.origin);
                if let Some(ok) = readiness.count(ok, &health.ready) {
                    self.tell(News::Readiness { ok, detail }).await;
                }
            }
            if let (Some(live), Some(at)) = (&health.live, live_at)
                && at <= due
            {
                let (ok, detail) = split(self.ask("live", live).await);
                live_at = Some(next(at, live.every, self.origin));
                if liveness.count(ok, live) == Some(false) {
                    self.tell(News::Unhealthy { detail }).await;
                }
            }
        }
    }

    async fn ask(&mut self, kind: &str, probe: &Probe) -> Result<String, String> {
        let answer = clock::timeout(probe.timeout, self.asker.ask(&probe.check)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(match probe.check {
                Check::Log { .. } => "that line has not been printed yet".to_owned(),
                Check::Notify => "READY=1 has not arrived yet".to_owned(),
                _ => format!("no answer within {}", archipel_model::show_duration(probe.timeout)),
            })
        });
        let now = match &answer {
            Ok(detail) => (true, detail.clone()),
            Err(detail) => (false, detail.clone()),
        };
        if self.last.as_ref() != Some(&now) {
            let what = format!("{kind}: {}", describe(&probe.check));
            self.last = Some(now.clone());
            self.tell(News::Answer { what, ok: now.0, detail: now.1 }).await;
        }
        answer
    }

    async fn tell(&self, news: News) {
        // The loop is gone: then `stop` is about to end this too.
        let _ = self.news.send((self.tag.clone(), news)).await;
    }
}

/// A probe is never put more often, whatever the manifest says.
const EVERY_MIN: Duration = Duration::from_millis(10);
const STARTUP_EVERY_FIRST: Duration = Duration::from_millis(10);
const STARTUP_EVERY_MAX: Duration = Duration::from_millis(500);

fn split(answer: Result<String, String>) -> (bool, String) {
    match answer {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    }
}

/// Keeps the rhythm, but does not make up for what was missed. Instants lie on a grid that all
/// probes share, so that one waking of the machine serves many of them.
fn next(last: Instant, every: Duration, origin: Instant) -> Instant {
    let every = every.max(EVERY_MIN);
    let due = (last + every).max(clock::now());
    let grid = (every / 20).clamp(Duration::from_millis(1), Duration::from_millis(100));
    let steps = due.saturating_duration_since(origin).as_nanos().div_ceil(grid.as_nanos());
    origin + grid.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

pub(crate) fn describe(check: &Check) -> String {
    match check {
        Check::Http { path } => format!("GET {path}"),
        Check::Tcp => "connect".to_owned(),
        Check::Grpc => "grpc.health.v1.Health/Check".to_owned(),
        Check::Exec(command) => command.show(),
        Check::Log { pattern } => format!("a line like /{pattern}/"),
        Check::Notify => "READY=1 on NOTIFY_SOCKET".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_answers_in_a_row() {
        let probe = Probe { fail_after: 3, pass_after: 2, ..Probe::ready(Check::Tcp) };
        let mut verdict = Verdict { good: true, in_a_row: 0 };
        let answers = [false, false, true, false, false, false, true, false, true, true];
        let turns: Vec<Option<bool>> = answers.map(|ok| verdict.count(ok, &probe)).to_vec();
        let mut expected = vec![None; 10];
        expected[5] = Some(false);
        expected[9] = Some(true);
        assert_eq!(turns, expected);
    }
}
