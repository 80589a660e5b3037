//! What a service may ask about itself.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::route;
use crate::server::ServiceApi;

/// `GET /v1.0/healthz?appid=x`: is this the API that the client thinks it is?
///
/// # Errors
/// [`ApiError::AppId`] when it is not.
pub(crate) fn check_app_id(of: &ServiceApi, query: &str) -> Result<(), ApiError> {
    match route::query_value(query, "appid") {
        Some(id) if id != of.service.as_str() => Err(ApiError::AppId { id: of.service.clone() }),
        _ => Ok(()),
    }
}

/// `GET /v1.0/metadata`: the members that Dapr's clients and tests read.
pub(crate) fn document(of: &ServiceApi, extended: &[(String, String)], workers: usize) -> Value {
    let mut extra = serde_json::Map::new();
    // Some clients refuse to talk to a runtime whose version they cannot read.
    extra.insert("daprRuntimeVersion".to_owned(), RUNTIME_VERSION.into());
    extra.insert("archipelVersion".to_owned(), env!("CARGO_PKG_VERSION").into());
    for (key, value) in extended {
        extra.insert(key.clone(), value.as_str().into());
    }
    json!({
        "id": of.service.as_str(),
        "runtimeVersion": RUNTIME_VERSION,
        "enabledFeatures": [],
        "actors": [],
        "components": [{
            "name": crate::PUBSUB,
            "type": "pubsub.archipel",
            "version": "v1",
            "capabilities": ["SUBSCRIBE_WILDCARDS"],
        }, {
            "name": crate::state::STORE,
            "type": "state.archipel",
            "version": "v1",
            "capabilities": ["ETAG", "TRANSACTIONAL", "TTL"],
        }],
        "extended": extra,
        "subscriptions": of.subscriptions.iter().map(|(topic, path)| json!({
            "pubsubname": crate::PUBSUB,
            "topic": topic,
            "rules": [{ "match": "", "path": path }],
            "deadLetterTopic": "",
            "metadata": {},
            "type": "DECLARATIVE",
        })).collect::<Vec<_>>(),
        "httpEndpoints": [],
        "appConnectionProperties": { "protocol": "http", "channelAddress": "127.0.0.1" },
        "actorRuntime": { "runtimeStatus": "DISABLED", "activeActors": [], "hostReady": false },
        "scheduler": { "connected_addresses": [] },
        "workflows": { "connectedWorkers": workers },
    })
}

/// The version of the Dapr API that this follows.
pub(crate) const RUNTIME_VERSION: &str = "1.16.0";
