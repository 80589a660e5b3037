//! `/v1.0/workflows/{component}/…`; the component is whatever the client calls it.

use archipel_gateway::Body;
use archipel_workflow::Engine;
use dapr_durabletask_proto::WorkflowState;
use http::{Method, Response, StatusCode};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::{Act, Workflows, properties, status_word};
use crate::error::ApiError;
use crate::route::{decode, query_value};

/// What a path asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Start { name: String },
    Get { id: String },
    Raise { id: String, event: String },
    Act { act: Act, id: String },
}

/// `tail` is what comes after `workflows/`.
pub(crate) fn ask(method: &Method, tail: &str) -> Option<Ask> {
    let words: Vec<&str> = tail.split('/').collect();
    let [_component, rest @ ..] = words.as_slice() else { return None };
    let posts = *method == Method::POST;
    Some(match rest {
        [id] if *method == Method::GET => Ask::Get { id: decode(id) },
        [name, "start"] if posts => Ask::Start { name: decode(name) },
        [id, "raiseEvent", event] if posts => Ask::Raise { id: decode(id), event: decode(event) },
        [id, verb] if posts => {
            let act = match *verb {
                "pause" => Act::Pause,
                "resume" => Act::Resume,
                "terminate" => Act::Terminate,
                "purge" => Act::Purge,
                _ => return None,
            };
            Ask::Act { act, id: decode(id) }
        }
        _ => return None,
    })
}

pub(crate) async fn perform(
    engine: &Engine,
    caller: &str,
    ask: Ask,
    query: &str,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    let target = query_value(query, "appID");
    let workflows = Workflows::of(engine, caller, target.as_deref())?;
    let payload = || match std::str::from_utf8(body) {
        Ok(text) => Ok(Some(text.to_owned()).filter(|text| !text.is_empty())),
        Err(error) => Err(ApiError::Body { reason: format!("it is no UTF-8: {error}") }),
    };
    match ask {
        Ask::Start { name } => {
            let id = query_value(query, "instanceID").unwrap_or_default();
            let id = workflows.start(&name, &id, payload()?, None).await?;
            Ok(accepted(&json!({ "instanceID": id })))
        }
        Ask::Get { id } => match workflows.get(&id).await? {
            Some(state) => {
                let mut response = accepted(&document(&state));
                *response.status_mut() = StatusCode::OK;
                Ok(response)
            }
            None => Err(ApiError::InstanceNotFound { id }),
        },
        Ask::Raise { id, event } => {
            workflows.raise(&id, &event, payload()?).await?;
            Ok(done())
        }
        Ask::Act { act, id } => workflows.act(act, &id).await.map(|()| done()),
    }
}

fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn accepted(body: &Value) -> Response<Body> {
    crate::server::json(StatusCode::ACCEPTED, body)
}

fn document(state: &WorkflowState) -> Value {
    let properties: serde_json::Map<_, _> = properties(state)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "instanceID": state.instance_id,
        "workflowName": state.name,
        "createdAt": state.created_timestamp.as_ref().map(rfc3339),
        "lastUpdatedAt": state.last_updated_timestamp.as_ref().map(rfc3339),
        "runtimeStatus": status_word(state),
        "properties": properties,
    })
}

fn rfc3339(at: &Timestamp) -> String {
    let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    let format = &time::format_description::well_known::Rfc3339;
    at.and_then(|at| at.format(format).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_asked() {
        let post = |tail: &str| ask(&Method::POST, tail);
        let get = |tail: &str| ask(&Method::GET, tail);
        assert_eq!(
            post("dapr/place%20order/start"),
            Some(Ask::Start { name: "place order".into() })
        );
        assert_eq!(get("dapr/a%2Fb"), Some(Ask::Get { id: "a/b".into() }));
        let act = |act| Some(Ask::Act { act, id: "7".into() });
        assert_eq!(post("dapr/7/pause"), act(Act::Pause));
        assert_eq!(post("any/7/resume"), act(Act::Resume));
        assert_eq!(post("dapr/7/terminate"), act(Act::Terminate));
        assert_eq!(post("dapr/7/purge"), act(Act::Purge));
        let raise = Ask::Raise { id: "7".into(), event: "paid".into() };
        assert_eq!(post("dapr/7/raiseEvent/paid"), Some(raise));
        for other in ["", "dapr", "dapr/7/nothing", "dapr/7/raiseEvent", "dapr/7/pause/x"] {
            assert_eq!(post(other), None, "{other}");
        }
        assert_eq!(get("dapr/7/pause"), None);
    }
}
