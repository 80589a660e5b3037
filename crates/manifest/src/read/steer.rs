//! What a route does beyond leading to one service.

use std::collections::BTreeMap;

use archipel_model::{
    Compare, Condition, Elsewhere, FallbackOn, Lead, Mirror, Part, PathPattern, Respond, Sample,
    ServiceName, Steer, Sticky, Template, TemplateError, Want,
};

use super::safeguards::fallback_on;
use super::{Reader, count, text, texts};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::{Sited, Span};
use crate::tree::Node;

const REDIRECT_STATUS: u16 = 302;
const REDIRECT_STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
const METHODS_DEFAULT: [&str; 2] = ["GET", "HEAD"];

impl Reader<'_> {
    /// `to`, `split`, `redirect` or `respond`, with every service that it names.
    pub(super) fn lead(
        &mut self,
        node: &Node,
        path: Option<&PathPattern>,
        targets: &mut Vec<Sited<ServiceName>>,
    ) -> Option<Lead> {
        if node.get("to").is_some() {
            return Some(Lead::Service(target(node, targets)?));
        }
        if let Some(split) = node.get("split") {
            return self.shares(split, targets);
        }
        if let Some(respond) = node.get("respond") {
            let kind = text(respond, "type", Format::NonEmpty);
            return Some(Lead::Respond(Respond {
                status: status(respond)?,
                body: respond.get("body").and_then(Node::text).unwrap_or_default().to_owned(),
                content_type: kind
                    .map_or("text/plain; charset=utf-8", |kind| kind.value)
                    .to_owned(),
            }));
        }
        let redirect = node.get("redirect")?;
        let (to, status) = match redirect.text() {
            Some(_) => (text(node, "redirect", Format::NonEmpty)?, REDIRECT_STATUS),
            None => {
                let to = text(redirect, "to", Format::NonEmpty)?;
                (to, self.redirect_status(redirect)?)
            }
        };
        let to = self.template(&to, Template::address(to.value, path?))?;
        Some(Lead::Redirect { to, status })
    }

    fn redirect_status(&mut self, node: &Node) -> Option<u16> {
        let Some(said) = node.get("status") else { return Some(REDIRECT_STATUS) };
        let status = status(node)?;
        if !REDIRECT_STATUSES.contains(&status) {
            self.out
                .report(
                    Code::OutOfBounds,
                    said.span,
                    format!("{status} does not send anybody elsewhere"),
                )
                .label("not a redirect")
                .help("302 or 307 for now, 301 or 308 for good; 307 and 308 keep the method");
            return None;
        }
        Some(status)
    }

    fn shares(&mut self, node: &Node, targets: &mut Vec<Sited<ServiceName>>) -> Option<Lead> {
        let mut shares = BTreeMap::new();
        for (name, entry) in node.table()? {
            let name = ServiceName::new(name).ok()?;
            targets.push(Sited { value: name.clone(), span: entry.key });
            shares.insert(name, u32::try_from(entry.node.integer()?).ok()?);
        }
        let sum: u32 = shares.values().sum();
        if sum != 100 {
            self.out
                .report(
                    Code::BadSplit,
                    node.span,
                    format!("the shares add up to {sum}, not to 100"),
                )
                .label("shares of a hundred requests")
                .help("0 is a share too: the service stays part of the split and gets nothing");
            return None;
        }
        Some(Lead::Split(shares))
    }

    pub(super) fn steer(
        &mut self,
        node: &Node,
        path: Option<&PathPattern>,
        targets: &mut Vec<Sited<ServiceName>>,
    ) -> Steer {
        let rewrite = text(node, "rewrite", Format::UrlPath).and_then(|text| {
            let template = Template::path(text.value, path?);
            self.template(&text, template)
        });
        let mirror = node.get("mirror").and_then(|node| {
            let sample = self.sample(node);
            Some(Mirror { to: target(node, targets)?, sample })
        });
        let compare = node.get("compare").and_then(|node| {
            let ignore = texts(node, "ignore", Format::NonEmpty);
            let ignore = ignore.iter().filter_map(|text| self.ignored(text)).collect();
            Some(Compare { to: target(node, targets)?, sample: self.sample(node), ignore })
        });
        Steer {
            when: self.conditions(node),
            rewrite,
            sticky: text(node, "sticky", Format::NonEmpty).and_then(|text| self.sticky(&text)),
            mirror,
            compare,
            fallback: node.get("fallback").and_then(|node| elsewhere(node, targets)),
        }
    }

    fn template(
        &mut self,
        text: &Sited<&str>,
        template: Result<Template, TemplateError>,
    ) -> Option<Template> {
        template
            .map_err(|error| {
                let message =
                    format!("`{}` cannot be filled in: {}", shown(text.value), error.reason);
                self.out
                    .report(Code::BadTemplate, text.span, message)
                    .label("where it would lead is unknown")
                    .help("`{id}` takes the segment `{id}` of `match`, `{1}` its first wildcard");
            })
            .ok()
    }

    /// All requests unless it says less.
    fn sample(&mut self, node: &Node) -> Sample {
        let percent = text(node, "sample", Format::Percent);
        let percent = percent.and_then(|text| text.value.strip_suffix('%')?.parse::<f64>().ok());
        let per_million = |percent: f64| (percent.min(100.0) * 10_000.0).round() as u32;
        percent.map_or(Sample::ALL, |percent| Sample { per_million: per_million(percent) })
    }

    fn ignored(&mut self, text: &Sited<&str>) -> Option<String> {
        let fits = text.value.starts_with('/')
            || text.value.starts_with("header:")
            || ["body", "status"].contains(&text.value);
        if !fits {
            self.out
                .report(Code::BadText, text.span, format!("`{}` is no place", shown(text.value)))
                .label("neither a JSON pointer nor a header")
                .help("for example \"/items/*/updated_at\", \"header:location\", \"body\", \"status\"");
            return None;
        }
        Some(match text.value.strip_prefix("header:") {
            Some(name) => format!("header:{}", name.to_ascii_lowercase()),
            None => text.value.to_owned(),
        })
    }

    /// `cookie` or `header:Name`
    fn sticky(&mut self, text: &Sited<&str>) -> Option<Sticky> {
        match (text.value, header_of(text.value)) {
            ("cookie", _) => Some(Sticky::Cookie),
            (_, Some(name)) => Some(Sticky::Header(name)),
            _ => {
                self.out
                    .report(
                        Code::BadSticky,
                        text.span,
                        format!("`{}` does not tell visitors apart", shown(text.value)),
                    )
                    .label("neither `cookie` nor a header")
                    .help("\"cookie\" for one that the gateway sets, or for example \"header:X-Customer-Id\"");
                None
            }
        }
    }

    /// `headers` and `query`, in an order of their own.
    fn conditions(&mut self, node: &Node) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (name, entry) in node.entries("headers") {
            if is_header(name) {
                let name = name.to_ascii_lowercase();
                conditions.extend(condition(Part::Header, name, &entry.node));
            } else {
                self.out
                    .report(
                        Code::BadCondition,
                        entry.key,
                        format!("`{}` is not the name of a header", shown(name)),
                    )
                    .label("no request can have it")
                    .help("letters, digits and `-`, for example \"X-Beta\"");
            }
        }
        for (name, entry) in node.entries("query") {
            conditions.extend(condition(Part::Query, name.to_owned(), &entry.node));
        }
        conditions.sort();
        conditions
    }
}

fn condition(part: Part, name: String, node: &Node) -> Option<Condition> {
    let want = match (node.bool(), node.text()) {
        (Some(true), _) | (_, Some("*")) => Want::Present,
        (Some(false), _) => Want::Absent,
        (_, Some(text)) => match text.strip_suffix('*') {
            Some(prefix) => Want::Prefix(prefix.to_owned()),
            None => Want::Exact(text.to_owned()),
        },
        _ => return None,
    };
    Some(Condition { part, name, want })
}

/// The name in `header:Name`, in lower case.
pub(super) fn header_of(text: &str) -> Option<String> {
    text.strip_prefix("header:").filter(|name| is_header(name)).map(str::to_ascii_lowercase)
}

fn is_header(name: &str) -> bool {
    let mark = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty()
        && name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}

fn target(node: &Node, targets: &mut Vec<Sited<ServiceName>>) -> Option<ServiceName> {
    let to = text(node, "to", Format::Name)?;
    let name = ServiceName::new(to.value).ok()?;
    targets.push(Sited { value: name.clone(), span: to.span });
    Some(name)
}

fn status(node: &Node) -> Option<u16> {
    count(node, "status").and_then(|status| u16::try_from(status).ok())
}

/// The rest of a fallback is read where those without `to` are.
fn elsewhere(node: &Node, targets: &mut Vec<Sited<ServiceName>>) -> Option<Elsewhere> {
    let methods = texts(node, "methods", Format::NonEmpty);
    let methods: Vec<String> = match methods.is_empty() {
        true => METHODS_DEFAULT.map(str::to_owned).to_vec(),
        false => methods.iter().map(|method| method.value.to_ascii_uppercase()).collect(),
    };
    let on = match node.get("on") {
        Some(_) => fallback_on(node),
        None => FallbackOn {
            connect: true,
            reset: false,
            timeout: false,
            breaker: false,
            overload: false,
            statuses: vec![404],
        },
    };
    Some(Elsewhere { to: target(node, targets)?, on, methods })
}

/// Where a key of a route stands, for those that judge it later.
pub(super) fn place(node: &Node, key: &str) -> Option<Span> {
    node.entry(key).map(|entry| entry.key)
}
