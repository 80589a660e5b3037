//! Service invocation: the same hop as an edge of the gateway, addressed by name.

use archipel_gateway::{Body, Caller, Form, Gateway};
use archipel_model::ServiceName;
use http::{Request, Response, Uri};
use hyper::body::Incoming;

use crate::error::ApiError;
use crate::server::ServiceApi;

/// Sends `request` on to service `id` under `path`.
///
/// # Errors
/// [`ApiError`] when the call is not allowed or the target does not exist. A callee that cannot
/// be reached is an answer, not an error: the gateway's own refusal.
pub(crate) async fn invoke(
    gateway: &Gateway,
    of: &ServiceApi,
    id: &str,
    path: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    // `app.namespace` names the same app: there is one namespace.
    let name = id.split('.').next().unwrap_or(id);
    let callee =
        ServiceName::new(name).map_err(|_| ApiError::UnknownTarget { id: id.to_owned() })?;
    let own = of.service == callee;
    let policy = match of.calls.get(&callee) {
        Some(policy) => *policy,
        None if own => archipel_model::EdgePolicy::default(),
        None => {
            return Err(ApiError::CallForbidden {
                caller: of.service.clone(),
                callee: id.to_owned(),
            });
        }
    };
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    parts.uri = format!("{path}{query}")
        .parse::<Uri>()
        .map_err(|error| ApiError::BadRequest { reason: error.to_string() })?;
    for name in ["dapr-app-id", "dapr-api-token", "host"] {
        parts.headers.remove(name);
    }
    let form = Form::of(&parts.headers, &parts.method, false);
    let request = Request::from_parts(parts, Body::from(body));
    let caller = Caller::Service(of.service.clone());
    match gateway.call(caller, &callee, &policy, request).await {
        Ok(response) => Ok(response),
        Err(refusal) => Ok(refusal.into_response(form)),
    }
}
