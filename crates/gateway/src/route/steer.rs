//! What a way does beyond leading to one service, made from the route when the table is applied.

use std::sync::Arc;

use archipel_model::{Lead, Route, ServiceName, Steer, Sticky};
use http::{Request, Response};

use crate::Caller;
use crate::hop::fallback::Fallback;
use crate::message::body::Body;
use crate::route::own::Own;
use crate::route::split::Fork;
use crate::route::sticky::Visitor;
use crate::shadow::report::Watches;
use crate::shadow::{self, Copies};
use crate::shared::Shared;
use crate::way::Way;

#[derive(Default)]
pub(crate) struct Steering {
    pub(crate) own: Option<Own>,
    fork: Option<Fork>,
    sticky: Option<Sticky>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) copies: Option<Copies>,
}

impl Steering {
    /// Whether there is more to do than to send the request on.
    pub(crate) fn is_busy(&self) -> bool {
        self.fallback.is_some() || self.copies.is_some()
    }

    fn boxed(self) -> Option<Box<Self>> {
        let Self { own, fork, sticky, fallback, copies } = &self;
        let idle = own.is_none()
            && fork.is_none()
            && sticky.is_none()
            && fallback.is_none()
            && copies.is_none();
        (!idle).then(|| Box::new(self))
    }
}

/// What a way is to be like.
pub(crate) struct Lane<'a> {
    pub(crate) caller: Caller,
    pub(crate) to: Option<&'a ServiceName>,
    /// The request goes on as it came, without `strip` and `rewrite`.
    pub(crate) as_it_came: bool,
}

/// The way of one route; `way` makes a plain one.
pub(crate) fn lay(
    route: &Route,
    label: &Arc<str>,
    watches: &Watches,
    way: impl Fn(Lane<'_>) -> Way,
) -> Way {
    let Steer { sticky, mirror, compare, fallback, .. } = &route.steer;
    let other =
        |caller: Caller, to: &ServiceName| way(Lane { caller, to: Some(to), as_it_came: true });
    let branch = |to: &ServiceName| {
        let mut main = way(Lane { caller: Caller::Outside, to: Some(to), as_it_came: false });
        let watch = || watches.of(label);
        // Nobody is compared with itself, or asked again what it just said.
        let fallback = fallback.as_ref().filter(|fallback| fallback.to != *to);
        let compare = compare.as_ref().filter(|compare| compare.to != *to);
        if fallback.is_some_and(|fallback| fallback.on.connect) {
            // There is somebody to ask now; to wait for the first would only cost time.
            main.policy.hold = None;
        }
        let copy = |to: &ServiceName| {
            let mut copy = other(Caller::Archipel, to);
            shadow::restrain(&mut copy.policy);
            Arc::new(copy)
        };
        main.steering = Steering {
            sticky: sticky.clone(),
            fallback: fallback.map(|spec| {
                Fallback::new(spec, Arc::new(other(Caller::Outside, &spec.to)), watch())
            }),
            copies: (mirror.is_some() || compare.is_some()).then(|| Copies {
                mirror: mirror.as_ref().map(|mirror| (mirror.sample, copy(&mirror.to))),
                compare: compare.map(|compare| (compare.clone(), copy(&compare.to))),
                watch: watch(),
            }),
            ..Steering::default()
        }
        .boxed();
        main
    };
    match &route.to {
        Lead::Service(to) => branch(to),
        Lead::Split(shares) => {
            let ways =
                shares.iter().map(|(to, share)| (to.to_string(), *share, Arc::new(branch(to))));
            let fork = Fork::new(ways);
            // Requests are counted by the branches; this one only knows them.
            let mut head =
                way(Lane { caller: Caller::Outside, to: shares.keys().next(), as_it_came: false });
            head.steering =
                Steering { fork: Some(fork), sticky: sticky.clone(), ..Steering::default() }
                    .boxed();
            head
        }
        Lead::Redirect { to, status } => {
            let mut way = way(Lane { caller: Caller::Outside, to: None, as_it_came: true });
            let own = Own::redirect(to.clone(), *status);
            way.steering = Steering { own: Some(own), ..Steering::default() }.boxed();
            way
        }
        Lead::Respond(respond) => {
            let mut way = way(Lane { caller: Caller::Outside, to: None, as_it_came: true });
            let own = Own::respond(respond.clone());
            way.steering = Steering { own: Some(own), ..Steering::default() }.boxed();
            way
        }
    }
}

/// The branch of the way that this request takes, and who sent it.
pub(crate) fn choose<B>(
    shared: &Shared,
    way: &Arc<Way>,
    request: &Request<B>,
    secure: bool,
) -> (Arc<Way>, Visitor) {
    let Some(steering) = &way.steering else { return (Arc::clone(way), Visitor::default()) };
    let visitor = match &steering.sticky {
        Some(sticky) => Visitor::of(request.headers(), sticky, &shared.visitors, secure),
        None => Visitor::default(),
    };
    let branch = steering.fork.as_ref().and_then(|fork| fork.choose(visitor.hash));
    (Arc::clone(branch.unwrap_or(way)), visitor)
}

/// What the route answers by itself.
pub(crate) fn own_answer<B>(way: &Way, request: &Request<B>) -> Option<Response<Body>> {
    let own = way.steering.as_ref()?.own.as_ref()?;
    Some(own.answer(request.method(), request.uri()))
}
