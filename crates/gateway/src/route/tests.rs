use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;
use crate::route::path;

thread_local! {
    static VISITS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A node of a tree is looked at.
pub(super) fn visit() {
    VISITS.set(VISITS.get() + 1);
}

type Line<'a> = (Option<&'a str>, Option<&'a str>, &'a str);

fn router(hosts: &[&str], lines: &[Line<'_>]) -> Router<usize> {
    let rule = |(target, (host, method, path)): (usize, &Line<'_>)| Rule {
        host: host.map(str::to_owned),
        method: method.map(|m| m.parse().unwrap()),
        path: PathPattern::new(path).unwrap(),
        conditions: 0,
        target,
    };
    let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
    Router::new(&hosts, lines.iter().enumerate().map(rule).collect())
}

fn check(router: &Router<usize>, request: &str, expected: &str) {
    let mut words = request.split(' ');
    let (method, host, path) =
        (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let canonical = path::read(path).unwrap();
    let host = canonical_host(host);
    let found = match router.find(&host, &method.parse().unwrap(), &canonical, |_| true) {
        Found::Target(at) => at.to_string(),
        Found::WrongMethod(allow) => allow.join(","),
        Found::NoRoute => "none".to_owned(),
        Found::HostUnknown => "host".to_owned(),
    };
    assert_eq!(found, expected, "{request}");
}

#[test]
fn the_most_specific_route_wins_in_any_order() {
    let lines: [Line<'_>; 8] = [
        (None, None, "/**"),
        (None, None, "/a/**"),
        (None, None, "/a/*"),
        (None, None, "/a/b"),
        (None, Some("GET"), "/a/b"),
        (None, Some("POST"), "/only"),
        (Some("api.example.org"), None, "/a/**"),
        (Some("*.example.org"), None, "/a/b"),
    ];
    let router = router(&[], &lines);
    check(&router, "GET x /", "0");
    check(&router, "GET x /a", "1");
    check(&router, "GET x /a/c", "2");
    check(&router, "GET x /a/c/d", "1");
    check(&router, "POST x /a/b", "3");
    check(&router, "GET x /a/b", "4");
    check(&router, "HEAD x /a/b", "4");
    check(&router, "GET x /%61/%62", "4");
    check(&router, "GET x /a/", "1");
    // The more specific path does not take the method, so the next one does.
    check(&router, "GET x /only", "0");
    check(&router, "GET API.example.org:8080 /a/b", "6");
    check(&router, "GET api.example.org. /z", "0");
    check(&router, "GET www.example.org /a/b", "7");
    check(&router, "GET deep.www.example.org /a/b", "7");
    check(&router, "GET example.org /a/b", "4");
}

#[test]
fn unknown_hosts_and_methods_are_told_apart() {
    let lines: [Line<'_>; 3] =
        [(None, Some("GET"), "/a"), (None, Some("PUT"), "/a"), (Some("b.local"), None, "/b")];
    let router = router(&["shop.local", "*.shop.local"], &lines);
    check(&router, "POST shop.local /a", "GET,PUT");
    check(&router, "GET shop.local /x", "none");
    check(&router, "GET de.shop.local /a", "0");
    check(&router, "GET evil.local /a", "host");
    check(&router, "GET b.local /b", "2");
    check(&router, "GET shop.local /b", "none");
}

#[test]
fn hosts_are_compared_without_port_case_and_final_dot() {
    for (authority, host) in [
        ("a.b", "a.b"),
        ("A.b:80", "a.b"),
        ("a.b.:80", "a.b"),
        ("[::1]:80", "::1"),
        ("u@a.b", "a.b"),
        ("", ""),
    ] {
        assert_eq!(canonical_host(authority), host);
    }
}

/// What the rules say, without a tree.
fn naive(lines: &[Line<'_>], host: &str, method: &str, path: &str) -> Option<usize> {
    let kind = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::One => 1,
        Segment::Rest => 3,
    };
    let host_rank = |rule: Option<&str>| match rule {
        None => Some((2, Reverse(0))),
        Some(rule) => match rule.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix).then_some((1, Reverse(suffix.len()))),
            None => (rule == host).then_some((0, Reverse(0))),
        },
    };
    let method_rank = |rule: Option<&str>| match rule {
        None => Some(2),
        Some(rule) if rule == method => Some(0),
        Some("GET") if method == "HEAD" => Some(1),
        Some(_) => None,
    };
    let ranked = lines.iter().enumerate().filter_map(|(at, (h, m, p))| {
        let pattern = PathPattern::new(p).unwrap();
        let mut kinds: Vec<u8> = pattern.segments().iter().map(kind).collect();
        kinds.push(2); // an end is more specific than `**`
        let rank = (host_rank(*h)?, kinds, method_rank(*m)?, at);
        pattern.matches(path).then_some(rank)
    });
    ranked.min().map(|rank| rank.3)
}

const PATTERNS: [&str; 14] = [
    "/", "/**", "/*", "/a", "/a/", "/a/**", "/a/*", "/a/b", "/*/b", "/*/b/**", "/a/*/c", "/a/b/c",
    "/*/*/*", "/b/**",
];

proptest! {
    #[test]
    fn the_tree_agrees_with_the_rules(
        picks in prop::collection::vec((0usize..4, 0usize..4, 0..PATTERNS.len()), 0..20),
        host in 0usize..4,
        method in 0usize..4,
        path in "/([ab]/|c/){0,3}[abc]?",
    ) {
        let hosts = [None, Some("x.y"), Some("*.y"), Some("*.x.y")];
        let methods = [None, Some("GET"), Some("POST"), Some("HEAD")];
        let lines: Vec<Line<'_>> =
            picks.iter().map(|(h, m, p)| (hosts[*h], methods[*m], PATTERNS[*p])).collect();
        let host = ["x.y", "z.y", "a.x.y", "other"][host];
        let method = ["GET", "POST", "HEAD", "PUT"][method];
        let router = router(&[], &lines);
        let canonical = path::read(&path).unwrap();
        let found = match router.find(host, &method.parse().unwrap(), &canonical, |_| true) {
            Found::Target(at) => Some(*at),
            _ => None,
        };
        prop_assert_eq!(found, naive(&lines, host, method, &path));
    }
}

#[test]
fn of_routes_with_conditions_the_one_with_most_that_hold_wins() {
    let rule = |method: Option<&str>, path: &str, conditions: usize, target: usize| Rule {
        host: None,
        method: method.map(|m| m.parse().unwrap()),
        path: PathPattern::new(path).unwrap(),
        conditions,
        target,
    };
    let rules = vec![
        rule(None, "/**", 0, 0),
        rule(None, "/a", 0, 1),
        rule(None, "/a", 1, 2),
        rule(None, "/a", 2, 3),
        rule(Some("GET"), "/b", 1, 4),
        rule(Some("PUT"), "/c/d", 1, 5),
    ];
    let router = Router::new(&[], rules);
    let find = |method: &str, path: &str, holds: &[usize]| {
        let path = path::read(path).unwrap();
        let fits = |target: &usize| *target < 2 || holds.contains(target);
        match router.find("x", &method.parse().unwrap(), &path, fits) {
            Found::Target(at) => *at,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(find("GET", "/a", &[2, 3]), 3);
    assert_eq!(find("GET", "/a", &[2]), 2);
    assert_eq!(find("GET", "/a", &[]), 1);
    assert_eq!(find("GET", "/b", &[4]), 4);
    assert_eq!(find("GET", "/b", &[]), 0, "the next less specific route takes it");
    let only = Router::new(&[], vec![rule(Some("PUT"), "/c", 1, 5)]);
    let path = path::read("/c").unwrap();
    assert_eq!(only.find("x", &Method::PUT, &path, |_| false), Found::NoRoute);
    assert_eq!(only.find("x", &Method::GET, &path, |_| true), Found::WrongMethod(vec!["PUT"]));
}

#[test]
fn ten_thousand_routes_cost_what_ten_cost() {
    let visits = |count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!("/api/v{}/s{i}/**", i % 7)).collect();
        let lines: Vec<Line<'_>> = names.iter().map(|name| (None, None, name.as_str())).collect();
        let router = router(&[], &lines);
        VISITS.set(0);
        for i in (0..count).step_by(count / 10) {
            check(&router, &format!("GET x /api/v{}/s{i}/items/7", i % 7), &i.to_string());
        }
        VISITS.get()
    };
    let few = visits(10);
    assert_eq!(few, 40, "four nodes for a path of three names");
    assert_eq!((visits(1_000), visits(10_000)), (few, few));
}
