//! After `101 Switching Protocols`: bytes both ways until one side is done.
//!
//! A client on HTTP/2 asks for a WebSocket by an extended CONNECT (RFC 8441) on a stream of its
//! connection. The app gets the handshake of HTTP/1 for it, which it knows.

use std::sync::Arc;

use archipel_rt::random;
use base64::Engine as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::message::body::Body;
use crate::message::headers::{self, Kinds};
use crate::message::trace::REQUEST_ID;
use crate::record::flow::Flight;
use crate::shared::Shared;
use crate::upstream::instance::Answer;

/// Whether the request is a client's wish for a WebSocket on a stream of HTTP/2.
pub(crate) fn is_extended_connect<B>(request: &Request<B>) -> bool {
    *request.method() == Method::CONNECT
        && request.extensions().get::<Protocol>().is_some_and(|to| to.as_str() == "websocket")
}

/// The same once [`as_upgrade`] has written it.
pub(crate) fn is_written_as_upgrade<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Protocol>().is_some()
}

/// Writes an extended CONNECT as the handshake of HTTP/1.
pub(crate) fn as_upgrade<B>(request: &mut Request<B>) {
    *request.method_mut() = Method::GET;
    let mut key = [0; 16];
    key[..8].copy_from_slice(&random::u64().to_be_bytes());
    key[8..].copy_from_slice(&random::u64().to_be_bytes());
    let key = base64::engine::general_purpose::STANDARD.encode(key);
    let key = HeaderValue::try_from(key).expect("Base64 is ASCII");
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_KEY, key);
}

/// Answers the caller's wish and joins the two connections. The flight lasts as long as they do,
/// so an instance with an open WebSocket counts as busy when it is drained.
pub(crate) fn join(
    shared: &Arc<Shared>,
    mut flight: Flight,
    mut answer: Answer,
    caller: OnUpgrade,
    request_id: HeaderValue,
    over_http2: bool,
) -> Response<Body> {
    let instance = hyper::upgrade::on(&mut answer.response);
    let (mut head, _) = answer.response.into_parts();
    let to = head.headers.get(header::UPGRADE).cloned();
    let kinds = Kinds::of(&head.headers);
    headers::strip_hop(&mut head.headers, kinds, false);
    if over_http2 {
        head.status = StatusCode::OK;
        head.version = Version::HTTP_2;
        head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    } else if let Some(to) = to {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, to);
    }
    head.headers.insert(REQUEST_ID, request_id);
    head.extensions.clear();
    flight.answered(StatusCode::SWITCHING_PROTOCOLS.as_u16());
    let cut = shared.cut.clone();
    // Its connection counts as served from here on.
    let seat = shared.cores.stay();
    shared.tasks.spawn("gateway.tunnel", async move {
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            bytes = carry(caller, instance) => flight.add_bytes(bytes),
        }
        flight.end();
        drop(seat);
    });
    Response::from_parts(head, Body::empty())
}

/// Returns how much went to the caller. How it ended is between the two.
async fn carry(caller: OnUpgrade, instance: OnUpgrade) -> u64 {
    let (Ok(caller), Ok(instance)) = tokio::join!(caller, instance) else { return 0 };
    let (mut caller, mut instance) = (TokioIo::new(caller), TokioIo::new(instance));
    match tokio::io::copy_bidirectional(&mut caller, &mut instance).await {
        Ok((_, to_caller)) => to_caller,
        Err(_) => 0,
    }
}
