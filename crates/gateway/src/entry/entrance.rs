//! A request comes in: which way may it go?
//!
//! The public entrance decides by host, path and method and believes nothing; an edge has one
//! way, and who calls follows from the port.

use std::net::IpAddr;
use std::sync::Arc;

use archipel_rt::clock;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::cache::{self, Concern};
use crate::compress::{self, Wish};
use crate::entry::listener::{Busy, Conn};
use crate::entry::upload::{Pace, Upload};
use crate::guard::client::is_trusted;
use crate::guard::crowd::Seat;
use crate::guard::gate::{Gate, Stop, Visit};
use crate::guard::ward;
use crate::hop::outgoing::{self, Origin};
use crate::hop::tunnel;
use crate::hop::{self, Passage};
use crate::message::body::Body;
use crate::message::trace::{REQUEST_ID, Trace};
use crate::message::{forwards, headers};
use crate::record::flow::{Flight, Start};
use crate::refusal::{Form, Problem, Refusal};
use crate::route::sticky::Visitor;
use crate::route::{Found, Router, canonical_host, condition, path, steer};
use crate::safeguard::{fallback, rank};
use crate::shared::{Limits, Shared};
use crate::way::Way;

/// What a listener leads to, made from a [`crate::Entrance`].
pub(crate) enum WayIn {
    Public {
        router: Box<Router<Arc<Way>>>,
        /// Counts what finds no route.
        nowhere: Arc<Way>,
        gate: Arc<Gate>,
    },
    Edge(Arc<Way>),
}

/// What the head of a request may have.
pub(crate) struct Heads {
    pub(crate) bytes_max: u32,
    /// `None`: as the protocol's reader thinks fit.
    pub(crate) lines_max: Option<usize>,
}

impl WayIn {
    fn gate(&self) -> Option<&Gate> {
        match self {
            Self::Public { gate, .. } => Some(gate),
            Self::Edge(_) => None,
        }
    }

    /// Whether anybody may come in.
    pub(crate) fn is_public(&self) -> bool {
        self.gate().is_some()
    }

    /// A place for one more connection of this address; `None` when it has enough of them. Of our
    /// own machine, and of proxies that we trust, come the connections of many.
    pub(crate) fn seat(&self, shared: &Shared, peer: IpAddr) -> Option<Option<Seat>> {
        let peer = peer.to_canonical();
        let limited = |gate: &&Gate| !peer.is_loopback() && !is_trusted(&gate.trusted, peer);
        let Some(gate) = self.gate().filter(|gate| gate.connections_told || limited(gate)) else {
            return Some(None);
        };
        let seat = shared.crowd.seat(peer, gate.connections_max);
        if seat.is_none() {
            shared.tally.add(Problem::RateLimited, "max_connections");
        }
        seat.map(Some)
    }

    pub(crate) fn heads(&self, limits: &Limits) -> Heads {
        let gate = self.gate();
        let bytes_max =
            gate.and_then(|gate| gate.head_max).map(|max| u32::try_from(max).unwrap_or(u32::MAX));
        Heads {
            bytes_max: bytes_max.unwrap_or(limits.header_bytes_max),
            lines_max: gate.and_then(|gate| gate.headers_max).map(|max| max as usize),
        }
    }
}

/// Serves one request of one connection.
pub(crate) async fn enter(conn: Arc<Conn>, mut request: Request<Incoming>) -> Response<Body> {
    let shared = Arc::clone(&conn.door.shared);
    let started = clock::now();
    let trace = Trace::read(request.headers());
    let request_id = trace.request_id(request.headers());
    let mut visitor = Visitor::default();
    let (way, admitted, mut visit) = {
        let way_in = conn.door.way_in.load();
        let lines_max = way_in.heads(&shared.limits).lines_max;
        let sane = sane(&mut request, lines_max.unwrap_or(shared.limits.headers_max));
        match &**way_in {
            WayIn::Edge(way) => (Arc::clone(way), sane, None),
            WayIn::Public { router, nowhere, gate } => {
                let visit = gate.visit(
                    conn.addr,
                    &conn.peer,
                    conn.secure.as_ref(),
                    request.headers(),
                    started,
                );
                let found = sane.and_then(|()| route(router, &request));
                let way = found.as_ref().map_or(nowhere, |way| *way);
                let (way, who) = steer::choose(&shared, way, &request, conn.secure.is_some());
                visitor = who;
                (way, found.map(|_| ()), Some(visit))
            }
        }
    };
    let public = visit.is_some();
    let origin = visit.as_ref().map_or(Origin::Inside, Visit::origin);
    let form = Form::of(request.headers(), request.method(), public);
    let start = Start {
        way: Arc::clone(&way),
        trace,
        started,
        method: request.method().clone(),
        path: (shared.tap.is_open() || way.is_logged())
            .then(|| request.uri().path_and_query().cloned())
            .flatten(),
        busy: Some(Busy::new(Arc::clone(&conn))),
    };
    let over_http2 = request.version() == Version::HTTP_2;
    let is_chunked = !over_http2 && request.body().size_hint().exact().is_none();
    let to_tunnel = over_http2 && tunnel::is_written_as_upgrade(&request);
    let mut flight = Flight::new(Arc::clone(&shared), start);
    flight.visitor = visitor.hash;
    rank::settle(&shared, &mut flight, request.headers(), public);
    let admitted = match (&way.ward, &mut visit) {
        (Some(ward), Some(visit)) => {
            flight.note = ward.gate.note(&request, visit);
            let admitted = ward.admit(admitted, &mut request, visit).await;
            ward.gate.name(&mut flight.note, visit);
            admitted
        }
        _ => admitted.map_err(Stop::Refuse),
    };
    let admitted = match admitted {
        Ok(()) => with_body(request, &way, &conn, public),
        Err(Stop::Answer(answer)) => {
            outgoing::swallow(given_up(request, &conn)).await;
            return dressed(&way, visit, own(flight, *answer, request_id));
        }
        Err(Stop::Refuse(refusal)) => {
            // After a framing fault nobody knows where the body ends.
            if refusal.problem == Problem::BadFraming {
                conn.gives_up_body(request.version());
            } else {
                outgoing::swallow(given_up(request, &conn)).await;
            }
            Err(refusal)
        }
    };
    let mut doubt = None;
    // A tunnel is neither kept nor answered by somebody else.
    let caching = way.cache.as_ref().filter(|_| !to_tunnel);
    if let (Ok(request), Some(caching)) = (&admitted, caching) {
        match caching.concern(request) {
            Concern::Nothing => {}
            Concern::Doubt(of) => doubt = Some(of),
            // What somebody gets because of who they are is theirs.
            Concern::Serve(_) if visit.as_ref().is_some_and(|visit| visit.identity.is_some()) => {}
            Concern::Serve(policy) => match admitted {
                Ok(request) => {
                    let asked = cache::Visit { shared, flight, request_id, origin, form };
                    let response = Box::pin(cache::serve(policy, asked, request)).await;
                    return dressed(&way, visit, response);
                }
                Err(refusal) => {
                    let response = refuse(&shared, flight, refusal, form, request_id);
                    return dressed(&way, visit, response);
                }
            },
        }
    }
    let wish = match &admitted {
        Ok(request) if way.compress => Some(Wish::of(request.method(), request.headers())),
        _ => None,
    };
    let mut ready = None;
    let forwarded = match admitted {
        Ok(mut request) => {
            let own_answer = steer::own_answer(&way, &request);
            if let Some(answer) = own_answer.or_else(|| forwards::count_down(&mut request)) {
                outgoing::swallow(request).await;
                return dressed(&way, visit, own(flight, answer, request_id));
            }
            ready = if to_tunnel { None } else { fallback::ready(&way, &request) };
            let (shared, policy, request_id) = (&shared, &way.policy, &request_id);
            let passage = Passage { shared, policy, request, request_id, origin };
            hop::forward(&mut flight, passage).await
        }
        Err(refusal) => Err(refusal),
    };
    if let (Some(doubt), Ok((answer, _))) = (doubt, &forwarded) {
        doubt.settle(&answer.response);
    }
    let instead = ready.as_ref().and_then(|ready| ready.instead_of(&forwarded));
    let mut response = match (instead, forwarded) {
        (Some(instead), _) => instead.answer(flight, request_id),
        (None, Ok((answer, Some(caller)))) if hop::is_switch(&answer) => {
            tunnel::join(&shared, flight, answer, caller, request_id, over_http2)
        }
        // For hyper any success would begin the tunnel that the client asked for.
        (None, Ok((answer, _))) if to_tunnel && answer.response.status().is_success() => {
            let status = answer.response.status();
            let detail = format!("the app answered the WebSocket handshake with {status}");
            let refusal = Refusal::new(Problem::Unsupported, way.rule.clone(), detail);
            refuse(&shared, flight, refusal, form, request_id)
        }
        (None, Ok((answer, _))) => {
            let mut response = hop::answer(flight, answer, request_id, way.policy.idle);
            if let Some(ready) = ready {
                response = ready.remember(response);
            }
            match wish {
                Some(wish) => compress::answer(wish, response),
                None => response,
            }
        }
        (None, Err(refusal)) => refuse(&shared, flight, refusal, form, request_id),
    };
    if let Some(cookie) = visitor.cookie {
        response.headers_mut().append(header::SET_COOKIE, *cookie);
    }
    if public && is_chunked {
        // It may have had a `content-length` too, which hyper does not show; who is before us may
        // have gone by that, and what follows would be a part of this one (RFC 9112, 6.1).
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    dressed(&way, visit, response)
}

fn dressed(way: &Way, visit: Option<Visit>, mut response: Response<Body>) -> Response<Body> {
    if let (Some(ward), Some(mut visit)) = (&way.ward, visit) {
        ward.dress(&mut visit, response.headers_mut());
    }
    response
}

/// An answer that is ours and no refusal.
fn own(
    mut flight: Flight,
    mut response: Response<Body>,
    request_id: HeaderValue,
) -> Response<Body> {
    flight.answered(response.status().as_u16());
    response.headers_mut().insert(REQUEST_ID, request_id);
    flight.add_bytes(response.body().size_hint().exact().unwrap_or_default());
    flight.end();
    response
}

pub(crate) fn refuse(
    shared: &Shared,
    mut flight: Flight,
    refusal: Refusal,
    form: Form,
    request_id: HeaderValue,
) -> Response<Body> {
    shared.tally.count(&refusal);
    flight.refused(refusal.problem);
    let closes = refusal.problem == Problem::BadFraming;
    flight.rule = Some(refusal.rule.as_str().into());
    let silent = flight.way.ward.as_ref().is_some_and(|ward| !ward.gate.reasons);
    let refusal = if silent { refusal.hush() } else { refusal };
    let mut response = refusal.into_response(form);
    if closes {
        // What follows on the connection may be part of what was refused. (On HTTP/2 hyper leaves
        // this header out, and nothing can follow.)
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response.headers_mut().insert(REQUEST_ID, request_id);
    flight.add_bytes(response.body().size_hint().exact().unwrap_or_default());
    flight.end();
    response
}

/// Refuses what must not be forwarded by anybody, and brings the rest into one form: the path in
/// the URI, the authority in `Host`.
fn sane(request: &mut Request<Incoming>, headers_max: usize) -> Result<(), Refusal> {
    let refuse = |problem, detail: String| Err(Refusal::new(problem, "framing", detail));
    if let Some(fault) = headers::framing_fault(request.headers(), request.version()) {
        return refuse(Problem::BadFraming, format!("the request has {fault}"));
    }
    if tunnel::is_extended_connect(request) {
        tunnel::as_upgrade(request);
    } else if *request.method() == Method::CONNECT {
        let detail = "CONNECT asks for a tunnel to anywhere, which this gateway does not offer";
        return refuse(Problem::Unsupported, detail.to_owned());
    } else if *request.method() == Method::TRACE {
        let detail = "TRACE would show what we add for the app: its token, and who calls";
        return refuse(Problem::Unsupported, detail.to_owned());
    }
    // hyper counts for HTTP/1; HTTP/2 limits bytes alone.
    if request.version() == Version::HTTP_2 && request.headers().len() > headers_max {
        let detail =
            format!("{} headers, where {headers_max} are allowed", request.headers().len());
        return refuse(Problem::HeadersTooLarge, detail);
    }
    if let Some(authority) = request.uri().authority() {
        // HTTP/2, or a request written for a proxy: the URI outranks `Host` (RFC 9112, 3.2.2).
        let host = HeaderValue::from_str(authority.as_str());
        let Some(host) = host.ok().filter(|host| headers::is_host(host.as_bytes())) else {
            return refuse(Problem::BadFraming, "the host in the URI is none".to_owned());
        };
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

fn route<'a>(
    router: &'a Router<Arc<Way>>,
    request: &Request<Incoming>,
) -> Result<&'a Arc<Way>, Refusal> {
    let raw = request.uri().path();
    let path = path::read(raw).map_err(|fault| {
        Refusal::new(Problem::BadRequest, "path", format!("the path has two readings: {fault}"))
    })?;
    let host = request.headers().get(header::HOST).map_or(Ok(""), HeaderValue::to_str);
    let host = host.map_err(|_| {
        Refusal::new(Problem::BadRequest, "host", "the `Host` header is not plain ASCII")
    })?;
    let host = canonical_host(host);
    let method = request.method();
    let (headers, query) = (request.headers(), request.uri().query());
    let fits = |way: &Arc<Way>| condition::hold(&way.when, headers, query);
    // A preflight is about another method than its own: of a route with CORS, we answer it.
    if let Some(asked) = ward::asked(method, request.headers())
        && let Found::Target(way) = router.find(&host, &asked, &path, fits)
        && way.ward.as_ref().is_some_and(|ward| ward.answers_preflights())
    {
        return Ok(way);
    }
    match router.find(&host, method, &path, fits) {
        Found::Target(way) => Ok(way),
        Found::NoRoute => {
            let detail = format!("no route matches {method} {raw}");
            Err(Refusal::new(Problem::NoRoute, "routes", detail))
        }
        Found::HostUnknown => {
            let detail = format!("this gateway does not serve the host `{host}`");
            Err(Refusal::new(Problem::HostUnknown, "hosts", detail))
        }
        Found::WrongMethod(allow) => {
            let allow = allow.join(", ");
            let detail = format!("{raw} takes {allow}, not {method}");
            let mut refusal = Refusal::new(Problem::MethodNotAllowed, "routes", detail);
            refusal.allow = Some(allow);
            Err(refusal)
        }
    }
}

/// The body of a request that goes nowhere.
fn given_up(request: Request<Incoming>, conn: &Conn) -> Request<Body> {
    let marks = conn.marks_for(request.version());
    request.map(|incoming| match incoming.is_end_stream() {
        true => Body::empty(),
        false => Body::upload(Upload::new(incoming, None, None, marks)),
    })
}

/// Puts the body under the limits of its way and of the clients.
fn with_body(
    request: Request<Incoming>,
    way: &Way,
    conn: &Conn,
    public: bool,
) -> Result<Request<Body>, Refusal> {
    if request.body().is_end_stream() {
        return Ok(request.map(|_| Body::empty()));
    }
    let length = request.body().size_hint().exact();
    if let (Some(length), Some(limit)) = (length, way.body_max)
        && length > limit
    {
        conn.gives_up_body(request.version());
        let detail = format!("the body has {length} bytes, where {limit} are allowed");
        return Err(Refusal::new(Problem::BodyTooLarge, way.rule.clone(), detail));
    }
    let limits = &conn.door.shared.limits;
    let paced = public && !headers::is_grpc(request.headers());
    let pace = paced.then(|| Pace::new(limits.upload_window, limits.upload_min));
    let limit = way.body_max.filter(|_| length.is_none());
    let marks = conn.marks_for(request.version());
    Ok(request.map(|incoming| Body::upload(Upload::new(incoming, limit, pace, marks))))
}
