//! Makes ways: from what a table says of an entrance, and for calls of our own.

use std::collections::BTreeMap;
use std::sync::Arc;

use archipel_model::{EdgePolicy, Route, RouteCache, Safeguards, ServiceName};

use super::{Inner, lock};
use crate::cache::{self, Caching};
use crate::entry::entrance::WayIn;
use crate::guard::keep::{Built, Means};
use crate::guard::ward::Ward;
use crate::record::access::Caller;
use crate::record::counters::SeriesKey;
use crate::refusal::{Problem, Refusal};
use crate::route::steer::{self, Lane};
use crate::route::{Router, Rule};
use crate::table::{Entrance, PublicRoutes};
use crate::upstream::service::Service;
use crate::way::{self, Way};

impl Inner {
    pub(super) fn way_in(
        &self,
        entrance: Entrance,
        services: &BTreeMap<ServiceName, Arc<Service>>,
    ) -> WayIn {
        match entrance {
            Entrance::Redirect { .. } => {
                self.way_in(Entrance::Public(PublicRoutes::default()), services)
            }
            Entrance::Edge { caller, callee, policy } => {
                let rule = format!("edge {caller}->{callee}");
                let service = services.get(&callee).cloned();
                let caller = Caller::Service(caller);
                let key = SeriesKey { caller, callee: Some(callee), route: None };
                WayIn::Edge(Arc::new(self.way(&key, service, policy, rule)))
            }
            Entrance::Public(PublicRoutes { hosts, routes, guard, secrets, cache_max, tls: _ }) => {
                let means = Means { secrets: &secrets, services, shared: &self.shared };
                let built = self.keep.build(&guard, &means);
                let caches = routes.iter().any(|route| route.cache.is_some());
                if caches {
                    self.shared.cache.allow(cache_max);
                }
                let nowhere = SeriesKey { caller: Caller::Outside, callee: None, route: None };
                let nowhere = Way {
                    ward: Some(Box::new(Ward::of_nowhere(Arc::clone(&built.gate)))),
                    ..self.way(&nowhere, None, EdgePolicy::default(), "routes".to_owned())
                };
                let rule = |route| self.rule(route, services, &built, caches);
                let rules = routes.into_iter().map(rule).collect();
                let router = Box::new(Router::new(&hosts, rules));
                let gate = Arc::clone(&built.gate);
                WayIn::Public { router, nowhere: Arc::new(nowhere), gate }
            }
        }
    }

    /// `caches`: any route of the gateway does.
    fn rule(
        &self,
        route: Route,
        services: &BTreeMap<ServiceName, Arc<Service>>,
        built: &Built,
        caches: bool,
    ) -> Rule<Arc<Way>> {
        let label: Arc<str> = route.label().into();
        let way = |lane: Lane<'_>| self.route_way(&route, &label, &lane, services, built, caches);
        let way = steer::lay(&route, &label, &self.shared.watches, way);
        Rule {
            host: route.host,
            // A name that is no method matches no request.
            method: route.method.map(|m| m.parse().unwrap_or(http::Method::CONNECT)),
            path: route.path,
            conditions: way.when.len(),
            target: Arc::new(way),
        }
    }

    fn route_way(
        &self,
        route: &Route,
        label: &Arc<str>,
        lane: &Lane<'_>,
        services: &BTreeMap<ServiceName, Arc<Service>>,
        built: &Built,
        caches: bool,
    ) -> Way {
        let key = SeriesKey {
            caller: lane.caller.clone(),
            callee: lane.to.cloned(),
            route: Some(Arc::clone(label)),
        };
        let policy = EdgePolicy {
            safeguards: match lane.caller {
                Caller::Outside => route.safeguards.clone(),
                // Copies have no patience, and nobody to spare.
                _ => Safeguards::default(),
            },
            timeout: route.timeout,
            connect: route.connect,
            idle: route.idle,
            hold: route.hold,
            ..EdgePolicy::default()
        };
        let service = lane.to.and_then(|to| services.get(to)).cloned();
        let strip = route.strip.as_deref().filter(|_| !lane.as_it_came);
        let strip = strip.map_or(0, segments);
        let rewrite = route.steer.rewrite.clone().filter(|_| !lane.as_it_came);
        let policy_of = |cache: &RouteCache| {
            let key = SeriesKey { caller: Caller::Archipel, ..key.clone() };
            let rule = format!("cache of route {label}");
            let inside = Way {
                strip,
                rewrite: rewrite.clone(),
                ..self.way(&key, service.clone(), policy.clone(), rule)
            };
            let store = &self.shared.cache;
            cache::Policy::new(store, label, cache, route.compress, Arc::new(inside))
        };
        // Copies change nothing that is not changed anyway.
        let caching = (caches && lane.caller == Caller::Outside).then(|| {
            let policy = route.cache.as_ref().filter(|_| route.may_cache()).map(policy_of);
            Caching::new(Arc::clone(&self.shared.cache), policy)
        });
        Way {
            cache: caching,
            compress: route.compress,
            body_max: route.body_max.map(|max| max.0),
            strip,
            rewrite,
            when: route.steer.when.clone(),
            ward: Some(Box::new(built.ward(route, &format!("route {label}")))),
            ..self.way(&key, service, policy.clone(), format!("route {label}"))
        }
    }

    fn way(
        &self,
        key: &SeriesKey,
        service: Option<Arc<Service>>,
        policy: EdgePolicy,
        rule: String,
    ) -> Way {
        Way {
            state: self.shared.safeguards.state(key, &policy.safeguards),
            limiter: service.as_ref().and_then(|service| service.limiter_for(&key.caller)),
            service,
            // What is no header's name is in no request.
            idempotency: policy.idempotency.as_ref().and_then(|name| name.parse().ok()),
            policy,
            body_max: None,
            cache: None,
            compress: false,
            strip: 0,
            rewrite: None,
            when: Vec::new(),
            steering: None,
            caller_header: way::caller_header(&key.caller),
            series: self.shared.counters.series(key),
            rule,
            ward: None,
        }
    }

    pub(super) fn call_way(
        &self,
        caller: Caller,
        callee: &ServiceName,
        policy: &EdgePolicy,
    ) -> Result<Arc<Way>, Refusal> {
        let mut calls = lock(&self.calls);
        let key = (caller, callee.clone());
        if let Some(way) = calls.get(&key).filter(|way| way.is_for(policy)) {
            return Ok(Arc::clone(way));
        }
        let rule = format!("edge {}->{callee}", key.0);
        let Some(service) = self.services.load().get(callee).cloned() else {
            let detail = format!("there is no service `{callee}` in this application");
            return Err(Refusal::new(Problem::UnknownService, rule, detail));
        };
        let series = SeriesKey { caller: key.0.clone(), callee: Some(key.1.clone()), route: None };
        let policy = EdgePolicy { safeguards: policy.safeguards.clone(), ..EdgePolicy::default() };
        let way = Arc::new(self.way(&series, Some(service), policy, rule));
        calls.insert(key, Arc::clone(&way));
        Ok(way)
    }
}

fn segments(path: &str) -> usize {
    path.split('/').filter(|segment| !segment.is_empty()).count()
}
