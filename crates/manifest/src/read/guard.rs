//! What the gateway asks of requests: limits, lists, headers. Who sends them: see `auth`.

use std::collections::BTreeMap;
use std::time::Duration;

use archipel_model::{
    AccessFormat, AccessLog, Bots, Bytes, Cidr, Cors, Guard, HeaderChanges, LimitBy, RateLimit,
    RouteGuard, SecretName, SecurityHeaders, ServiceName, is_header_name,
};

use super::{Reader, count, text, texts};
use crate::Code;
use crate::files::resolve;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::{Sited, Span};
use crate::tree::Node;

const BODY_MAX_DEFAULT: Bytes = Bytes(100 << 20);
const LOG_MAX_DEFAULT: Bytes = Bytes(256 << 20);
const LOG_FILE_DEFAULT: &str = ".archipel/access.log";

#[derive(Default)]
pub(crate) struct GuardDraft {
    pub(crate) guard: Guard,
    pub(crate) limit_at: BTreeMap<String, Span>,
    /// What `limit` of the gateway names.
    pub(crate) limits: Vec<Sited<String>>,
    pub(crate) secrets: Vec<Sited<SecretName>>,
    /// Services that are asked for keys.
    pub(crate) services: Vec<Sited<ServiceName>>,
    /// Of routes that say nothing else.
    pub(crate) cors: Option<Cors>,
    pub(crate) body_max: Option<Bytes>,
}

/// The names by which a route refers to rules.
#[derive(Default)]
pub(crate) struct RouteRules {
    pub(crate) limits: Vec<Sited<String>>,
    pub(crate) auth: Option<Sited<String>>,
    pub(crate) scopes_at: Option<Span>,
}

impl Reader<'_> {
    pub(crate) fn guard(&mut self, node: &Node) -> GuardDraft {
        let mut draft = GuardDraft::default();
        for (name, entry) in node.entries("limits") {
            draft.limit_at.insert(name.to_owned(), entry.key);
            if let Some(limit) = self.rate_limit(&entry.node) {
                draft.guard.limits.insert(name.to_owned(), limit);
            }
        }
        self.auth_rules(node, &mut draft);
        draft.limits = names(node, "limit");
        draft.guard.limit = draft.limits.iter().map(|name| name.value.clone()).collect();
        draft.guard.trusted = self.networks(node, "trusted");
        draft.guard.bots = node.get("bots").and_then(|bots| self.bots(bots));
        draft.guard.headers = node.get("headers").and_then(|headers| self.hardening(headers));
        draft.guard.reasons = node.get("reasons").and_then(Node::bool).unwrap_or(true);
        draft.guard.access_log = node.get("access_log").and_then(|log| self.access_log(log));
        draft.guard.connections_max = count(node, "max_connections");
        draft.guard.headers_max = count(node, "max_headers");
        draft.guard.head_max = self.head_max(node);
        draft.cors = node.get("cors").and_then(|cors| self.cors(cors));
        draft.body_max = self.size(node, "max_body").or(Some(BODY_MAX_DEFAULT));
        draft
    }

    pub(crate) fn route_guard(
        &mut self,
        node: &Node,
        cors: Option<&Cors>,
    ) -> (RouteGuard, RouteRules) {
        let rules = RouteRules {
            limits: names(node, "limit"),
            auth: text(node, "auth", Format::Name).as_ref().map(owned),
            scopes_at: node.get("scopes").map(|scopes| scopes.span),
        };
        let guard = RouteGuard {
            limits: rules.limits.iter().map(|name| name.value.clone()).collect(),
            auth: rules.auth.as_ref().map(|name| name.value.clone()),
            scopes: all(node, "scopes"),
            cors: match node.get("cors") {
                Some(own) => self.cors(own),
                None => cors.cloned(),
            },
            allow: self.networks(node, "allow"),
            deny: self.networks(node, "deny"),
            request_headers: self.header_changes(node, "request_headers"),
            response_headers: self.header_changes(node, "response_headers"),
        };
        (guard, rules)
    }

    fn head_max(&mut self, node: &Node) -> Option<Bytes> {
        let size = self.size(node, "max_head")?;
        // hyper reads heads into a buffer of at least this.
        if (8 << 10..=1 << 20).contains(&size.0) {
            return Some(size);
        }
        let span = node.get("max_head").map(|node| node.span).unwrap_or_default();
        self.out
            .report(
                Code::BadSize,
                span,
                format!("the head of a request cannot be limited to {size}"),
            )
            .label("out of bounds")
            .help("from 8K to 1M");
        None
    }

    fn networks(&mut self, node: &Node, key: &str) -> Vec<Cidr> {
        let mut networks = Vec::new();
        for item in texts(node, key, Format::NonEmpty) {
            match Cidr::parse(item.value) {
                Ok(network) => networks.push(network),
                Err(error) => {
                    let message =
                        format!("`{}` is not a network: {}", shown(item.value), error.rule);
                    self.out
                        .report(Code::BadNetwork, item.span, message)
                        .label("not a network")
                        .help("for example \"10.0.0.0/8\", \"2001:db8::/32\", or one address");
                }
            }
        }
        networks
    }

    /// `50/s`
    fn rate(&mut self, node: &Node, key: &str) -> Option<(u32, Duration)> {
        let rate = text(node, key, Format::Rate)?;
        let (number, unit) = rate.value.split_once('/')?;
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            _ => Duration::from_secs(3_600),
        };
        match number.parse::<u32>() {
            Ok(0) | Err(_) => {
                self.out
                    .report(Code::BadLimit, rate.span, "a limit of nothing lets nobody in")
                    .label("at least 1")
                    .help("to close a route, remove it");
                None
            }
            Ok(number) => Some((number, per)),
        }
    }

    fn rate_limit(&mut self, node: &Node) -> Option<RateLimit> {
        let rate = self.rate(node, "rate");
        let said = match node.get("by") {
            Some(by) if by.list().is_some() => texts(node, "by", Format::NonEmpty),
            _ => text(node, "by", Format::NonEmpty).into_iter().collect(),
        };
        let mut by = Vec::new();
        for word in said {
            match LimitBy::parse(word.value) {
                Some(one) => by.push(one),
                None => {
                    let known = ["ip", "key", "user", "route", "header:Name"];
                    let otherwise = "`ip`, `key`, `user`, `route` or `header:Name`";
                    let help = self.out.hint(word.value, known, otherwise);
                    let message = format!("requests cannot be counted by `{}`", shown(word.value));
                    self.out
                        .report(Code::BadLimit, word.span, message)
                        .label("not known")
                        .help(help);
                }
            }
        }
        if by.is_empty() {
            by.push(LimitBy::Ip);
        }
        let (count_of_rate, per) = rate?;
        let burst = count(node, "burst").unwrap_or(count_of_rate);
        Some(RateLimit { count: count_of_rate, per, burst, by })
    }

    fn bots(&mut self, node: &Node) -> Option<Bots> {
        node.table()?;
        let crawl = self.rate(node, "crawl");
        Some(Bots {
            known: node.get("known").and_then(Node::bool).unwrap_or(true),
            deny: all(node, "deny"),
            allow: all(node, "allow"),
            crawl: crawl.map(|(count, per)| RateLimit { count, per, burst: count, by: vec![] }),
            robots: text(node, "robots", Format::NonEmpty).map(|text| text.value.to_owned()),
        })
    }

    fn hardening(&mut self, node: &Node) -> Option<SecurityHeaders> {
        let strict = SecurityHeaders::strict();
        match node.text() {
            Some("strict") => return Some(strict),
            Some(_) => return None,
            None => node.table()?,
        };
        let mut word = |key: &str, default: Option<String>| match text(node, key, Format::NonEmpty)
        {
            Some(text) if text.value == "off" => None,
            Some(text) => self.header_value(&text).then(|| text.value.to_owned()),
            None => default,
        };
        let referrer = word("referrer", strict.referrer);
        let csp = word("csp", strict.csp);
        let frame = word("frame", strict.frame).map(|frame| frame.to_ascii_uppercase());
        Some(SecurityHeaders {
            nosniff: node.get("nosniff").and_then(Node::bool).unwrap_or(strict.nosniff),
            referrer,
            frame,
            hsts: match node.get("hsts") {
                Some(_) => self.duration(node, "hsts").filter(|hsts| !hsts.is_zero()),
                None => strict.hsts,
            },
            csp,
        })
    }

    fn access_log(&mut self, node: &Node) -> Option<AccessLog> {
        let (format, file) = match node.text() {
            Some("off") => return None,
            Some(format) => (Some(format), None),
            None => {
                node.table()?;
                let format = node.get("format").and_then(Node::text);
                (format, text(node, "file", Format::NonEmpty))
            }
        };
        let file = match file {
            Some(file) => resolve(self.directory(file.span), file.value),
            None => resolve(self.root(), LOG_FILE_DEFAULT),
        };
        let format = match format {
            Some("combined") => AccessFormat::Combined,
            _ => AccessFormat::Json,
        };
        let max = if node.table().is_some() { self.size(node, "max") } else { None };
        Some(AccessLog { file, format, max: max.unwrap_or(LOG_MAX_DEFAULT) })
    }

    fn cors(&mut self, node: &Node) -> Option<Cors> {
        node.table()?;
        let origins = texts(node, "origins", Format::NonEmpty);
        let credentials = node.get("credentials").and_then(Node::bool).unwrap_or(false);
        for origin in &origins {
            let (wrong, help) = match origin.value {
                "*" if credentials => (
                    "every origin cannot be let in with credentials",
                    "any page in the world could act as the visitor; list the origins, or leave out `credentials`",
                ),
                "*" => continue,
                value if is_origin(value) => continue,
                _ => (
                    "this is not an origin",
                    "scheme and host, with the port if it is not the usual one and without a path: \"https://shop.example.org\", \"https://*.example.org\"",
                ),
            };
            self.out.report(Code::BadCors, origin.span, wrong).label("cannot be used").help(help);
        }
        let methods = texts(node, "methods", Format::NonEmpty);
        for method in &methods {
            if !method.value.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
                self.out
                    .report(
                        Code::BadCors,
                        method.span,
                        format!("`{}` is not a method", shown(method.value)),
                    )
                    .label("cannot be used")
                    .help("in upper case, each by its name: \"PUT\", \"DELETE\"");
            }
        }
        let lower = |names: Vec<Sited<&str>>| -> Vec<String> {
            names.into_iter().map(|name| name.value.to_ascii_lowercase()).collect()
        };
        let headers = texts(node, "headers", Format::NonEmpty);
        let expose = texts(node, "expose", Format::NonEmpty);
        for name in headers.iter().chain(&expose) {
            self.header_name(name);
        }
        Some(Cors {
            origins: origins.iter().map(|origin| origin.value.to_owned()).collect(),
            methods: methods.iter().map(|method| method.value.to_owned()).collect(),
            headers: lower(headers),
            expose: lower(expose),
            credentials,
            max_age: self.duration(node, "max_age"),
        })
    }

    fn header_changes(&mut self, node: &Node, key: &str) -> HeaderChanges {
        let mut changes = HeaderChanges::default();
        let Some(node) = node.get(key) else { return changes };
        for (name, entry) in node.entries("set") {
            let name = Sited { value: name, span: entry.key };
            let Some(value) = entry.node.text() else { continue };
            let value = Sited { value, span: entry.node.span };
            if self.changeable(&name) && self.header_value(&value) {
                changes.set.insert(name.value.to_ascii_lowercase(), value.value.to_owned());
            }
        }
        for name in texts(node, "remove", Format::NonEmpty) {
            if self.changeable(&name) {
                changes.remove.push(name.value.to_ascii_lowercase());
            }
        }
        changes
    }

    /// Headers that frame a message, or say who calls, are not a route's to change.
    fn changeable(&mut self, name: &Sited<&str>) -> bool {
        const OURS: [&str; 10] = [
            "connection",
            "content-length",
            "transfer-encoding",
            "host",
            "upgrade",
            "te",
            "trailer",
            "keep-alive",
            "dapr-api-token",
            "dapr-caller-app-id",
        ];
        if !self.header_name(name) {
            return false;
        }
        if OURS.contains(&name.value.to_ascii_lowercase().as_str()) {
            let message = format!("`{}` is Archipel's own to set", shown(name.value));
            self.out
                .report(Code::BadHeader, name.span, message)
                .label("cannot be changed")
                .help("it says where a message ends, or who sends it");
            return false;
        }
        true
    }

    pub(crate) fn header_name(&mut self, name: &Sited<&str>) -> bool {
        let fits = is_header_name(name.value);
        if !fits {
            let message = format!("`{}` is not the name of a header", shown(name.value));
            self.out
                .report(Code::BadHeader, name.span, message)
                .label("not a header")
                .help("letters, digits and hyphens, for example \"x-user-id\"");
        }
        fits
    }

    fn header_value(&mut self, value: &Sited<&str>) -> bool {
        let fits = value.value.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !fits {
            self.out
                .report(Code::BadHeader, value.span, "the value of a header is one line of ASCII")
                .label("cannot be sent")
                .help("without line breaks; letters beyond ASCII are written as %C3%A9");
        }
        fits
    }
}

/// `https://shop.example.org[:port]`, also with `*.` before the host.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let host = host.strip_prefix("*.").unwrap_or(host);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
        && !host.is_empty()
        && host.bytes().all(plain)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn owned(text: &Sited<&str>) -> Sited<String> {
    Sited { value: text.value.to_owned(), span: text.span }
}

/// One name, or a list of them.
fn names(node: &Node, key: &str) -> Vec<Sited<String>> {
    match node.get(key) {
        Some(list) if list.list().is_some() => {
            texts(node, key, Format::Name).iter().map(owned).collect()
        }
        _ => text(node, key, Format::Name).iter().map(owned).collect(),
    }
}

pub(super) fn all(node: &Node, key: &str) -> Vec<String> {
    texts(node, key, Format::NonEmpty).iter().map(|text| text.value.to_owned()).collect()
}
