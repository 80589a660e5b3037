//! Routes: where they lead, and that no request has two equally good ones.
//!
//! The gateway takes the most specific route, wherever it stands in the file: an exact host
//! before a wildcard before none; then the path, segment by segment from the left, a text before
//! `*` before `**`; then one with a method before one without; then one with more conditions on
//! headers and query before one with fewer. Two routes are the same when they agree in all of
//! that. They are ambiguous when their hosts and methods are the same, some path fits both,
//! neither pattern lies within the other, and counting fixed segments does not favour the one
//! that the order from the left would take: then people would guess wrong. Or when their paths
//! are the same too, and their conditions as many, others, and possible at the same time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use archipel_model::{Condition, PathPattern, Protocol, Segment, ServiceName};

use super::{Names, warn_disabled};
use crate::Code;
use crate::read::gateway::{GatewayDraft, RouteDraft};
use crate::sink::{Sink, shown};
use crate::source::Sited;

/// Pairs that are looked at for ambiguity. A megabyte of routes would be a thousand million.
const PAIRS_MAX: usize = 1_000_000;

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    let Some(gateway) = &names.draft.gateway else { return };
    check_hosts(gateway, out);
    for draft in &gateway.routes {
        for target in &draft.targets {
            check_target(draft, target, names, out);
        }
        check_strip(draft, out);
        check_host(draft, gateway, out);
    }
    check_collisions(&gateway.routes, out);
}

fn check_hosts(gateway: &GatewayDraft, out: &mut Sink) {
    let mut seen = BTreeMap::new();
    for host in &gateway.hosts {
        if let Some(first) = seen.insert(host.value.as_str(), host.span) {
            out.report(
                Code::HostTwice,
                host.span,
                format!("host `{}` is listed twice", shown(&host.value)),
            )
            .label("again here")
            .also(first, "first here")
            .help("remove one of the two");
        }
    }
}

fn check_target(
    draft: &RouteDraft,
    target: &Sited<ServiceName>,
    names: &Names<'_>,
    out: &mut Sink,
) {
    let (to, at) = (&target.value, target.span);
    if !names.is_defined(to) {
        let help = out.hint(to.as_str(), names.all(), "define it in [services] or [externals]");
        let message = format!("this route leads to `{to}`, which is not defined");
        out.report(Code::UnknownTarget, at, message).label("no such service").help(help);
        return;
    }
    let Some(service) = names.services.get(to) else { return };
    if service.service.protocol == Protocol::Tcp {
        out.report(Code::TcpTarget, at, format!("`{to}` does not speak HTTP"))
            .label("protocol = \"tcp\"")
            .also(service.at, "the service")
            .help("the gateway forwards HTTP; set protocol = \"http\" if the service speaks it");
    }
    if service.disabled {
        let meanwhile = match draft.route.to.services().contains(&to) {
            true => "the route is left out too",
            false => "the route does without it",
        };
        warn_disabled(out, at, to, meanwhile);
    }
}

fn check_strip(draft: &RouteDraft, out: &mut Sink) {
    let (Some(strip), Some(at)) = (&draft.route.strip, draft.strip_at) else { return };
    let mut segments = draft.route.path.segments().iter();
    let words = strip.strip_prefix('/').unwrap_or(strip).split('/').filter(|word| !word.is_empty());
    let fits = words
        .into_iter()
        .all(|word| matches!(segments.next(), Some(Segment::Literal(literal)) if literal == word));
    if !fits {
        let message = format!("`{}` does not begin with `{}`", draft.route.path, shown(strip));
        out.report(Code::BadStrip, at, message)
            .label("would never be there to remove")
            .also(draft.match_at, "the path")
            .help("`strip` is removed from the start of the path before it is forwarded");
    }
}

fn check_host(draft: &RouteDraft, gateway: &GatewayDraft, out: &mut Sink) {
    let (Some(host), Some(at)) = (&draft.route.host, draft.host_at) else { return };
    // Beyond the first thousand hosts nobody is helped by this.
    let mut hosts = gateway.hosts.iter().map(|host| host.value.as_str()).take(1_000).peekable();
    if hosts.peek().is_none() || hosts.any(|served| serves(served, host)) {
        return;
    }
    let known = gateway.hosts.iter().map(|host| host.value.as_str());
    let help = out.hint(host, known, format!("add \"{}\" to `hosts` of the gateway", shown(host)));
    out.report(Code::UnreachableHost, at, format!("the gateway does not serve `{}`", shown(host)))
        .label("no request can match")
        .help(help);
}

/// Whether a request for `host` may come in by `served`; each may be a wildcard.
fn serves(served: &str, host: &str) -> bool {
    let below = |wildcard: &str, name: &str| {
        wildcard.strip_prefix('*').is_some_and(|suffix| name.ends_with(suffix))
    };
    served == host || below(served, host) || below(host, served)
}

fn check_collisions(routes: &[RouteDraft], out: &mut Sink) {
    let mut groups: BTreeMap<(Option<&str>, Option<&str>), Vec<&RouteDraft>> = BTreeMap::new();
    for draft in routes {
        let route = &draft.route;
        groups.entry((route.host.as_deref(), route.method.as_deref())).or_default().push(draft);
    }
    let mut pairs_left = PAIRS_MAX;
    for group in groups.values() {
        let mut by_path: BTreeMap<&[Segment], Vec<&RouteDraft>> = BTreeMap::new();
        for draft in group {
            let others = by_path.entry(draft.route.path.segments()).or_default();
            if check_conditions(draft, others, &mut pairs_left, out) {
                others.push(draft);
            }
        }
        let unique: Vec<&RouteDraft> = by_path.into_values().flatten().collect();
        check_ambiguity(&unique, &mut pairs_left, out);
    }
}

/// Compares a route with those of the same path; whether it is none of them again.
fn check_conditions(
    draft: &RouteDraft,
    others: &[&RouteDraft],
    pairs_left: &mut usize,
    out: &mut Sink,
) -> bool {
    let when = &draft.route.steer.when;
    for other in others {
        if *pairs_left == 0 {
            return true;
        }
        *pairs_left -= 1;
        let theirs = &other.route.steer.when;
        if when == theirs {
            out.report(Code::SameRoute, draft.match_at, "two routes match the same requests")
                .label("the same again")
                .also(other.match_at, "as here")
                .help("keep one of the two, or tell them apart by method, host or headers");
            return false;
        }
        if when.len() == theirs.len() && !exclusive(when, theirs) {
            let message = format!("`{}` and `{}` can both hold", listed(theirs), listed(when));
            out.report(Code::AmbiguousRoutes, draft.match_at, message)
                .label("neither is more specific")
                .also(other.match_at, "the other")
                .help("add a condition to one of the two: the route with more of them wins");
        }
    }
    true
}

/// Whether no request fulfils both.
fn exclusive(a: &[Condition], b: &[Condition]) -> bool {
    let apart = |a: &Condition, b: &Condition| {
        a.part == b.part && a.name == b.name && a.want.excludes(&b.want)
    };
    a.iter().any(|a| b.iter().any(|b| apart(a, b)))
}

fn listed(conditions: &[Condition]) -> String {
    let words: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    shown(&words.join(" "))
}

/// Compares only what can overlap: routes with the same first segment, and those that begin with
/// a wildcard with all others.
fn check_ambiguity(routes: &[&RouteDraft], pairs_left: &mut usize, out: &mut Sink) {
    let mut by_first: BTreeMap<&str, Vec<&RouteDraft>> = BTreeMap::new();
    let (mut open, mut rest) = (Vec::new(), Vec::new());
    for draft in routes {
        match draft.route.path.segments().first() {
            Some(Segment::Literal(word)) => {
                by_first.entry(word).or_default().push(draft);
                rest.push(*draft);
            }
            _ => open.push(*draft),
        }
    }
    let mut compare = |a: &RouteDraft, others: &[&RouteDraft]| {
        for b in others {
            if *pairs_left == 0 {
                return;
            }
            *pairs_left -= 1;
            let apart = exclusive(&a.route.steer.when, &b.route.steer.when);
            if !apart && ambiguous(&a.route.path, &b.route.path) {
                report_ambiguous(a, b, out);
            }
        }
    };
    for (at, draft) in open.iter().enumerate() {
        compare(draft, &open[at + 1..]);
        compare(draft, &rest);
    }
    for group in by_first.values() {
        for (at, draft) in group.iter().enumerate() {
            compare(draft, &group[at + 1..]);
        }
    }
}

fn report_ambiguous(a: &RouteDraft, b: &RouteDraft, out: &mut Sink) {
    let (first, second) = if a.match_at < b.match_at { (a, b) } else { (b, a) };
    let example = common_path(&first.route.path, &second.route.path);
    let message =
        format!("`{}` and `{}` both match `{example}`", first.route.path, second.route.path);
    out.report(Code::AmbiguousRoutes, second.match_at, message)
        .label("neither is more specific")
        .also(first.match_at, "the other")
        .help("make one of the two narrower, or tell them apart by method or host");
}

/// See the head of this file.
fn ambiguous(a: &PathPattern, b: &PathPattern) -> bool {
    if !overlaps(a, b) || within(a, b) || within(b, a) {
        return false;
    }
    let by_order = a.segments().cmp(b.segments());
    let by_count = literals(b).cmp(&literals(a));
    by_count == Ordering::Equal || by_count != by_order
}

fn literals(path: &PathPattern) -> usize {
    path.segments().iter().filter(|segment| matches!(segment, Segment::Literal(_))).count()
}

fn overlaps(a: &PathPattern, b: &PathPattern) -> bool {
    let (mut a, mut b) = (a.segments().iter(), b.segments().iter());
    loop {
        match (a.next(), b.next()) {
            (None, None) | (Some(Segment::Rest), _) | (_, Some(Segment::Rest)) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(Segment::Literal(x)), Some(Segment::Literal(y))) if x != y => return false,
            _ => {}
        }
    }
}

/// Whether every path that `a` matches is matched by `b`.
fn within(a: &PathPattern, b: &PathPattern) -> bool {
    let (mut a, mut b) = (a.segments().iter(), b.segments().iter());
    loop {
        match (a.next(), b.next()) {
            (_, Some(Segment::Rest)) | (None, None) => return true,
            (Some(Segment::Rest), _) | (None, Some(_)) | (Some(_), None) => return false,
            (Some(Segment::Literal(x)), Some(Segment::Literal(y))) if x == y => {}
            (Some(_), Some(Segment::One)) => {}
            _ => return false,
        }
    }
}

/// A path that both match.
fn common_path(a: &PathPattern, b: &PathPattern) -> String {
    let mut path = String::new();
    let (mut a, mut b) = (a.segments().iter(), b.segments().iter());
    let (mut a_open, mut b_open) = (false, false);
    loop {
        let x = if a_open { None } else { a.next() };
        let y = if b_open { None } else { b.next() };
        a_open |= matches!(x, Some(Segment::Rest));
        b_open |= matches!(y, Some(Segment::Rest));
        let word = match (x, y) {
            (Some(Segment::Literal(word)), _) | (_, Some(Segment::Literal(word))) => word,
            (Some(Segment::One), _) | (_, Some(Segment::One)) => "x",
            _ => break,
        };
        path.push('/');
        path.push_str(word);
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_routes_are_ambiguous_unless_one_is_clearly_narrower() {
        let check = |a: &str, b: &str, expected: bool| {
            let (a, b) = (PathPattern::new(a).unwrap(), PathPattern::new(b).unwrap());
            assert_eq!(ambiguous(&a, &b), expected, "{a} {b}");
            assert_eq!(ambiguous(&b, &a), expected, "{b} {a}");
            if expected {
                let path = common_path(&a, &b);
                assert!(a.matches(&path) && b.matches(&path), "{a} {b} {path}");
            }
        };
        check("/**", "/a/**", false);
        check("/a/*", "/a/b", false);
        check("/a/*", "/*/b", true);
        check("/a/**", "/*/b", true);
        check("/a/*/c", "/a/b/*", true);
        check("/a/b/**", "/*/b/c", true);
        check("/a/b/**", "/*/*/c", false);
        check("/a/*/*", "/*/b/c", true);
        check("/a/*", "/b/*", false);
        check("/a/**", "/a", false);
    }
}
