//! Circles in `depends_on`. Circles in `calls` are fine: a call never delays a start.

use std::collections::{BTreeMap, BTreeSet};

use archipel_model::ServiceName;

use super::Names;
use crate::Code;
use crate::sink::Sink;
use crate::source::Span;

/// Reports each circle once, beginning at its alphabetically first service.
pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    let edges: BTreeMap<&ServiceName, Vec<(&ServiceName, Span)>> = names
        .services
        .iter()
        .map(|(name, draft)| {
            let known = draft.depends_on.iter().filter(|to| names.services.contains_key(&to.value));
            (*name, known.map(|to| (&to.value, to.span)).collect())
        })
        .collect();
    for cycle in cycles(&edges) {
        let mut text: Vec<&str> = cycle.iter().map(|(name, _)| name.as_str()).collect();
        text.push(cycle[0].0.as_str());
        let message = match cycle.len() {
            1 => format!("service `{}` waits for itself", cycle[0].0),
            _ => format!("services wait for each other: {}", text.join(" → ")),
        };
        let note = out.report(Code::DependencyCycle, cycle[0].1, message);
        note.label("none of them can ever start").help(
            "remove one of these; `calls` is enough when a service can wait for the other at \
             the first request",
        );
        for (name, span) in cycle.iter().skip(1).take(10) {
            note.also(*span, format!("`{name}` waits here"));
        }
    }
}

type Edges<'a> = BTreeMap<&'a ServiceName, Vec<(&'a ServiceName, Span)>>;

/// A depth-first walk without recursion (a thousand services may form a chain). Every service is
/// entered once, so a graph with many interwoven circles yields a few of them, and after those
/// are fixed the next: naming all could take for ever.
fn cycles<'a>(edges: &Edges<'a>) -> Vec<Vec<(&'a ServiceName, Span)>> {
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for start in edges.keys() {
        // The services on the way, each with the position of its next edge.
        let mut way: Vec<(&ServiceName, usize)> = Vec::new();
        let mut on_way = BTreeMap::new();
        if done.insert(*start) {
            way.push((start, 0));
            on_way.insert(*start, 0);
        }
        while let Some((service, next)) = way.last_mut() {
            let service = *service;
            let edge = edges.get(service).and_then(|edges| edges.get(*next)).copied();
            *next += 1;
            let Some((to, _)) = edge else {
                on_way.remove(service);
                way.pop();
                continue;
            };
            if let Some(from) = on_way.get(to) {
                found.push(named(edges, &way[*from..]));
            } else if done.insert(to) {
                on_way.insert(to, way.len());
                way.push((to, 0));
            }
        }
    }
    found
}

/// The circle with, for each service, the place where it waits for the next; turned so that the
/// alphabetically first service begins.
fn named<'a>(edges: &Edges<'a>, way: &[(&'a ServiceName, usize)]) -> Vec<(&'a ServiceName, Span)> {
    let mut cycle: Vec<(&ServiceName, Span)> = way
        .iter()
        .filter_map(|(service, next)| Some((*service, edges.get(*service)?.get(*next - 1)?.1)))
        .collect();
    let first = (0..cycle.len()).min_by_key(|at| cycle[*at].0).unwrap_or(0);
    cycle.rotate_left(first);
    cycle
}
