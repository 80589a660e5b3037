//! What a route says and can never do.

use archipel_model::{Lead, ServiceName};

use super::Names;
use crate::Code;
use crate::read::gateway::RouteDraft;
use crate::sink::Sink;
use crate::source::Span;

const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    let Some(gateway) = &names.draft.gateway else { return };
    for draft in &gateway.routes {
        check_own(draft, out);
        check_fallback(draft, out);
        check_compare(draft, out);
        check_cache(draft, out);
        let steer = &draft.route.steer;
        if let Some(mirror) = &steer.mirror {
            check_other(draft, "mirror", &mirror.to, out);
        }
    }
}

/// Whoever answers by themselves asks nobody.
fn check_own(draft: &RouteDraft, out: &mut Sink) {
    let what = match draft.route.to {
        Lead::Redirect { .. } => "redirects",
        Lead::Respond(_) => "answers by itself",
        Lead::Service(_) | Lead::Split(_) => return,
    };
    for (key, at) in &draft.keys_at {
        pointless(out, *at, format!("`{key}` does nothing on a route that {what}"))
            .help(format!("remove `{key}`"));
    }
}

fn check_fallback(draft: &RouteDraft, out: &mut Sink) {
    let Some(fallback) = &draft.route.steer.fallback else { return };
    check_other(draft, "fallback", &fallback.to, out);
    let Some(at) = at(draft, "fallback") else { return };
    let safe = fallback.methods.iter().any(|method| SAFE.contains(&method.as_str()));
    let on = &fallback.on;
    if !safe && !on.connect && !on.breaker && !on.overload {
        pointless(out, at, "this fallback is never asked".to_owned()).help(
            "after a status, a reset or a timeout only GET, HEAD and OPTIONS are asked again: \
             the first may have done something. Add one of them, or \"connect\"",
        );
    }
    // A route for GET takes HEAD too.
    let named = |method: &str| fallback.methods.iter().any(|other| other == method);
    let takes = |method: &str| named(method) || (method == "GET" && named("HEAD"));
    if draft.route.method.as_deref().is_some_and(|method| !takes(method)) {
        pointless(out, at, "this fallback is never asked".to_owned())
            .help("the method of the route is none of its `methods`");
    }
}

fn check_compare(draft: &RouteDraft, out: &mut Sink) {
    let Some(compare) = &draft.route.steer.compare else { return };
    check_other(draft, "compare", &compare.to, out);
    let method = draft.route.method.as_deref();
    if let (Some(at), Some(method)) = (at(draft, "compare"), method)
        && !["GET", "HEAD"].contains(&method)
    {
        pointless(out, at, format!("{method} requests are never compared")).help(
            "a copy could do it a second time, so only GET and HEAD are; `mirror` copies the rest",
        );
    }
}

/// Who is answered from memory is asked of nobody: no copy, no share, no second choice.
fn check_cache(draft: &RouteDraft, out: &mut Sink) {
    let by = match &draft.route.to {
        Lead::Redirect { .. } | Lead::Respond(_) => return,
        Lead::Split(_) => Some("split"),
        Lead::Service(_) => draft.route.steer.uncached_by(),
    };
    if let (Some(by), Some(at)) = (by, at(draft, "cache")) {
        pointless(out, at, format!("`cache` stores nothing on a route with `{by}`")).help(format!(
            "remove one of the two; conditions (`headers`, `query`) do go with `cache`, so what \
             needs no `{by}` can have a route of its own"
        ));
    }
}

fn check_other(draft: &RouteDraft, key: &str, to: &ServiceName, out: &mut Sink) {
    if draft.route.to.service() == Some(to)
        && let Some(at) = at(draft, key)
    {
        pointless(out, at, format!("`{key}` names `{to}`, to which the route leads anyway"))
            .help("name another service or external");
    }
}

fn at(draft: &RouteDraft, key: &str) -> Option<Span> {
    draft.keys_at.iter().find(|(other, _)| *other == key).map(|(_, at)| *at)
}

fn pointless(out: &mut Sink, at: Span, message: String) -> &mut crate::sink::Note {
    out.report(Code::Pointless, at, message).label("can never act")
}
