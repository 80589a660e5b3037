//! What happens to headers between one connection and the next.
//!
//! Three kinds must not simply pass: those that speak about the connection and not about the
//! message (RFC 9110, section 7.6.1), those by which a caller would claim an identity, and those
//! by which the outside would claim to be somebody else. Everything else goes through untouched.

use std::net::IpAddr;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Version};

pub(crate) const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");
pub(crate) const CALLER: HeaderName = HeaderName::from_static("dapr-caller-app-id");
pub(crate) const CALLEE: HeaderName = HeaderName::from_static("dapr-callee-app-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What we know of somebody outside.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    pub(crate) peer: HeaderValue,
    /// Came over TLS.
    pub(crate) secure: bool,
    /// Who the client is by its certificate.
    pub(crate) client: Option<HeaderValue>,
}

/// Which kinds of special headers a message has, found in one pass: asking the map for each of
/// two dozen names that are nearly never there would cost a fifth of the whole hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

const CONNECTION: u8 = 1;
const HOP: u8 = 2;
const TE: u8 = 4;
const IDENTITY: u8 = 8;
const FORWARDED: u8 = 16;
const EXPECT: u8 = 32;
const COOKIE: u8 = 64;
const DEADLINE: u8 = 128;

fn kind_of(name: &HeaderName) -> u8 {
    match name.as_str() {
        "connection" => CONNECTION,
        "te" => TE,
        "transfer-encoding"
        | "upgrade"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization" => HOP,
        "dapr-api-token"
        | "dapr-caller-app-id"
        | "dapr-caller-namespace"
        | "dapr-callee-app-id" => IDENTITY,
        "forwarded"
        | "x-forwarded-for"
        | "x-forwarded-proto"
        | "x-forwarded-host"
        | "x-forwarded-port"
        | "x-forwarded-prefix"
        | "x-forwarded-client-cert"
        | "x-real-ip" => FORWARDED,
        "expect" => EXPECT,
        "cookie" => COOKIE,
        "grpc-timeout" | "x-envoy-expected-rq-timeout-ms" => DEADLINE,
        name if name.as_bytes().contains(&b'_') => kind_of_underscored(name),
        _ => 0,
    }
}

/// CGI, WSGI and their like do not tell `X_Forwarded_For` from `X-Forwarded-For`: a claim that
/// may not be made in one spelling may not be made in the other either.
#[cold]
fn kind_of_underscored(name: &str) -> u8 {
    let name = name.replace('_', "-");
    if name == "content-length" {
        return HOP;
    }
    match HeaderName::try_from(name).map_or(0, |name| kind_of(&name)) {
        kind @ (HOP | IDENTITY | FORWARDED) => kind,
        _ => 0,
    }
}

impl Kinds {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |kinds, name| kinds | kind_of(name)))
    }

    /// The request says how long its sender will wait.
    pub(crate) fn has_deadline(self) -> bool {
        self.has(DEADLINE)
    }

    fn has(self, kind: u8) -> bool {
        self.0 & kind != 0
    }

    /// Removes all headers of a kind.
    fn remove(self, kind: u8, headers: &mut HeaderMap) {
        if self.has(kind) {
            let names: Vec<HeaderName> =
                headers.keys().filter(|name| kind_of(name) == kind).cloned().collect();
            for name in names {
                headers.remove(name);
            }
        }
    }
}

/// Removes what belongs to one connection. Returns the protocol that the sender asks to switch
/// to, when it does.
///
/// `TE: trailers` stays where `keep_trailers` says so: gRPC servers insist on it.
pub(crate) fn strip_hop(
    headers: &mut HeaderMap,
    kinds: Kinds,
    keep_trailers: bool,
) -> Option<HeaderValue> {
    let mut upgrade = None;
    if kinds.has(CONNECTION) {
        let connection: Vec<HeaderValue> =
            headers.get_all(header::CONNECTION).iter().cloned().collect();
        headers.remove(header::CONNECTION);
        for option in connection.iter().flat_map(options) {
            if option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close") {
                // By far the most common, and no header of the message; `HOP` has the other.
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                upgrade = headers.get(header::UPGRADE).cloned();
            } else if let Ok(name) = HeaderName::from_bytes(option)
                && !speaks_of_the_message(&name)
            {
                headers.remove(name);
            }
        }
    }
    kinds.remove(HOP, headers);
    if kinds.has(TE)
        && let Some(te) = headers.remove(header::TE)
        && keep_trailers
        && options(&te).any(|o| o.eq_ignore_ascii_case(b"trailers"))
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// The comma-separated words of one header line.
pub(crate) fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|o| !o.is_empty())
}

/// Naming one of these in `Connection` would change which message it is, not how it travels.
fn speaks_of_the_message(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::TE, header::TRAILER]
        .contains(name)
}

/// Removes what only we may say: who calls, who is called, and the token between us and an app;
/// and `Expect`, which is said anew where the app shall meet it.
pub(crate) fn strip_claims(headers: &mut HeaderMap, kinds: Kinds) {
    kinds.remove(IDENTITY, headers);
    kinds.remove(EXPECT, headers);
}

/// Replaces what the outside says about itself by what we know.
///
/// `Forwarded` (RFC 7239) is dropped rather than written anew: an app that reads it would have
/// two sources for one fact.
pub(crate) fn replace_forwarded(headers: &mut HeaderMap, kinds: Kinds, outside: Outside) {
    kinds.remove(FORWARDED, headers);
    headers.insert(FORWARDED_FOR, outside.peer);
    let proto = if outside.secure { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(client) = outside.client {
        headers.insert(CLIENT_CERT, client);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// An address as `X-Forwarded-For` has it.
pub(crate) fn peer_value(peer: IpAddr) -> HeaderValue {
    let text = peer.to_canonical().to_string();
    HeaderValue::try_from(text).expect("an IP address is ASCII without control characters")
}

/// HTTP/2 may split `Cookie` into crumbs; HTTP/1 has one line (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap, kinds: Kinds) {
    if !kinds.has(COOKIE) {
        return;
    }
    let crumbs: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Why a request must not be forwarded as it is framed, if so. hyper has read one message out of
/// it; this is about what others on the way may have read.
pub(crate) fn framing_fault(headers: &HeaderMap, version: Version) -> Option<&'static str> {
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Some("both `content-length` and `transfer-encoding`");
        }
        if headers.get_all(header::TRANSFER_ENCODING).iter().count() > 1
            || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
        {
            return Some("a `transfer-encoding` other than `chunked`");
        }
    }
    // Without any name that comes twice, as nearly always, there is nothing to count.
    let repeats = headers.keys_len() < headers.len();
    let twice = |name| repeats && headers.get_all(name).iter().count() > 1;
    if twice(header::CONTENT_LENGTH) {
        return Some("more than one `content-length`");
    }
    let length = headers.get(header::CONTENT_LENGTH).map_or(&b"0"[..], HeaderValue::as_bytes);
    if length.len() > 1 && length[0] == b'0' {
        return Some("a `content-length` with leading zeros, which some read as octal");
    }
    if headers.get(header::HOST).is_some_and(|host| !is_host(host.as_bytes())) {
        return Some("a `host` that is none");
    }
    if twice(header::HOST) {
        return Some("more than one `host`");
    }
    (version == Version::HTTP_11 && !headers.contains_key(header::HOST)).then_some("no `host`")
}

pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Whether this is a host with or without a port, and nothing that somebody would read as two
/// (RFC 3986, section 3.2, without the user).
pub(crate) fn is_host(authority: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(b);
    let (host, port) = match authority.strip_prefix(b"[") {
        Some(v6) => {
            let Some(end) = v6.iter().position(|b| *b == b']') else { return false };
            let address = |b: &u8| b.is_ascii_hexdigit() || b":.".contains(b);
            if !v6[..end].iter().all(address) {
                return false;
            }
            (&b""[..], &v6[end + 1..])
        }
        None => {
            authority.split_at(authority.iter().position(|b| *b == b':').unwrap_or(authority.len()))
        }
    };
    let port = port.strip_prefix(b":").unwrap_or(port);
    host.iter().all(plain) && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// The listener's port is an address, not a name worth passing on to a foreign system.
pub(crate) fn set_host(headers: &mut HeaderMap, authority: &HeaderValue) {
    headers.insert(header::HOST, authority.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &str) -> HeaderMap {
        let pair = |line: &str| {
            let (name, value) = line.trim().split_once(':').unwrap();
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value.trim()).unwrap(),
            )
        };
        lines.split('\n').filter(|l| !l.trim().is_empty()).map(pair).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn connection_headers_stay_on_their_connection() {
        let mut headers = map("connection: close, X-Mine, host, content-length
             connection: keep-alive
             keep-alive: timeout=5
             proxy-connection: keep-alive
             proxy-authorization: Basic x
             te: gzip, trailers
             transfer-encoding: chunked
             upgrade: h2c
             trailer: x-sum
             host: a
             content-length: 0
             x-mine: 1
             x-other: 2");
        let kinds = Kinds::of(&headers);
        assert_eq!(strip_hop(&mut headers, kinds, false), None);
        assert_eq!(names(&headers), ["content-length", "host", "trailer", "x-other"]);
    }

    #[test]
    fn trailers_and_upgrades_are_recognised() {
        let mut headers = map("te: trailers\nconnection: Upgrade\nupgrade: websocket");
        let kinds = Kinds::of(&headers);
        assert_eq!(strip_hop(&mut headers, kinds, true).unwrap(), "websocket");
        assert_eq!(names(&headers), ["te"]);
        let mut unasked = map("upgrade: websocket");
        let kinds = Kinds::of(&unasked);
        assert_eq!(strip_hop(&mut unasked, kinds, true), None);
        assert!(unasked.is_empty());
    }

    #[test]
    fn the_outside_cannot_say_who_it_is() {
        let mut headers = map("forwarded: for=1.2.3.4
             x-forwarded-for: 1.2.3.4
             x-forwarded-host: evil
             x-forwarded-proto: http
             x-forwarded-client-cert: By=me
             x-real-ip: 1.2.3.4
             dapr-api-token: guess
             dapr-caller-app-id: orders
             dapr-callee-app-id: x");
        headers.insert(header::HOST, HeaderValue::from_static("shop.local:8080"));
        let kinds = Kinds::of(&headers);
        strip_claims(&mut headers, kinds);
        let peer = peer_value("::ffff:10.0.0.9".parse().unwrap());
        let outside = Outside { peer, secure: true, client: None };
        replace_forwarded(&mut headers, kinds, outside);
        let left = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(names(&headers), left);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-host"], "shop.local:8080");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn cookies_become_one_line() {
        let mut headers = map("cookie: a=1\ncookie: b=2");
        let kinds = Kinds::of(&headers);
        join_cookies(&mut headers, kinds);
        assert_eq!(headers.get_all("cookie").iter().count(), 1);
        assert_eq!(headers["cookie"], "a=1; b=2");
    }

    #[test]
    fn doubtful_framing_is_named() {
        let check = |lines: &str, fault: bool| {
            assert_eq!(framing_fault(&map(lines), Version::HTTP_11).is_some(), fault, "{lines}");
        };
        check("host: a\ncontent-length: 3", false);
        check("host: a\ncontent-length: 03", true);
        for host in ["a.test", "a.test:80", "[::1]:8080", "a_b", ""] {
            check(&format!("host: {host}"), false);
        }
        for host in ["b@a", "a:x", "a:1:2", "a, b", "a/b", "[::1", "[::1]x", "a b", "a:123456"] {
            check(&format!("host: {host}"), true);
        }
        check("host: a\ntransfer-encoding: chunked", false);
        check("host: a\ntransfer-encoding: gzip, chunked", true);
        check("host: a\ntransfer-encoding: chunked\ntransfer-encoding: chunked", true);
        check("host: a\ntransfer-encoding: chunked\ncontent-length: 3", true);
        check("host: a\nhost: b", true);
        check("x: y", true);
    }
}
