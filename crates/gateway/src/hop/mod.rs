//! The hop itself: one request from its way to an instance and the answer back.
//!
//! `forward` turns what came in into what goes out and finds an instance that takes it, within the
//! policy's patience; `answer` turns what came back into what the caller gets. The
//! same two for the public entrance, for edges and for calls from inside.
//!
//! `Host` passes as the caller wrote it, also on an edge: apps build links and check hosts by
//! it, and the address of the listener is the one that works for the caller. Foreign systems
//! get their own. `Expect: 100-continue` ends here: the caller is told to go on when an instance
//! begins to take the body.

pub(crate) mod budget;
pub(crate) mod choice;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod fallback;
pub(crate) mod fault;
pub(crate) mod hedge;
pub(crate) mod hold;
pub(crate) mod outgoing;
pub(crate) mod retry;
pub(crate) mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use archipel_model::EdgePolicy;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use crate::hop::exchange::Terms;
use crate::hop::fault::Struck;
use crate::hop::outgoing::{Origin, Outgoing};
use crate::message::body::Body;
use crate::message::headers::{self, Kinds};
use crate::message::trace::REQUEST_ID;
use crate::record::flow::{self, Flight, FlowBody};
use crate::refusal::{Problem, Refusal};
use crate::shadow;
use crate::shared::Shared;
use crate::upstream::instance::Answer;

/// Brings one request to an instance and its answer back. `request` has its path in the URI and
/// its authority in `Host`. With the answer comes the caller's end of the connection when it
/// asked to switch protocols.
pub(crate) async fn forward(
    shared: &Shared,
    flight: &mut Flight,
    policy: &EdgePolicy,
    request: Request<Body>,
    request_id: &HeaderValue,
    origin: Origin,
) -> Result<(Answer, Option<OnUpgrade>), Refusal> {
    if flight.way.steering.as_ref().is_some_and(|steering| steering.is_busy()) {
        // In a box, so that the requests that go straight do not carry the room for it.
        return Box::pin(steered(shared, flight, policy, request, request_id, origin)).await;
    }
    plain(shared, flight, policy, request, request_id, origin).await
}

async fn steered(
    shared: &Shared,
    flight: &mut Flight,
    policy: &EdgePolicy,
    request: Request<Body>,
    request_id: &HeaderValue,
    origin: Origin,
) -> Result<(Answer, Option<OnUpgrade>), Refusal> {
    let way = Arc::clone(&flight.way);
    let Some(steering) = &way.steering else {
        return plain(shared, flight, policy, request, request_id, origin).await;
    };
    let request = match &steering.copies {
        Some(copies) => shadow::begin(flight, copies, request, request_id, &origin),
        None => request,
    };
    match &steering.fallback {
        Some(fallback) => {
            fallback::forward(shared, flight, fallback, request, request_id, origin).await
        }
        None => plain(shared, flight, policy, request, request_id, origin).await,
    }
}

/// The same without what its route adds.
pub(crate) async fn plain(
    shared: &Shared,
    flight: &mut Flight,
    policy: &EdgePolicy,
    request: Request<Body>,
    request_id: &HeaderValue,
    origin: Origin,
) -> Result<(Answer, Option<OnUpgrade>), Refusal> {
    if shared.faults.is_any() {
        return Box::pin(through_faults(shared, flight, policy, request, request_id, origin)).await;
    }
    carry(shared, flight, policy, request, request_id, origin).await
}

/// In a box where it is called, so that requests that meet no faults do not carry the room for it.
async fn through_faults(
    shared: &Shared,
    flight: &mut Flight,
    policy: &EdgePolicy,
    request: Request<Body>,
    request_id: &HeaderValue,
    origin: Origin,
) -> Result<(Answer, Option<OnUpgrade>), Refusal> {
    match fault::strike(shared, flight, policy, request, request_id, &origin).await? {
        Struck::Go(request) => carry(shared, flight, policy, request, request_id, origin).await,
        Struck::GoUnheard(request) => {
            carry(shared, flight, policy, request, request_id, origin).await?;
            Err(fault::unheard(&flight.way.rule))
        }
    }
}

/// The hop without faults on purpose.
pub(crate) async fn carry(
    shared: &Shared,
    flight: &mut Flight,
    policy: &EdgePolicy,
    request: Request<Body>,
    request_id: &HeaderValue,
    origin: Origin,
) -> Result<(Answer, Option<OnUpgrade>), Refusal> {
    let way = Arc::clone(&flight.way);
    let Some(service) = &way.service else {
        let detail = "the route leads to a service that does not exist";
        return Err(Refusal::new(Problem::UnknownService, way.rule.clone(), detail));
    };
    let Outgoing { request, upgrade, deadline } =
        outgoing::prepare(request, &way, service, &flight.trace, request_id, origin);
    let terms = Terms { way: &way, policy, deadline, upgrade: upgrade.is_some() };
    let answer = exchange::exchange(shared, flight, service, &terms, request).await?;
    if is_switch(&answer) && !terms.upgrade {
        let detail = format!("`{}` switched protocols without being asked to", service.name);
        return Err(Refusal::new(Problem::UpstreamReset, way.rule.clone(), detail));
    }
    Ok((answer, upgrade))
}

/// Makes the answer for the caller; from here on the flight ends with the body.
pub(crate) fn answer(
    mut flight: Flight,
    answer: Answer,
    request_id: HeaderValue,
    idle: Option<Duration>,
) -> Response<Body> {
    let (mut head, incoming) = answer.response.into_parts();
    let kinds = Kinds::of(&head.headers);
    headers::strip_hop(&mut head.headers, kinds, false);
    head.headers.insert(REQUEST_ID, request_id);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    flight.answered(head.status.as_u16());
    let watching = flight.watching.take();
    let body = if incoming.is_end_stream() {
        if let Some(link) = answer.link {
            flow::give_back(link, &flight);
        }
        flight.end();
        Body::empty()
    } else {
        Body::flow(FlowBody::new(incoming, answer.link, Box::new(flight), idle))
    };
    let answer = Response::from_parts(head, body);
    match watching {
        None => answer,
        Some(watching) => shadow::compare::watch(answer, *watching),
    }
}

pub(crate) fn is_switch(answer: &Answer) -> bool {
    answer.response.status() == StatusCode::SWITCHING_PROTOCOLS
}
