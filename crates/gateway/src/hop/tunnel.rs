//! After `101 Switching Protocols`: bytes both ways until one side is done.

use std::sync::Arc;

use http::{Response, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::message::body::Body;
use crate::message::headers::{self, Kinds};
use crate::message::trace::REQUEST_ID;
use crate::record::flow::Flight;
use crate::shared::Shared;
use crate::upstream::instance::Answer;

/// Answers the caller's wish and joins the two connections. The flight lasts as long as they do,
/// so an instance with an open WebSocket counts as busy when it is drained.
pub(crate) fn join(
    shared: &Arc<Shared>,
    mut flight: Flight,
    mut answer: Answer,
    caller: OnUpgrade,
    request_id: http::HeaderValue,
) -> Response<Body> {
    let instance = hyper::upgrade::on(&mut answer.response);
    let (mut head, _) = answer.response.into_parts();
    let to = head.headers.get(header::UPGRADE).cloned();
    let kinds = Kinds::of(&head.headers);
    headers::strip_hop(&mut head.headers, kinds, false);
    if let Some(to) = to {
        head.headers.insert(header::CONNECTION, http::HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, to);
    }
    head.headers.insert(REQUEST_ID, request_id);
    head.extensions.clear();
    flight.answered(head.status.as_u16());
    let cut = shared.cut.clone();
    shared.tasks.spawn("gateway.tunnel", async move {
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            bytes = carry(caller, instance) => flight.add_bytes(bytes),
        }
        flight.end();
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
