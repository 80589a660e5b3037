//! The last step: from a draft without errors to the application.
//!
//! What `disabled` leaves out goes with all that leads to it, so that a reference in the result
//! always resolves; each such reference has been warned about.

use std::collections::{BTreeMap, BTreeSet};

use archipel_model::{
    App, AppName, EdgePolicy, Gateway, ProfileName, Protocol, Route, Service, ServiceName,
};

use crate::document::Document;
use crate::read::{Draft, text};
use crate::shape::format::Format;
use crate::sink::Sink;
use crate::source::FileId;

/// `None` when something is missing that a reported error explains.
pub(crate) fn assemble(document: &Document, draft: Draft, out: &Sink) -> Option<App> {
    let app = document.effective().get("app")?;
    let own = |key| text(app, key, Format::Any).map(|text| text.value.to_owned());
    let name = AppName::new(text(app, "name", Format::Name)?.value).ok()?;
    let disabled: BTreeSet<ServiceName> = draft
        .services
        .iter()
        .filter(|draft| draft.disabled)
        .map(|draft| draft.service.name.clone())
        .collect();
    let mut services = BTreeMap::new();
    for mut service in draft.services.into_iter().filter(|d| !d.disabled).map(|d| d.service) {
        if let Some(keep) = draft.telemetry.logs {
            service.log.keep = service.log.keep.min(keep);
        }
        service.calls.retain(|callee, _| !disabled.contains(callee));
        service.depends_on.retain(|name| !disabled.contains(name));
        services.insert(service.name.clone(), service);
    }
    give_timeouts(&mut services);
    let body_max = draft.gateway.as_ref().and_then(|gateway| gateway.guard.body_max);
    let mut gateway = draft.gateway.map(|gateway| Gateway {
        listen: gateway.listen,
        hosts: gateway.hosts.into_iter().map(|host| host.value).collect(),
        tls: gateway.tls.tls,
        to_https: gateway.tls.to_https,
        routes: gateway
            .routes
            .into_iter()
            .map(|draft| draft.route)
            .filter(|route| !route.to.services().iter().any(|to| disabled.contains(*to)))
            .map(|route| without(&disabled, route))
            .collect(),
        guard: gateway.guard.guard,
        cache_max: gateway.cache_max,
    });
    let streams = |route: &Route| {
        let mut to = route.to.services().into_iter().filter_map(|to| services.get(to));
        to.any(|to| to.protocol == Protocol::Grpc)
    };
    for route in gateway.iter_mut().flat_map(|gateway| &mut gateway.routes) {
        // A call of gRPC is one body, however long it lives.
        if route.body_max.is_none() && !streams(route) {
            route.body_max = body_max;
        }
    }
    let mut jobs = BTreeMap::new();
    for mut job in draft.jobs.into_iter().map(|draft| draft.job) {
        if let Some(service) = &job.service {
            // Left out with its service.
            let Some(service) = services.get(service) else { continue };
            if job.path.as_os_str().is_empty() {
                job.path.clone_from(&service.path);
            }
        }
        jobs.insert(job.name.clone(), job);
    }
    Some(App {
        name,
        owner: own("owner"),
        description: own("description"),
        root: out.source(FileId(0)).directory.clone(),
        files: document.files.clone(),
        profile: document.profile.as_deref().and_then(|profile| ProfileName::new(profile).ok()),
        services,
        externals: draft
            .externals
            .into_iter()
            .map(|(name, (_, external))| (name, external))
            .collect(),
        events: draft.events.into_iter().map(|draft| (draft.topic, draft.contract)).collect(),
        gateway,
        jobs,
        telemetry: draft.telemetry,
        export: draft.export,
        watch: draft.watch.watch,
        storage: draft.storage.storage,
        secrets: draft.secrets.into_iter().map(|(name, (_, rule))| (name, rule)).collect(),
    })
}

/// What a route does besides goes with the service that it would do it with.
fn without(disabled: &BTreeSet<ServiceName>, mut route: Route) -> Route {
    let steer = &mut route.steer;
    steer.fallback.take_if(|fallback| disabled.contains(&fallback.to));
    steer.compare.take_if(|compare| disabled.contains(&compare.to));
    steer.mirror.take_if(|mirror| disabled.contains(&mirror.to));
    route
}

/// A call that nobody limits would wait for ever. Not so with gRPC: the head of a stream may well
/// come with its first message, and its clients send a deadline of their own.
fn give_timeouts(services: &mut BTreeMap<ServiceName, Service>) {
    let grpc: BTreeSet<ServiceName> = services
        .values()
        .filter(|service| service.protocol == Protocol::Grpc)
        .map(|service| service.name.clone())
        .collect();
    let edges = services.values_mut().flat_map(|service| &mut service.calls);
    for (_, policy) in edges.filter(|(callee, _)| !grpc.contains(*callee)) {
        policy.timeout.get_or_insert(EdgePolicy::CALL_TIMEOUT);
    }
}
