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
    /// What the block shows.
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

/// What has been said about a service.
#[derive(PartialEq, Clone)]
struct Seen {
    state: InstanceState,
    ready: u32,
    reason: Option<String>,
}

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
        let mut out = String::new();
        if std::mem::replace(&mut self.generation, status.generation) != status.generation {
            self.reported.clear();
            self.told.clear();
        }
        for service in &status.services {
            let seen =
                Seen { state: service.state, ready: service.ready, reason: service.reason.clone() };
            let before = self.seen.insert(service.name.clone(), seen.clone());
            if before.as_ref() == Some(&seen) {
                continue;
            }
            let new = before.is_none_or(|before| before.state != service.state);
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
            if !self.in_place || (new && service.state == InstanceState::Failed) {
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
        self.latest = self.in_place.then(|| status.clone());
        self.write(&out);
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
        if self.latest.take().is_some() {
            let _ = self.block.replace(&mut std::io::stderr().lock(), "", Vec::new(), "");
        }
    }

    fn write(&mut self, above: &str) {
        let mut stderr = std::io::stderr().lock();
        // Nobody may be there to read it; the services are what matters.
        let _ = match &self.latest {
            Some(status) => {
                let (width, height) = size(&stderr);
                let lines = ps::brief(status, self.style, width, height);
                let footer = if self.stopping { String::new() } else { self.footer(status) };
                self.block.replace(&mut stderr, above, lines, &footer)
            }
            None => stderr.write_all(above.as_bytes()),
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
            InstanceState::Ready => String::new(),
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
