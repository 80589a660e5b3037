//! What a service is connected to: callees, topics, its database.

use super::format::Format;
use super::safeguard_keys::*;
use super::*;

pub(crate) static TOPICS: List =
    List { of: Shape::Text(Format::Topic), nonempty: false, distinct: true };
static PATTERNS: List =
    List { of: Shape::Text(Format::TopicPattern), nonempty: false, distinct: true };

// ---- edges

static RETRY_REASONS: Choice =
    Choice { values: &["connect", "reset", "502", "503", "504"], refused: &[] };
static RETRY_ON: List = List { of: Shape::Choice(&RETRY_REASONS), nonempty: true, distinct: true };
static RETRY: Keys = Keys {
    id: "retry",
    what: "the retry policy",
    keys: &[
        key(
            "attempts",
            Shape::Integer(0, 50),
            "Further tries after the first; 0 turns retries off. Default 2.",
        ),
        key(
            "on",
            Shape::List(&RETRY_ON),
            "After what: connect (any method), reset, 502, 503, 504 (idempotent methods without a body, or with the header of `idempotency`; not where the response has retry-after). Default: all of them.",
        ),
        key(
            "budget",
            PERCENT,
            "Retries may add at most this share of the requests of the last seconds, and a few in any case. Default 20%.",
        ),
        key(
            "backoff",
            Shape::Text(Format::Range),
            "Shortest and longest pause before another try, except after a failed connection. Default 25ms..250ms.",
        ),
    ],
    rules: &[],
    synonyms: &[("max", "attempts"), ("count", "attempts"), ("max_attempts", "attempts")],
};
pub(crate) static RESILIENCY: Keys = Keys {
    id: "resiliency",
    what: "the policy of a call",
    keys: &[
        key(
            "timeout",
            DURATION,
            "Until the head of the response arrives; bodies may stream longer. Default 60s; with gRPC none.",
        ),
        key(
            "retry",
            Shape::Keys(&RETRY),
            "Retries of failed requests, on another instance when there is one.",
        ),
        BULKHEAD_KEY,
        key("connect", DURATION, "Until an instance accepts a connection. Default 2s."),
        key(
            "idle",
            DURATION,
            "A response of which nothing arrives for this long is cut. Default: never.",
        ),
        key(
            "hold",
            DURATION,
            "How long a request waits for a callee that starts or restarts, instead of being refused; 0s turns that off. Default 5s.",
        ),
        BREAKER_KEY,
        HEDGE_KEY,
        PRIORITY_KEY,
        EDGE_FALLBACK_KEY,
        key(
            "protocol",
            Shape::Choice(&CALL_PROTOCOLS),
            "Must be the protocol of the callee; written here for the reader.",
        ),
        key(
            "idempotency",
            TEXT,
            "`header:Name`: who sends it may be repeated whatever its method, as the callee knows it again; with a body of up to 64 KiB whose length is told. For example \"header:Idempotency-Key\".",
        ),
    ],
    rules: &[],
    synonyms: &[
        ("retries", "retry"),
        ("circuit_breaker", "breaker"),
        ("max_inflight", "bulkhead"),
        ("connect_timeout", "connect"),
        ("idle_timeout", "idle"),
    ],
};
static CALL_PROTOCOLS: Choice = Choice { values: &["http", "grpc"], refused: &[] };
static CALL_NAMES: Names = Names { key: Format::Name, of: Shape::Keys(&RESILIENCY) };
pub(crate) static CALLS: Either =
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
        key(
            "max_dead_letters",
            COUNT,
            "Dead letters that are kept; beyond, the oldest go. Default 10000; and never over 256 MiB.",
        ),
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
pub(crate) static SUBSCRIBES: Either =
    Either { options: &[Shape::List(&PATTERNS), Shape::Names(&SUBSCRIPTIONS)], expand: None };
pub(crate) static OUTBOX: Either = Either { options: &[URL_PATH, Shape::True], expand: None };

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
pub(crate) static DATABASE: Keys = Keys {
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
