//! Which route a request takes: a tree by path segment, one tree per host.
//!
//! The most specific route wins, whatever their order in the file: an exact host before
//! `*.suffix` (the longest first) before any host; then segment by segment a literal before `*`
//! before `**`; then a method before every method; then more conditions on headers and query
//! before fewer. A route that does not take the request leaves it to the next. The cost depends
//! on the length of the path and of the host name, not on the number of routes.
//!
//! Generic over what a route leads to, so that the rules are tested without a socket.

pub(crate) mod condition;
mod literals;
pub(crate) mod own;
pub(crate) mod path;
pub(crate) mod split;
pub(crate) mod steer;
pub(crate) mod sticky;

use std::borrow::Cow;
use std::collections::HashMap;

use archipel_model::{PathPattern, Segment};
use http::Method;

use crate::route::literals::Literals;
use crate::route::path::Canonical;

pub(crate) struct Rule<T> {
    pub(crate) host: Option<String>,
    pub(crate) method: Option<Method>,
    pub(crate) path: PathPattern,
    /// How many; whether they hold is for the one who searches to say.
    pub(crate) conditions: usize,
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
    literals: Literals,
    one: Option<Box<Tree>>,
    here: Methods,
    rest: Methods,
}

#[derive(Default)]
struct Methods {
    named: Vec<(Method, Place)>,
    every: Vec<Place>,
}

/// Of several at one node, those with more conditions come first.
#[derive(Clone, Copy)]
struct Place {
    conditions: usize,
    at: usize,
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
        for Rule { host, method, path, conditions, target } in rules {
            let place = Place { conditions, at: router.targets.len() };
            router.targets.push(target);
            router.tree_of(host.as_deref()).insert(path.segments(), method, place);
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

    /// `host` as [`canonical_host`] gives it; `fits`: whether a target's conditions hold.
    pub(crate) fn find(
        &self,
        host: &str,
        method: &Method,
        path: &Canonical<'_>,
        fits: impl Fn(&T) -> bool,
    ) -> Found<'_, T> {
        let wanted = Wanted { method, fits: |at: usize| fits(&self.targets[at]) };
        let rest = match path.bytes() {
            [b'/'] | [] => None,
            path => Some(&path[1..]),
        };
        let mut allow = Vec::new();
        let mut known = self.every_host;
        let suffixes = host.match_indices('.').filter_map(|(dot, _)| self.suffix.get(&host[dot..]));
        for tree in self.exact.get(host).into_iter().chain(suffixes) {
            known = true;
            if let Some(at) = tree.find(rest, &wanted, &mut allow) {
                return Found::Target(&self.targets[at]);
            }
        }
        if !known {
            return Found::HostUnknown;
        }
        match self.any.find(rest, &wanted, &mut allow) {
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

/// What a request asks of a node.
struct Wanted<'a, F> {
    method: &'a Method,
    fits: F,
}

impl Tree {
    fn insert(&mut self, segments: &[Segment], method: Option<Method>, place: Place) {
        let mut tree = self;
        for segment in segments {
            tree = match segment {
                Segment::Literal(name) => tree.literals.get_or_insert(name.as_bytes()),
                Segment::One => tree.one.get_or_insert_default(),
                Segment::Rest => return tree.rest.insert(method, place),
            };
        }
        tree.here.insert(method, place);
    }

    /// `rest`: what follows the slash after this node, or `None` at the end of the path.
    fn find<'a, F: Fn(usize) -> bool>(
        &'a self,
        rest: Option<&[u8]>,
        wanted: &Wanted<'_, F>,
        allow: &mut Vec<&'a str>,
    ) -> Option<usize> {
        #[cfg(test)]
        tests::visit();
        let Some(rest) = rest else {
            return self.here.find(wanted, allow).or_else(|| self.rest.find(wanted, allow));
        };
        let (word, tail) = match rest.iter().position(|b| *b == b'/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        if let Some(tree) = self.literals.get(word)
            && let Some(at) = tree.find(tail, wanted, allow)
        {
            return Some(at);
        }
        if !word.is_empty()
            && let Some(one) = &self.one
            && let Some(at) = one.find(tail, wanted, allow)
        {
            return Some(at);
        }
        self.rest.find(wanted, allow)
    }
}

impl Methods {
    /// Of two rules that say the same, the first holds.
    fn insert(&mut self, method: Option<Method>, place: Place) {
        let after = |other: &Place| other.conditions >= place.conditions;
        match method {
            None => {
                let end = self.every.partition_point(after);
                self.every.insert(end, place);
            }
            Some(method) => {
                let end = self.named.partition_point(|(_, other)| after(other));
                self.named.insert(end, (method, place));
            }
        }
    }

    fn find<'a, F: Fn(usize) -> bool>(
        &'a self,
        wanted: &Wanted<'_, F>,
        allow: &mut Vec<&'a str>,
    ) -> Option<usize> {
        let fits = |place: &Place| (wanted.fits)(place.at);
        let named = |method: &Method| {
            let mut places = self.named.iter().filter(|(other, _)| other == method);
            places.find(|(_, place)| fits(place)).map(|(_, place)| place.at)
        };
        // HEAD is GET without the body (RFC 9110, section 9.3.2).
        let head = || if *wanted.method == Method::HEAD { named(&Method::GET) } else { None };
        let every = || self.every.iter().find(|place| fits(place)).map(|place| place.at);
        let found = named(wanted.method).or_else(head).or_else(every);
        if found.is_none() {
            // One whose method is right and whose conditions are not does not say "wrong method".
            let others = self.named.iter().filter(|(_, place)| fits(place));
            allow.extend(others.map(|(method, _)| method.as_str()));
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
