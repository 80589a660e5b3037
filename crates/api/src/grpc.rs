//! gRPC on a service's ports: which service of ours a path names, and who may call it.

use archipel_gateway::Body;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tonic::Status;

use crate::server::{ServiceApi, Shared, token_ok};
use crate::task_hub::{Conduct, TaskHub};
use crate::{invoke, rpc, workflows};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// What the SDKs of durable workflows speak.
    TaskHub,
    /// Dapr's own API.
    Dapr,
    Unknown,
}

/// `None`: no gRPC, or one for another service, which the header `dapr-app-id` names.
pub(crate) fn call(path: &str, headers: &HeaderMap) -> Option<Call> {
    if !rpc::is_grpc(headers) {
        return None;
    }
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some(("TaskHubSidecarService", _)) => Some(Call::TaskHub),
        Some(("dapr.proto.runtime.v1.Dapr", _)) => Some(Call::Dapr),
        _ if invoke::target_of(headers).is_some() => None,
        _ => Some(Call::Unknown),
    }
}

pub(crate) async fn answer(
    shared: &Shared,
    of: &ServiceApi,
    call: Call,
    request: Request<Incoming>,
) -> Response<Body> {
    let refused = match request.headers().contains_key("dapr-api-token") {
        _ if token_ok(&request, &of.token) => None,
        true => Some("authentication error: api token mismatch"),
        false => Some("missing api token in request metadata; DAPR_API_TOKEN holds it"),
    };
    let response = match (refused, call) {
        (Some(why), _) => Status::unauthenticated(why).into_http(),
        (None, Call::TaskHub) => {
            let hub = TaskHub::new(shared.engine.clone(), of.service.as_str(), Conduct::Full);
            hub.answer(request).await
        }
        (None, Call::Dapr) => workflows::grpc(&shared.engine, of.service.as_str(), request).await,
        (None, Call::Unknown) => {
            let text = format!(
                "{} is not served here; another service's needs its name in dapr-app-id",
                request.uri().path()
            );
            Status::unimplemented(text).into_http()
        }
    };
    response.map(Body::new)
}
