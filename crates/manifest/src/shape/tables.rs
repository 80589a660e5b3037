//! The top level of an application file, and the sections beside services and gateway.

use super::edge_keys::RESILIENCY;
use super::format::Format;
use super::process_keys::{ENV, MEMORY};
use super::route_keys::{GATEWAY, PART_GATEWAY};
use super::service_keys::{DEFAULTS, SERVICE};
use super::watch_keys::{ALERTS, CHANNELS, CHECKS, HEADERS_KEY, PACE, SECRET_KEYS, SLOS};
use super::*;

static APP: Keys = Keys {
    id: "app",
    what: "the application",
    keys: &[
        key("name", NAME, "Name of the application, shown everywhere.").required(),
        key("owner", TEXT, "Who to ask, for example an e-mail address."),
        key("description", ANY, "What it is for."),
    ],
    rules: &[],
    synonyms: &[("title", "name"), ("id", "name")],
};

static SERVICES: Names = Names { key: Format::Name, of: Shape::Keys(&SERVICE) };

static EXTERNAL: Keys = Keys {
    id: "external",
    what: "an external",
    keys: &[
        key("url", Shape::Text(Format::HttpUrl), "`http[s]://host[:port][/prefix]`.").required(),
        key(
            "ca",
            TEXT,
            "PEM file with who vouches for it, instead of those whom this system trusts.",
        ),
        key("health", Shape::Text(Format::UrlPath), "Path that tells whether it is well."),
        key("owner", TEXT, "Who to ask."),
        key("mock", TEXT, "File of recorded answers, used instead of the system.")
            .later("the real system is called"),
        key(
            "resiliency",
            Shape::Keys(&RESILIENCY),
            "Policy of calls to it. It goes before what a caller says of all its calls, and after what a caller says of this one.",
        ),
    ],
    rules: &[],
    synonyms: &[("address", "url"), ("host", "url"), ("path", "health")],
};
static EXTERNALS: Names = Names { key: Format::Name, of: Shape::Keys(&EXTERNAL) };

static COMPATIBLE: Choice =
    Choice { values: &["backward", "forward", "full", "none"], refused: &[] };
static EVENT: Keys = Keys {
    id: "event",
    what: "an event contract",
    keys: &[
        key("schema", TEXT, "JSON Schema of `data`, relative to this file."),
        key("compatible", Shape::Choice(&COMPATIBLE), "Which changes of the schema are allowed.")
            .later_unless(Inert::Text("none"), "changes of the schema are not compared"),
        key("retain", DURATION, "How long events are kept."),
        key("pii", Shape::List(&TEXTS), "Members of `data` that name a person, masked when shown.")
            .later("they are shown as they are"),
        key("description", ANY, "What has happened when this is published."),
    ],
    rules: &[],
    synonyms: &[("retention", "retain"), ("keep", "retain")],
};
static EVENTS: Names = Names { key: Format::Topic, of: Shape::Keys(&EVENT) };

static OVERLAP: Choice = Choice { values: &["forbid", "allow", "replace"], refused: &[] };
static JOB_RETRY: Keys = Keys {
    id: "repeat",
    what: "the retry policy",
    keys: &[
        key("attempts", Shape::Integer(0, 50), "Further tries after the first. Default 3."),
        key(
            "backoff",
            Shape::Text(Format::Range),
            "Shortest and longest pause between two tries. Default 10s..5m.",
        ),
    ],
    rules: &[],
    synonyms: &[],
};
static JOB: Keys = Keys {
    id: "job",
    what: "a job",
    keys: &[
        key("service", NAME, "Service whose directory, environment and database it uses."),
        key(
            "path",
            TEXT,
            "Directory it runs in, relative to this file. Default: that of the service.",
        ),
        key("run", COMMAND, "What to run; like `run` of a service.").required(),
        key("schedule", TEXT, "Five fields: minute, hour, day of month, month, day of week."),
        key("timezone", TEXT, "IANA name such as Europe/Paris. Default UTC."),
        key(
            "overlap",
            Shape::Choice(&OVERLAP),
            "What to do when the last run has not ended. Default forbid.",
        ),
        key("timeout", DURATION, "Stop it after this long."),
        key("memory", MEMORY, "Memory limit."),
        key("manual", Shape::Bool, "By hand only."),
        key("retry", Shape::Keys(&JOB_RETRY), "Tries after a failure. Default: none."),
        key("env", ENV, "Environment variables, on top of the service's."),
    ],
    rules: &[],
    synonyms: &[
        ("command", "run"),
        ("cron", "schedule"),
        ("tz", "timezone"),
        ("time_zone", "timezone"),
        ("environment", "env"),
    ],
};
static JOBS: Names = Names { key: Format::Name, of: Shape::Keys(&JOB) };

static STEP: Keys = Keys {
    id: "step",
    what: "a step of a workflow",
    keys: &[
        key("id", TEXT, "Name of the step.").required(),
        key("call", TEXT, "`service:METHOD /path`.").required(),
        key("compensate", TEXT, "What undoes it."),
        key("timeout", DURATION, "How long it may take."),
        key("retry", Shape::Keys(&JOB_RETRY), "Tries after a failure."),
        key("pivot", Shape::Bool, "From here on only forward."),
        key("when", TEXT, "Condition."),
        key("input", Shape::Free, "Body of the request."),
    ],
    rules: &[],
    synonyms: &[("name", "id"), ("undo", "compensate")],
};
static STEPS: List = List { of: Shape::Keys(&STEP), nonempty: true, distinct: false };
static WORKFLOW: Keys = Keys {
    id: "workflow",
    what: "a workflow",
    keys: &[
        key("input", TEXT, "JSON Schema of the input, relative to this file."),
        key("steps", Shape::List(&STEPS), "In order.").required(),
        key("timeout", DURATION, "How long the whole may take."),
    ],
    rules: &[],
    synonyms: &[],
};
static WORKFLOWS: Names = Names { key: Format::Name, of: Shape::Keys(&WORKFLOW) };

static SECRET: Keys = Keys {
    id: "secret",
    what: "a secret",
    keys: &[
        key("required", Shape::Bool, "Do not start without a value."),
        key(
            "generate",
            Shape::Text(Format::Generate),
            "Make one on first use: \"random:64\" for 64 characters.",
        ),
        key("hint", ANY, "Where a person finds the value."),
        key("default-dev", ANY, "Used when nothing else is set, outside production. Not secret."),
    ],
    rules: &[],
    synonyms: &[
        ("default", "default-dev"),
        ("default_dev", "default-dev"),
        ("value", "default-dev"),
        ("description", "hint"),
    ],
};
static SECRETS: Names = Names { key: Format::Name, of: Shape::Keys(&SECRET) };

static TELEMETRY_KEEP: Keys = Keys {
    id: "telemetryKeep",
    what: "the retention of telemetry",
    keys: &[
        key("traces", DURATION, "How long traces are kept."),
        key("logs", DURATION, "How long logs are kept, where a service does not say less."),
        key("metrics", DURATION, "How long metrics are kept."),
    ],
    rules: &[],
    synonyms: &[],
};
static TELEMETRY_SAMPLE: Keys = Keys {
    id: "telemetrySample",
    what: "the sampling of traces",
    keys: &[
        key("keep_errors", Shape::Bool, "Whether every trace with an error stays. Default true."),
        key("slow", TEXT, "Traces slower than this quantile of their kind stay. Default p99."),
        key("rest", Shape::Text(Format::Percent), "Share of all others that stays. Default 10%."),
    ],
    rules: &[],
    synonyms: &[],
};
static EXPORT_PROTOCOLS: Choice = Choice { values: &["grpc", "http"], refused: &[] };
static COLLECTOR: Either = Either { options: &[ANY, Shape::Keys(&SECRET_KEYS)], expand: None };
static TELEMETRY_EXPORT: Keys = Keys {
    id: "telemetryExport",
    what: "the export of telemetry",
    keys: &[
        key(
            "otlp",
            Shape::Either(&COLLECTOR),
            "Collector that gets a copy: http[s]://host:port, or { secret = \"name\" }.",
        ),
        key(
            "protocol",
            Shape::Choice(&EXPORT_PROTOCOLS),
            "How it is spoken to. Default: grpc to port 4317, otherwise http (with protobuf).",
        ),
        HEADERS_KEY,
        key(
            "ca",
            TEXT,
            "PEM file with who vouches for it, instead of those whom this system trusts.",
        ),
    ],
    rules: &[],
    synonyms: &[("url", "otlp"), ("endpoint", "otlp")],
};
static TELEMETRY: Keys = Keys {
    id: "telemetry",
    what: "telemetry",
    keys: &[
        key("keep", Shape::Keys(&TELEMETRY_KEEP), "How long."),
        key(
            "max",
            Shape::Text(Format::Size),
            "How much traces and metrics take; the oldest goes first.",
        ),
        key(
            "sample",
            Shape::Keys(&TELEMETRY_SAMPLE),
            "Which traces stay when old ones are thinned.",
        ),
        key("export", Shape::Keys(&TELEMETRY_EXPORT), "Who else gets a copy."),
        key("alerts", Shape::Keys(&PACE), "When messages about alerts go out."),
    ],
    rules: &[],
    synonyms: &[],
};

static SHARED_STORE: Keys = Keys {
    id: "sharedStore",
    what: "a database that several processes share",
    keys: &[key(
        "secret",
        NAME,
        "Name of a secret declared in [secrets]: the postgres:// URL of a database.",
    )
    .required()],
    rules: &[],
    synonyms: &[("url", "secret"), ("postgres", "secret")],
};
static STORAGE: Keys = Keys {
    id: "storage",
    what: "the storage",
    keys: &[
        key(
            "workflows",
            Shape::Keys(&SHARED_STORE),
            "Where workflows are kept: a PostgreSQL database, shared by every process that runs this application. Default: a file of this one.",
        ),
        key(
            "lease",
            DURATION,
            "A process that has not said for so long that it lives is dead, and others go on with its workflows: 1s to 2m, default 5s.",
        ),
    ],
    rules: &[],
    synonyms: &[("workflow", "workflows")],
};

static PROFILE: Keys = Keys {
    id: "profile",
    what: "a profile",
    keys: &[
        key("defaults", Shape::Keys(&DEFAULTS), "Merged into [defaults]."),
        key("services", Shape::Names(&SERVICES), "Merged into services that exist."),
        key("externals", Shape::Names(&EXTERNALS), "Merged into externals that exist."),
        key("gateway", Shape::Keys(&GATEWAY), "Merged into [gateway]."),
        key("storage", Shape::Keys(&STORAGE), "Merged into [storage]."),
    ],
    rules: &[],
    synonyms: &[("service", "services")],
};
static PROFILES: Names = Names { key: Format::Name, of: Shape::Keys(&PROFILE) };

static PART_PROFILE: Keys = Keys {
    id: "partProfile",
    what: "a profile in an included file",
    keys: &[
        key("services", Shape::Names(&SERVICES), "Merged into services that exist."),
        key("externals", Shape::Names(&EXTERNALS), "Merged into externals that exist."),
    ],
    rules: &[],
    synonyms: &[("service", "services")],
};
static PART_PROFILES: Names = Names { key: Format::Name, of: Shape::Keys(&PART_PROFILE) };

static EXPORTS: Names = Names { key: Format::Name, of: Shape::Free };

const SERVICES_DOC: &str = "Independently deployable programs, by name.";
const EXTERNALS_DOC: &str = "Systems that are called and not run here.";
const EVENTS_DOC: &str =
    "Contracts of topics. A topic that only comes from outside is declared here too.";
const JOBS_DOC: &str = "Commands run on a schedule or by hand.";
const WORKFLOWS_DOC: &str = "Declared sagas.";
const WORKFLOWS_LATER: &str = "declared workflows are not run";
const SECRETS_DOC: &str = "Names and rules of secrets; values never stand in the file.";
const ALERTS_DOC: &str = "Conditions to be told of, on top of those that ship with Archipel.";
const SLOS_DOC: &str = "Promises about a share of requests; told when they are at risk.";
const CHECKS_DOC: &str = "Questions asked again and again from outside.";
const INCLUDE_DOC: &str = "Other files of the same form, one per team, relative to this one.";
const VERSION_DOC: &str = "Version of the file format: 1.";

pub(crate) static ROOT: Keys = Keys {
    id: "application",
    what: "an application file",
    keys: &[
        key("version", Shape::Version, VERSION_DOC).required(),
        key("app", Shape::Keys(&APP), "The application as a whole.").required(),
        key("include", Shape::List(&TEXTS), INCLUDE_DOC),
        key(
            "defaults",
            Shape::Keys(&DEFAULTS),
            "What every service inherits, unless it says otherwise.",
        ),
        key("services", Shape::Names(&SERVICES), SERVICES_DOC),
        key("externals", Shape::Names(&EXTERNALS), EXTERNALS_DOC),
        key("events", Shape::Names(&EVENTS), EVENTS_DOC),
        key("gateway", Shape::Keys(&GATEWAY), "The public entrance."),
        key("jobs", Shape::Names(&JOBS), JOBS_DOC),
        key("workflows", Shape::Names(&WORKFLOWS), WORKFLOWS_DOC).later(WORKFLOWS_LATER),
        key("secrets", Shape::Names(&SECRETS), SECRETS_DOC),
        key("telemetry", Shape::Keys(&TELEMETRY), "How much telemetry is kept."),
        key("alerts", Shape::Names(&ALERTS), ALERTS_DOC),
        key("slos", Shape::Names(&SLOS), SLOS_DOC),
        key("checks", Shape::Names(&CHECKS), CHECKS_DOC),
        key("notify", Shape::Names(&CHANNELS), "Who is told of alerts."),
        key("storage", Shape::Keys(&STORAGE), "Where Archipel keeps what must survive."),
        key(
            "profiles",
            Shape::Names(&PROFILES),
            "Overlays for environments, chosen by --profile. Tables are merged, arrays replaced.",
        ),
        key("export", Shape::Names(&EXPORTS), "Settings of `archipel export`.")
            .later("nothing is exported"),
    ],
    rules: &[Rule::AnyOf(&["services", "include"])],
    synonyms: &[
        ("service", "services"),
        ("external", "externals"),
        ("event", "events"),
        ("job", "jobs"),
        ("secret", "secrets"),
        ("profile", "profiles"),
        ("includes", "include"),
        ("application", "app"),
        ("name", "app"),
        ("topics", "events"),
        ("routes", "gateway"),
        ("default", "defaults"),
        ("alert", "alerts"),
        ("slo", "slos"),
        ("check", "checks"),
        ("channels", "notify"),
    ],
};

/// An included file.
pub(crate) static PART: Keys = Keys {
    id: "part",
    what: "an included file",
    keys: &[
        key("version", Shape::Version, VERSION_DOC),
        key("include", Shape::List(&TEXTS), INCLUDE_DOC),
        key("services", Shape::Names(&SERVICES), SERVICES_DOC),
        key("externals", Shape::Names(&EXTERNALS), EXTERNALS_DOC),
        key("events", Shape::Names(&EVENTS), EVENTS_DOC),
        key("gateway", Shape::Keys(&PART_GATEWAY), "Routes of this team."),
        key("jobs", Shape::Names(&JOBS), JOBS_DOC),
        key("workflows", Shape::Names(&WORKFLOWS), WORKFLOWS_DOC).later(WORKFLOWS_LATER),
        key("secrets", Shape::Names(&SECRETS), SECRETS_DOC),
        key("alerts", Shape::Names(&ALERTS), ALERTS_DOC),
        key("slos", Shape::Names(&SLOS), SLOS_DOC),
        key("checks", Shape::Names(&CHECKS), CHECKS_DOC),
        key("profiles", Shape::Names(&PART_PROFILES), "Overlays for the services of this file."),
    ],
    rules: &[],
    synonyms: ROOT_SYNONYMS,
};
const ROOT_SYNONYMS: &[(&str, &str)] =
    &[("service", "services"), ("event", "events"), ("job", "jobs"), ("secret", "secrets")];

/// Whether tables under this top-level key only add to others.
pub(crate) fn is_overlay(section: &str) -> bool {
    matches!(section, "defaults" | "profiles")
}
