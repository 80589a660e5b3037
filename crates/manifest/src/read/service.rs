//! Services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use archipel_model::{
    Command, Database, DatabaseEngine, EdgePolicy, EnvValue, Protocol, SecretName, Service,
    ServiceName, TopicName, TopicPattern,
};

use super::command::Use;
use super::{Reader, Want, count, text, texts};
use crate::Code;
use crate::files::resolve;
use crate::shape::Shape;
use crate::shape::edge_keys::RESILIENCY;
use crate::shape::format::Format;
use crate::shape::merge::merge;
use crate::shape::service_keys::SERVICE;
use crate::sink::shown;
use crate::source::{Sited, Span};
use crate::tree::{Entry, Node, Table, Value};

/// A service, and where each of its references stands.
pub(crate) struct ServiceDraft {
    pub(crate) service: Service,
    /// Its name, where it is defined.
    pub(crate) at: Span,
    pub(crate) disabled: bool,
    pub(crate) replicas_at: Span,
    pub(crate) port_at: Option<Span>,
    pub(crate) database_at: Option<Span>,
    pub(crate) outbox_at: Option<Span>,
    pub(crate) calls: Vec<Sited<ServiceName>>,
    /// Calls that name the callee's protocol.
    pub(crate) spoken: Vec<(ServiceName, Sited<Protocol>)>,
    pub(crate) depends_on: Vec<Sited<ServiceName>>,
    pub(crate) publishes: Vec<Sited<TopicName>>,
    pub(crate) subscribes: Vec<Sited<TopicPattern>>,
    pub(crate) env: EnvDraft,
    /// Not read yet: see `env_files`.
    pub(crate) env_file: Option<Sited<PathBuf>>,
}

/// What the environment refers to; the value is the span of the reference.
#[derive(Default)]
pub(crate) struct EnvDraft {
    pub(crate) variables: Vec<Sited<String>>,
    pub(crate) secrets: Vec<Sited<SecretName>>,
    pub(crate) urls: Vec<Sited<ServiceName>>,
}

/// What each external says of all calls to it.
type ForeignPolicies<'a> = BTreeMap<ServiceName, &'a Node>;

impl Reader<'_> {
    pub(crate) fn services(&mut self, document: &Node) -> Vec<ServiceDraft> {
        let empty = Node { value: Value::Table(Table::new()), span: Span::default() };
        let defaults = document.get("defaults").filter(|node| node.table().is_some());
        let defaults = defaults.unwrap_or(&empty);
        let foreign = foreign_policies(document);
        let mut drafts = Vec::new();
        for (name, entry) in document.entries("services") {
            let Ok(name) = ServiceName::new(name) else { continue };
            let node = merge(Shape::Keys(&SERVICE), defaults, &entry.node);
            drafts.push(self.service(name, entry, &node, &foreign));
        }
        drafts
    }

    fn service(
        &mut self,
        name: ServiceName,
        entry: &Entry,
        node: &Node,
        foreign: &ForeignPolicies<'_>,
    ) -> ServiceDraft {
        let path = self.service_path(&name, entry, node);
        let shell = node.get("shell").and_then(Node::bool).unwrap_or(false);
        let mut env = EnvDraft::default();
        let env_values = self.env(node, &mut env);
        let protocol = self.protocol(node.get("protocol"));
        let (calls, call_sites, spoken) = self.calls(node, foreign);
        let depends_on = names(node, "depends_on");
        let publishes: Vec<Sited<TopicName>> = texts(node, "publishes", Format::Topic)
            .into_iter()
            .filter_map(|topic| self.topic(&topic))
            .collect();
        let (subscribes, pattern_sites) = self.subscribes(node);
        let database = node.get("database").and_then(|db| self.database(&name, db, &mut env));
        let env_file = text(node, "env_file", Format::NonEmpty).map(|file| {
            let what = format!("`env_file` of service `{name}`");
            Sited { value: self.path_in(&path, &file, Want::File, what), span: file.span }
        });
        let no_command = || Command { argv: Vec::new(), shell: false };
        let service = Service {
            build: self.command(node, "build", Use::Step),
            sources: self.sources(&name, node),
            artifact: self.artifacts(&name, &path, node),
            run: self.command(node, "run", Use::Service { shell }).unwrap_or_else(no_command),
            replicas: count(node, "replicas").unwrap_or(1),
            memory: self.memory(node, "memory"),
            env: env_values,
            health: self.health(node.get("health")),
            protocol,
            slow_start: self.duration(node, "slow_start"),
            port: count(node, "port").and_then(|port| u16::try_from(port).ok()),
            database,
            calls,
            publishes: publishes.iter().map(|topic| topic.value.clone()).collect(),
            outbox: outbox(node),
            subscribes,
            depends_on: depends_on.iter().map(|name| name.value.clone()).collect(),
            api: text(node, "api", Format::NonEmpty).map(|api| {
                self.path_in(&path, &api, Want::File, format!("`api` of service `{name}`"))
            }),
            stop: self.stop(node.get("stop")),
            restart: self.restart(node.get("restart")),
            log: self.log(node.get("log")),
            labels: labels(node),
            workflows: self.workflows(node),
            path,
            name,
        };
        ServiceDraft {
            at: entry.key,
            disabled: node.get("disabled").and_then(Node::bool).unwrap_or(false),
            replicas_at: node.get("replicas").map_or(entry.key, |replicas| replicas.span),
            port_at: node.get("port").map(|port| port.span),
            database_at: node.get("database").map(|database| database.span),
            outbox_at: node.entry("outbox").map(|outbox| outbox.key),
            calls: call_sites,
            spoken,
            depends_on,
            publishes,
            subscribes: pattern_sites,
            env,
            env_file,
            service,
        }
    }

    fn service_path(&mut self, name: &ServiceName, entry: &Entry, node: &Node) -> PathBuf {
        match text(node, "path", Format::NonEmpty) {
            Some(path) => {
                self.path_beside_file(&path, Want::Directory, format!("`path` of service `{name}`"))
            }
            None => self.directory(entry.key).to_owned(),
        }
    }

    fn sources(&mut self, name: &ServiceName, node: &Node) -> Vec<PathBuf> {
        let sources = texts(node, "sources", Format::NonEmpty);
        let what = || format!("`sources` of service `{name}`");
        sources.iter().map(|source| self.path_beside_file(source, Want::Anything, what())).collect()
    }

    fn artifacts(&mut self, name: &ServiceName, path: &Path, node: &Node) -> Vec<PathBuf> {
        let mut artifacts = Vec::new();
        for artifact in texts(node, "artifact", Format::NonEmpty) {
            let resolved = resolve(path, artifact.value);
            let inside = resolved.starts_with(path) || resolved.starts_with(self.root());
            if Path::new(artifact.value).is_absolute() || !inside {
                self.out
                    .report(
                        Code::EscapingPath,
                        artifact.span,
                        format!("artifact `{}` of service `{name}` leaves the application", shown(artifact.value)),
                    )
                    .label("outside")
                    .help("give a path relative to the service's `path`, inside the application's directory");
                continue;
            }
            artifacts.push(resolved);
        }
        artifacts
    }

    pub(crate) fn env(&mut self, node: &Node, draft: &mut EnvDraft) -> BTreeMap<String, EnvValue> {
        let mut values = BTreeMap::new();
        for (name, entry) in node.entries("env") {
            if !Format::Variable.accepts(name) {
                continue;
            }
            draft.variables.push(Sited { value: name.to_owned(), span: entry.key });
            if let Some(value) = self.env_value(&entry.node, draft) {
                values.insert(name.to_owned(), value);
            }
        }
        values
    }

    fn env_value(&mut self, node: &Node, draft: &mut EnvDraft) -> Option<EnvValue> {
        match &node.value {
            Value::Text(text) if text.contains('\0') => {
                self.out
                    .report(Code::BadText, node.span, "a variable cannot hold the character NUL")
                    .label("the system would cut it there");
                None
            }
            Value::Text(text) => Some(EnvValue::Text(text.clone())),
            Value::Integer(number) => Some(EnvValue::Text(number.to_string())),
            Value::Bool(value) => Some(EnvValue::Text(value.to_string())),
            Value::Table(_) => {
                if let Some(secret) = text(node, "secret", Format::Name) {
                    let name = SecretName::new(secret.value).ok()?;
                    draft.secrets.push(Sited { value: name.clone(), span: secret.span });
                    return Some(EnvValue::Secret(name));
                }
                let from = text(node, "from", Format::NonEmpty)?;
                let name = self.reference(&from)?;
                draft.urls.push(Sited { value: name.clone(), span: from.span });
                Some(EnvValue::UrlOf(name))
            }
            _ => None,
        }
    }

    /// `services.payments.url`
    fn reference(&mut self, from: &Sited<&str>) -> Option<ServiceName> {
        let mut words = from.value.split('.');
        let parsed = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("services" | "externals"), Some(name), Some("url"), None) => {
                ServiceName::new(name).ok()
            }
            _ => None,
        };
        if parsed.is_none() {
            self.out
                .report(
                    Code::BadReference,
                    from.span,
                    format!("`{}` refers to nothing", shown(from.value)),
                )
                .label("not a reference")
                .help("write `services.<name>.url` or `externals.<name>.url`");
        }
        parsed
    }

    fn protocol(&mut self, node: Option<&Node>) -> Protocol {
        node.and_then(Node::text).and_then(protocol).unwrap_or(Protocol::Http)
    }

    #[expect(clippy::type_complexity, reason = "three lists of one pass, used once")]
    fn calls(
        &mut self,
        node: &Node,
        foreign: &ForeignPolicies<'_>,
    ) -> (
        BTreeMap<ServiceName, EdgePolicy>,
        Vec<Sited<ServiceName>>,
        Vec<(ServiceName, Sited<Protocol>)>,
    ) {
        let own = node.get("resiliency");
        let (mut policies, mut sites, mut spoken) = (BTreeMap::new(), Vec::new(), Vec::new());
        for callee in names(node, "calls") {
            let merged = layered([own, foreign.get(&callee.value).copied()]);
            policies.insert(callee.value.clone(), self.edge_policy(merged.as_ref()));
            sites.push(callee);
        }
        for (name, entry) in node.entries("calls") {
            let Ok(name) = ServiceName::new(name) else { continue };
            let merged = layered([own, foreign.get(&name).copied(), Some(&entry.node)]);
            policies.insert(name.clone(), self.edge_policy(merged.as_ref()));
            // What the service says of all its calls is not checked against each callee.
            if let Some(said) = entry.node.get("protocol") {
                let protocol = said.text().and_then(protocol);
                spoken
                    .extend(protocol.map(|value| (name.clone(), Sited { value, span: said.span })));
            }
            sites.push(Sited { value: name, span: entry.key });
        }
        (policies, sites, spoken)
    }

    fn database(
        &mut self,
        service: &ServiceName,
        node: &Node,
        env: &mut EnvDraft,
    ) -> Option<Database> {
        let engine = match node.get("engine").and_then(Node::text) {
            Some("sqlite") => DatabaseEngine::Sqlite,
            Some("postgres") => DatabaseEngine::Postgres,
            Some("external") => DatabaseEngine::External,
            _ => return None,
        };
        let own_name = text(node, "name", Format::DatabaseName);
        let url = node.get("url").and_then(|url| self.database_url(url, engine, env));
        let problem = match (engine, node.entry("url"), node.entry("name")) {
            (DatabaseEngine::Sqlite, Some(url), _) => Some((
                url.key,
                "a sqlite database is a file that Archipel keeps; it has no `url`",
                "remove `url`, or use engine \"external\" for a file of your own",
            )),
            (DatabaseEngine::External, None, _) => Some((
                node.span,
                "an external database needs `url`",
                "for example url = { secret = \"orders-database\" }",
            )),
            (DatabaseEngine::External, _, Some(name)) => Some((
                name.key,
                "the name of an external database is part of its `url`",
                "remove `name`",
            )),
            _ => None,
        };
        if let Some((span, message, help)) = problem {
            self.out
                .report(Code::BadDatabase, span, message)
                .label("does not fit the engine")
                .help(help);
        }
        Some(Database {
            engine,
            name: own_name
                .map_or_else(|| service.as_str().replace('-', "_"), |n| n.value.to_owned()),
            url,
            migrate: self.command(node, "migrate", Use::Step),
        })
    }

    fn database_url(
        &mut self,
        node: &Node,
        engine: DatabaseEngine,
        env: &mut EnvDraft,
    ) -> Option<EnvValue> {
        if let Some(secret) = text(node, "secret", Format::Name) {
            let name = SecretName::new(secret.value).ok()?;
            env.secrets.push(Sited { value: name.clone(), span: secret.span });
            return Some(EnvValue::Secret(name));
        }
        let url = node.text().filter(|url| Format::NonEmpty.accepts(url))?;
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        let fits = match engine {
            DatabaseEngine::Postgres => matches!(scheme, Some("postgres" | "postgresql")),
            _ => scheme.is_some() || url.contains(':'),
        };
        if !fits {
            self.out
                .report(Code::BadUrl, node.span, "this is not the URL of a database")
                .label("not usable")
                .help("for example postgres://admin@127.0.0.1:5432/postgres");
        }
        let authority = url
            .split_once("://")
            .map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        if user.split_once(':').is_some_and(|(_, password)| !password.is_empty()) {
            self.out
                .report(Code::PlainPassword, node.span, "the URL of a database holds a password")
                .label("everyone who reads the file can read it")
                .help("declare a secret and write url = { secret = \"…\" }");
        }
        Some(EnvValue::Text(url.to_owned()))
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "http" => Some(Protocol::Http),
        "grpc" => Some(Protocol::Grpc),
        "tcp" => Some(Protocol::Tcp),
        _ => None,
    }
}

fn names(node: &Node, key: &str) -> Vec<Sited<ServiceName>> {
    let names = texts(node, key, Format::Name).into_iter();
    let checked = names.filter_map(|name| {
        Some(Sited { value: ServiceName::new(name.value).ok()?, span: name.span })
    });
    let mut seen = BTreeSet::new();
    checked.filter(|name| seen.insert(name.value.clone())).collect()
}

fn outbox(node: &Node) -> Option<String> {
    let value = node.get("outbox")?;
    match value.bool() {
        Some(true) => Some("/_archipel/outbox".to_owned()),
        Some(false) => None,
        None => text(node, "outbox", Format::UrlPath).map(|path| path.value.to_owned()),
    }
}

fn labels(node: &Node) -> BTreeMap<String, String> {
    let texts = node.entries("labels");
    texts.filter_map(|(key, e)| Some((key.to_owned(), e.node.text()?.to_owned()))).collect()
}

fn foreign_policies(document: &Node) -> ForeignPolicies<'_> {
    let externals = document.entries("externals").filter_map(|(name, entry)| {
        Some((ServiceName::new(name).ok()?, entry.node.get("resiliency")?))
    });
    externals.collect()
}

/// One policy of several, the later ones over the earlier ones.
fn layered<const N: usize>(layers: [Option<&Node>; N]) -> Option<Node> {
    let over = |below: Node, above: &Node| merge(Shape::Keys(&RESILIENCY), &below, above);
    let mut layers = layers.into_iter().flatten();
    let first = layers.next()?.clone();
    Some(layers.fold(first, over))
}
