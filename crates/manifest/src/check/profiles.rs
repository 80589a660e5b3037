//! Profiles, all of them, whichever is chosen: they change what exists and add no edges.

use std::collections::BTreeSet;

use crate::Code;
use crate::sink::{Sink, shown};
use crate::tree::Node;

pub(super) fn check(base: &Node, out: &mut Sink) {
    for (profile, entry) in base.entries("profiles") {
        for section in ["services", "externals"] {
            let known: BTreeSet<&str> = base.entries(section).map(|(name, _)| name).collect();
            for (name, entry) in entry.node.entries(section) {
                if known.contains(name) {
                    continue;
                }
                let otherwise =
                    format!("define it in [{section}] first; a profile only changes values");
                let help = out.hint(name, known.iter().copied(), otherwise);
                let message = format!(
                    "profile `{}` changes `{}`, which is not in [{section}]",
                    shown(profile),
                    shown(name)
                );
                out.report(Code::ProfileUnknownName, entry.key, message)
                    .label("nothing to change")
                    .help(help);
            }
        }
        for (name, service) in entry.node.entries("services") {
            let Some(below) = base.get("services").and_then(|services| services.get(name)) else {
                continue;
            };
            check_calls(profile, name, &service.node, below, out);
        }
    }
}

fn check_calls(profile: &str, service: &str, over: &Node, base: &Node, out: &mut Sink) {
    let allowed: BTreeSet<&str> = callees(base).into_iter().map(|(name, _)| name).collect();
    for (callee, span) in callees(over) {
        if allowed.contains(callee) {
            continue;
        }
        let message = format!(
            "profile `{}` adds a call from `{}` to `{}`",
            shown(profile),
            shown(service),
            shown(callee)
        );
        out.report(Code::ProfileAddsCall, span, message)
            .label("not in the base")
            .help("add it to `calls` of the service itself: the map of the application is the same in every environment");
    }
}

fn callees(service: &Node) -> Vec<(&str, crate::source::Span)> {
    let list = service.get("calls").and_then(Node::list).unwrap_or_default();
    let listed = list.iter().filter_map(|item| Some((item.text()?, item.span)));
    listed.chain(service.entries("calls").map(|(name, entry)| (name, entry.key))).collect()
}
