//! Memory, stop, restart, log, and the policy of calls.

use std::time::Duration;

use archipel_model::{
    Backoff, Bytes, EdgePolicy, LogPolicy, Memory, Restart, RestartOn, Retry, RetryOn, Signal, Stop,
};

use super::command::Use;
use super::safeguards::percent;
use super::steer::header_of;
use super::{Reader, count, text};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::Span;
use crate::tree::Node;

/// Less than this cannot run a program; the unit was forgotten.
const MEMORY_MIN: Bytes = Bytes(1 << 20);

impl Reader<'_> {
    /// `table[key]` in its short or long form.
    pub(crate) fn memory(&mut self, table: &Node, key: &str) -> Option<Memory> {
        let node = table.get(key)?;
        let plain =
            |limit| Memory { limit, high: None, swap: None, jvm: false, go: false, node: false };
        if node.text().is_some() {
            let limit = self.size(table, key)?;
            return self.enough(limit, node.span).map(plain);
        }
        node.table()?;
        let on = |key: &str| node.get(key).and_then(Node::bool).unwrap_or(false);
        let Some(limit_node) = node.get("limit") else {
            self.out
                .report(Code::MissingKey, node.span, "the memory limits need `limit`")
                .label("`limit` is missing here and in [defaults]")
                .help("for example { limit = \"256M\", high = \"224M\" }");
            return None;
        };
        let limit = self.size(node, "limit")?;
        let limit = self.enough(limit, limit_node.span)?;
        let high = self.size(node, "high");
        if let (Some(high), Some(high_node)) = (high.filter(|high| *high > limit), node.get("high"))
        {
            self.out
                .report(Code::MemoryOrder, high_node.span, format!("`high` ({high}) is above `limit` ({limit})"))
                .label("would never be reached")
                .also(limit_node.span, "the limit")
                .help("`high` slows the service down before `limit` kills it; about nine tenths of it");
        }
        let (jvm, go, node_js) = (on("jvm"), on("go"), on("node"));
        Some(Memory { high, swap: self.size(node, "swap"), jvm, go, node: node_js, ..plain(limit) })
    }

    fn enough(&mut self, limit: Bytes, span: Span) -> Option<Bytes> {
        if limit >= MEMORY_MIN {
            return Some(limit);
        }
        self.out
            .report(Code::BadSize, span, format!("a memory limit of {limit} cannot run a program"))
            .label("too small")
            .help("is the unit missing? \"128M\" is 128 MiB");
        None
    }

    pub(crate) fn stop(&mut self, node: Option<&Node>) -> Stop {
        let default = Stop::default();
        let Some(node) = node else { return default };
        let signal = match node.get("signal").and_then(Node::text) {
            Some("INT") => Signal::Int,
            Some("QUIT") => Signal::Quit,
            Some("HUP") => Signal::Hup,
            Some("USR1") => Signal::Usr1,
            Some("USR2") => Signal::Usr2,
            _ => Signal::Term,
        };
        Stop {
            signal,
            drain: self.duration(node, "drain").unwrap_or(default.drain),
            grace: self.duration(node, "grace").unwrap_or(default.grace),
            command: self.command(node, "command", Use::Direct),
        }
    }

    pub(crate) fn restart(&mut self, node: Option<&Node>) -> Restart {
        let default = Restart::default();
        let Some(node) = node else { return default };
        let on = match node.get("on").and_then(Node::text) {
            Some("failure") => RestartOn::Failure,
            Some("never") => RestartOn::Never,
            _ => RestartOn::Always,
        };
        Restart {
            on,
            backoff: self.range(node, "backoff").unwrap_or(default.backoff),
            reset_after: self.duration(node, "reset_after").unwrap_or(default.reset_after),
            max: count(node, "max"),
        }
    }

    pub(crate) fn log(&mut self, node: Option<&Node>) -> LogPolicy {
        let default = LogPolicy::default();
        let Some(node) = node else { return default };
        LogPolicy {
            keep: self.period(node, "keep").unwrap_or(default.keep),
            max: self.size(node, "max").unwrap_or(default.max),
        }
    }

    /// `500ms..60s`
    pub(crate) fn range(&mut self, table: &Node, key: &str) -> Option<Backoff> {
        let text = text(table, key, Format::Range)?;
        let (min, max) = text.value.split_once("..")?;
        let min = self.parse_duration(min, text.span, key)?;
        let max = self.parse_duration(max, text.span, key)?;
        if min.is_zero() {
            self.zero(text.span, key);
            return None;
        }
        if min > max {
            self.out
                .report(
                    Code::BadRange,
                    text.span,
                    format!("`{}` goes from long to short", shown(key)),
                )
                .label("the first duration is the shorter one")
                .help("turn the two around");
            return None;
        }
        Some(Backoff { min, max })
    }

    pub(crate) fn edge_policy(&mut self, node: Option<&Node>) -> EdgePolicy {
        let default = EdgePolicy::default();
        let Some(node) = node else { return default };
        EdgePolicy {
            timeout: self.period(node, "timeout"),
            retry: self.retry(node.get("retry"), default.retry),
            connect: self.period(node, "connect"),
            idle: self.period(node, "idle"),
            hold: self.hold(node).unwrap_or(default.hold),
            idempotency: self.idempotency(node),
            safeguards: self.safeguards(node),
        }
    }

    /// `header:Name`
    fn idempotency(&mut self, node: &Node) -> Option<String> {
        let text = text(node, "idempotency", Format::NonEmpty)?;
        let name = header_of(text.value);
        if name.is_none() {
            self.out
                .report(
                    Code::BadText,
                    text.span,
                    format!("`{}` does not name a header", shown(text.value)),
                )
                .label("tells no two requests apart")
                .help("for example \"header:Idempotency-Key\"");
        }
        name
    }

    fn retry(&mut self, node: Option<&Node>, default: Retry) -> Retry {
        let Some(node) = node else { return default };
        let said = node.get("on").and_then(Node::list);
        let on = |word: &str| match said {
            Some(said) => said.iter().any(|item| item.text() == Some(word)),
            None => true,
        };
        Retry {
            attempts: count(node, "attempts").unwrap_or(default.attempts),
            on: RetryOn {
                connect: on("connect"),
                reset: on("reset"),
                bad_gateway: on("502"),
                unavailable: on("503"),
                gateway_timeout: on("504"),
            },
            budget: percent(node, "budget").or(default.budget),
            backoff: self.range(node, "backoff").unwrap_or(default.backoff),
        }
    }

    /// `Some(None)`: turned off by `"0s"`.
    pub(crate) fn hold(&mut self, node: &Node) -> Option<Option<Duration>> {
        let hold = self.duration(node, "hold")?;
        Some(Some(hold).filter(|hold| !hold.is_zero()))
    }
}
