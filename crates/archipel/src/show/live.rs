//! What `up` shows while it works: on a terminal a block that changes in place, elsewhere a
//! plain line for each change. All of it goes to standard error: it is progress, not data.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use archipel_console::view::{Service, Status};
use archipel_model::{InstanceState, show_duration};
use archipel_rt::clock::{self, Instant};

use super::ps;
use super::style::Style;

pub(crate) struct Live {
    style: Style,
    in_place: bool,
    started: Instant,
    /// Lines of the block that stands on the screen.
    drawn: usize,
    seen: BTreeMap<String, Seen>,
    announced: bool,
}

/// What has been said about a service.
#[derive(PartialEq, Clone)]
struct Seen {
    state: InstanceState,
    ready: u32,
    reason: Option<String>,
}

impl Live {
    pub(crate) fn new(no_color: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            style: Style::stderr(no_color),
            in_place: std::io::stderr().is_terminal() && !dumb,
            started: clock::now(),
            drawn: 0,
            seen: BTreeMap::new(),
            announced: false,
        }
    }

    /// Shows what changed since the last call.
    pub(crate) fn update(&mut self, status: &Status) {
        let mut out = String::new();
        self.erase(&mut out);
        for service in &status.services {
            let seen =
                Seen { state: service.state, ready: service.ready, reason: service.reason.clone() };
            let before = self.seen.insert(service.name.clone(), seen.clone());
            if before.as_ref() == Some(&seen) {
                continue;
            }
            let bad = matches!(service.state, InstanceState::Failed | InstanceState::BackingOff)
                && before.is_none_or(|before| before.state != service.state);
            if bad {
                self.report(&mut out, service);
            } else if !self.in_place {
                self.line(&mut out, service);
            }
        }
        if !self.announced && all_well(status) {
            self.announced = true;
            self.announce(&mut out, status);
        }
        if self.in_place {
            self.draw(&mut out, status);
        }
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(out.as_bytes()).and_then(|()| stderr.flush());
    }

    /// A sentence of our own, above the block.
    pub(crate) fn say(&mut self, text: &str) {
        let mut out = String::new();
        self.erase(&mut out);
        out.push_str(text);
        out.push('\n');
        let _ = std::io::stderr().write_all(out.as_bytes());
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
            "{} {} is ready, {} services",
            self.style.dim(&self.elapsed()),
            self.style.bold(&status.app),
            status.services.iter().filter(|service| service.desired > 0).count()
        ));
        if let Some(gateway) = &status.gateway {
            match &gateway.error {
                None => out.push_str(&format!("  {}", self.style.bold(&gateway.url))),
                Some(error) => out.push_str(&format!("\n{}", self.style.red(error))),
            }
        }
        if let Some(dashboard) = &status.dashboard {
            out.push_str(&self.style.dim(&format!("  dashboard {dashboard}")));
        }
        out.push('\n');
        for problem in &status.problems {
            out.push_str(&self.style.red(problem));
            out.push('\n');
        }
    }

    fn draw(&mut self, out: &mut String, status: &Status) {
        let (width, height) = terminal_size();
        let mut lines = ps::services(status, self.style);
        // A block higher than the screen could not be erased again.
        let room = height.saturating_sub(2).max(1);
        if lines.len() > room {
            lines.truncate(room - 1);
            lines.push(self.style.dim("… more: archipel ps"));
        }
        self.drawn = lines.len();
        for line in lines {
            out.push_str(&clip(&line, width));
            out.push('\n');
        }
    }

    fn erase(&mut self, out: &mut String) {
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}

pub(crate) fn all_well(status: &Status) -> bool {
    status.services.iter().all(|service| service.settled)
}

fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (100, 40),
    }
}

/// Cuts a line to the terminal's width, not counting colour sequences.
fn clip(line: &str, width: usize) -> String {
    let mut out = String::with_capacity(line.len());
    let mut used = 0;
    let mut escape = false;
    for c in line.chars() {
        if c == '\x1b' {
            escape = true;
        }
        if escape {
            out.push(c);
            escape = c != 'm';
            continue;
        }
        if used + 1 >= width {
            out.push('…');
            out.push_str("\x1b[0m");
            return out;
        }
        used += 1;
        out.push(c);
    }
    out
}
