//! What a request path means, so that the gateway and the app cannot disagree on it.
//!
//! A route is a promise ("only this goes there"), and every way to write a path that the gateway
//! reads one way and an app another breaks it: `/public/%2e%2e/admin`, `//admin`,
//! `/public/..;/admin`, `/%61dmin`. So a path is matched in its decoded form, and a path with two
//! plausible readings is refused instead of guessed at. What is forwarded is what came in, byte
//! for byte.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The path as routes see it: decoded, without `;parameters`. Starts with `/`, has no empty
/// segment but perhaps the last, and no `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Canonical<'a>(Cow<'a, [u8]>);

impl Canonical<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a path, or says which rule it breaks.
pub(crate) fn read(path: &str) -> Result<Canonical<'_>, &'static str> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err("it does not start with `/`");
    }
    let plain = !bytes.iter().any(|b| matches!(b, b'%' | b';' | b'\\' | 0..=b' ' | 0x7f));
    let canonical = if plain { Cow::Borrowed(bytes) } else { Cow::Owned(decode(bytes)?) };
    check_segments(&canonical)?;
    Ok(Canonical(canonical))
}

fn decode(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(pair) if pair.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return Err("it has a `%` without two hexadecimal digits"),
        }
        if rest[at + 1..at + 3].eq_ignore_ascii_case(b"2f") {
            return Err("it has an encoded slash (`%2f`)");
        }
        rest = &rest[at + 3..];
    }
    // Parameters are cut before decoding: `%3b` is data, `;` is syntax.
    let mut bare = Vec::with_capacity(path.len());
    for (i, segment) in path.split(|b| *b == b'/').enumerate() {
        if i > 0 {
            bare.push(b'/');
        }
        bare.extend_from_slice(segment.split(|b| *b == b';').next().unwrap_or_default());
    }
    let decoded: Vec<u8> = percent_decode(&bare).collect();
    if decoded.iter().any(|b| matches!(b, b'\\' | 0..=0x1f | 0x7f)) {
        return Err("it has a backslash or a control character, plain or encoded");
    }
    Ok(decoded)
}

fn check_segments(path: &[u8]) -> Result<(), &'static str> {
    let mut segments = path[1..].split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            b"." | b".." => return Err("it has a `.` or `..` segment"),
            b"" if segments.peek().is_some() => return Err("it has an empty segment (`//`)"),
            _ => {}
        }
    }
    Ok(())
}

/// What is left of a raw path and query after its first `count` segments; always starts with `/`.
pub(crate) fn without_first(path_and_query: &str, count: usize) -> Cow<'_, str> {
    let end = path_and_query.find('?').unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(end);
    let mut rest = path;
    for _ in 0..count {
        let after = rest.strip_prefix('/').unwrap_or(rest);
        rest = after.find('/').map_or("", |slash| &after[slash..]);
    }
    match rest {
        "" => Cow::Owned(format!("/{query}")),
        _ => Cow::Borrowed(&path_and_query[path.len() - rest.len()..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expected: Option<&str>) {
        let read = read(path);
        let canonical = read.as_ref().ok().map(|c| std::str::from_utf8(c.bytes()).unwrap());
        assert_eq!(canonical, expected, "{path}: {read:?}");
    }

    #[test]
    fn one_meaning_or_none() {
        check("/", Some("/"));
        check("/a/b/", Some("/a/b/"));
        check("/%61dmin", Some("/admin"));
        check("/a;v=1/b;x", Some("/a/b"));
        check("/a%3bb", Some("/a;b"));
        check("/caf%C3%A9", Some("/café"));
        check("/a%20b/...", Some("/a b/..."));
        check("/a%252fb", Some("/a%2fb"));
        for bad in [
            "",
            "a",
            "*",
            "//",
            "/a//b",
            "/a/../b",
            "/a/..",
            "/.",
            "/a/./b",
            "/%2e%2E/x",
            "/a/.%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/a%00",
            "/a%0a",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a/..;/b",
            "/a/;x/b",
            "/a/%2e;y",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn stripping_keeps_the_rest_as_written() {
        for (path, count, expected) in [
            ("/api/products/1?x=/y", 1, "/products/1?x=/y"),
            ("/api", 1, "/"),
            ("/api?x=1", 1, "/?x=1"),
            ("/api/", 1, "/"),
            ("/%61pi/x%20y", 1, "/x%20y"),
            ("/a/b/c", 2, "/c"),
            ("/a", 3, "/"),
            ("/a/b", 0, "/a/b"),
        ] {
            assert_eq!(without_first(path, count), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_cannot_climb(path in "(/([a.%;\\\\]|%2e|%2f|%2E|\\.\\.|b){0,4}){1,6}") {
            if let Ok(canonical) = read(&path) {
                let text = canonical.bytes();
                prop_assert!(text.starts_with(b"/"));
                let segments: Vec<&[u8]> = text[1..].split(|b| *b == b'/').collect();
                prop_assert_eq!(segments.len(), path[1..].split('/').count());
                prop_assert!(segments.iter().all(|s| *s != b"." && *s != b".."));
                prop_assert!(!text.contains(&b'\\') && !text.contains(&0));
            }
        }
    }
}
