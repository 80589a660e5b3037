//! Breaker, bulkhead, hedge, priority and fallback, of an edge or of a route.

use archipel_model::{Breaker, Bulkhead, Fallback, FallbackOn, Hedge, Priority, Safeguards, Spare};

use super::{Reader, count, text, texts};
use crate::shape::format::Format;
use crate::tree::Node;

impl Reader<'_> {
    pub(crate) fn safeguards(&mut self, node: &Node) -> Safeguards {
        Safeguards {
            breaker: node.get("breaker").map(|node| self.breaker(node)),
            bulkhead: self.bulkhead(node),
            hedge: self.hedge(node),
            priority: node.get("priority").and_then(Node::text).and_then(priority),
            fallback: node.get("fallback").and_then(|node| self.fallback(node)).map(Box::new),
        }
    }

    fn breaker(&mut self, node: &Node) -> Breaker {
        let default = Breaker::default();
        Breaker {
            errors: percent(node, "errors").unwrap_or(default.errors).max(1),
            window: self.period(node, "window").unwrap_or(default.window),
            min_requests: count(node, "min_requests").unwrap_or(default.min_requests),
            open_for: self.period(node, "open_for").unwrap_or(default.open_for),
        }
    }

    fn bulkhead(&mut self, table: &Node) -> Option<Bulkhead> {
        if let Some(max) = count(table, "bulkhead") {
            return Some(Bulkhead::new(max));
        }
        let node = table.get("bulkhead")?;
        let plain = Bulkhead::new(count(node, "max")?);
        Some(Bulkhead {
            queue: count(node, "queue").unwrap_or(plain.queue),
            wait: self.period(node, "wait").unwrap_or(plain.wait),
            ..plain
        })
    }

    /// `p95`, or a duration.
    fn hedge(&mut self, table: &Node) -> Option<Hedge> {
        let said = text(table, "hedge", Format::Hedge)?;
        if let Some(percentile) = said.value.strip_prefix('p') {
            return percentile.parse().ok().map(Hedge::Percentile);
        }
        let after = self.parse_duration(said.value, said.span, "hedge")?;
        if after.is_zero() {
            self.zero(said.span, "hedge");
            return None;
        }
        Some(Hedge::After(after))
    }

    fn fallback(&mut self, node: &Node) -> Option<Fallback> {
        let with = match node.text() {
            Some("stale") => Spare::Stale(Spare::STALE_DEFAULT),
            Some("skip") => Spare::Skip,
            Some(_) => return None,
            None if node.get("skip").is_some() => Spare::Skip,
            None if node.get("stale").is_some() => Spare::Stale(self.period(node, "stale")?),
            None => self.answer(node.get("answer")?),
        };
        let methods = texts(node, "methods", Format::NonEmpty);
        let methods: Vec<String> = methods.iter().map(|m| m.value.to_ascii_uppercase()).collect();
        let methods = match methods.is_empty() {
            true => vec!["GET".to_owned(), "HEAD".to_owned()],
            false => methods,
        };
        Some(Fallback { with, on: fallback_on(node), methods })
    }

    fn answer(&mut self, node: &Node) -> Spare {
        let body = text(node, "body", Format::Any).map_or("", |text| text.value);
        let guess = match body.trim_start().starts_with(['{', '[']) {
            _ if body.is_empty() => "",
            true => "application/json",
            false => "text/plain; charset=utf-8",
        };
        Spare::Static {
            status: count(node, "status").and_then(|n| n.try_into().ok()).unwrap_or(200),
            content_type: text(node, "content_type", Format::NonEmpty)
                .map_or(guess, |text| text.value)
                .to_owned(),
            body: body.to_owned(),
        }
    }
}

fn priority(word: &str) -> Option<Priority> {
    match word {
        "critical" => Some(Priority::Critical),
        "normal" => Some(Priority::Normal),
        "low" => Some(Priority::Low),
        _ => None,
    }
}

pub(super) fn fallback_on(node: &Node) -> FallbackOn {
    let Some(said) = node.get("on").and_then(Node::list) else { return FallbackOn::default() };
    let on = |word: &str| said.iter().any(|item| item.text() == Some(word));
    let status = |item: &Node| item.integer().and_then(|number| u16::try_from(number).ok());
    FallbackOn {
        connect: on("connect"),
        reset: on("reset"),
        timeout: on("timeout"),
        breaker: on("breaker"),
        overload: on("overload"),
        statuses: said.iter().filter_map(status).collect(),
    }
}

/// Whole percents, rounded up: parts of one are no use to anybody.
pub(crate) fn percent(node: &Node, key: &str) -> Option<u8> {
    let text = text(node, key, Format::Percent)?;
    let number: f64 = text.value.strip_suffix('%')?.parse().ok()?;
    Some(number.ceil().min(100.0) as u8)
}
