//! From the checked tree to values of `model`, each with the places that later checks need.
//!
//! A value that did not fit its shape was reported already and is skipped here; the default
//! stands in, so that one broken key hides nothing that is wrong elsewhere. The result is only
//! used when nothing was reported.

pub(crate) mod auth;
pub(crate) mod cache;
pub(crate) mod command;
pub(crate) mod events;
pub(crate) mod gateway;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod policy;
pub(crate) mod safeguards;
pub(crate) mod service;
mod steer;
mod storage;
pub(crate) mod telemetry;
pub(crate) mod tls;
pub(crate) mod watch;
mod when;
mod workflows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archipel_model::{
    Bytes, Export, External, SecretName, SecretRule, ServiceName, TelemetryPolicy,
};

use crate::Code;
use crate::files::resolve;
use crate::shape::format::Format;
use crate::sink::{Sink, shown};
use crate::source::{FileId, Sited, Span};
use crate::tree::{Entry, Node};

/// Everything one document says, before its parts are checked against each other.
pub(crate) struct Draft {
    pub(crate) services: Vec<service::ServiceDraft>,
    pub(crate) externals: BTreeMap<ServiceName, (Span, External)>,
    pub(crate) events: Vec<events::ContractDraft>,
    pub(crate) gateway: Option<gateway::GatewayDraft>,
    pub(crate) jobs: Vec<jobs::JobDraft>,
    pub(crate) secrets: BTreeMap<SecretName, (Span, SecretRule)>,
    pub(crate) telemetry: TelemetryPolicy,
    pub(crate) export: Option<Export>,
    pub(crate) watch: watch::WatchDraft,
    pub(crate) storage: storage::StorageDraft,
    pub(crate) paths: Vec<PathDraft>,
}

/// A path that must exist.
pub(crate) struct PathDraft {
    pub(crate) path: PathBuf,
    pub(crate) span: Span,
    pub(crate) want: Want,
    /// For messages: `` `path` of service `cart` ``.
    pub(crate) what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    File,
    Directory,
    Anything,
}

pub(crate) struct Reader<'a> {
    pub(crate) out: &'a mut Sink,
    paths: Vec<PathDraft>,
}

pub(crate) fn read(document: &Node, out: &mut Sink) -> Draft {
    let mut reader = Reader { out, paths: Vec::new() };
    let services = reader.services(document);
    let externals = reader.externals(document);
    let events = reader.contracts(document);
    let gateway = reader.gateway(document);
    let jobs = reader.jobs(document);
    let secrets = reader.secrets(document);
    let telemetry = reader.telemetry(document);
    let mut watch = reader.watch(document);
    let export = reader.export(document, &mut watch);
    let storage = reader.storage(document);
    let paths = reader.paths;
    Draft {
        services,
        externals,
        events,
        gateway,
        jobs,
        secrets,
        telemetry,
        export,
        watch,
        storage,
        paths,
    }
}

impl Reader<'_> {
    fn externals(&mut self, document: &Node) -> BTreeMap<ServiceName, (Span, External)> {
        let mut externals = BTreeMap::new();
        for (name, entry) in document.entries("externals") {
            let Ok(name) = ServiceName::new(name) else { continue };
            let external = self.external(&name, entry);
            externals.insert(name, (entry.key, external));
        }
        externals
    }

    fn external(&mut self, name: &ServiceName, entry: &Entry) -> External {
        let node = &entry.node;
        let url = text(node, "url", Format::HttpUrl);
        if let Some(url) = &url {
            self.check_external_url(name, url);
        }
        External {
            name: name.clone(),
            url: url.map(|url| url.value.trim_end_matches('/').to_owned()).unwrap_or_default(),
            ca: text(node, "ca", Format::NonEmpty).map(|ca| {
                self.path_beside_file(&ca, Want::File, format!("`ca` of external `{name}`"))
            }),
            health: text(node, "health", Format::UrlPath).map(|t| t.value.to_owned()),
            owner: text(node, "owner", Format::NonEmpty).map(|t| t.value.to_owned()),
        }
    }

    fn check_external_url(&mut self, name: &ServiceName, url: &Sited<&str>) {
        let rest = url.value.strip_prefix("http://").or_else(|| url.value.strip_prefix("https://"));
        let rest = rest.unwrap_or_default();
        let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let problem = url_problem(rest, authority);
        if let Some((reason, help)) = problem {
            self.out
                .report(
                    Code::BadUrl,
                    url.span,
                    format!("the URL of `{name}` cannot be used: {reason}"),
                )
                .label("not usable")
                .help(help);
        }
    }

    fn secrets(&mut self, document: &Node) -> BTreeMap<SecretName, (Span, SecretRule)> {
        let mut secrets = BTreeMap::new();
        for (name, entry) in document.entries("secrets") {
            let Ok(name) = SecretName::new(name) else { continue };
            let node = &entry.node;
            let generate = text(node, "generate", Format::Generate);
            let length = generate.as_ref().and_then(|rule| {
                rule.value.strip_prefix("random:").and_then(|number| number.parse::<u32>().ok())
            });
            if let (Some(rule), Some(0)) = (&generate, length) {
                self.out
                    .report(Code::OutOfBounds, rule.span, format!("secret `{name}` would be empty"))
                    .label("at least 1")
                    .help("32 or more characters cannot be guessed: \"random:64\"");
            }
            let own = |key| text(node, key, Format::Any).map(|t| t.value.to_owned());
            let rule = SecretRule {
                required: node.get("required").and_then(Node::bool).unwrap_or(false),
                generate: length,
                hint: own("hint"),
                default_dev: own("default-dev"),
            };
            secrets.insert(name, (entry.key, rule));
        }
        secrets
    }

    /// A duration that may be zero.
    pub(crate) fn duration(&mut self, table: &Node, key: &str) -> Option<Duration> {
        let text = text(table, key, Format::Duration)?;
        self.parse_duration(text.value, text.span, key)
    }

    /// A duration above zero: a pause or limit of nothing would be a busy loop or a refusal.
    pub(crate) fn period(&mut self, table: &Node, key: &str) -> Option<Duration> {
        let span = table.get(key)?.span;
        let duration = self.duration(table, key)?;
        if duration.is_zero() {
            self.zero(span, key);
            return None;
        }
        Some(duration)
    }

    pub(crate) fn zero(&mut self, span: Span, key: &str) {
        self.out
            .report(Code::ZeroDuration, span, format!("`{}` cannot be zero", shown(key)))
            .label("must be above zero")
            .help("leave the key out for the default");
    }

    pub(crate) fn parse_duration(&mut self, text: &str, span: Span, key: &str) -> Option<Duration> {
        // Longer ones are typing errors, and would overflow clocks that add them.
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
        match archipel_model::parse_duration(text) {
            Ok(duration) if duration > LONGEST => {
                self.out
                    .report(
                        Code::ZeroDuration,
                        span,
                        format!("`{}` is over a hundred years", shown(key)),
                    )
                    .label("too long");
                None
            }
            Ok(duration) => Some(duration),
            Err(error) => {
                self.out.report(Code::BadDuration, span, error.to_string()).label("not a duration");
                None
            }
        }
    }

    pub(crate) fn size(&mut self, table: &Node, key: &str) -> Option<Bytes> {
        let text = text(table, key, Format::Size)?;
        match Bytes::parse(text.value) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("`{}`: {error}", shown(key));
                self.out.report(Code::BadSize, text.span, message).label("not a usable size");
                None
            }
        }
    }

    /// The directory of the file in which `span` stands.
    pub(crate) fn directory(&self, span: Span) -> &Path {
        &self.out.source(span.file).directory
    }

    pub(crate) fn root(&self) -> &Path {
        &self.out.source(FileId(0)).directory
    }

    /// A path relative to its file, to be checked for existence.
    pub(crate) fn path_beside_file(
        &mut self,
        text: &Sited<&str>,
        want: Want,
        what: String,
    ) -> PathBuf {
        let path = resolve(self.directory(text.span), text.value);
        self.paths.push(PathDraft { path: path.clone(), span: text.span, want, what });
        path
    }

    /// A path relative to `directory`, to be checked for existence.
    pub(crate) fn path_in(
        &mut self,
        directory: &Path,
        text: &Sited<&str>,
        want: Want,
        what: String,
    ) -> PathBuf {
        let path = resolve(directory, text.value);
        self.paths.push(PathDraft { path: path.clone(), span: text.span, want, what });
        path
    }
}

fn url_problem(rest: &str, authority: &str) -> Option<(&'static str, &'static str)> {
    if rest.contains(['?', '#']) {
        return Some(("it has a query or a fragment", "give scheme, host, port and prefix only"));
    }
    if authority.contains('@') {
        return Some((
            "it holds a user name",
            "credentials belong in a secret; let the calling service send them",
        ));
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return Some(("its host is missing or malformed", "for example http://10.0.0.12:8080"));
    }
    match port.map(str::parse::<u16>) {
        Some(Ok(0) | Err(_)) => Some(("its port is not one", "a number from 1 to 65535")),
        _ => None,
    }
}

/// The text under `key` when it has the form that its shape asks for.
pub(crate) fn text<'n>(table: &'n Node, key: &str, format: Format) -> Option<Sited<&'n str>> {
    let node = table.get(key)?;
    let value = node.text().filter(|text| format.accepts(text))?;
    Some(Sited { value, span: node.span })
}

/// The number under `key` when it is within the bounds that its shape gives.
pub(crate) fn count(table: &Node, key: &str) -> Option<u32> {
    table.get(key)?.integer().and_then(|number| u32::try_from(number).ok())
}

/// The texts of the list under `key` that have the right form.
pub(crate) fn texts<'n>(table: &'n Node, key: &str, format: Format) -> Vec<Sited<&'n str>> {
    let items = table.get(key).and_then(Node::list).unwrap_or_default();
    let own = items.iter().filter_map(|item| {
        let value = item.text().filter(|text| format.accepts(text))?;
        Some(Sited { value, span: item.span })
    });
    own.collect()
}
