//! The gateway and its routes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use archipel_model::{Bytes, EdgePolicy, PathPattern, Route, ServiceName};

use super::guard::{GuardDraft, RouteRules};
use super::tls::TlsDraft;
use super::{Reader, steer, text, texts};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::{Sited, Span};
use crate::tree::Node;

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// Keys that a route may have and that may never act.
const MAY_BE_POINTLESS: [&str; 8] =
    ["strip", "rewrite", "sticky", "split", "mirror", "compare", "fallback", "cache"];

pub(crate) struct GatewayDraft {
    pub(crate) listen: SocketAddr,
    pub(crate) listen_at: Option<Span>,
    pub(crate) hosts: Vec<Sited<String>>,
    pub(crate) tls: TlsDraft,
    pub(crate) routes: Vec<RouteDraft>,
    pub(crate) guard: GuardDraft,
    pub(crate) cache_max: Bytes,
}

pub(crate) struct RouteDraft {
    pub(crate) route: Route,
    pub(crate) match_at: Span,
    /// Every service that it names.
    pub(crate) targets: Vec<Sited<ServiceName>>,
    /// The keys that stand there, of those that may be pointless.
    pub(crate) keys_at: Vec<(&'static str, Span)>,
    pub(crate) host_at: Option<Span>,
    pub(crate) strip_at: Option<Span>,
    pub(crate) rules: RouteRules,
}

impl Reader<'_> {
    pub(crate) fn gateway(&mut self, document: &Node) -> Option<GatewayDraft> {
        let node = document.get("gateway")?;
        node.table()?;
        let listen = text(node, "listen", Format::NonEmpty);
        let hosts = texts(node, "hosts", Format::NonEmpty);
        let hosts = hosts.iter().filter_map(|host| self.host(host)).collect();
        let hold = self.hold(node).unwrap_or(Some(EdgePolicy::HOLD_DEFAULT));
        let items = node.get("routes").and_then(Node::list).unwrap_or_default();
        let guard = self.guard(node);
        let compress = node.get("compress").and_then(Node::bool).unwrap_or_default();
        let cache_max = self.cache_max(node);
        let routes = items.iter();
        let routes = routes.filter_map(|item| self.route(item, hold, &guard, compress)).collect();
        let tls = self.tls(node);
        Some(GatewayDraft {
            tls,
            listen: listen.as_ref().and_then(|text| self.listen(text)).unwrap_or(LISTEN_DEFAULT),
            listen_at: listen.map(|text| text.span),
            hosts,
            routes,
            guard,
            cache_max,
        })
    }

    pub(super) fn listen(&mut self, text: &Sited<&str>) -> Option<SocketAddr> {
        if let Ok(address) = text.value.parse() {
            return Some(address);
        }
        let port = text.value.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        let help = match port {
            Some(port) => format!(
                "write \"127.0.0.1:{port}\" for this machine only, or \"0.0.0.0:{port}\" for everyone"
            ),
            None => "an IP address and a port, for example \"127.0.0.1:8080\"".to_owned(),
        };
        self.out
            .report(
                Code::BadListen,
                text.span,
                format!("`{}` is not an address to listen on", shown(text.value)),
            )
            .label("not an IP address with a port")
            .help(help);
        None
    }

    /// Lower-cased, since hosts compare without case.
    fn host(&mut self, text: &Sited<&str>) -> Option<Sited<String>> {
        let host = text.value.to_ascii_lowercase();
        let name = host.strip_prefix("*.").unwrap_or(&host);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let address = host.parse::<IpAddr>().is_ok();
        if address || (host.len() <= 253 && name.split('.').all(is_label)) {
            return Some(Sited { value: host, span: text.span });
        }
        let help = if host.contains("://") || host.contains('/') {
            "a host only, without `http://` and without a path"
        } else if host.contains(':') {
            "without the port: `listen` has it"
        } else {
            "for example \"shop.example.org\", or \"*.example.org\" for every name below"
        };
        self.out
            .report(Code::BadHost, text.span, format!("`{}` is not a host name", shown(text.value)))
            .label("not a host name")
            .help(help);
        None
    }

    /// `hold`, `guard`, `compress`: what the gateway says of all its routes.
    fn route(
        &mut self,
        node: &Node,
        hold: Option<Duration>,
        guard: &GuardDraft,
        compress: bool,
    ) -> Option<RouteDraft> {
        let matched = text(node, "match", Format::NonEmpty);
        let parsed = matched.as_ref().and_then(|text| self.route_match(text));
        let path = parsed.as_ref().map(|(_, path)| path);
        let mut targets = Vec::new();
        let to = self.lead(node, path, &mut targets);
        let steer = self.steer(node, path, &mut targets);
        let at = |key: &'static str| Some((key, steer::place(node, key)?));
        let keys_at = MAY_BE_POINTLESS.iter().filter_map(|key| at(key)).collect();
        let host = text(node, "host", Format::NonEmpty);
        let host_read = host.as_ref().and_then(|host| self.host(host));
        let strip = text(node, "strip", Format::UrlPath);
        let timeout = self.period(node, "timeout");
        let (connect, idle) = (self.period(node, "connect"), self.period(node, "idle"));
        let hold = self.hold(node).unwrap_or(hold);
        let safeguards = self.safeguards(node);
        let body_max: Option<Bytes> = self.size(node, "max_body");
        let (own_guard, rules) = self.route_guard(node, guard.cors.as_ref());
        let cache = self.route_cache(node);
        let compress = node.get("compress").and_then(Node::bool).unwrap_or(compress);
        let (method, path) = parsed?;
        let matched = matched?;
        Some(RouteDraft {
            route: Route {
                host: host_read.map(|host| host.value),
                method,
                path,
                to: to?,
                strip: strip.as_ref().map(|strip| strip.value.to_owned()),
                timeout,
                connect,
                idle,
                hold,
                body_max,
                steer,
                safeguards,
                guard: own_guard,
                cache,
                compress,
            },
            match_at: matched.span,
            targets,
            keys_at,
            host_at: host.map(|host| host.span),
            strip_at: strip.map(|strip| strip.span),
            rules,
        })
    }

    /// `[METHOD ]/path`
    fn route_match(&mut self, text: &Sited<&str>) -> Option<(Option<String>, PathPattern)> {
        let (method, path) = match text.value.split_once(' ') {
            Some((method, path)) => (Some(method), path.trim_start()),
            None => (None, text.value),
        };
        if let Some(method) = method.filter(|method| !METHODS.contains(method)) {
            let help = self.out.hint(method, METHODS, format!("methods: {}", METHODS.join(", ")));
            self.out
                .report(Code::BadPattern, text.span, format!("`{}` is not a method", shown(method)))
                .label("a method in upper case, a space and a path; or only a path")
                .help(help);
            return None;
        }
        match PathPattern::new(path) {
            Ok(path) => Some((method.map(str::to_owned), path)),
            Err(error) => {
                let message = format!("`{}` is not a path pattern: {}", shown(path), error.rule);
                self.out
                    .report(Code::BadPattern, text.span, message)
                    .label("cannot be matched")
                    .help("`/a/*` matches one segment, `/a/{id}` too, `/a/**` everything below and `/a` itself");
                None
            }
        }
    }
}
