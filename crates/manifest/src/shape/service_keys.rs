//! The keys of a service, and of the defaults for all services.

use super::edge_keys::*;
use super::format::Format;
use super::process_keys::*;
use super::*;

// ---- rollout, development: later

static SCALE_ON: Keys = Keys {
    id: "scaleOn",
    what: "what scaling follows",
    keys: &[
        key("concurrency", COUNT, "Requests in flight per instance."),
        key("rps", COUNT, "Requests per second and instance."),
        key("cpu", PERCENT, "Share of one core."),
        key("backlog", COUNT, "Events that wait, per instance."),
        key("p95", DURATION, "Latency that 95 % of requests stay under."),
    ],
    rules: &[],
    synonyms: &[],
};
static SCALE: Keys = Keys {
    id: "scale",
    what: "the scaling rule",
    keys: &[
        key("min", Shape::Integer(0, 1000), "Fewest instances; 0 lets an idle service sleep."),
        key("max", Shape::Integer(1, 1000), "Most instances."),
        key("idle", DURATION, "Sleep after this long without work."),
        key("on", Shape::Keys(&SCALE_ON), "What scaling follows."),
    ],
    rules: &[],
    synonyms: &[],
};
static STRATEGIES: Choice =
    Choice { values: &["rolling", "canary", "blue-green", "recreate"], refused: &[] };
static STEPS: List = List { of: Shape::Text(Format::Step), nonempty: false, distinct: false };
static DEPLOY: Keys = Keys {
    id: "deploy",
    what: "the rollout",
    keys: &[
        key("strategy", Shape::Choice(&STRATEGIES), "How a new release replaces the old one."),
        key(
            "steps",
            Shape::List(&STEPS),
            "Canary: share of traffic and time, for example \"5% 10m\".",
        ),
        key("sticky", TEXT, "What keeps a visitor on one release: `cookie` or `header:Name`."),
        key(
            "abort_if",
            Shape::List(&TEXTS),
            "Conditions that roll back, for example \"error_rate > baseline + 1%\".",
        ),
        key("keep_old", DURATION, "Blue-green: keep the old set this long."),
        key(
            "max_extra",
            Shape::Integer(0, 1000),
            "Rolling: instances above `replicas` while old and new overlap.",
        ),
        key("min_ready", DURATION, "How long a new instance must be ready before it counts."),
        key("deadline", DURATION, "Roll back when it takes longer."),
        key("auto_rollback", Shape::Bool, "Go back by itself when the new release fails."),
    ],
    rules: &[],
    synonyms: &[],
};
static WATCH: Either = Either { options: &[Shape::Bool, Shape::List(&TEXTS)], expand: None };
static DEBUG_KINDS: Choice =
    Choice { values: &["jdwp", "debugpy", "inspector", "dlv", "custom"], refused: &[] };
static DEBUG: Keys = Keys {
    id: "debug",
    what: "the debugger",
    keys: &[
        key("kind", Shape::Choice(&DEBUG_KINDS), "Which debugger the program speaks to."),
        key("command", COMMAND, "custom: how to start under the debugger."),
    ],
    rules: &[],
    synonyms: &[],
};
static LABELS: Names = Names { key: Format::NonEmpty, of: ANY };
static AT_ONCE: Names = Names { key: Format::NonEmpty, of: Shape::Integer(1, 1_000_000) };
static WORKFLOW_SCHEDULE: Keys = Keys {
    id: "workflow-schedule",
    what: "the schedule of a workflow",
    keys: &[
        key("workflow", Shape::Text(Format::NonEmpty), "Name of the workflow that begins.")
            .required(),
        key("schedule", TEXT, "Five fields: minute, hour, day of month, month, day of week.")
            .required(),
        key("timezone", TEXT, "IANA name such as Europe/Paris. Default UTC."),
        key("input", Shape::Text(Format::NonEmpty), "Its input, as JSON text."),
    ],
    rules: &[],
    synonyms: &[
        ("name", "workflow"),
        ("cron", "schedule"),
        ("tz", "timezone"),
        ("time_zone", "timezone"),
    ],
};
static WORKFLOW_SCHEDULES: Names = Names { key: Format::Name, of: Shape::Keys(&WORKFLOW_SCHEDULE) };
static WORKFLOW_LIMITS: Keys = Keys {
    id: "workflow-limits",
    what: "the limits of workflows",
    keys: &[
        key("keep", DURATION, "How long instances that have ended are kept. Default 30d."),
        key(
            "schedules",
            Shape::Names(&WORKFLOW_SCHEDULES),
            "Workflows that begin by the clock. An instance is called after its schedule and its time, so that each time is used at most once.",
        ),
        key(
            "at_once",
            Shape::Names(&AT_ONCE),
            "Of a workflow's name: how many of its instances may be at work at once. Others stay pending until one has ended.",
        ),
        key(
            "activities_at_once",
            Shape::Names(&AT_ONCE),
            "Of an activity's name: how many the workers of this service may have in hand at once.",
        ),
    ],
    rules: &[],
    synonyms: &[
        ("max_concurrent", "at_once"),
        ("limits", "at_once"),
        ("retention", "keep"),
        ("retain", "keep"),
        ("cron", "schedules"),
        ("activities", "activities_at_once"),
    ],
};
static PROTOCOLS: Choice = Choice {
    values: &["http", "grpc", "tcp"],
    refused: &[
        ("h2c", Code::NotAChoice, "write \"grpc\" for HTTP/2 without TLS"),
        (
            "https",
            Code::NotAChoice,
            "write \"http\": services listen on loopback, TLS ends at the gateway",
        ),
    ],
};
static SOCKETS: Choice = Choice { values: &["port", "fd", "reuseport"], refused: &[] };

const REPLICAS: Shape = Shape::Integer(0, 1000);
const LATER_SCALE: &str = "`replicas` decides how many run";
const LATER_DEPLOY: &str = "a new release replaces instances one after the other";
const LATER_WATCH: &str = "nothing is watched; use `archipel restart`";
const LATER_CPU: &str = "CPU time is not limited";

pub(crate) static SERVICE: Keys = Keys {
    id: "service",
    what: "a service",
    keys: &[
        key("path", TEXT, "Directory of the service, relative to this file. Default: the directory of this file."),
        key("build", COMMAND, "Command that makes what `run` starts. Run only when its inputs changed. With shell syntax (`&&`, `|`, …) it runs in a shell."),
        key("sources", Shape::List(&TEXTS), "Files and directories outside `path` that the build reads too, relative to this file."),
        key("artifact", Shape::List(&TEXTS), "What the build makes, relative to `path`. When it exists and no input changed, the build is skipped."),
        key("run", COMMAND, "Command that starts the service, in `path`. A string is split into words and $NAMES are filled in; no shell stands in between, so stop signals reach the program.").required(),
        key("shell", Shape::Bool, "Start `run` through /bin/sh. The shell may swallow the stop signal."),
        key("replicas", REPLICAS, "How many instances run. Default 1."),
        key("memory", MEMORY, "Hard limit such as \"256M\", or a table. Default: none."),
        key("cpu", Shape::Either(&CPU_FORMS), "Cores an instance may use.").later(LATER_CPU),
        key("pids", COUNT, "Processes an instance may have.").later("processes are not counted"),
        key("files", COUNT, "Files an instance may open (RLIMIT_NOFILE).").later("the limit of the system applies"),
        key("env", ENV, "Environment variables: a text, a number, a boolean, { secret = \"name\" } or { from = \"services.name.url\" }."),
        key("env_file", TEXT, "File of NAME=value lines, relative to `path`. `env` counts more. Its values are never shown."),
        key("health", HEALTH, "A path such as \"/healthz\" for startup and readiness, or a table. Default: the port accepts connections."),
        key("api", TEXT, "OpenAPI, AsyncAPI or .proto file, relative to `path`."),
        key("protocol", Shape::Choice(&PROTOCOLS), "What the service speaks on its port. grpc is HTTP/2 without TLS. Default http."),
        key("port", Shape::Integer(1, 65535), "Fixed port. Default: a free one, given as $PORT."),
        key("socket", Shape::Choice(&SOCKETS), "How the listening socket is handed over.")
            .later_unless(Inert::Text("port"), "the program opens its own socket on $PORT"),
        key("slow_start", DURATION, "How long an instance that joins others gets less than its share of requests, from a tenth on; 0s: none. Default 10s."),
        key("database", Shape::Keys(&DATABASE), "A database of its own, given as $DATABASE_URL."),
        key("calls", Shape::Either(&CALLS), "Services and externals it may call; for each it gets <NAME>_URL. A list, or a table with a policy per callee."),
        key("publishes", Shape::List(&TOPICS), "Topics it publishes. A topic has one publisher."),
        key("outbox", Shape::Either(&OUTBOX), "Path where the service serves its own outbox, from which Archipel pulls events; `true` is /_archipel/outbox. Needs `publishes`."),
        key("subscribes", Shape::Either(&SUBSCRIBES), "Topics it receives: a list of patterns (posted to /_archipel/events), or a table from pattern to path or settings."),
        key("starts", Shape::List(&NAMES), "Workflows it may start.").later("no workflow is started from here"),
        key("egress", Shape::List(&TEXTS), "Addresses outside the application that it reaches.").later("it is documentation, and reaches what it likes"),
        key("resiliency", Shape::Keys(&RESILIENCY), "Policy of all calls that this service makes, unless a call has its own."),
        key("scale", Shape::Keys(&SCALE), "Change the number of instances with the load.").later(LATER_SCALE),
        key("deploy", Shape::Keys(&DEPLOY), "How a new release replaces the old one.").later(LATER_DEPLOY),
        key("stop", Shape::Keys(&STOP), "How it is asked to end."),
        key("restart", Shape::Keys(&RESTART), "When it is started again."),
        key("log", Shape::Keys(&LOG), "How much of its output is kept."),
        key("watch", Shape::Either(&WATCH), "Rebuild and restart when files change.").later_unless(Inert::Bool(false), LATER_WATCH),
        key("debug", Shape::Keys(&DEBUG), "How to attach a debugger.").later("no debugger is attached"),
        key("workflows", Shape::Keys(&WORKFLOW_LIMITS), "How many workflows and activities of the same name may be at work at once, how long ended ones are kept, and what begins by the clock."),
        key("labels", Shape::Names(&LABELS), "Free texts, shown with the service."),
        key("disabled", Shape::Bool, "Leave the service out."),
        key("depends_on", Shape::List(&NAMES), "Services that must be ready before this one starts. Order of start only; prefer `calls`, which never delays a start."),
    ],
    rules: &[],
    synonyms: &[
        ("command", "run"), ("cmd", "run"), ("start", "run"), ("exec", "run"), ("entrypoint", "run"),
        ("environment", "env"), ("instances", "replicas"), ("count", "replicas"), ("processes", "replicas"),
        ("dir", "path"), ("directory", "path"), ("cwd", "path"), ("working_dir", "path"), ("root", "path"),
        ("ports", "port"), ("depends", "depends_on"), ("needs", "calls"), ("uses", "calls"), ("db", "database"),
        ("healthcheck", "health"), ("health_check", "health"), ("mem_limit", "memory"),
        ("events", "publishes"), ("emits", "publishes"), ("listens", "subscribes"), ("consumes", "subscribes"),
        ("subscriptions", "subscribes"), ("autoscale", "scale"), ("openapi", "api"), ("logs", "log"),
        ("artifacts", "artifact"), ("inputs", "sources"), ("retries", "resiliency"),
    ],
};

pub(crate) static DEFAULTS: Keys = Keys {
    id: "defaults",
    what: "the defaults",
    keys: &[
        key("replicas", REPLICAS, "How many instances of each service run. Default 1."),
        key("memory", MEMORY, "Memory limit of each instance."),
        key("cpu", Shape::Either(&CPU_FORMS), "Cores an instance may use.").later(LATER_CPU),
        key("env", ENV, "Environment variables of every service."),
        key("health", HEALTH, "Health checks of every service."),
        key("resiliency", Shape::Keys(&RESILIENCY), "Policy of every call."),
        key("scale", Shape::Keys(&SCALE), "Scaling of every service.").later(LATER_SCALE),
        key("deploy", Shape::Keys(&DEPLOY), "Rollout of every service.").later(LATER_DEPLOY),
        key("stop", Shape::Keys(&STOP), "How services are asked to end."),
        key("restart", Shape::Keys(&RESTART), "When services are started again."),
        key("log", Shape::Keys(&LOG), "How much output is kept."),
        key("watch", Shape::Either(&WATCH), "Rebuild and restart when files change.")
            .later_unless(Inert::Bool(false), LATER_WATCH),
    ],
    rules: &[],
    synonyms: &[("environment", "env")],
};
