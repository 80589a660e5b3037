//! The public entrance: which request goes to which service.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Bytes, Guard, Lead, RouteGuard, Safeguards, Steer};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Gateway {
    pub listen: SocketAddr,
    /// Empty: every `Host` is served.
    pub hosts: Vec<String>,
    pub routes: Vec<Route>,
    pub guard: Guard,
    /// Of all stored answers together.
    pub cache_max: Bytes,
}

impl Gateway {
    pub const CACHE_MAX_DEFAULT: Bytes = Bytes(64 << 20);
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Route {
    /// Exact, or `*.example.org`; `None`: every host the gateway serves.
    pub host: Option<String>,
    /// Upper case; `None`: every method.
    pub method: Option<String>,
    pub path: PathPattern,
    pub to: Lead,
    /// Removed from the start of the path before it is forwarded.
    pub strip: Option<String>,
    pub timeout: Option<Duration>,
    /// As in [`EdgePolicy`](crate::EdgePolicy).
    pub connect: Option<Duration>,
    pub idle: Option<Duration>,
    /// How long a request waits for a service that (re)starts; `None`: it is refused at once.
    pub hold: Option<Duration>,
    pub body_max: Option<Bytes>,
    pub steer: Steer,
    pub safeguards: Safeguards,
    pub guard: RouteGuard,
    pub cache: Option<RouteCache>,
    /// Text is encoded for callers who can read that.
    pub compress: bool,
}

/// Which answers of a route are kept and given out again.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RouteCache {
    /// For answers that do not say it themselves; `None`: those are not kept.
    pub ttl: Option<Duration>,
    /// How long beyond its time an answer is given out while a newer one is fetched.
    pub stale_while_revalidate: Option<Duration>,
    /// How long beyond its time it is given out when the service fails.
    pub stale_if_error: Option<Duration>,
    /// Headers of the request that answers depend on, beside those that `Vary` names.
    pub vary: Vec<String>,
    /// Cookies that answers depend on, the only ones that the service sees. `None`: nobody has
    /// said, so requests with cookies are taken to be about their sender.
    pub cookies: Option<Vec<String>>,
    /// Larger answers are not kept.
    pub object_max: Option<Bytes>,
}

impl RouteCache {
    pub const OBJECT_MAX_DEFAULT: Bytes = Bytes(1 << 20);

    pub fn object_max(&self) -> Bytes {
        self.object_max.unwrap_or(Self::OBJECT_MAX_DEFAULT)
    }
}

/// `/a/*/b` with `*` for one segment, `/a/**` for the rest (also `/a` itself); `{id}` is a `*`
/// with a name.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
    /// Named segments and their places.
    names: Vec<(String, usize)>,
}

/// Ordered so that the more specific kind comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    Literal(String),
    One,
    Rest,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path pattern: {rule}")]
pub struct PathPatternError {
    pub text: String,
    pub rule: &'static str,
}

impl PathPattern {
    /// # Errors
    /// [`PathPatternError`] with the rule that `text` breaks.
    pub fn new(text: &str) -> Result<Self, PathPatternError> {
        let error = |rule| PathPatternError { text: text.to_owned(), rule };
        let Some(rest) = text.strip_prefix('/') else {
            return Err(error("it starts with `/`"));
        };
        if text.contains(['?', '#', ' '])
            || !text.is_ascii()
            || text.bytes().any(|b| b.is_ascii_control())
        {
            return Err(error("it is a plain path: no query, no fragment, no spaces, ASCII only"));
        }
        let words: Vec<&str> = if rest.is_empty() { vec![] } else { rest.split('/').collect() };
        let mut segments = Vec::with_capacity(words.len());
        let mut names: Vec<(String, usize)> = Vec::new();
        for (i, word) in words.iter().enumerate() {
            segments.push(match *word {
                "*" => Segment::One,
                "**" if i + 1 == words.len() => Segment::Rest,
                "**" => return Err(error("`**` stands only at the end")),
                "." | ".." => return Err(error("it has no `.` or `..` segments")),
                word if word.contains('*') => {
                    return Err(error("`*` stands for a whole segment"));
                }
                word if word.contains(['{', '}']) => {
                    let name = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
                    let name = name.filter(|name| is_segment_name(name)).ok_or_else(|| {
                        error("`{name}` stands for a whole segment; letters, digits and `_`")
                    })?;
                    if names.iter().any(|(other, _)| other == name) {
                        return Err(error("two segments have the same name"));
                    }
                    names.push((name.to_owned(), i));
                    Segment::One
                }
                word => Segment::Literal(word.to_owned()),
            });
        }
        Ok(Self { text: text.to_owned(), segments, names })
    }

    /// The place of the segment called `name`.
    pub fn place_of(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(other, _)| other == name).map(|(_, place)| *place)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub fn matches(&self, path: &str) -> bool {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let mut words = rest.split('/').peekable();
        if rest.is_empty() {
            words.next();
        }
        for segment in &self.segments {
            match (segment, words.next()) {
                (Segment::Rest, _) => return true,
                (Segment::One, Some(word)) if !word.is_empty() => {}
                (Segment::Literal(literal), Some(word)) if literal == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }
}

fn is_segment_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_segment() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(
                PathPattern::new(pattern).unwrap().matches(path),
                expected,
                "{pattern} {path}"
            );
        };
        check("/", "/", true);
        check("/", "/a", false);
        check("/**", "/", true);
        check("/**", "/a/b", true);
        check("/a/**", "/a", true);
        check("/a/**", "/a/", true);
        check("/a/**", "/ab", false);
        check("/a/*/b", "/a/x/b", true);
        check("/a/*/b", "/a//b", false);
        check("/a/*/b", "/a/x/y/b", false);
        check("/a", "/a/", false);
        check("/a/{id}/b", "/a/x/b", true);
        check("/a/{id}/b", "/a//b", false);
        for bad in [
            "", "a", "/a/**/b", "/a*b", "/a?x", "/../a", "/a b", "/{}", "/{1}", "/a{id}",
            "/{a}/{a}",
        ] {
            assert!(PathPattern::new(bad).is_err(), "{bad}");
        }
    }
}
