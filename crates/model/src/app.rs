//! The resolved application.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::{
    AppName, Backoff, Command, EdgePolicy, Export, Gateway, Health, JobName, LogPolicy, Memory,
    ProfileName, Restart, SecretName, ServiceName, Stop, TelemetryPolicy, TopicName, TopicPattern,
    Watch,
};

/// What one manifest describes, with profile and defaults applied and every reference checked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct App {
    pub name: AppName,
    pub owner: Option<String>,
    pub description: Option<String>,
    /// The directory of the manifest; relative paths in it start here.
    pub root: PathBuf,
    /// Every file that was read, the main one first.
    pub files: Vec<PathBuf>,
    pub profile: Option<ProfileName>,
    /// Without those that are `disabled`.
    pub services: BTreeMap<ServiceName, Service>,
    pub externals: BTreeMap<ServiceName, External>,
    pub events: BTreeMap<TopicName, EventContract>,
    pub gateway: Option<Gateway>,
    pub jobs: BTreeMap<JobName, Job>,
    pub secrets: BTreeMap<SecretName, SecretRule>,
    pub telemetry: TelemetryPolicy,
    pub export: Option<Export>,
    pub watch: Watch,
    pub storage: Storage,
}

impl App {
    /// Who publishes a topic; a topic has one owner.
    pub fn publisher(&self, topic: &TopicName) -> Option<&Service> {
        self.services.values().find(|service| service.publishes.contains(topic))
    }

    /// Who may call `callee`, in name order.
    pub fn callers(&self, callee: &ServiceName) -> impl Iterator<Item = &Service> {
        self.services.values().filter(move |service| service.calls.contains_key(callee))
    }
}

/// Where Archipel keeps what must survive, when not in files of its own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Storage {
    /// The secret with the URL of a database that every process with this application shares.
    pub workflows: Option<SecretName>,
    /// A process that is silent for so long is dead to the others.
    pub lease: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        Self { workflows: None, lease: Duration::from_secs(5) }
    }
}

/// One independently deployable program.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Service {
    pub name: ServiceName,
    /// Absolute; the working directory of `build` and `run`.
    pub path: PathBuf,
    pub build: Option<Command>,
    /// Absolute; files and directories outside `path` that the build reads too.
    pub sources: Vec<PathBuf>,
    /// Absolute; what the build makes. All must exist for a build to be skipped.
    pub artifact: Vec<PathBuf>,
    pub run: Command,
    pub replicas: u32,
    pub memory: Option<Memory>,
    pub env: BTreeMap<String, EnvValue>,
    pub health: Health,
    pub protocol: Protocol,
    /// `None`: allocated from the private range and kept.
    pub port: Option<u16>,
    /// How long an instance that joins others gets less than its share of requests.
    pub slow_start: Option<Duration>,
    pub database: Option<Database>,
    pub calls: BTreeMap<ServiceName, EdgePolicy>,
    pub publishes: BTreeSet<TopicName>,
    /// Where the service serves its own outbox for Archipel to pull, e.g. `/_archipel/outbox`.
    pub outbox: Option<String>,
    pub subscribes: BTreeMap<TopicPattern, Subscription>,
    /// Order of start only; `calls` alone never delays a start.
    pub depends_on: BTreeSet<ServiceName>,
    /// Absolute path of its OpenAPI, AsyncAPI or `.proto` file.
    pub api: Option<PathBuf>,
    pub stop: Stop,
    pub restart: Restart,
    pub log: LogPolicy,
    pub labels: BTreeMap<String, String>,
    pub workflows: WorkflowPolicy,
}

/// The workflows of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct WorkflowPolicy {
    /// How many of each name may be at work; those without a name here have no limit.
    pub at_once: BTreeMap<String, u32>,
    pub activities_at_once: BTreeMap<String, u32>,
    /// How long instances that have ended are kept; without, as long as Archipel does by itself.
    pub keep: Option<Duration>,
    pub schedules: BTreeMap<String, WorkflowSchedule>,
}

/// A workflow that begins by the clock.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WorkflowSchedule {
    pub workflow: String,
    /// Five fields.
    pub schedule: String,
    /// UTC without.
    pub timezone: Option<String>,
    /// JSON.
    pub input: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Http,
    /// HTTP/2 cleartext with prior knowledge.
    Grpc,
    Tcp,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvValue {
    Text(String),
    /// From a file of variables: it may well be a password.
    Hidden(Hidden),
    Secret(SecretName),
    /// The URL under which this service reaches another (declared in `calls`).
    UrlOf(ServiceName),
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl serde::Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("…")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseEngine {
    /// One file in a directory of its own that no other service can open.
    Sqlite,
    /// A database and a role of its own on a server given by URL.
    Postgres,
    /// Somebody else's: the URL is passed on as it is.
    External,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Database {
    pub engine: DatabaseEngine,
    /// The file's stem, or the database's name; the service's own name unless given.
    pub name: String,
    /// Postgres: the server, as a role that may create databases. `None`: `ARCHIPEL_POSTGRES_URL`.
    /// External: the URL itself.
    pub url: Option<EnvValue>,
    /// Run once before the service starts, with its environment.
    pub migrate: Option<Command>,
}

/// How one subscriber takes the events of a topic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Subscription {
    /// Where CloudEvents are posted.
    pub path: String,
    /// Events that agree on this CloudEvents attribute, or on this member of `data`, are
    /// delivered one at a time and in order.
    pub ordered_by: Option<String>,
    pub concurrency: u32,
    pub backoff: Backoff,
    /// Then the event goes to the dead letters, with the reason.
    pub attempts_max: u32,
    /// Then the oldest dead letters are removed.
    pub dead_letters_max: u32,
}

impl Subscription {
    pub fn new(path: String) -> Self {
        Self {
            path,
            ordered_by: None,
            concurrency: 8,
            backoff: Backoff { min: Duration::from_millis(500), max: Duration::from_secs(60) },
            attempts_max: 20,
            dead_letters_max: 10_000,
        }
    }
}

/// A system that we call and do not run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct External {
    pub name: ServiceName,
    /// `http[s]://host:port[/prefix]`.
    pub url: String,
    /// Who vouches for it, when the system does not: a PEM file, absolute.
    pub ca: Option<PathBuf>,
    pub health: Option<String>,
    pub owner: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EventContract {
    pub schema: Option<EventSchema>,
    pub retain: Option<Duration>,
    pub description: Option<String>,
}

/// A JSON Schema for `data`, as its files were when the manifest was read: what is enforced does
/// not change while somebody edits them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EventSchema {
    /// Absolute.
    pub file: PathBuf,
    /// The directory below which the files it refers to are.
    #[serde(skip)]
    pub root: PathBuf,
    /// The texts of `file` and of all that it refers to, by absolute path.
    #[serde(skip)]
    pub documents: BTreeMap<PathBuf, String>,
}

impl EventSchema {
    /// As people know the file: from the application's directory on.
    pub fn name(&self) -> String {
        self.file.strip_prefix(&self.root).unwrap_or(&self.file).display().to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    Forbid,
    Allow,
    Replace,
}

/// A command run on a schedule or by hand, beside the services.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Job {
    pub name: JobName,
    /// Whose directory, environment and database it uses.
    pub service: Option<ServiceName>,
    pub path: PathBuf,
    pub run: Command,
    /// Five-field cron; `None`: by hand only.
    pub schedule: Option<String>,
    /// IANA name; `None`: UTC.
    pub timezone: Option<String>,
    pub overlap: Overlap,
    /// Of one try.
    pub timeout: Option<Duration>,
    pub memory: Option<Memory>,
    pub retry: Option<JobRetry>,
    pub env: BTreeMap<String, EnvValue>,
}

/// What follows a run that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct JobRetry {
    /// Further tries after the first.
    pub attempts: u32,
    pub backoff: Backoff,
}

impl Default for JobRetry {
    fn default() -> Self {
        let backoff = Backoff { min: Duration::from_secs(10), max: Duration::from_secs(300) };
        Self { attempts: 3, backoff }
    }
}

/// A secret's name and rule; values never stand in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SecretRule {
    pub required: bool,
    /// Random characters to make on first use (`generate = "random:64"`).
    pub generate: Option<u32>,
    pub hint: Option<String>,
    /// Used when nothing else is set, outside production; not a secret, so it may be shown.
    pub default_dev: Option<String>,
}
