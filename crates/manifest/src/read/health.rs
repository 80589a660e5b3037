//! Health checks.
//!
//! A probe without a kind of its own takes over a sensible one: startup asks what ready asks,
//! ready asks what startup asks, both fall back to "the port accepts". `live` never inherits: it
//! kills, so it is asked for in full.

use archipel_model::{Check, Health, Probe};

use super::command::Use;
use super::{Reader, count, text};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::Sited;
use crate::tree::Node;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Startup,
    Ready,
    Live,
}

impl Reader<'_> {
    /// `node` is the long form, or the short one that no default was merged into.
    pub(crate) fn health(&mut self, node: Option<&Node>) -> Health {
        let Some(node) = node else { return Health::default() };
        if let Some(path) = node.text() {
            if !Format::UrlPath.accepts(path) {
                return Health::default();
            }
            let check = Check::Http { path: path.to_owned() };
            return Health {
                startup: Probe::startup(check.clone()),
                ready: Probe::ready(check),
                live: None,
            };
        }
        let startup = self.check_of(node.get("startup"), Role::Startup);
        let ready = self.check_of(node.get("ready"), Role::Ready);
        let repeatable =
            startup.clone().filter(|check| !matches!(check, Check::Log { .. } | Check::Notify));
        let startup_check = startup.or_else(|| ready.clone()).unwrap_or(Check::Tcp);
        let ready_check = ready.or(repeatable).unwrap_or(Check::Tcp);
        let startup =
            self.timing(node.get("startup"), Probe::startup(startup_check), Role::Startup);
        let ready = self.timing(node.get("ready"), Probe::ready(ready_check), Role::Ready);
        let live = node.get("live").and_then(|live| {
            let check = self.check_of(Some(live), Role::Live)?;
            Some(self.timing(Some(live), Probe::live(check), Role::Live))
        });
        Health { startup, ready, live }
    }

    fn check_of(&mut self, node: Option<&Node>, role: Role) -> Option<Check> {
        let node = node?;
        let on = |key: &str| node.get(key).and_then(Node::bool) == Some(true);
        if let Some(path) = text(node, "path", Format::UrlPath) {
            return Some(Check::Http { path: path.value.to_owned() });
        }
        if on("tcp") {
            return Some(Check::Tcp);
        }
        if on("grpc") {
            return Some(Check::Grpc);
        }
        if node.get("exec").is_some() {
            return self.command(node, "exec", Use::Direct).map(Check::Exec);
        }
        for key in ["log", "notify"] {
            if let Some(entry) = node.entry(key).filter(|_| role != Role::Startup) {
                self.out
                    .report(
                        Code::BadProbe,
                        entry.key,
                        format!(
                            "`{key}` happens once, so it can only tell that a service has started"
                        ),
                    )
                    .label("for `startup` only")
                    .help("use `path`, `tcp`, `grpc` or `exec` here");
                return None;
            }
        }
        if let Some(pattern) = text(node, "log", Format::NonEmpty) {
            self.check_regex(&pattern);
            return Some(Check::Log { pattern: pattern.value.to_owned() });
        }
        if on("notify") {
            return Some(Check::Notify);
        }
        let has_kind = ["path", "tcp", "grpc", "notify"].iter().any(|key| node.get(key).is_some());
        if role == Role::Live && node.table().is_some() && !has_kind {
            self.out
                .report(Code::BadProbe, node.span, "`live` does not say what to check")
                .label("no `path`, `tcp`, `grpc` or `exec`")
                .help("liveness restarts the service, so nothing is assumed: write for example `live = { path = \"/livez\" }`");
        }
        None
    }

    /// With the same library that will match it.
    fn check_regex(&mut self, pattern: &Sited<&str>) {
        let Err(error) = regex::Regex::new(pattern.value) else { return };
        // The library draws the place over several lines; the last one says what is wrong.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let message = format!("`log` is not a regular expression: {}", shown(reason));
        self.out
            .report(Code::BadRegex, pattern.span, message)
            .label("cannot be read")
            .help("in TOML a pattern stands best in single quotes: 'listening on \\d+'");
    }

    fn timing(&mut self, node: Option<&Node>, mut probe: Probe, role: Role) -> Probe {
        let Some(node) = node else { return probe };
        if let Some(within) = node.entry("within").filter(|_| role != Role::Startup) {
            self.out
                .report(Code::BadProbe, within.key, "`within` limits the start, and nothing else")
                .label("for `startup` only")
                .help("`fail_after` says how many failures in a row count here");
        }
        probe.within = self.period(node, "within").unwrap_or(probe.within);
        probe.every = self.period(node, "every").unwrap_or(probe.every);
        probe.timeout = self.period(node, "timeout").unwrap_or(probe.timeout);
        probe.fail_after = count(node, "fail_after").unwrap_or(probe.fail_after);
        probe.pass_after = count(node, "pass_after").unwrap_or(probe.pass_after);
        probe
    }
}
