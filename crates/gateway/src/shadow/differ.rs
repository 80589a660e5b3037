//! Where two answers differ, and how to say so without telling secrets.
//!
//! JSON is compared by meaning: the order of members, spaces and the spelling of numbers do not
//! count. Anything else is compared byte by byte.

use http::header;
use serde_json::Value;

use super::compare::{HEADERS, Heard};
use super::report::Difference;

/// Places named of one pair of answers.
const PLACES_MAX: usize = 20;
const VALUE_CHARS_MAX: usize = 60;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    pub(super) list: Vec<Difference>,
    pub(super) more: bool,
}

/// `None`: they cannot be compared, because one is compressed. `ignore`: pointers and
/// `header:<name>`; what is below them does not count either.
pub(super) fn differences(main: &Heard, other: &Heard, ignore: &[String]) -> Option<Differences> {
    let coding = |heard: &Heard| heard.headers.get(header::CONTENT_ENCODING).cloned();
    let coded = coding(main).is_some() || coding(other).is_some();
    if coded && (coding(main) != coding(other) || main.body != other.body) {
        return None;
    }
    let mut found = Finding { ignore, at: Vec::new(), found: Differences::default() };
    if main.status != other.status {
        found.note("status", main.status.as_str().to_owned(), other.status.as_str().to_owned());
    }
    for name in &HEADERS {
        let value = |heard: &Heard| {
            let value = heard.headers.get(name)?.to_str().ok()?;
            // Only the kind counts, not how it is spelt.
            let kind = name == header::CONTENT_TYPE;
            Some(if kind { essence(value) } else { value.to_owned() })
        };
        let (a, b) = (value(main), value(other));
        if a != b {
            let show =
                |value: Option<String>| value.map_or_else(absent, |value| conceal("", &value));
            found.note(&format!("header:{name}"), show(a), show(b));
        }
    }
    found.bodies(main, other);
    Some(found.found)
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

struct Finding<'a> {
    ignore: &'a [String],
    /// The names down to where we are.
    at: Vec<String>,
    found: Differences,
}

impl Finding<'_> {
    fn bodies(&mut self, main: &Heard, other: &Heard) {
        if main.body == other.body {
            return;
        }
        if let (Some(a), Some(b)) = (json(main), json(other)) {
            return self.values(Some(&a), Some(&b));
        }
        let same = main.body.iter().zip(&other.body).take_while(|(a, b)| a == b).count();
        let show = |heard: &Heard| format!("{} bytes", heard.body.len());
        let at = format!("body (from byte {same})");
        if !self.ignore.iter().any(|ignored| ignored == "body") {
            self.note(&at, show(main), show(other));
        }
    }

    /// The depth is bounded by the parser, which refuses more than 128 levels.
    fn values(&mut self, a: Option<&Value>, b: Option<&Value>) {
        if self.found.more || self.is_ignored() {
            return;
        }
        match (a, b) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let only_b = b.keys().filter(|key| !a.contains_key(*key));
                for key in a.keys().chain(only_b) {
                    self.at.push(key.clone());
                    self.values(a.get(key), b.get(key));
                    self.at.pop();
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                for i in 0..a.len().max(b.len()) {
                    self.at.push(i.to_string());
                    self.values(a.get(i), b.get(i));
                    self.at.pop();
                }
            }
            (Some(a), Some(b)) if same(a, b) => {}
            (a, b) => {
                let name = self.at.iter().rev().find(|name| name.parse::<usize>().is_err());
                let name = name.cloned().unwrap_or_default();
                let show = |value: Option<&Value>| value.map_or_else(absent, |v| show(&name, v));
                self.note(&self.pointer(), show(a), show(b));
            }
        }
    }

    fn pointer(&self) -> String {
        let escape = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let pointer: String = self.at.iter().map(escape).collect();
        if pointer.is_empty() { "(root)".to_owned() } else { pointer }
    }

    fn is_ignored(&self) -> bool {
        self.ignore.iter().filter_map(|ignored| ignored.strip_prefix('/')).any(|ignored| {
            let mut words = ignored.split('/');
            let mut names = self.at.iter();
            loop {
                match (words.next(), names.next()) {
                    (None, None) => return true,
                    (Some("*"), Some(_)) => {}
                    (Some(word), Some(name)) if unescape(word) == *name => {}
                    _ => return false,
                }
            }
        })
    }

    fn note(&mut self, at: &str, main: String, other: String) {
        if self.ignore.iter().any(|ignored| ignored == at) {
            return;
        }
        if self.found.list.len() == PLACES_MAX {
            self.found.more = true;
            return;
        }
        self.found.list.push(Difference { at: shorten(at, 200), main, other });
    }
}

fn unescape(word: &str) -> String {
    word.replace("~1", "/").replace("~0", "~")
}

fn absent() -> String {
    "(absent)".to_owned()
}

fn json(heard: &Heard) -> Option<Value> {
    let kind = essence(heard.headers.get(header::CONTENT_TYPE)?.to_str().ok()?);
    if kind != "application/json" && !kind.ends_with("+json") {
        return None;
    }
    serde_json::from_slice(&heard.body).ok()
}

/// `1`, `1.0` and `1e0` are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let whole = |n: &serde_json::Number| n.is_i64() || n.is_u64();
            a == b || (!(whole(a) && whole(b)) && a.as_f64() == b.as_f64())
        }
        (a, b) => a == b,
    }
}

fn show(name: &str, value: &Value) -> String {
    match value {
        Value::Object(members) => format!("{{{} members}}", members.len()),
        Value::Array(elements) => format!("[{} elements]", elements.len()),
        Value::String(text) => conceal(name, text),
        Value::Number(_) if is_private(name) => hidden("number"),
        value => value.to_string(),
    }
}

/// A text, unless its name or its looks say that it is nobody else's business.
fn conceal(name: &str, text: &str) -> String {
    if is_private(name) || looks_private(text) {
        return hidden(&format!("{} characters", text.chars().count()));
    }
    Value::from(shorten(text, VALUE_CHARS_MAX)).to_string()
}

fn hidden(what: &str) -> String {
    format!("(hidden, {what})")
}

/// Parts of names under which credentials and personal data are kept.
const PRIVATE: [&str; 26] = [
    "address",
    "auth",
    "birth",
    "card",
    "cookie",
    "credential",
    "cvc",
    "cvv",
    "email",
    "firstname",
    "fullname",
    "iban",
    "key",
    "lastname",
    "mail",
    "passwd",
    "password",
    "phone",
    "postcode",
    "secret",
    "session",
    "signature",
    "ssn",
    "street",
    "token",
    "zip",
];

fn is_private(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    PRIVATE.iter().any(|part| plain.contains(part))
}

/// A mail address, a card number, a token, a link with parameters.
fn looks_private(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let plain_number = text.bytes().all(|b| b.is_ascii_digit() || b" -+().".contains(&b));
    let is_token = text.len() >= 20
        && !text.contains([' ', '/'])
        && digits >= 1
        && text.bytes().any(|b| b.is_ascii_uppercase())
        && text.bytes().any(|b| b.is_ascii_lowercase());
    let has_query = text.contains("://") && text.contains('?');
    text.contains('@') || (plain_number && digits >= 9) || is_token || has_query
}

pub(super) fn shorten(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut short: String =
        chars.by_ref().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use proptest::prelude::*;

    fn heard(status: u16, content_type: &str, body: &str) -> Heard {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        Heard { status, headers, body: Bytes::from(body.to_owned()) }
    }

    fn check(main: &str, other: &str, ignore: &[&str], expected: &[(&str, &str, &str)]) {
        let ignore: Vec<String> = ignore.iter().map(|s| (*s).to_owned()).collect();
        let (a, b) = (
            heard(200, "application/json", main),
            heard(200, "Application/JSON; charset=utf-8", other),
        );
        let found = differences(&a, &b, &ignore).unwrap();
        let found: Vec<(&str, &str, &str)> =
            found.list.iter().map(|d| (d.at.as_str(), d.main.as_str(), d.other.as_str())).collect();
        assert_eq!(found, expected, "{main} {other}");
    }

    #[test]
    fn json_is_compared_by_meaning() {
        check(r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1.0, 2e0], "a": 1 }"#, &[], &[]);
        check(
            r#"{"a":{"x":1,"y":null},"b":[1]}"#,
            r#"{"a":{"x":"1"},"b":[1,{"c":2}]}"#,
            &[],
            &[
                ("/a/x", "1", "\"1\""),
                ("/a/y", "null", "(absent)"),
                ("/b/1", "(absent)", "{1 members}"),
            ],
        );
        check(r#"{"a/b":{"c~d":1}}"#, r#"{"a/b":{"c~d":2}}"#, &[], &[("/a~1b/c~0d", "1", "2")]);
        check("[1]", "{}", &[], &[("(root)", "[1 elements]", "{0 members}")]);
    }

    #[test]
    fn what_is_ignored_is_ignored_with_all_below() {
        let (a, b) = (
            r#"{"at":1,"items":[{"at":1,"n":1},{"at":2,"n":2}]}"#,
            r#"{"at":{"s":2},"items":[{"at":3,"n":1},{"n":3}]}"#,
        );
        check(a, b, &["/at", "/items/*/at"], &[("/items/1/n", "2", "3")]);
        check(a, b, &["/at", "/items"], &[]);
    }

    #[test]
    fn status_kind_and_bytes_count() {
        let found =
            differences(&heard(200, "text/html", "abc"), &heard(404, "text/plain", "abd!"), &[]);
        let found = found.unwrap().list;
        let at: Vec<&str> = found.iter().map(|d| d.at.as_str()).collect();
        assert_eq!(at, ["status", "header:content-type", "body (from byte 2)"]);
        let ignore = ["header:content-type".to_owned(), "body".to_owned(), "status".to_owned()];
        let none =
            differences(&heard(200, "text/html", "abc"), &heard(404, "text/plain", "x"), &ignore);
        assert_eq!(none, Some(Differences::default()));
        let mut packed = heard(200, "text/html", "x");
        packed.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(differences(&packed, &heard(200, "text/html", "abc"), &[]), None);
    }

    #[test]
    fn private_values_are_not_told() {
        for (name, text) in [
            ("email", "x"),
            ("contactPhone", "1"),
            ("access_token", "t"),
            ("note", "write to ada@example.org"),
            ("n", "4111 1111 1111 1111"),
            ("n", "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0"),
            ("link", "https://x.org/reset?code=1"),
        ] {
            let shown = conceal(name, text);
            assert!(shown.starts_with("(hidden, "), "{name} {text}: {shown}");
        }
        assert_eq!(conceal("title", "A lamp"), "\"A lamp\"");
        assert_eq!(conceal("title", &"x".repeat(100)).chars().count(), 63);
        assert_eq!(
            conceal("id", "prd_0000000000000000000000000000a1b2"),
            "\"prd_0000000000000000000000000000a1b2\""
        );
    }

    #[test]
    fn a_report_stays_short() {
        let list = |n: usize| {
            format!("[{}]", (0..100).map(|i| (i * n).to_string()).collect::<Vec<_>>().join(","))
        };
        let (a, b) =
            (heard(200, "application/json", &list(1)), heard(200, "application/json", &list(2)));
        let found = differences(&a, &b, &[]).unwrap();
        assert!(found.more && found.list.len() == PLACES_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_compared(a: Vec<u8>, b: Vec<u8>, json: bool) {
            let kind = if json { "application/json" } else { "text/plain" };
            let mut one = heard(200, kind, "");
            let mut two = heard(200, kind, "");
            (one.body, two.body) = (a.clone().into(), b.clone().into());
            let found = differences(&one, &two, &[]).unwrap();
            prop_assert!(a != b || found.list.is_empty());
        }
    }
}
