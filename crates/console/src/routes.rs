//! What the routes are and what has passed them, from the plan and the gateway's numbers.

use std::collections::BTreeMap;

use archipel_control::Snapshot;
use archipel_gateway::{Caller, CopyCount, Gateway, Purge, RouteReport, SeriesCount, Skipped};
use archipel_model::{Lead, Route, ServiceName, Sticky, suggest};

use crate::view;

pub(crate) fn routes(snapshot: &Snapshot, gateway: &Gateway) -> view::Routes {
    let app = &snapshot.plan.app;
    let counted = gateway.counters().series;
    let mut series: BTreeMap<&str, Vec<&SeriesCount>> = BTreeMap::new();
    for count in counted.iter().filter(|count| count.key.caller == Caller::Outside) {
        series.entry(count.key.route.as_deref().unwrap_or_default()).or_default().push(count);
    }
    let reports = gateway.routes();
    let reports: BTreeMap<&str, &RouteReport> =
        reports.iter().map(|report| (&*report.route, report)).collect();
    let is_external = |name: &ServiceName| app.externals.contains_key(name);
    let declared = app.gateway.iter().flat_map(|gateway| &gateway.routes);
    let routes: Vec<view::RouteTraffic> = declared
        .map(|route| {
            let label = route.label();
            let series = series.get(&*label).map_or(&[][..], Vec::as_slice);
            traffic(route, series, reports.get(&*label).copied(), &is_external)
        })
        .collect();
    view::Routes {
        schema: view::Routes::SCHEMA.to_owned(),
        requests: routes.iter().map(|route| route.requests).sum(),
        external: routes.iter().map(|route| route.external).sum(),
        routes,
    }
}

/// Forgets stored answers, or says why it cannot be as it was asked for.
pub(crate) fn purge(
    snapshot: &Snapshot,
    gateway: &Gateway,
    what: view::Purge,
) -> Result<view::Purged, String> {
    let view::Purge { route, host, path, tag } = what;
    let given = [("route", &route), ("host", &host), ("path", &path), ("tag", &tag)];
    // An empty word fits nothing, and whoever sent it meant something.
    if let Some((name, _)) = given.into_iter().find(|(_, said)| said.as_deref() == Some("")) {
        return Err(format!("`{name}` is empty; leave it out where it does not matter"));
    }
    let declared = snapshot.plan.app.gateway.iter().flat_map(|gateway| &gateway.routes);
    let kept = declared.filter(|route| route.cache.is_some());
    let kept: Vec<String> = kept.map(Route::label).collect();
    if let Some(route) = route.as_ref().filter(|route| !kept.contains(route)) {
        let known = suggest::there_are(route, kept.iter().map(String::as_str));
        return Err(format!("no route `{route}` keeps answers; {known}"));
    }
    if let Some(path) = path.as_ref().filter(|path| !path.starts_with('/')) {
        return Err(format!("`{path}` is no path: it begins with `/`"));
    }
    let answers = gateway.purge_cache(&Purge { route, host, path, tag });
    Ok(view::Purged { schema: view::Purged::SCHEMA.to_owned(), answers })
}

fn traffic(
    route: &Route,
    series: &[&SeriesCount],
    report: Option<&RouteReport>,
    is_external: &impl Fn(&ServiceName) -> bool,
) -> view::RouteTraffic {
    let passed = |name: &ServiceName| -> u64 {
        let own = series.iter().filter(|count| count.key.callee.as_ref() == Some(name));
        own.map(|count| count.requests()).sum()
    };
    let target = |name: &ServiceName, share: Option<u32>| view::RouteTarget {
        name: name.to_string(),
        external: is_external(name),
        share,
        requests: passed(name),
    };
    let (kind, to, own) = match &route.to {
        Lead::Service(name) => ("service", vec![target(name, None)], None),
        Lead::Split(shares) => {
            ("split", shares.iter().map(|(name, share)| target(name, Some(*share))).collect(), None)
        }
        Lead::Redirect { to, status } => ("redirect", Vec::new(), Some(format!("{status} {to}"))),
        Lead::Respond(respond) => ("respond", Vec::new(), Some(respond.status.to_string())),
    };
    // Whoever was passed on has been counted twice: where they were not served, and where they were.
    let fell_back = report.map_or(0, |report| report.fell_back);
    let all: u64 = series.iter().map(|count| count.requests()).sum();
    let external = series.iter().filter(|count| count.key.callee.as_ref().is_some_and(is_external));
    let steer = &route.steer;
    view::RouteTraffic {
        route: route.label(),
        kind: kind.to_owned(),
        to,
        own,
        sticky: steer.sticky.as_ref().map(|sticky| match sticky {
            Sticky::Cookie => "cookie".to_owned(),
            Sticky::Header(name) => format!("header:{name}"),
        }),
        requests: all.saturating_sub(fell_back),
        external: external.map(|count| count.requests()).sum(),
        failed: series.iter().map(|count| count.by_class[5] + count.broken).sum(),
        fallback: steer.fallback.as_ref().map(|fallback| view::RouteFallback {
            to: fallback.to.to_string(),
            requests: fell_back,
        }),
        mirror: steer.mirror.as_ref().map(|mirror| {
            copies(&mirror.to, report.map(|report| report.mirror).unwrap_or_default())
        }),
        compare: steer.compare.as_ref().map(|compare| view::RouteCompare {
            copies: copies(&compare.to, report.map(|report| report.compare).unwrap_or_default()),
            differing: report.map_or(0, |report| report.differing),
            examples: report.iter().flat_map(|report| &report.examples).map(example).collect(),
        }),
    }
}

fn copies(to: &ServiceName, count: CopyCount) -> view::RouteCopies {
    let skipped =
        Skipped::ALL.iter().map(|why| (why.slug().to_owned(), count.skipped[*why as usize]));
    let skipped: BTreeMap<String, u64> = skipped.filter(|(_, count)| *count > 0).collect();
    view::RouteCopies { to: to.to_string(), done: count.done, skipped }
}

fn example(example: &archipel_gateway::Example) -> view::RouteExample {
    let difference = |found: &archipel_gateway::Difference| view::RouteDifference {
        at: found.at.clone(),
        main: found.main.clone(),
        other: found.other.clone(),
    };
    view::RouteExample {
        at_ms: example.at_ms,
        trace_id: String::from_utf8_lossy(&example.trace_id.hex()).into_owned(),
        request: example.line.clone(),
        status: example.status,
        status_other: example.status_other,
        differences: example.differences.iter().map(difference).collect(),
        more: example.more,
    }
}
