//! Service invocation: the same hop as an edge of the gateway, addressed by name.

use std::collections::BTreeSet;

use archipel_gateway::{Body, Caller, Gateway};
use archipel_model::{EdgePolicy, ServiceName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, Response, Uri, header};
use hyper::body::Incoming;

use crate::error::ApiError;
use crate::server::ServiceApi;

/// A service that the caller may call, and how.
#[derive(Debug)]
pub(crate) struct Target {
    callee: ServiceName,
    policy: EdgePolicy,
}

/// The id in a request whose path names none: the header, or the user of HTTP Basic.
pub(crate) fn target_of(headers: &HeaderMap) -> Option<String> {
    if let Some(id) = headers.get("dapr-app-id") {
        return id.to_str().ok().map(str::to_owned);
    }
    let basic = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(basic.trim()).ok()?).ok()?;
    decoded.strip_prefix("dapr-app-id:").map(str::to_owned)
}

/// Finds the target among those the caller declares; a service may always call itself.
///
/// # Errors
/// [`ApiError::CallForbidden`] for one that exists, [`ApiError::UnknownTarget`] for any other.
pub(crate) fn resolve(
    of: &ServiceApi,
    known: &BTreeSet<ServiceName>,
    id: &str,
) -> Result<Target, ApiError> {
    let unknown = || ApiError::UnknownTarget { id: id.to_owned() };
    // `app.namespace` names the same app: there is one namespace.
    let (name, namespace) = id.split_once('.').unwrap_or((id, ""));
    if namespace.contains('.') {
        return Err(unknown());
    }
    let callee = ServiceName::new(name).map_err(|_| unknown())?;
    let policy = match of.calls.get(&callee) {
        Some(policy) => policy.clone(),
        None if of.service == callee => EdgePolicy::default(),
        None if known.contains(&callee) => {
            let (caller, callee) = (of.service.clone(), callee.to_string());
            return Err(ApiError::CallForbidden { caller, callee });
        }
        None => return Err(unknown()),
    };
    Ok(Target { callee, policy })
}

/// Sends `request` on to the target under `path`; whatever it answers is the answer.
///
/// # Errors
/// [`ApiError::Invoke`] when no instance gave an answer.
pub(crate) async fn invoke(
    gateway: &Gateway,
    of: &ServiceApi,
    target: Target,
    path: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    parts.uri = format!("{path}{query}")
        .parse::<Uri>()
        .map_err(|error| ApiError::BadRequest { reason: error.to_string() })?;
    if !parts.headers.contains_key("dapr-app-id") && target_of(&parts.headers).is_some() {
        parts.headers.remove(header::AUTHORIZATION);
    }
    for name in ["dapr-app-id", "dapr-api-token", "host"] {
        parts.headers.remove(name);
    }
    let request = Request::from_parts(parts, Body::from(body));
    let caller = Caller::Service(of.service.clone());
    let answer = gateway.call(caller, &target.callee, &target.policy, request).await;
    answer.map_err(|refusal| ApiError::Invoke {
        id: target.callee.to_string(),
        reason: refusal.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    #[test]
    fn only_declared_targets_are_found() {
        let of = ServiceApi {
            service: name("cart"),
            http_port: 0,
            grpc_port: 0,
            token: String::new(),
            publishes: BTreeSet::new(),
            subscriptions: Vec::new(),
            calls: [(name("catalog"), EdgePolicy::default())].into(),
            workflows: Default::default(),
        };
        let known = ["cart", "catalog", "orders"].map(name).into();
        let check = |id: &str, expected: &str| {
            let found = match resolve(&of, &known, id) {
                Ok(target) => target.callee.to_string(),
                Err(ApiError::CallForbidden { .. }) => "forbidden".to_owned(),
                Err(ApiError::UnknownTarget { .. }) => "unknown".to_owned(),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(found, expected, "{id}");
        };
        check("catalog", "catalog");
        check("catalog.default", "catalog");
        check("catalog.a.b", "unknown");
        check("cart", "cart");
        check("orders", "forbidden");
        check("orderz", "unknown");
        check("http://example.org", "unknown");
        check("", "unknown");
    }

    #[test]
    fn a_target_stands_in_a_header() {
        let check = |name: &'static str, value: &str, expected: Option<&str>| {
            let headers = [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            assert_eq!(target_of(&headers).as_deref(), expected, "{value}");
        };
        check("dapr-app-id", "cart", Some("cart"));
        // dapr-app-id:cart
        check("authorization", "Basic ZGFwci1hcHAtaWQ6Y2FydA==", Some("cart"));
        check("authorization", "Basic YWxhZGRpbjpvcGVu", None);
        check("authorization", "Basic ?", None);
        check("authorization", "Bearer x", None);
    }
}
