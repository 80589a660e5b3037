//! The keys of a service, and of what stands inside one.

use super::format::Format;
use super::{Choice, Either, Inert, Keys, List, Names, Rule, Shape, key};
use crate::Code;
use crate::tree::{Entry, Node, Table, Value};

const ANY: Shape = Shape::Text(Format::Any);
const TEXT: Shape = Shape::Text(Format::NonEmpty);
const NAME: Shape = Shape::Text(Format::Name);
const URL_PATH: Shape = Shape::Text(Format::UrlPath);
const DURATION: Shape = Shape::Text(Format::Duration);
const SIZE_TEXT: Shape = Shape::Text(Format::Size);
const PERCENT: Shape = Shape::Text(Format::Percent);
const COUNT: Shape = Shape::Integer(1, 1_000_000);

pub(crate) static TEXTS: List = List { of: TEXT, nonempty: false, distinct: true };
pub(crate) static NAMES: List = List { of: NAME, nonempty: false, distinct: true };
static ARGV: List = List { of: ANY, nonempty: true, distinct: false };
static TOPICS: List = List { of: Shape::Text(Format::Topic), nonempty: false, distinct: true };
static PATTERNS: List =
    List { of: Shape::Text(Format::TopicPattern), nonempty: false, distinct: true };

static COMMAND_FORMS: Either = Either { options: &[TEXT, Shape::List(&ARGV)], expand: None };
pub(crate) const COMMAND: Shape = Shape::Either(&COMMAND_FORMS);

// ---- environment

static ENV_REFERENCE: Keys = Keys {
    id: "envReference",
    what: "the value of a variable",
    keys: &[
        key(
            "secret",
            NAME,
            "Name of a secret declared in [secrets]; its value is filled in when the service starts.",
        ),
        key(
            "from",
            TEXT,
            "Reference to another service, for example `services.payments.url`; that service must be in `calls`.",
        ),
    ],
    rules: &[Rule::ExactlyOne(&["secret", "from"])],
    synonyms: &[("value", "from"), ("ref", "from"), ("secretKeyRef", "secret")],
};
static ENV_VALUE: Either = Either {
    options: &[ANY, Shape::Integer(i64::MIN, i64::MAX), Shape::Bool, Shape::Keys(&ENV_REFERENCE)],
    expand: None,
};
static ENV_NAMES: Names = Names { key: Format::Variable, of: Shape::Either(&ENV_VALUE) };
pub(crate) const ENV: Shape = Shape::Names(&ENV_NAMES);

// ---- health

static PROBE: Keys = Keys {
    id: "probe",
    what: "a health check",
    keys: &[
        key("path", URL_PATH, "HTTP: `GET` on this path must answer 2xx or 3xx."),
        key("tcp", Shape::True, "The port accepts connections, on 127.0.0.1 or ::1."),
        key("grpc", Shape::True, "The standard gRPC health service answers SERVING."),
        key(
            "exec",
            COMMAND,
            "This command, run in the service's directory with its environment, exits with 0.",
        ),
        key("log", TEXT, "A line of output matches this regular expression. Startup only."),
        key(
            "notify",
            Shape::True,
            "The program sends `READY=1` to `$NOTIFY_SOCKET` (sd_notify). Startup only.",
        ),
        key("within", DURATION, "Startup only: give up and restart after this long. Default 60s."),
        key(
            "every",
            DURATION,
            "Pause between two checks. Default 100ms at startup, 2s for ready, 10s for live.",
        ),
        key("timeout", DURATION, "How long one check may take. Default 1s, 3s for live."),
        key(
            "fail_after",
            COUNT,
            "Failed checks in a row until the state changes. Default 3 for ready, 6 for live.",
        ),
        key("pass_after", COUNT, "Passed checks in a row until the state changes back. Default 1."),
    ],
    rules: &[Rule::AtMostOne(&["path", "tcp", "grpc", "exec", "log", "notify"])],
    synonyms: &[
        ("http", "path"),
        ("url", "path"),
        ("command", "exec"),
        ("cmd", "exec"),
        ("interval", "every"),
        ("period", "every"),
        ("retries", "fail_after"),
        ("failure_threshold", "fail_after"),
        ("success_threshold", "pass_after"),
        ("start_period", "within"),
    ],
};
static HEALTH_LONG: Keys = Keys {
    id: "healthChecks",
    what: "the health checks",
    keys: &[
        key(
            "startup",
            Shape::Keys(&PROBE),
            "Until it passes the instance counts as starting, and nothing else is checked.",
        ),
        key(
            "ready",
            Shape::Keys(&PROBE),
            "While it fails the instance gets no requests. Nothing is restarted.",
        ),
        key(
            "live",
            Shape::Keys(&PROBE),
            "When it fails the instance is restarted. Off unless given: under load it can kill what is merely busy.",
        ),
    ],
    rules: &[],
    synonyms: &[
        ("readiness", "ready"),
        ("liveness", "live"),
        ("start", "startup"),
        ("path", "ready"),
    ],
};
static HEALTH_FORMS: Either =
    Either { options: &[URL_PATH, Shape::Keys(&HEALTH_LONG)], expand: Some(expand_health) };
const HEALTH: Shape = Shape::Either(&HEALTH_FORMS);

fn expand_health(node: &Node) -> Option<Node> {
    let path = Node { value: Value::Text(node.text()?.to_owned()), span: node.span };
    let probe = table_node(node, [("path", path)]);
    Some(table_node(node, [("startup", probe.clone()), ("ready", probe)]))
}

fn table_node<const N: usize>(short: &Node, entries: [(&str, Node); N]) -> Node {
    let entries = entries.map(|(key, node)| (key.to_owned(), Entry { key: short.span, node }));
    Node { value: Value::Table(Table::from(entries)), span: short.span }
}

// ---- limits

static MEMORY_LONG: Keys = Keys {
    id: "memoryLimits",
    what: "the memory limits",
    keys: &[
        key(
            "limit",
            SIZE_TEXT,
            "Hard limit: the instance is killed above it, where the system can enforce that.",
        ),
        key(
            "high",
            SIZE_TEXT,
            "Above this the kernel reclaims and slows down first (cgroup v2 only).",
        ),
        key("swap", SIZE_TEXT, "Swap allowed on top of the limit."),
        key("jvm", Shape::Bool, "Size the Java heap after the limit, through JAVA_TOOL_OPTIONS."),
        key("go", Shape::Bool, "Set GOMEMLIMIT to 90 % of the limit."),
        key("node", Shape::Bool, "Size the Node.js heap after the limit, through NODE_OPTIONS."),
    ],
    rules: &[],
    synonyms: &[("max", "limit"), ("hard", "limit"), ("soft", "high"), ("request", "high")],
};
static MEMORY_FORMS: Either =
    Either { options: &[SIZE_TEXT, Shape::Keys(&MEMORY_LONG)], expand: Some(expand_memory) };
pub(crate) const MEMORY: Shape = Shape::Either(&MEMORY_FORMS);

fn expand_memory(node: &Node) -> Option<Node> {
    let limit = Node { value: Value::Text(node.text()?.to_owned()), span: node.span };
    Some(table_node(node, [("limit", limit)]))
}

static CPU_FORMS: Either = Either { options: &[TEXT, Shape::Number], expand: None };

static STOP: Keys = Keys {
    id: "stop",
    what: "the way to stop",
    keys: &[
        key(
            "signal",
            Shape::Choice(&SIGNALS),
            "Signal that asks the program to end. Default TERM.",
        ),
        key(
            "drain",
            DURATION,
            "How long running requests may finish before the signal is sent. Default 2s.",
        ),
        key(
            "grace",
            DURATION,
            "How long the program has after the signal until it is killed. Default 10s.",
        ),
        key("command", COMMAND, "Run instead of sending the signal."),
    ],
    rules: &[],
    synonyms: &[("timeout", "grace"), ("kill_timeout", "grace"), ("kill_signal", "signal")],
};
static SIGNALS: Choice = Choice {
    values: &["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"],
    refused: &[(
        "KILL",
        Code::NotAChoice,
        "KILL cannot be handled by the program; it follows by itself after `grace`",
    )],
};

static RESTART: Keys = Keys {
    id: "restart",
    what: "the restart policy",
    keys: &[
        key(
            "on",
            Shape::Choice(&RESTART_ON),
            "failure: on a non-zero exit or a signal. Default always.",
        ),
        key(
            "backoff",
            Shape::Text(Format::Range),
            "Shortest and longest pause between two starts; it doubles in between, with jitter. Default 500ms..60s.",
        ),
        key(
            "reset_after",
            DURATION,
            "The pause starts small again after the instance was ready for this long. Default 60s.",
        ),
        key(
            "max",
            Shape::Integer(0, 1_000_000),
            "Give up after this many restarts. Default: never.",
        ),
    ],
    rules: &[],
    synonyms: &[("policy", "on"), ("max_restarts", "max"), ("delay", "backoff")],
};
static RESTART_ON: Choice = Choice {
    values: &["failure", "always", "never"],
    refused: &[
        ("on-failure", Code::NotAChoice, "write \"failure\""),
        ("no", Code::NotAChoice, "write \"never\""),
        ("unless-stopped", Code::NotAChoice, "write \"always\": what you stop stays stopped"),
    ],
};

static LOG: Keys = Keys {
    id: "log",
    what: "the log settings",
    keys: &[
        key("format", Shape::Choice(&LOG_FORMATS), "How to read the lines of output.")
            .later_unless(Inert::Text("auto"), "the format is recognised line by line"),
        key("keep", DURATION, "How long output is kept. Default 7d."),
        key("max", SIZE_TEXT, "How much output is kept per instance. Default 512M."),
    ],
    rules: &[],
    synonyms: &[("retention", "keep"), ("size", "max")],
};
static LOG_FORMATS: Choice = Choice { values: &["auto", "json", "logfmt", "text"], refused: &[] };

// ---- edges

static RETRY: Keys = Keys {
    id: "retry",
    what: "the retry policy",
    keys: &[
        key(
            "attempts",
            Shape::Integer(0, 50),
            "Further tries after the first; 0 turns retries off. Default 2.",
        ),
        key("on", Shape::List(&TEXTS), "What to retry: connect, reset, a status such as 503.")
            .later("only failed connections are retried"),
        key("budget", PERCENT, "Retries may add at most this share of requests.")
            .later("retries have no budget"),
        key("backoff", Shape::Text(Format::Range), "Pause between two tries.")
            .later("a retry follows at once"),
    ],
    rules: &[],
    synonyms: &[("max", "attempts"), ("count", "attempts"), ("max_attempts", "attempts")],
};
static BREAKER: Keys = Keys {
    id: "breaker",
    what: "the circuit breaker",
    keys: &[
        key("errors", PERCENT, "Share of failed requests that opens it."),
        key("window", DURATION, "Over which time."),
        key("min_requests", COUNT, "Not before this many requests."),
        key("open_for", DURATION, "How long it stays open."),
    ],
    rules: &[],
    synonyms: &[],
};
pub(crate) static RESILIENCY: Keys = Keys {
    id: "resiliency",
    what: "the policy of a call",
    keys: &[
        key(
            "timeout",
            DURATION,
            "Until the head of the response arrives; bodies may stream longer. Default: none.",
        ),
        key(
            "retry",
            Shape::Keys(&RETRY),
            "Retries of failed requests, on another instance when there is one.",
        ),
        key("bulkhead", COUNT, "Requests in flight on this edge before new ones are refused."),
        key("breaker", Shape::Keys(&BREAKER), "Stop calling a service that fails.")
            .later("the circuit never opens"),
        key(
            "protocol",
            Shape::Choice(&CALL_PROTOCOLS),
            "Must be the protocol of the callee; written here for the reader.",
        ),
        key("idempotency", TEXT, "Header that makes a request safe to repeat.")
            .later("only methods that are idempotent by definition are repeated"),
        key("hedge", DURATION, "Send a second request when the first takes longer.")
            .later("no second request is sent"),
    ],
    rules: &[],
    synonyms: &[("retries", "retry"), ("circuit_breaker", "breaker"), ("max_inflight", "bulkhead")],
};
static CALL_PROTOCOLS: Choice = Choice { values: &["http", "grpc"], refused: &[] };
static CALL_NAMES: Names = Names { key: Format::Name, of: Shape::Keys(&RESILIENCY) };
static CALLS: Either =
    Either { options: &[Shape::List(&NAMES), Shape::Names(&CALL_NAMES)], expand: None };

static SUBSCRIPTION: Keys = Keys {
    id: "subscription",
    what: "a subscription",
    keys: &[
        key("path", URL_PATH, "Where events are posted as CloudEvents. Default /_archipel/events."),
        key(
            "ordered_by",
            TEXT,
            "Events that agree on this CloudEvents attribute, or on this member of `data`, arrive one at a time and in order.",
        ),
        key(
            "concurrency",
            Shape::Integer(1, 10_000),
            "Events in delivery at the same time. Default 8.",
        ),
        key(
            "retry",
            Shape::Text(Format::Range),
            "Shortest and longest pause before an event is delivered again. Default 500ms..60s.",
        ),
        key("max_attempts", COUNT, "Then the event goes to the dead letters. Default 20."),
        key("dead_letter", Shape::Bool, "Keep events that could not be delivered.")
            .later_unless(Inert::Bool(true), "events that could not be delivered are always kept"),
        key("rpc", TEXT, "gRPC method that takes the event.").later("events are posted to `path`"),
        key("key", TEXT, "Member of `data` by which repeated events are recognised.")
            .later("events are told apart by their id alone"),
        key("filter", TEXT, "Expression an event must fulfil.")
            .later("every event of the topic is delivered"),
    ],
    rules: &[],
    synonyms: &[
        ("attempts", "max_attempts"),
        ("attempts_max", "max_attempts"),
        ("url", "path"),
        ("order_by", "ordered_by"),
    ],
};
static SUBSCRIPTION_FORMS: Either =
    Either { options: &[URL_PATH, Shape::Keys(&SUBSCRIPTION)], expand: None };
static SUBSCRIPTIONS: Names =
    Names { key: Format::TopicPattern, of: Shape::Either(&SUBSCRIPTION_FORMS) };
static SUBSCRIBES: Either =
    Either { options: &[Shape::List(&PATTERNS), Shape::Names(&SUBSCRIPTIONS)], expand: None };
static OUTBOX: Either = Either { options: &[URL_PATH, Shape::True], expand: None };

// ---- database

static DATABASE_URL_KEYS: Keys = Keys {
    id: "databaseUrl",
    what: "the URL of a database",
    keys: &[key("secret", NAME, "Name of a secret declared in [secrets].").required()],
    rules: &[],
    synonyms: &[],
};
static DATABASE_URL: Either =
    Either { options: &[TEXT, Shape::Keys(&DATABASE_URL_KEYS)], expand: None };
static ENGINES: Choice = Choice {
    values: &["sqlite", "postgres", "external"],
    refused: &[
        (
            "mysql",
            Code::UnsupportedEngine,
            "use \"postgres\" or \"sqlite\"; for a MySQL server that you run yourself, \"external\" with its `url`",
        ),
        (
            "mariadb",
            Code::UnsupportedEngine,
            "use \"postgres\" or \"sqlite\"; for a server that you run yourself, \"external\" with its `url`",
        ),
        ("postgresql", Code::NotAChoice, "write \"postgres\""),
    ],
};
static DATABASE: Keys = Keys {
    id: "database",
    what: "a database",
    keys: &[
        key("engine", Shape::Choice(&ENGINES), "sqlite: one file that only this service can open. postgres: a database and a role of its own. external: yours, its URL is passed on.").required(),
        key("name", Shape::Text(Format::DatabaseName), "Default: the service's name with `_` for `-`."),
        key("url", Shape::Either(&DATABASE_URL), "postgres: the server, as a role that may create databases; default $ARCHIPEL_POSTGRES_URL. external: the database itself."),
        key("migrate", COMMAND, "Run once before the service starts, with its environment."),
        key("pool", COUNT, "Connections the service may hold.").later("connections are not limited"),
        key("snapshot", Shape::Bool, "Copy the database before each release.").later("no copy is made"),
    ],
    rules: &[],
    synonyms: &[("type", "engine"), ("kind", "engine"), ("migrations", "migrate"), ("migration", "migrate")],
};

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
        key("env_file", TEXT, "File of NAME=value lines, relative to `path`.").later("the file is not read"),
        key("health", HEALTH, "A path such as \"/healthz\" for startup and readiness, or a table. Default: the port accepts connections."),
        key("api", TEXT, "OpenAPI, AsyncAPI or .proto file, relative to `path`."),
        key("protocol", Shape::Choice(&PROTOCOLS), "What the service speaks on its port. grpc is HTTP/2 without TLS. Default http."),
        key("port", Shape::Integer(1, 65535), "Fixed port. Default: a free one, given as $PORT."),
        key("socket", Shape::Choice(&SOCKETS), "How the listening socket is handed over.")
            .later_unless(Inert::Text("port"), "the program opens its own socket on $PORT"),
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
        ("healthcheck", "health"), ("health_check", "health"), ("mem_limit", "memory"), ("labels_", "labels"),
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
