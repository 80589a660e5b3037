//! What an edge or a route does beyond limits and retries. The same keys for both.

use super::format::Format;
use super::*;

static BREAKER: Keys = Keys {
    id: "breaker",
    what: "the circuit breaker",
    keys: &[
        key("errors", PERCENT, "Share of failed requests that opens it. Default 50%."),
        key("window", DURATION, "Over which time. Default 10s."),
        key("min_requests", COUNT, "Not before this many requests. Default 20."),
        key(
            "open_for",
            DURATION,
            "How long it stays open; then a few requests try the service out. Default 5s.",
        ),
    ],
    rules: &[],
    synonyms: &[("threshold", "errors"), ("sleep", "open_for"), ("timeout", "open_for")],
};
static BULKHEAD: Keys = Keys {
    id: "bulkhead",
    what: "the bulkhead",
    keys: &[
        key("max", COUNT, "Requests in flight before further ones wait or are refused.").required(),
        key("queue", COUNT, "How many may wait for a place. Default: none."),
        key("wait", DURATION, "And for how long. Default 200ms."),
    ],
    rules: &[],
    synonyms: &[("max_inflight", "max"), ("limit", "max"), ("max_wait", "wait")],
};
static BULKHEADS: Either = Either { options: &[COUNT, Shape::Keys(&BULKHEAD)], expand: None };
static PRIORITIES: Choice = Choice {
    values: &["critical", "normal", "low"],
    refused: &[("high", Code::NotAChoice, "write \"critical\"")],
};

static ANSWER: Keys = Keys {
    id: "fallbackAnswer",
    what: "the answer",
    keys: &[
        key("status", Shape::Integer(200, 599), "Default 200."),
        key("body", ANY, "Default: empty."),
        key(
            "content_type",
            TEXT,
            "Default: application/json when `body` begins with `{` or `[`, and else text/plain.",
        ),
    ],
    rules: &[],
    synonyms: &[("type", "content_type"), ("text", "body"), ("json", "body")],
};
static REASONS: Choice =
    Choice { values: &["connect", "reset", "timeout", "breaker", "overload"], refused: &[] };
static REASON: Either =
    Either { options: &[Shape::Integer(100, 599), Shape::Choice(&REASONS)], expand: None };
static ON: List = List { of: Shape::Either(&REASON), nonempty: true, distinct: false };
const ON_KEY: Key = key(
    "on",
    Shape::List(&ON),
    "Statuses, or connect, reset, timeout, breaker, overload. Default: all of these, and 500, 502, 503, 504.",
);
const METHODS_KEY: Key =
    key("methods", Shape::List(&TEXTS), "For these methods only. Default: GET and HEAD.");
const ANSWER_KEY: Key = key("answer", Shape::Keys(&ANSWER), "Always this.");
const STALE_KEY: Key = key(
    "stale",
    DURATION,
    "The last good answer to the same request, if it is not older; never one to a request with credentials or cookies.",
);
const SKIP_KEY: Key = key("skip", Shape::True, "204, as if there were nothing to say.");

static EDGE_FALLBACK: Keys = Keys {
    id: "fallback",
    what: "the fallback",
    keys: &[ANSWER_KEY, STALE_KEY, SKIP_KEY, ON_KEY, METHODS_KEY],
    rules: &[Rule::ExactlyOne(&["answer", "stale", "skip"])],
    synonyms: &[],
};
static ROUTE_FALLBACK: Keys = Keys {
    id: "routeFallback",
    what: "the fallback",
    keys: &[
        key(
            "to",
            NAME,
            "Service or external to ask instead. With it, `on` is by default 404 and connect; statuses, reset and timeout count for GET, HEAD and OPTIONS only.",
        ),
        ANSWER_KEY,
        STALE_KEY,
        SKIP_KEY,
        ON_KEY,
        METHODS_KEY,
    ],
    rules: &[Rule::ExactlyOne(&["to", "answer", "stale", "skip"])],
    synonyms: &[],
};
static SHORT: Choice = Choice { values: &["stale", "skip"], refused: &[] };
static EDGE_FALLBACKS: Either =
    Either { options: &[Shape::Choice(&SHORT), Shape::Keys(&EDGE_FALLBACK)], expand: None };
static ROUTE_FALLBACKS: Either =
    Either { options: &[Shape::Choice(&SHORT), Shape::Keys(&ROUTE_FALLBACK)], expand: None };

const FALLBACK_DOC: &str = "What the caller gets when there is no good answer: \"stale\", \"skip\", or a table. Such an answer says so in x-archipel-fallback.";

pub(crate) const BREAKER_KEY: Key = key(
    "breaker",
    Shape::Keys(&BREAKER),
    "Stop calling a service that fails, and ask it again after a while. Default: never.",
);
pub(crate) const BULKHEAD_KEY: Key =
    key("bulkhead", Shape::Either(&BULKHEADS), "Requests in flight before new ones are refused.");
pub(crate) const HEDGE_KEY: Key = key(
    "hedge",
    Shape::Text(Format::Hedge),
    "Ask a second instance when the first takes longer than this, for example \"p95\" or \"200ms\": GET, HEAD and OPTIONS without a body, at most a tenth of the requests. Default: never.",
);
pub(crate) const PRIORITY_KEY: Key = key(
    "priority",
    Shape::Choice(&PRIORITIES),
    "Who is refused first when the service has too much to do: low before normal before critical. Default: normal; and while nothing that leads to a service has a priority, nobody is refused for it.",
);
pub(crate) const EDGE_FALLBACK_KEY: Key =
    key("fallback", Shape::Either(&EDGE_FALLBACKS), FALLBACK_DOC);
pub(crate) const ROUTE_FALLBACK_KEY: Key =
    key("fallback", Shape::Either(&ROUTE_FALLBACKS), FALLBACK_DOC);
