//! Which route a request takes: a tree by path segment, one tree per host.
//!
//! The most specific route wins, whatever their order in the file: an exact host before
//! `*.suffix` (the longest first) before any host; then segment by segment a literal before `*`
//! before `**`; then a method before every method. The cost depends on the length of the path
//! and of the host name, not on the number of routes.
//!
//! Generic over what a route leads to, so that the rules are tested without a socket.

pub(crate) mod path;

use std::borrow::Cow;
use std::collections::HashMap;

use archipel_model::{PathPattern, Segment};
use http::Method;

use crate::route::path::Canonical;

pub(crate) struct Rule<T> {
    pub(crate) host: Option<String>,
    pub(crate) method: Option<Method>,
    pub(crate) path: PathPattern,
    pub(crate) target: T,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a, T> {
    Target(&'a T),
    /// The path exists; these methods would have matched.
    WrongMethod(Vec<&'a str>),
    NoRoute,
    /// Not a host that this gateway serves.
    HostUnknown,
}

pub(crate) struct Router<T> {
    /// Empty: every host is served.
    exact: HashMap<Box<str>, Tree>,
    /// Keyed without the `*`: `.example.org`.
    suffix: HashMap<Box<str>, Tree>,
    any: Tree,
    every_host: bool,
    targets: Vec<T>,
}

/// Positions in `Router::targets`.
#[derive(Default)]
struct Tree {
    /// Sorted by name.
    literals: Vec<(Box<[u8]>, Tree)>,
    one: Option<Box<Tree>>,
    here: Methods,
    rest: Methods,
}

#[derive(Default)]
struct Methods {
    named: Vec<(Method, usize)>,
    every: Option<usize>,
}

impl<T> Router<T> {
    pub(crate) fn new(hosts: &[String], rules: Vec<Rule<T>>) -> Self {
        let mut router = Self {
            exact: HashMap::new(),
            suffix: HashMap::new(),
            any: Tree::default(),
            every_host: hosts.is_empty(),
            targets: Vec::with_capacity(rules.len()),
        };
        for host in hosts {
            router.tree_of(Some(host));
        }
        for Rule { host, method, path, target } in rules {
            let at = router.targets.len();
            router.targets.push(target);
            router.tree_of(host.as_deref()).insert(path.segments(), method, at);
        }
        router
    }

    fn tree_of(&mut self, host: Option<&str>) -> &mut Tree {
        match host.map(str::to_ascii_lowercase).as_deref() {
            None => &mut self.any,
            Some(host) => match host.strip_prefix('*') {
                Some(suffix) => self.suffix.entry(suffix.into()).or_default(),
                None => self.exact.entry(host.into()).or_default(),
            },
        }
    }

    /// `host` as [`canonical_host`] gives it.
    pub(crate) fn find(&self, host: &str, method: &Method, path: &Canonical<'_>) -> Found<'_, T> {
        let rest = match path.bytes() {
            [b'/'] | [] => None,
            path => Some(&path[1..]),
        };
        let mut allow = Vec::new();
        let mut known = self.every_host;
        let suffixes = host.match_indices('.').filter_map(|(dot, _)| self.suffix.get(&host[dot..]));
        for tree in self.exact.get(host).into_iter().chain(suffixes) {
            known = true;
            if let Some(at) = tree.find(rest, method, &mut allow) {
                return Found::Target(&self.targets[at]);
            }
        }
        if !known {
            return Found::HostUnknown;
        }
        match self.any.find(rest, method, &mut allow) {
            Some(at) => Found::Target(&self.targets[at]),
            None if allow.is_empty() => Found::NoRoute,
            None => {
                allow.sort_unstable();
                allow.dedup();
                Found::WrongMethod(allow)
            }
        }
    }
}

impl Tree {
    fn insert(&mut self, segments: &[Segment], method: Option<Method>, at: usize) {
        let mut tree = self;
        for segment in segments {
            tree = match segment {
                Segment::Literal(name) => {
                    let name = name.as_bytes();
                    let place = tree.literals.binary_search_by(|(other, _)| (**other).cmp(name));
                    let place = place.unwrap_or_else(|place| {
                        tree.literals.insert(place, (name.into(), Tree::default()));
                        place
                    });
                    &mut tree.literals[place].1
                }
                Segment::One => tree.one.get_or_insert_default(),
                Segment::Rest => return tree.rest.insert(method, at),
            };
        }
        tree.here.insert(method, at);
    }

    /// `rest`: what follows the slash after this node, or `None` at the end of the path.
    fn find<'a>(
        &'a self,
        rest: Option<&[u8]>,
        method: &Method,
        allow: &mut Vec<&'a str>,
    ) -> Option<usize> {
        let Some(rest) = rest else {
            return self.here.find(method, allow).or_else(|| self.rest.find(method, allow));
        };
        let (word, tail) = match rest.iter().position(|b| *b == b'/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        if let Ok(place) = self.literals.binary_search_by(|(name, _)| (**name).cmp(word))
            && let Some(at) = self.literals[place].1.find(tail, method, allow)
        {
            return Some(at);
        }
        if !word.is_empty()
            && let Some(one) = &self.one
            && let Some(at) = one.find(tail, method, allow)
        {
            return Some(at);
        }
        self.rest.find(method, allow)
    }
}

impl Methods {
    /// Of two rules that say the same, the first holds.
    fn insert(&mut self, method: Option<Method>, at: usize) {
        match method {
            None => {
                self.every.get_or_insert(at);
            }
            Some(method) if self.named.iter().all(|(other, _)| *other != method) => {
                self.named.push((method, at));
            }
            Some(_) => {}
        }
    }

    fn find<'a>(&'a self, method: &Method, allow: &mut Vec<&'a str>) -> Option<usize> {
        let named = |wanted: &Method| self.named.iter().find(|(m, _)| m == wanted).map(|n| n.1);
        // HEAD is GET without the body (RFC 9110, section 9.3.2).
        let head = || if *method == Method::HEAD { named(&Method::GET) } else { None };
        let found = named(method).or_else(head).or(self.every);
        if found.is_none() {
            allow.extend(self.named.iter().map(|(m, _)| m.as_str()));
        }
        found
    }
}

/// A host as routes name it: without port and final dot, in lower case.
pub(crate) fn canonical_host(authority: &str) -> Cow<'_, str> {
    let find = |byte: u8| authority.bytes().position(|b| b == byte);
    let authority = find(b'@').map_or(authority, |at| &authority[at + 1..]);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => &authority[..authority.bytes().position(|b| b == b':').unwrap_or(authority.len())],
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

#[cfg(test)]
mod tests;
