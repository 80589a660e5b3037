//! The environment a service gets: the union of what programs already look for, so that one
//! written for Heroku, Aspire, Compose or Dapr runs unchanged.

use std::collections::BTreeMap;
use std::path::Path;

use archipel_model::{App, DatabaseEngine, EnvValue, Protocol, SecretName, Service, ServiceName};

use crate::secrets::{Secret, Tokens};

/// What the plan knows about one service besides the manifest.
pub(crate) struct Facts<'a> {
    pub(crate) app: &'a App,
    pub(crate) service: &'a Service,
    /// Of each declared callee: the loopback port that leads there from this service.
    pub(crate) edges: &'a BTreeMap<ServiceName, u16>,
    /// The service's own API port (Dapr HTTP).
    pub(crate) api_port: u16,
    /// The same for clients of gRPC: workflows, above all.
    pub(crate) grpc_port: u16,
    pub(crate) tokens: &'a Tokens,
    pub(crate) secrets: &'a BTreeMap<SecretName, Secret>,
    /// URL, and the file where it is one.
    pub(crate) database: Option<&'a DatabaseUrl>,
    /// Hints to the runtime about its memory limit.
    pub(crate) hints: &'a [(String, String)],
}

/// Where a service's database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    pub engine: DatabaseEngine,
    pub url: Secret,
    pub file: Option<std::path::PathBuf>,
}

/// Variables of the surroundings that every process gets: who and where one is. Nothing else is
/// inherited, so that a service behaves the same whoever started Archipel.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "JAVA_HOME",
    "GOROOT",
    "GOPATH",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "NVM_DIR",
    "NODE_EXTRA_CA_CERTS",
    "XDG_RUNTIME_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
];

/// The inherited part, from `lookup` (the surroundings of Archipel itself).
pub(crate) fn inherited(lookup: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    INHERITED
        .iter()
        .filter_map(|name| lookup(name).map(|value| ((*name).to_owned(), value)))
        .collect()
}

/// What all instances of the service share. The order of the sections is the order of
/// precedence: what the manifest says by hand stands above what we derive.
pub(crate) fn shared(facts: &Facts<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    runtime_defaults(facts, &mut env);
    callees(facts, &mut env);
    database(facts, &mut env);
    identity(facts, &mut env);
    for (name, value) in &facts.service.env {
        let value = match value {
            EnvValue::Text(text) => Some(text.clone()),
            EnvValue::Hidden(text) => Some(text.reveal().to_owned()),
            EnvValue::Secret(name) => facts.secrets.get(name).map(|s| s.reveal().to_owned()),
            EnvValue::UrlOf(callee) => facts.edges.get(callee).map(|port| loopback(*port)),
        };
        if let Some(value) = value {
            env.insert(name.clone(), value);
        }
    }
    env
}

/// What differs from instance to instance.
pub(crate) fn of_instance(service: &Service, replica: u32, port: u16) -> BTreeMap<String, String> {
    let texts = [
        ("PORT", port.to_string()),
        ("HOST", "127.0.0.1".to_owned()),
        ("APP_PORT", port.to_string()),
        ("ARCHIPEL_INSTANCE", format!("{}-{replica}", service.name)),
        ("ARCHIPEL_REPLICA", replica.to_string()),
    ];
    texts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Which copy sends telemetry; whatever else the manifest says of the resource stays.
pub(crate) fn name_instance(env: &mut BTreeMap<String, String>, service: &Service, replica: u32) {
    let attributes = env.entry("OTEL_RESOURCE_ATTRIBUTES".to_owned()).or_default();
    add_instance(attributes, &format!("{}-{replica}", service.name));
}

fn add_instance(attributes: &mut String, instance: &str) {
    if attributes.split(',').any(|pair| pair.trim().starts_with("service.instance.id=")) {
        return;
    }
    if !attributes.is_empty() {
        attributes.push(',');
    }
    attributes.push_str("service.instance.id=");
    attributes.push_str(instance);
}

/// `PATH` with the places where package managers put a project's own programs in front.
pub(crate) fn path_for(service_dir: &Path, path: &str) -> String {
    let own = [service_dir.join("node_modules/.bin"), service_dir.join(".venv/bin")];
    let own = own.iter().filter(|dir| dir.is_dir()).map(|dir| dir.display().to_string());
    own.chain(std::iter::once(path.to_owned())).collect::<Vec<_>>().join(":")
}

fn loopback(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn put(env: &mut BTreeMap<String, String>, name: impl Into<String>, value: impl Into<String>) {
    env.insert(name.into(), value.into());
}

fn runtime_defaults(facts: &Facts<'_>, env: &mut BTreeMap<String, String>) {
    // Otherwise a Python program that crashes takes its last lines along.
    put(env, "PYTHONUNBUFFERED", "1");
    for (name, value) in facts.hints {
        put(env, name, value);
    }
}

fn callees(facts: &Facts<'_>, env: &mut BTreeMap<String, String>) {
    for (callee, port) in facts.edges {
        let url = loopback(*port);
        let grpc = facts
            .app
            .services
            .get(callee)
            .is_some_and(|service| service.protocol == Protocol::Grpc);
        let (suffix, scheme) = if grpc { ("GRPC", "grpc") } else { ("HTTP", "http") };
        let name = callee.env_name();
        put(env, format!("{name}_URL"), &url);
        put(env, format!("{name}_{suffix}"), &url);
        put(env, format!("services__{callee}__{scheme}__0"), &url);
    }
}

fn database(facts: &Facts<'_>, env: &mut BTreeMap<String, String>) {
    let Some(database) = facts.database else { return };
    let url = database.url.reveal();
    put(env, "DATABASE_URL", url);
    put(env, format!("ConnectionStrings__{}", facts.service.name), url);
    if let Some(file) = &database.file {
        put(env, "DATABASE_PATH", file.display().to_string());
    }
    if database.engine == DatabaseEngine::Postgres
        && let Some(parts) = PostgresParts::of(url)
    {
        for (prefix_db, prefix_pg, value) in [
            ("DB_HOST", "PGHOST", &parts.host),
            ("DB_PORT", "PGPORT", &parts.port),
            ("DB_USER", "PGUSER", &parts.user),
            ("DB_PASSWORD", "PGPASSWORD", &parts.password),
            ("DB_NAME", "PGDATABASE", &parts.database),
        ] {
            put(env, prefix_db, value);
            put(env, prefix_pg, value);
        }
    }
}

fn identity(facts: &Facts<'_>, env: &mut BTreeMap<String, String>) {
    let Facts { app, service, tokens, .. } = facts;
    let profile = app.profile.as_ref().map_or("dev", |profile| profile.as_str());
    let protocol = match service.protocol {
        Protocol::Grpc => "grpc",
        Protocol::Http | Protocol::Tcp => "http",
    };
    put(env, "ARCHIPEL_APP", app.name.as_str());
    put(env, "ARCHIPEL_SERVICE", service.name.as_str());
    put(env, "ARCHIPEL_ENV", profile);
    put(env, "ARCHIPEL_URL", loopback(facts.api_port));
    // With the token in it, for clients of gRPC that can send no metadata.
    let grpc = format!("http://api:{}@127.0.0.1:{}", tokens.api.reveal(), facts.grpc_port);
    put(env, "ARCHIPEL_GRPC_URL", grpc);
    put(env, "ARCHIPEL_TOKEN", tokens.api.reveal());
    put(env, "APP_ID", service.name.as_str());
    put(env, "APP_PROTOCOL", protocol);
    put(env, "APP_API_TOKEN", tokens.app.reveal());
    put(env, "DAPR_API_TOKEN", tokens.api.reveal());
    put(env, "DAPR_HTTP_PORT", facts.api_port.to_string());
    put(env, "DAPR_HTTP_ENDPOINT", loopback(facts.api_port));
    put(env, "DAPR_GRPC_PORT", facts.grpc_port.to_string());
    put(env, "DAPR_GRPC_ENDPOINT", loopback(facts.grpc_port));
    put(env, "OTEL_SERVICE_NAME", service.name.as_str());
    put(
        env,
        "OTEL_RESOURCE_ATTRIBUTES",
        format!("service.namespace={},deployment.environment.name={profile}", app.name),
    );
    // SDKs send what they see to the service's own port, which says whose it is.
    put(env, "OTEL_EXPORTER_OTLP_ENDPOINT", loopback(facts.api_port));
    put(env, "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    put(env, "OTEL_EXPORTER_OTLP_HEADERS", format!("dapr-api-token={}", tokens.api.reveal()));
    // SDKs send a minute's metrics at once, which is long for who looks on.
    put(env, "OTEL_METRIC_EXPORT_INTERVAL", "10000");
    put(env, "OTEL_SEMCONV_STABILITY_OPT_IN", "http,database");
}

/// `postgres://user:password@host:port/database` taken apart for programs that want the parts.
struct PostgresParts {
    user: String,
    password: String,
    host: String,
    port: String,
    database: String,
}

impl PostgresParts {
    /// Our own provisioning made the URL, so user and password need no decoding.
    fn of(url: &str) -> Option<Self> {
        let rest = url.split_once("://")?.1;
        let (credentials, rest) = rest.rsplit_once('@')?;
        let (user, password) = credentials.split_once(':')?;
        let (address, database) = rest.split_once('/')?;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "5432"));
        let database = database.split('?').next().unwrap_or(database);
        let [user, password, host, port, database] =
            [user, password, host, port, database].map(str::to_owned);
        Some(Self { user, password, host, port, database })
    }
}

#[cfg(test)]
mod tests {
    use super::add_instance;

    #[test]
    fn telemetry_names_its_instance_unless_the_manifest_did() {
        let added = |text: &str| {
            let mut attributes = text.to_owned();
            add_instance(&mut attributes, "orders-1");
            attributes
        };
        assert_eq!(added(""), "service.instance.id=orders-1");
        assert_eq!(added("a=b"), "a=b,service.instance.id=orders-1");
        assert_eq!(added("a=b, service.instance.id=mine"), "a=b, service.instance.id=mine");
    }
}
