//! Alerts, objectives, checks from outside, and whom to tell.

use super::format::Format;
use super::*;

static SEVERITIES: Choice = Choice {
    values: &["page", "ticket"],
    refused: &[
        ("critical", Code::NotAChoice, "write \"page\": somebody should look now"),
        ("warning", Code::NotAChoice, "write \"ticket\": somebody should look within days"),
    ],
};
const SEVERITY: Shape = Shape::Choice(&SEVERITIES);
const SEVERITY_DOC: &str = "page: somebody should look now (default). ticket: within days.";
const NOTIFY_DOC: &str = "Channels of [notify] that are told. Default: all; [] is nobody.";
const ON_DOC: &str = "Which requests, in the language of `archipel traces`: \"service:orders route:\\\"POST /orders\\\"\".";

static ALERT: Keys = Keys {
    id: "alert",
    what: "an alert",
    keys: &[
        key("on", ANY, ON_DOC),
        key("logs", TEXT, "Which log lines, in the language of `archipel logs`, instead of requests."),
        key("when", TEXT, "\"error_rate > 5%\", \"p95 > 300ms\", \"rate < 1\", \"count > 10\", \"metric(memory) > 1G\" or \"absent\".").required(),
        key("window", DURATION, "Over how long. Default 5m."),
        key("for", DURATION, "How long it must hold before it fires. Default: at once."),
        key("resolve_after", DURATION, "How long it must not hold before it is over. Default 2m."),
        key("min_events", Shape::Integer(0, 1_000_000_000), "With fewer events in the window (of error_rate: fewer errors) nothing is concluded."),
        key("by", Shape::List(&TEXTS), "One alert for each value of these keys, for example [\"service\", \"route\"]."),
        key("severity", SEVERITY, SEVERITY_DOC),
        key("notify", Shape::List(&NAMES), NOTIFY_DOC),
        key("description", ANY, "What to know and do about it."),
    ],
    rules: &[Rule::AtMostOne(&["on", "logs"])],
    synonyms: &[
        ("query", "on"),
        ("expr", "when"),
        ("condition", "when"),
        ("over", "window"),
        ("group_by", "by"),
        ("channels", "notify"),
        ("keep_firing_for", "resolve_after"),
        ("runbook", "description"),
    ],
};
pub(crate) static ALERTS: Names = Names { key: Format::Name, of: Shape::Keys(&ALERT) };

static SLO: Keys = Keys {
    id: "slo",
    what: "an objective",
    keys: &[
        key("on", TEXT, ON_DOC).required(),
        key("good", TEXT, "Which of them are good: \"status<500 duration<300ms\".").required(),
        key("target", PERCENT, "Share that must be good: \"99.9%\".").required(),
        key("window", DURATION, "Over how long. Default 30d, at most 31d."),
        key("notify", Shape::List(&NAMES), NOTIFY_DOC),
        key("description", ANY, "What to know and do about it."),
    ],
    rules: &[],
    synonyms: &[("objective", "target"), ("query", "on")],
};
pub(crate) static SLOS: Names = Names { key: Format::Name, of: Shape::Keys(&SLO) };

static STATUSES: List = List { of: Shape::Integer(100, 599), nonempty: true, distinct: false };
static STATUS: Either =
    Either { options: &[Shape::Integer(100, 599), Shape::List(&STATUSES)], expand: None };
static MEMBERS: Names = Names { key: Format::NonEmpty, of: ANY };
static TAKEN: Names = Names { key: Format::Variable, of: TEXT };

pub(super) static SECRET_KEYS: Keys = Keys {
    id: "secretValue",
    what: "a value that is secret",
    keys: &[key("secret", NAME, "Name of a secret declared in [secrets].").required()],
    rules: &[],
    synonyms: &[("value", "secret"), ("key", "secret")],
};
static HEADER_FORMS: Either = Either { options: &[TEXT, Shape::Keys(&SECRET_KEYS)], expand: None };
static HEADERS: Names = Names { key: Format::NonEmpty, of: Shape::Either(&HEADER_FORMS) };

const URL_DOC: &str =
    "A path of the gateway, or a whole URL. `{name}` is what an earlier step took out.";
const METHOD: Key = key("method", TEXT, "Default GET, with `body` POST.");
pub(super) const HEADERS_KEY: Key = key(
    "headers",
    Shape::Names(&HEADERS),
    "Headers to send; a value may be { secret = \"name\" }.",
);
const BODY: Key = key("body", ANY, "What to send.");
const STATUS_KEY: Key = key(
    "status",
    Shape::Either(&STATUS),
    "The status, or a list of those that are well. Default: 200 to 399; redirects are not followed.",
);
const CONTAINS: Key = key("contains", TEXT, "Text that the answer must hold.");
const JSON: Key = key(
    "json",
    Shape::Names(&MEMBERS),
    "Members of a JSON answer: { \"$.items[0].ok\" = \"true\" }.",
);
const LATENCY: Key = key("max_latency", DURATION, "How long the answer may take.");
const CERTIFICATE: Key = key(
    "certificate",
    DURATION,
    "The certificate must be good for so long. Default 14d where there is one.",
);

static STEP: Keys = Keys {
    id: "checkStep",
    what: "a step of a check",
    keys: &[
        key("name", TEXT, "Name of the step, for people."),
        key("url", TEXT, URL_DOC).required(),
        METHOD,
        HEADERS_KEY,
        BODY,
        STATUS_KEY,
        CONTAINS,
        JSON,
        LATENCY,
        CERTIFICATE,
        key(
            "extract",
            Shape::Names(&TAKEN),
            "What later steps may use: { id = \"json:$.id\" }, \"header:location\", \"body:href=\\\"(/p/[^\\\"]+)\".",
        ),
    ],
    rules: &[],
    synonyms: &[("get", "url"), ("assert", "json"), ("expect", "status")],
};
static STEPS: List = List { of: Shape::Keys(&STEP), nonempty: true, distinct: false };

static CHECK: Keys = Keys {
    id: "check",
    what: "a check",
    keys: &[
        key("url", TEXT, URL_DOC),
        key("tcp", TEXT, "`host:port` that must accept a connection."),
        key("steps", Shape::List(&STEPS), "Requests one after the other, with one set of cookies."),
        METHOD,
        HEADERS_KEY,
        BODY,
        STATUS_KEY,
        CONTAINS,
        JSON,
        LATENCY,
        CERTIFICATE,
        key("every", DURATION, "Default 30s, at least 1s."),
        key("timeout", DURATION, "Of each request. Default 5s."),
        key("retries", Shape::Integer(0, 10), "Further tries before a run has failed. Default 1."),
        key(
            "failures",
            Shape::Integer(1, 100),
            "Runs that fail in a row before it is an alert. Default 3.",
        ),
        key("severity", SEVERITY, SEVERITY_DOC),
        key("notify", Shape::List(&NAMES), NOTIFY_DOC),
        key("description", ANY, "What to know and do about it."),
    ],
    rules: &[Rule::ExactlyOne(&["url", "tcp", "steps"])],
    synonyms: &[
        ("interval", "every"),
        ("http", "url"),
        ("keyword", "contains"),
        ("expect", "status"),
    ],
};
pub(crate) static CHECKS: Names = Names { key: Format::Name, of: Shape::Keys(&CHECK) };

static TARGET: Either =
    Either { options: &[Shape::Text(Format::HttpUrl), Shape::Keys(&SECRET_KEYS)], expand: None };
static MAIL_TO: Either = Either { options: &[TEXT, Shape::List(&TEXTS)], expand: None };
static MAIL_TLS: Choice = Choice { values: &["always", "starttls", "off"], refused: &[] };
static SMTP: Keys = Keys {
    id: "smtp",
    what: "a mail server",
    keys: &[
        key("host", TEXT, "Name of the server.").required(),
        key("port", Shape::Integer(1, 65_535), "Default 465 with tls = \"always\", else 587."),
        key(
            "tls",
            Shape::Choice(&MAIL_TLS),
            "starttls (default), always: from the first byte, off.",
        ),
        key("from", TEXT, "Who it is from. Default archipel@ and the host."),
        key("user", TEXT, "Who signs in."),
        key("password", Shape::Keys(&SECRET_KEYS), "Its password: { secret = \"name\" }."),
    ],
    rules: &[],
    synonyms: &[("server", "host"), ("username", "user")],
};
static CHANNEL: Keys = Keys {
    id: "channel",
    what: "a channel",
    keys: &[
        key(
            "webhook",
            Shape::Either(&TARGET),
            "URL that JSON is posted to, or { secret = \"name\" }.",
        ),
        key(
            "slack",
            Shape::Either(&TARGET),
            "Incoming webhook of Slack, or of what takes the same form.",
        ),
        key("mail", Shape::Either(&MAIL_TO), "Address or addresses; needs `smtp`."),
        key(
            "key",
            Shape::Keys(&SECRET_KEYS),
            "Signs webhooks as Standard Webhooks does: { secret = \"name\" }.",
        ),
        key("smtp", Shape::Keys(&SMTP), "The server that sends mail."),
        key("only", SEVERITY, "page: tickets are not sent here. Default: all."),
    ],
    rules: &[Rule::ExactlyOne(&["webhook", "slack", "mail"])],
    synonyms: &[("url", "webhook"), ("email", "mail"), ("to", "mail"), ("secret", "key")],
};
pub(crate) static CHANNELS: Names = Names { key: Format::Name, of: Shape::Keys(&CHANNEL) };

pub(crate) static PACE: Keys = Keys {
    id: "alertPace",
    what: "the pace of alerts",
    keys: &[
        key(
            "group",
            DURATION,
            "What begins or ends within this time goes into one message. Default 30s.",
        ),
        key("repeat", DURATION, "What goes on is told again after this. Default 4h."),
        key(
            "grace",
            DURATION,
            "So long after a start or a change of the manifest nothing new fires. Default 60s.",
        ),
        key("off", Shape::List(&NAMES), "Rules that ship with Archipel and are not wanted."),
    ],
    rules: &[],
    synonyms: &[("disable", "off")],
};
