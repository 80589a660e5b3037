//! The keys by which the gateway lets requests in or not.

use super::format::Format;
use super::*;

static ONE_OR_MORE_TEXTS: Either = Either { options: &[TEXT, Shape::List(&TEXTS)], expand: None };
static ONE_OR_MORE_NAMES: Either = Either { options: &[NAME, Shape::List(&NAMES)], expand: None };
pub(super) const LIMIT_NAMES: Shape = Shape::Either(&ONE_OR_MORE_NAMES);

// ---- limits

static LIMIT: Keys = Keys {
    id: "limit",
    what: "a limit",
    keys: &[
        key("rate", Shape::Text(Format::Rate), "For example \"50/s\", \"10/m\" or \"1000/h\".")
            .required(),
        key(
            "burst",
            Shape::Integer(1, 1_000_000),
            "Requests allowed at once. Default: the number of `rate`.",
        ),
        key(
            "by",
            Shape::Either(&ONE_OR_MORE_TEXTS),
            "What is counted by: `ip` (of IPv6 the /64), `header:Name`, `key` (holder of an API key), `user` (of a token), `route`; or several of these together. Default ip.",
        ),
    ],
    rules: &[],
    synonyms: &[("limit", "rate"), ("requests", "rate"), ("key", "by"), ("per", "by")],
};
pub(super) static LIMITS: Names = Names { key: Format::Name, of: Shape::Keys(&LIMIT) };

// ---- auth

static ALGORITHM_CHOICE: Choice = Choice {
    values: &[
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "EdDSA",
    ],
    refused: &[(
        "none",
        Code::NotAChoice,
        "a token without a signature proves nothing; it is never accepted",
    )],
};
static ALGORITHMS: List =
    List { of: Shape::Choice(&ALGORITHM_CHOICE), nonempty: true, distinct: true };
static JWKS_SERVICE: Keys = Keys {
    id: "jwksService",
    what: "the place of the keys",
    keys: &[
        key("service", NAME, "Service of this application that has the keys.").required(),
        key("path", URL_PATH, "Default /.well-known/jwks.json."),
    ],
    rules: &[],
    synonyms: &[],
};
static JWKS: Either =
    Either { options: &[Shape::Text(Format::HttpUrl), Shape::Keys(&JWKS_SERVICE)], expand: None };
static CLAIMS: Names = Names { key: Format::NonEmpty, of: TEXT };
static JWT: Keys = Keys {
    id: "jwt",
    what: "the check of tokens",
    keys: &[
        key(
            "issuer",
            TEXT,
            "What `iss` must be. Without jwks, jwks_file and secret, its OpenID document says where the keys are.",
        ),
        key(
            "audience",
            Shape::Either(&ONE_OR_MORE_TEXTS),
            "What `aud` must be or hold; one of several.",
        ),
        key(
            "jwks",
            Shape::Either(&JWKS),
            "URL of the issuer's keys, or { service = \"…\", path = \"/…\" } for a service of this application.",
        ),
        key("jwks_file", TEXT, "File with the issuer's keys, relative to this file."),
        key("secret", NAME, "Secret that the issuer signs with, for HS256 and its like."),
        key(
            "algorithms",
            Shape::List(&ALGORITHMS),
            "Signatures that are accepted. Default: RS256, PS256, ES256, EdDSA; with `secret` HS256.",
        ),
        key("leeway", DURATION, "By how much clocks may differ. Default 30s."),
        key("claims", Shape::Names(&CLAIMS), "Values that further claims must have or hold."),
        key("scopes", Shape::List(&TEXTS), "Scopes that a token must have."),
        key("cookie", TEXT, "Cookie with the token, for requests without `Authorization`."),
        key(
            "forward",
            Shape::Names(&CLAIMS),
            "Claim to header: what the service is told, for example { sub = \"x-user-id\" }. Such headers from outside are removed.",
        ),
    ],
    rules: &[Rule::AtMostOne(&["jwks", "jwks_file", "secret"])],
    synonyms: &[
        ("iss", "issuer"),
        ("aud", "audience"),
        ("jwks_uri", "jwks"),
        ("jwks_url", "jwks"),
        ("algorithm", "algorithms"),
        ("alg", "algorithms"),
        ("required_claims", "claims"),
        ("scope", "scopes"),
    ],
};
static HOLDER: Keys = Keys {
    id: "credential",
    what: "a key or password",
    keys: &[key("secret", NAME, "Name of a secret declared in [secrets].").required()],
    rules: &[],
    synonyms: &[("value", "secret"), ("key", "secret"), ("password", "secret")],
};
static HOLDERS: Names = Names { key: Format::Name, of: Shape::Keys(&HOLDER) };
static AUTH_RULE: Keys = Keys {
    id: "auth",
    what: "an auth rule",
    keys: &[
        key("jwt", Shape::Keys(&JWT), "Tokens of an issuer (JWT, OpenID Connect)."),
        key(
            "keys",
            Shape::Names(&HOLDERS),
            "API keys by who holds them; in `Authorization: Bearer` or `ApiKey`, or in `header`.",
        ),
        key(
            "basic",
            Shape::Names(&HOLDERS),
            "HTTP Basic: passwords by user name, for internal pages.",
        ),
        key("header", TEXT, "Header that brings the API key, instead of `Authorization`."),
        key(
            "forward",
            TEXT,
            "Header that tells the service who it is. Such headers from outside are removed.",
        ),
    ],
    rules: &[Rule::ExactlyOne(&["jwt", "keys", "basic"])],
    synonyms: &[("oidc", "jwt"), ("api_keys", "keys"), ("users", "basic")],
};
pub(super) static AUTH: Names = Names { key: Format::Name, of: Shape::Keys(&AUTH_RULE) };

// ---- answers

static ORIGINS: List = List { of: TEXT, nonempty: true, distinct: true };
pub(super) static CORS: Keys = Keys {
    id: "cors",
    what: "the cross-origin rules",
    keys: &[
        key("origins", Shape::List(&ORIGINS), "For example \"https://shop.example.org\" or \"https://*.example.org\"; \"*\" for every origin.").required(),
        key("methods", Shape::List(&TEXTS), "Default: GET, HEAD, POST and the route's own."),
        key("headers", Shape::List(&TEXTS), "Request headers beyond those that need no permission; \"*\" for all."),
        key("expose", Shape::List(&TEXTS), "Response headers that pages may read."),
        key("credentials", Shape::Bool, "Let pages send cookies and the like. Default false."),
        key("max_age", DURATION, "How long a browser need not ask again. Default 10m."),
    ],
    rules: &[],
    synonyms: &[
        ("origin", "origins"), ("allow_origins", "origins"), ("allow_methods", "methods"),
        ("allow_headers", "headers"), ("expose_headers", "expose"), ("allow_credentials", "credentials"),
    ],
};
static STRICT: Choice = Choice { values: &["strict", "off"], refused: &[] };
static FRAMES: Choice = Choice { values: &["deny", "sameorigin", "off"], refused: &[] };
static SECURITY_KEYS: Keys = Keys {
    id: "securityHeaders",
    what: "the security headers",
    keys: &[
        key("nosniff", Shape::Bool, "x-content-type-options. Default true."),
        key(
            "referrer",
            TEXT,
            "referrer-policy, or \"off\". Default strict-origin-when-cross-origin.",
        ),
        key("frame", Shape::Choice(&FRAMES), "x-frame-options. Default sameorigin."),
        key("hsts", DURATION, "strict-transport-security, on TLS only; 0s for none. Default 365d."),
        key("csp", TEXT, "content-security-policy. Default none."),
    ],
    rules: &[],
    synonyms: &[
        ("content_security_policy", "csp"),
        ("frame_options", "frame"),
        ("referrer_policy", "referrer"),
    ],
};
pub(super) static SECURITY_HEADERS: Either =
    Either { options: &[Shape::Choice(&STRICT), Shape::Keys(&SECURITY_KEYS)], expand: None };
static HEADER_VALUES: Names = Names { key: Format::NonEmpty, of: ANY };
pub(super) static HEADER_CHANGES: Keys = Keys {
    id: "headerChanges",
    what: "the changes of headers",
    keys: &[
        key("set", Shape::Names(&HEADER_VALUES), "Headers with the value they get."),
        key("remove", Shape::List(&TEXTS), "Headers that are taken out."),
    ],
    rules: &[],
    synonyms: &[("add", "set"), ("delete", "remove"), ("unset", "remove")],
};

// ---- bots, log

pub(super) static BOTS: Keys = Keys {
    id: "bots",
    what: "the rules for bots",
    keys: &[
        key(
            "known",
            Shape::Bool,
            "Refuse tools that only look for weaknesses, by a list of our own. Default true.",
        ),
        key("deny", Shape::List(&TEXTS), "Parts of a User-Agent, without case, that are refused."),
        key(
            "allow",
            Shape::List(&TEXTS),
            "Parts of a User-Agent that are let in, whatever else holds.",
        ),
        key(
            "crawl",
            Shape::Text(Format::Rate),
            "Rate of each crawler that calls itself one, for example \"1/s\".",
        ),
        key("robots", TEXT, "The text of /robots.txt, answered by the gateway."),
    ],
    rules: &[],
    synonyms: &[("block", "deny"), ("crawl_rate", "crawl"), ("robots_txt", "robots")],
};
static LOG_FORMATS: Choice = Choice { values: &["json", "combined", "off"], refused: &[] };
static LOG_FORMAT: Choice = Choice { values: &["json", "combined"], refused: &[] };
static LOG_KEYS: Keys = Keys {
    id: "accessLog",
    what: "the access log",
    keys: &[
        key(
            "format",
            Shape::Choice(&LOG_FORMAT),
            "json: an object on each line. combined: as Apache and nginx write it. Default json.",
        ),
        key(
            "file",
            TEXT,
            "Relative to this file. Default .archipel/access.log beside the main file.",
        ),
        key("max", SIZE_TEXT, "The file and the one before it (`.1`) together. Default 256M."),
    ],
    rules: &[],
    synonyms: &[("path", "file")],
};
pub(super) static ACCESS_LOG: Either =
    Either { options: &[Shape::Choice(&LOG_FORMATS), Shape::Keys(&LOG_KEYS)], expand: None };
