//! The keys of the gateway.

use super::cache_keys::{GATEWAY_CACHE, ROUTE_CACHE};
use super::format::Format;
use super::guard_keys::*;
use super::safeguard_keys::*;
use super::*;

static SPLIT: Names = Names { key: Format::Name, of: Shape::Integer(0, 100) };
static MIRROR: Keys = Keys {
    id: "mirror",
    what: "the mirror",
    keys: &[
        key("to", NAME, "Service or external that gets a copy of the request.").required(),
        key("sample", Shape::Text(Format::Percent), "Share of requests. Default 100%."),
    ],
    rules: &[],
    synonyms: &[],
};
static CONDITION: Either = Either { options: &[TEXT, Shape::Bool], expand: None };
static CONDITIONS: Names = Names { key: Format::NonEmpty, of: Shape::Either(&CONDITION) };
static REDIRECT_TO: Keys = Keys {
    id: "redirect",
    what: "the redirect",
    keys: &[
        key("to", TEXT, "A path or an address; `{id}` and `{1}` take segments of `match`.")
            .required(),
        key("status", Shape::Integer(301, 308), "301, 302, 303, 307 or 308. Default 302."),
    ],
    rules: &[],
    synonyms: &[("url", "to"), ("code", "status")],
};
static REDIRECT: Either = Either { options: &[TEXT, Shape::Keys(&REDIRECT_TO)], expand: None };
static RESPOND: Keys = Keys {
    id: "respond",
    what: "the answer",
    keys: &[
        key("status", Shape::Integer(200, 599), "Its status.").required(),
        key("body", ANY, "Its text. Default: none."),
        key("type", TEXT, "Its content-type. Default text/plain; charset=utf-8."),
    ],
    rules: &[],
    synonyms: &[("code", "status"), ("text", "body"), ("content_type", "type")],
};
static COMPARE: Keys = Keys {
    id: "compare",
    what: "the comparison",
    keys: &[
        key("to", NAME, "Service or external that gets a copy of the request.").required(),
        key("sample", Shape::Text(Format::Percent), "Share of requests. Default 100%."),
        key(
            "ignore",
            Shape::List(&TEXTS),
            "What may differ: JSON pointers (`*` for every member or element), header:Name, body, status.",
        ),
    ],
    rules: &[],
    synonyms: &[],
};

static ROUTE: Keys = Keys {
    id: "route",
    what: "a route",
    keys: &[
        key(
            "match",
            TEXT,
            "`[METHOD ]/path`; `*` or `{name}` stands for one segment, a last `**` for the rest.",
        )
        .required(),
        key("host", TEXT, "Only requests to this host; `*.example.org` for every name below."),
        key("to", NAME, "Service or external that answers."),
        key("strip", URL_PATH, "Removed from the start of the path before it is forwarded."),
        key("timeout", DURATION, "Until the head of the response arrives."),
        key("connect", DURATION, "Until an instance accepts a connection. Default 2s."),
        key(
            "idle",
            DURATION,
            "A response of which nothing arrives for this long is cut. Default: never.",
        ),
        key("hold", DURATION, "As [gateway] hold, for this route."),
        key("max_body", Shape::Text(Format::Size), "Larger requests are refused with 413."),
        key("stream", Shape::Bool, "Never buffer.")
            .later_unless(Inert::Bool(true), "nothing is ever buffered"),
        key(
            "headers",
            Shape::Names(&CONDITIONS),
            "Only requests with these headers: a value, one that ends in `*` for its beginning, true for any, false for none.",
        ),
        key(
            "query",
            Shape::Names(&CONDITIONS),
            "Only requests with these parameters in the query; as `headers`.",
        ),
        key(
            "split",
            Shape::Names(&SPLIT),
            "Instead of `to`: services and externals, and their shares of a hundred requests.",
        ),
        key(
            "redirect",
            Shape::Either(&REDIRECT),
            "Instead of `to`: where to go; `{id}` and `{1}` take segments of `match`.",
        ),
        key("respond", Shape::Keys(&RESPOND), "Instead of `to`: always this answer."),
        ROUTE_FALLBACK_KEY,
        BREAKER_KEY,
        BULKHEAD_KEY,
        HEDGE_KEY,
        PRIORITY_KEY,
        key(
            "compare",
            Shape::Keys(&COMPARE),
            "Send a copy elsewhere and store the differences; GET and HEAD only.",
        ),
        key("mirror", Shape::Keys(&MIRROR), "Send a copy elsewhere and forget the answer."),
        key(
            "sticky",
            TEXT,
            "What keeps a visitor with one share of a split and with one instance: `cookie` or `header:Name`.",
        ),
        key(
            "rewrite",
            URL_PATH,
            "The path that is forwarded; `{id}` and `{1}` take segments of `match`.",
        ),
        key("auth", NAME, "Rule of [gateway.auth] that a request must pass."),
        key("scopes", Shape::List(&TEXTS), "Scopes that a token must have, on top of the rule's."),
        key("limit", LIMIT_NAMES, "Rule of [gateway.limits], or several."),
        key(
            "allow",
            Shape::List(&TEXTS),
            "Networks that may come in, for example \"10.0.0.0/8\". Default: all.",
        ),
        key("deny", Shape::List(&TEXTS), "Networks that may not; counts more than `allow`."),
        key(
            "request_headers",
            Shape::Keys(&HEADER_CHANGES),
            "Headers changed on the way to the service.",
        ),
        key("response_headers", Shape::Keys(&HEADER_CHANGES), "Headers changed on the way back."),
        key(
            "cors",
            Shape::Keys(&CORS),
            "Which pages of other origins may call this route. Default: as [gateway] cors says.",
        ),
        key(
            "cache",
            ROUTE_CACHE,
            "Keep answers and give them out again: a time, or a table. What an answer says of itself comes first.",
        ),
        key("compress", Shape::Bool, "As [gateway] compress, for this route."),
    ],
    rules: &[
        Rule::ExactlyOne(&["to", "split", "redirect", "respond"]),
        Rule::AtMostOne(&["strip", "rewrite"]),
    ],
    synonyms: &[
        ("path", "match"),
        ("service", "to"),
        ("target", "to"),
        ("backend", "to"),
        ("upstream", "to"),
        ("strip_prefix", "strip"),
        ("body_max", "max_body"),
        ("hosts", "host"),
        ("connect_timeout", "connect"),
        ("idle_timeout", "idle"),
    ],
};
static ROUTES: List = List { of: Shape::Keys(&ROUTE), nonempty: false, distinct: false };

static TLS_MODES: Choice = Choice { values: &["auto", "off"], refused: &[] };
static TLS_FILES: Keys = Keys {
    id: "tlsFiles",
    what: "the certificate",
    keys: &[
        key("cert", TEXT, "PEM file with the certificate chain.").required(),
        key("key", TEXT, "PEM file with the private key.").required(),
    ],
    rules: &[],
    synonyms: &[("certificate", "cert")],
};
static TLS: Either =
    Either { options: &[Shape::Choice(&TLS_MODES), Shape::Keys(&TLS_FILES)], expand: None };
static HOSTS: List = List { of: TEXT, nonempty: false, distinct: false };

const ROUTES_DOC: &str = "Which requests go where. The most specific wins, wherever it stands: exact host before wildcard, then the path from left to right, then a method.";
const AUTH_DOC: &str = "Rules by which requests are let in; a route names one.";
const LIMITS_DOC: &str = "How many requests there may be; routes, or the gateway, name them.";

pub(crate) static GATEWAY: Keys = Keys {
    id: "gateway",
    what: "the gateway",
    keys: &[
        key("listen", TEXT, "Address and port. Default 127.0.0.1:8080."),
        key("hosts", Shape::List(&HOSTS), "Names it answers to; `*.example.org` for every name below. Default: all."),
        key("tls", Shape::Either(&TLS), "auto: certificates by ACME, or a local authority for *.localhost. off: plain HTTP. Or a table with files.")
            .later_unless(Inert::Text("off"), "the gateway speaks plain HTTP"),
        key("auth", Shape::Names(&AUTH), AUTH_DOC),
        key("limits", Shape::Names(&LIMITS), LIMITS_DOC),
        key("routes", Shape::List(&ROUTES), ROUTES_DOC),
        key("hold", DURATION, "How long a request waits for a service that starts or restarts, instead of being refused; 0s turns that off. Default 5s."),
        key("limit", LIMIT_NAMES, "Rule of [gateway.limits] for every request, or several."),
        key("trusted", Shape::List(&TEXTS), "Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. Default: nobody's."),
        key("bots", Shape::Keys(&BOTS), "What is done with programs that say by their User-Agent what they are."),
        key("headers", Shape::Either(&SECURITY_HEADERS), "Security headers on every answer that does not have them: \"strict\", or a table that changes it. Default: none."),
        key("cors", Shape::Keys(&CORS), "Which pages of other origins may call routes without `cors` of their own."),
        key("max_body", SIZE_TEXT, "Larger requests are refused with 413, on routes that say nothing else. Default 100M; with gRPC none."),
        key("max_head", SIZE_TEXT, "Bytes that the head of a request may have. Default 64K."),
        key("max_headers", Shape::Integer(8, 1_000), "Header lines that a request may have. Default 100."),
        key("max_connections", COUNT, "Open connections of one address; more are closed at once. Default 4096, except from this machine and `trusted`."),
        key("reasons", Shape::Bool, "Say in refusals which rule refused, and what to do. Default true."),
        key("access_log", Shape::Either(&ACCESS_LOG), "A line for each request: \"json\" or \"combined\", or a table. Default: none."),
        key("cache", Shape::Keys(&GATEWAY_CACHE), "Of answers kept by routes with `cache`."),
        key("compress", Shape::Bool, "Encode text (br, zstd, gzip) for callers who can read that. Default false."),
    ],
    rules: &[],
    synonyms: &[("gzip", "compress"), ("compression", "compress"), ("route", "routes"), ("address", "listen"), ("bind", "listen"), ("port", "listen"), ("host", "hosts")],
};

/// In an included file: routes of one team, for the one gateway of the application.
pub(crate) static PART_GATEWAY: Keys = Keys {
    id: "partGateway",
    what: "the gateway in an included file",
    keys: &[
        key("auth", Shape::Names(&AUTH), AUTH_DOC),
        key("limits", Shape::Names(&LIMITS), LIMITS_DOC),
        key("routes", Shape::List(&ROUTES), ROUTES_DOC),
    ],
    rules: &[],
    synonyms: &[("route", "routes")],
};
