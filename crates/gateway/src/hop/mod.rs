//! The hop itself: one request from its way to an instance and the answer back.
//!
//! `forward` turns what came in into what goes out and finds an instance that takes it, within the
//! policy's patience; `answer` turns what came back into what the caller gets. The
//! same two for the public entrance, for edges and for calls from inside.
//!
//! `Host` passes as the caller wrote it, also on an edge: apps build links and check hosts by
//! it, and the address of the listener is the one that works for the caller. Foreign systems
//! get their own. `Expect: 100-continue` reaches apps on HTTP/1; on HTTP/2 the caller is told to
//! go on when an instance begins to take the body. Other answers of 1xx end here: hyper reads
//! them and has no way to send them.

pub(crate) mod budget;
pub(crate) mod choice;
pub(crate) mod deadline;
pub(crate) mod exchange;
pub(crate) mod expect;
pub(crate) mod fallback;
pub(crate) mod fault;
pub(crate) mod hedge;
pub(crate) mod hold;
pub(crate) mod outgoing;
pub(crate) mod repeat;
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
use crate::safeguard::rank;
use crate::shadow;
use crate::shared::Shared;
use crate::upstream::instance::Answer;

/// A request that is to be brought to an instance. It has its path in the URI and its authority
/// in `Host`.
pub(crate) struct Passage<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) policy: &'a EdgePolicy,
    pub(crate) request: Request<Body>,
    pub(crate) request_id: &'a HeaderValue,
    pub(crate) origin: Origin,
}

/// What came back, with the caller's end of the connection when it asked to switch protocols.
pub(crate) type Forwarded = Result<(Answer, Option<OnUpgrade>), Refusal>;

/// Brings one request to an instance and its answer back.
pub(crate) async fn forward(flight: &mut Flight, passage: Passage<'_>) -> Forwarded {
    if flight.way.steering.as_ref().is_some_and(|steering| steering.is_busy()) {
        // In a box, so that the requests that go straight do not carry the room for it.
        return Box::pin(steered(flight, passage)).await;
    }
    plain(flight, passage).await
}

async fn steered(flight: &mut Flight, mut passage: Passage<'_>) -> Forwarded {
    let way = Arc::clone(&flight.way);
    let Some(steering) = &way.steering else { return plain(flight, passage).await };
    if let Some(copies) = &steering.copies {
        let Passage { request, request_id, origin, .. } = passage;
        let request = shadow::begin(flight, copies, request, request_id, &origin);
        passage = Passage { request, origin, ..passage };
    }
    match &steering.fallback {
        Some(fallback) => fallback::forward(flight, fallback, passage).await,
        None => plain(flight, passage).await,
    }
}

/// The same without what its route adds.
pub(crate) async fn plain(flight: &mut Flight, passage: Passage<'_>) -> Forwarded {
    if passage.shared.faults.is_any() {
        return Box::pin(through_faults(flight, passage)).await;
    }
    carry(flight, passage).await
}

/// In a box where it is called, so that requests that meet no faults do not carry the room for it.
async fn through_faults(flight: &mut Flight, passage: Passage<'_>) -> Forwarded {
    match fault::strike(flight, passage).await? {
        Struck::Go(passage) => carry(flight, passage).await,
        Struck::GoUnheard(passage) => {
            carry(flight, passage).await?;
            Err(fault::unheard(&flight.way.rule))
        }
    }
}

/// The hop without faults on purpose.
pub(crate) async fn carry(flight: &mut Flight, passage: Passage<'_>) -> Forwarded {
    let Passage { shared, policy, mut request, request_id, origin } = passage;
    let way = Arc::clone(&flight.way);
    let Some(service) = &way.service else {
        let detail = "the route leads to a service that does not exist";
        return Err(Refusal::new(Problem::UnknownService, way.rule.clone(), detail));
    };
    let repeat = match &way.idempotency {
        // In a box, so that requests that are sent once do not carry the room for it.
        Some(header) if policy.retry.attempts > 0 => {
            Box::pin(repeat::prepare(&mut request, header, &way.rule)).await?
        }
        _ => None,
    };
    let outside = origin.is_outside();
    let Outgoing { mut request, upgrade, deadline } =
        outgoing::prepare(request, &way, service, &flight.trace, request_id, origin);
    rank::pass_on(flight, request.headers_mut(), outside);
    let terms = Terms { way: &way, policy, deadline, upgrade: upgrade.is_some(), repeat };
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
