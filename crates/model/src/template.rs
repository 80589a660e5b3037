//! A path or address with holes that are filled from the path of a request.

use std::fmt;

use crate::{PathPattern, Segment};

/// `/v2/orders/{id}`, `/v2/{1}`, `https://www.example.org/{1}`: a hole is the name of a segment
/// of the pattern, or the number of one of its wildcards, counted from 1 and from the left.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The segment at this place of the path.
    Segment(usize),
    /// All segments from this place on.
    Rest(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be filled in: {reason}")]
pub struct TemplateError {
    pub text: String,
    pub reason: String,
}

impl Template {
    /// A new path: starts with `/`, has no query.
    ///
    /// # Errors
    /// [`TemplateError`] with what is wrong.
    pub fn path(text: &str, pattern: &PathPattern) -> Result<Self, TemplateError> {
        if text.contains(['?', '#']) {
            return Err(error(
                text,
                "a path has no query and no fragment; the query stays as it is",
            ));
        }
        if !text.starts_with('/') {
            return Err(error(text, "it starts with `/`"));
        }
        Self::read(text, pattern)
    }

    /// Where to go instead: a path, or an address with a fixed host.
    ///
    /// # Errors
    /// [`TemplateError`] with what is wrong.
    pub fn address(text: &str, pattern: &PathPattern) -> Result<Self, TemplateError> {
        let absolute = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        match absolute {
            Some(rest) => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if host.is_empty() || host.contains(['{', '}', '@', '\\']) {
                    return Err(error(text, "its host is fixed, without holes"));
                }
            }
            None if text.starts_with('/') && !text.starts_with("//") => {}
            None => return Err(error(text, "it starts with `/`, `http://` or `https://`")),
        }
        Self::read(text, pattern)
    }

    fn read(text: &str, pattern: &PathPattern) -> Result<Self, TemplateError> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(error(text, "it has spaces or characters beyond ASCII"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (fixed, after) = rest.split_at(open);
            let Some(close) = after.find('}') else {
                return Err(error(text, "a `{` is not closed"));
            };
            push_text(&mut pieces, fixed);
            pieces.push(hole(text, &after[1..close], pattern)?);
            rest = &after[close + 1..];
        }
        push_text(&mut pieces, rest);
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Filled from a path that matches the pattern, as it came in: nothing is decoded or encoded.
    pub fn fill(&self, path: &str) -> String {
        let segments = || path.strip_prefix('/').unwrap_or(path).split('/');
        let mut out = String::with_capacity(self.text.len() + path.len());
        for piece in &self.pieces {
            match piece {
                // What stood between may have been empty; `//` would mean another host.
                Piece::Text(text) if out.ends_with('/') => {
                    out.push_str(text.strip_prefix('/').unwrap_or(text));
                }
                Piece::Text(text) => out.push_str(text),
                Piece::Segment(at) => out.push_str(segments().nth(*at).unwrap_or_default()),
                Piece::Rest(from) => {
                    for (i, segment) in segments().skip(*from).enumerate() {
                        if i > 0 {
                            out.push('/');
                        }
                        out.push_str(segment);
                    }
                }
            }
        }
        out
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

fn hole(text: &str, name: &str, pattern: &PathPattern) -> Result<Piece, TemplateError> {
    let wild = |segment: &Segment| !matches!(segment, Segment::Literal(_));
    let places = pattern.segments().iter().enumerate().filter(|(_, segment)| wild(segment));
    let place = match name.parse::<usize>() {
        Ok(number) => {
            let count = places.clone().count();
            let place = number.checked_sub(1).and_then(|n| places.clone().nth(n));
            place.map(|(place, _)| place).ok_or_else(|| match count {
                0 => error(text, &format!("`{pattern}` has no wildcards")),
                1 => error(text, &format!("`{pattern}` has one wildcard, which is {{1}}")),
                count => error(text, &format!("`{pattern}` has wildcards {{1}} to {{{count}}}")),
            })?
        }
        Err(_) => pattern.place_of(name).ok_or_else(|| {
            error(text, &format!("no segment of `{pattern}` is called {{{name}}}"))
        })?,
    };
    Ok(match pattern.segments().get(place) {
        Some(Segment::Rest) => Piece::Rest(place),
        _ => Piece::Segment(place),
    })
}

fn error(text: &str, reason: &str) -> TemplateError {
    TemplateError { text: text.to_owned(), reason: reason.to_owned() }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, template: &str, path: &str, expected: &str) {
        let pattern = PathPattern::new(pattern).unwrap();
        assert!(pattern.matches(path), "{pattern} {path}");
        let filled = Template::address(template, &pattern).unwrap().fill(path);
        assert_eq!(filled, expected, "{pattern} {template}");
    }

    #[test]
    fn holes_are_filled_from_the_path_as_it_came() {
        check("/old/{id}", "/new/{id}/view", "/old/4%202", "/new/4%202/view");
        check("/a/*/b/*", "/{2}/{1}", "/a/x/b/y", "/y/x");
        check("/shop/**", "/{1}", "/shop/a/b;v=1/", "/a/b;v=1/");
        check("/shop/**", "/{1}", "/shop", "/");
        check("/shop/**", "/v2/{1}/x", "/shop", "/v2/x");
        check("/{a}/**", "https://x.org/{2}?from={a}", "/s/b/c", "https://x.org/b/c?from=s");
    }

    #[test]
    fn what_cannot_be_filled_is_refused() {
        let pattern = PathPattern::new("/a/{id}/**").unwrap();
        for bad in ["x", "/{0}", "/{3}", "/{name}", "/{id", "/a b", "/a?b"] {
            assert!(Template::path(bad, &pattern).is_err(), "{bad}");
        }
        for bad in ["//evil.org/{id}", "https://{id}/", "https://", "ftp://x", "http://u@x/"] {
            assert!(Template::address(bad, &pattern).is_err(), "{bad}");
        }
    }
}
