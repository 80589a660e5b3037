//! How one instance runs: environment, health checks, limits, stopping and starting again.

use super::format::Format;
use super::*;
use crate::tree::{Entry, Table, Value};
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
pub(crate) const HEALTH: Shape = Shape::Either(&HEALTH_FORMS);

fn expand_health(node: &Node) -> Option<Node> {
    let path = Node { value: Value::Text(node.text()?.to_owned()), span: node.span };
    let probe = table_node(node, [("path", path)]);
    Some(table_node(node, [("startup", probe.clone()), ("ready", probe)]))
}

pub(crate) fn table_node<const N: usize>(short: &Node, entries: [(&str, Node); N]) -> Node {
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

pub(crate) static CPU_FORMS: Either = Either { options: &[TEXT, Shape::Number], expand: None };

pub(crate) static STOP: Keys = Keys {
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

pub(crate) static RESTART: Keys = Keys {
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

pub(crate) static LOG: Keys = Keys {
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
