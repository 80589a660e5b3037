//! What `up` shows while it works: on a terminal a block that changes in place, elsewhere a
//! plain line for each change. All of it goes to standard error: it is progress, not data.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use archipel_console::view::{Service, Status};
use archipel_model::{InstanceState, show_duration};
use archipel_rt::clock::{self, Instant};

use super::block::{Block, size};
use super::style::Style;
use super::{count, ps};

pub(crate) struct Live {
    style: Style,
    in_place: bool,
    /// Ctrl-C is for Archipel itself, not only for this view of it.
    in_front: bool,
    started: Instant,
    block: Block,
    /// What the block shows, and what is looked at again as time passes.
    latest: Option<Status>,
    seen: BTreeMap<String, Seen>,
    /// Services whose failure has been told with their last lines, until they are ready: one that
    /// crashes in a loop must not push everything else off the screen.
    reported: BTreeSet<String>,
    /// Problems of Archipel itself that have been told.
    told: BTreeSet<String>,
    generation: u64,
    announced: bool,
    stopping: bool,
}

/// What has been said about a service. Its reason is not part of it: that changes with every
/// answer of a probe, and a log wants one line for what has really changed.
struct Seen {
    state: InstanceState,
    ready: u32,
    since: Instant,
    /// When it is worth saying that nothing has changed.
    overdue: Duration,
}

/// After this long in the same state a service that is not ready is mentioned again, then after
/// three times as long.
const OVERDUE: Duration = Duration::from_secs(10);

impl Live {
    pub(crate) fn new(no_color: bool, in_front: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            style: Style::stderr(no_color),
            in_place: std::io::stderr().is_terminal() && !dumb,
            in_front,
            started: clock::now(),
            block: Block::new(),
            latest: None,
            seen: BTreeMap::new(),
            reported: BTreeSet::new(),
            told: BTreeSet::new(),
            generation: 0,
            announced: false,
            stopping: false,
        }
    }

    /// Shows what changed since the last call.
    pub(crate) fn update(&mut self, status: &Status) {
        let told = self.told(status);
        self.latest = Some(status.clone());
        self.write(&told);
    }

    /// Says which services are still not ready, when enough time has passed. On a terminal the
    /// block says so.
    pub(crate) fn tick(&mut self) {
        let Some(status) = self.latest.take_if(|_| !self.in_place && !self.stopping) else {
            return;
        };
        let told = self.overdue(&status, clock::now());
        self.latest = Some(status);
        self.write(&told);
    }

    fn overdue(&mut self, status: &Status, now: Instant) -> String {
        let mut out = String::new();
        for service in &status.services {
            let Some(seen) = self.seen.get_mut(&service.name) else { continue };
            let unready = matches!(seen.state, InstanceState::Starting | InstanceState::Degraded);
            if !unready || now.saturating_duration_since(seen.since) < seen.overdue {
                continue;
            }
            let waited = show_duration(seen.overdue);
            seen.overdue *= 3;
            let reason = service.reason.as_deref().unwrap_or("no probe has answered yet");
            let line = format!(
                "{} {} still not ready after {waited}: {reason}\n",
                self.style.dim(&self.elapsed()),
                service.name
            );
            out.push_str(&line);
        }
        out
    }

    /// The lines for what changed.
    fn told(&mut self, status: &Status) -> String {
        let mut out = String::new();
        if std::mem::replace(&mut self.generation, status.generation) != status.generation {
            self.reported.clear();
            self.told.clear();
        }
        for service in &status.services {
            let before = self.seen.get(&service.name).map(|seen| (seen.state, seen.ready));
            if before == Some((service.state, service.ready)) {
                continue;
            }
            let seen = Seen {
                state: service.state,
                ready: service.ready,
                since: clock::now(),
                overdue: OVERDUE,
            };
            self.seen.insert(service.name.clone(), seen);
            let new = before.is_none_or(|(state, _)| state != service.state);
            match service.state {
                InstanceState::Ready => _ = self.reported.remove(&service.name),
                InstanceState::Failed | InstanceState::BackingOff
                    if new && self.reported.insert(service.name.clone()) =>
                {
                    self.report(&mut out, service);
                    continue;
                }
                _ => {}
            }
            let waits = service.state == InstanceState::Pending;
            if (!self.in_place && !waits) || (new && service.state == InstanceState::Failed) {
                self.line(&mut out, service);
            }
        }
        for problem in problems(status) {
            if self.told.insert(problem.clone()) {
                let line =
                    format!("{} {}\n", self.style.dim(&self.elapsed()), self.style.red(problem));
                out.push_str(&line);
            }
        }
        if !self.announced && !self.stopping && all_well(status) {
            self.announced = true;
            self.announce(&mut out, status);
        }
        out
    }

    /// Draws the block again: the terminal has another size.
    pub(crate) fn resized(&mut self) {
        self.write("");
    }

    /// A sentence of our own, above the block.
    pub(crate) fn say(&mut self, text: &str) {
        self.write(&format!("{} {text}\n", self.style.dim(&self.elapsed())));
    }

    /// From now on services are expected to end.
    pub(crate) fn stopping(&mut self, text: &str) {
        self.stopping = true;
        self.say(text);
    }

    /// The last sentence: a block about services that have ended says nothing any more.
    pub(crate) fn finish(&mut self, text: &str) {
        self.say(text);
        if self.latest.take().is_some() && self.in_place {
            let _ = self.block.replace(&mut std::io::stderr().lock(), "", Vec::new(), "");
        }
    }

    fn write(&mut self, above: &str) {
        let mut stderr = std::io::stderr().lock();
        // Nobody may be there to read it; the services are what matters.
        let _ = match &self.latest {
            Some(status) if self.in_place => {
                let (width, height) = size(&stderr);
                let lines = ps::brief(status, self.style, width, height);
                let footer = if self.stopping { String::new() } else { self.footer(status) };
                self.block.replace(&mut stderr, above, lines, &footer)
            }
            _ => stderr.write_all(above.as_bytes()),
        };
    }

    fn elapsed(&self) -> String {
        let elapsed = clock::now().saturating_duration_since(self.started);
        format!("{:>6.1}s", elapsed.as_secs_f64())
    }

    fn line(&self, out: &mut String, service: &Service) {
        let counted = if service.desired > 1 {
            format!(" {}/{}", service.ready, service.desired)
        } else {
            String::new()
        };
        let state = self.style.state(service.state, service.state.as_str());
        let built = match (&service.build, service.state) {
            (Some(build), InstanceState::Starting | InstanceState::Pending) => build
                .took_ms
                .map(|ms| format!(" (built in {})", show_duration(Duration::from_millis(ms)))),
            _ => None,
        };
        let reason = match service.state {
            // Work in progress; what a probe says at its very beginning tells nothing.
            InstanceState::Ready
            | InstanceState::Building
            | InstanceState::Migrating
            | InstanceState::Starting => String::new(),
            _ => service.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default(),
        };
        let line = format!(
            "{} {} {state}{counted}{}{reason}\n",
            self.style.dim(&self.elapsed()),
            service.name,
            built.unwrap_or_default(),
        );
        out.push_str(&line);
    }

    /// A failure is told with its last lines at once: nobody should have to ask for them.
    fn report(&self, out: &mut String, service: &Service) {
        self.line(out, service);
        let skip = service.last_lines.len().saturating_sub(12);
        for line in &service.last_lines[skip..] {
            out.push_str(&self.style.dim("        │ "));
            out.push_str(line);
            out.push('\n');
        }
    }

    fn announce(&self, out: &mut String, status: &Status) {
        out.push_str(&format!(
            "{} {} is ready, {}",
            self.style.dim(&self.elapsed()),
            self.style.bold(&status.app),
            count(status.services.iter().filter(|service| service.desired > 0).count(), "service")
        ));
        // On a terminal the addresses stand below the block.
        if !self.in_place {
            if let Some(gateway) = status.gateway.as_ref().filter(|gateway| gateway.error.is_none())
            {
                out.push_str(&format!("  {}", gateway.url));
            }
            if let Some(dashboard) = &status.dashboard {
                out.push_str(&format!("  dashboard {dashboard}"));
            }
        }
        out.push('\n');
    }

    /// Where to look, and how to end.
    fn footer(&self, status: &Status) -> String {
        let mut parts = Vec::new();
        if let Some(gateway) = status.gateway.as_ref().filter(|gateway| gateway.error.is_none()) {
            parts.push(self.style.bold(&gateway.url));
        }
        if let Some(dashboard) = &status.dashboard {
            parts.push(format!("{} {dashboard}", self.style.dim("dashboard")));
        }
        if self.in_front {
            parts.push(self.style.dim("Ctrl-C stops"));
        }
        parts.join("  ")
    }
}

fn problems(status: &Status) -> impl Iterator<Item = &String> {
    let gateway = status.gateway.iter().filter_map(|gateway| gateway.error.as_ref());
    status.problems.iter().chain(gateway)
}

pub(crate) fn all_well(status: &Status) -> bool {
    status.services.iter().all(|service| service.settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, reason: &str) -> Status {
        let service = serde_json::json!({
            "name": "cart", "state": state, "desired": 1, "ready": u8::from(state == "ready"),
            "settled": state == "ready", "needs_a_person": false, "reason": reason,
            "last_lines": [], "restarts": 0, "memory_bytes": 0, "memory_tier": "none",
            "instances": [],
        });
        let status = serde_json::json!({
            "schema": Status::SCHEMA, "app": "shop", "version": "0", "manifest": "", "pid": 1,
            "started_at_ms": 0, "generation": 1, "problems": [], "services": [service],
        });
        serde_json::from_value(status).expect("it has that shape")
    }

    /// Without the time in front.
    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| Some(line.trim_start().split_once(' ')?.1)).collect()
    }

    #[test]
    fn without_a_terminal_there_is_one_line_for_each_real_change() {
        let mut live =
            Live { in_place: false, style: Style::stderr(true), ..Live::new(true, false) };
        let steps = [
            ("pending", "waits for its turn"),
            ("starting", "being started"),
            ("starting", "startup probe has not answered yet"),
            ("starting", "startup probe: nothing listens on port 80 yet"),
            ("ready", ""),
        ];
        let told: String =
            steps.iter().map(|(state, reason)| live.told(&status(state, reason))).collect();
        assert_eq!(lines(&told), ["cart starting", "cart ready", "shop is ready, 1 service"]);
    }

    #[test]
    fn what_takes_long_is_told_with_the_last_word_of_its_probe_and_then_more_rarely() {
        let mut live =
            Live { in_place: false, style: Style::stderr(true), ..Live::new(true, false) };
        let status = status("starting", "startup probe: HTTP 503");
        live.told(&status);
        let after = |seconds| clock::now() + Duration::from_secs(seconds);
        assert_eq!(live.overdue(&status, after(5)), "");
        let told = live.overdue(&status, after(11));
        assert_eq!(lines(&told), ["cart still not ready after 10s: startup probe: HTTP 503"]);
        assert_eq!(live.overdue(&status, after(12)), "");
        assert!(live.overdue(&status, after(31)).contains("after 30s"));
    }
}
