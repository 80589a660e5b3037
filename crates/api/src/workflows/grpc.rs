//! `dapr.proto.runtime.v1.Dapr`: its workflow methods, whatever suffix a client knows them by.

use std::time::SystemTime;

use archipel_workflow::Engine;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;

use super::wire::{
    GetResponse, InstanceRequest, MetadataResponse, RaiseRequest, StartRequest, StartResponse,
};
use super::{Act, Workflows, properties, status_word};
use crate::error::ApiError;
use crate::metadata::RUNTIME_VERSION;
use crate::rpc::{self, unary};

const PREFIX: &str = "/dapr.proto.runtime.v1.Dapr/";

/// Of `start`: when, in RFC 3339.
const START_TIME: &str = "dapr.workflow.start_time";

/// Answers a method of Dapr for a client of the app `caller`.
pub(crate) async fn answer(
    engine: &Engine,
    caller: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let deadline = rpc::deadline(request.headers());
    rpc::within(deadline, route(engine.clone(), caller.to_owned(), request)).await
}

async fn route(engine: Engine, caller: String, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let method = path.strip_prefix(PREFIX).unwrap_or_default();
    let stem = ["Alpha1", "Beta1"].iter().find_map(|suffix| method.strip_suffix(suffix));
    let own = move || (engine, caller);
    match stem.unwrap_or(method) {
        "StartWorkflow" => {
            unary(request, |ask| async move {
                let (engine, caller) = own();
                start(&Workflows::of(&engine, &caller, None)?, ask).await.map_err(Into::into)
            })
            .await
        }
        "GetWorkflow" => {
            unary(request, |ask: InstanceRequest| async move {
                let (engine, caller) = own();
                let workflows = Workflows::of(&engine, &caller, None)?;
                get(&workflows, ask.instance_id).await.map_err(Into::into)
            })
            .await
        }
        "RaiseEventWorkflow" => {
            unary(request, |ask: RaiseRequest| async move {
                let (engine, caller) = own();
                let workflows = Workflows::of(&engine, &caller, None)?;
                let data = text(ask.event_data)?;
                let raised = workflows.raise(&ask.instance_id, &ask.event_name, data).await;
                raised.map_err(Status::from)
            })
            .await
        }
        "PauseWorkflow" => act(own(), Act::Pause, request).await,
        "ResumeWorkflow" => act(own(), Act::Resume, request).await,
        "TerminateWorkflow" => act(own(), Act::Terminate, request).await,
        "PurgeWorkflow" => act(own(), Act::Purge, request).await,
        "GetMetadata" => {
            unary(request, |()| async move {
                let runtime_version = RUNTIME_VERSION.to_owned();
                Ok(MetadataResponse { id: own().1, runtime_version, ..Default::default() })
            })
            .await
        }
        _ => Status::unimplemented(format!("{path} is not served by this version of Archipel"))
            .into_http(),
    }
}

async fn act(
    (engine, caller): (Engine, String),
    act: Act,
    request: Request<Incoming>,
) -> Response<Body> {
    unary(request, |ask: InstanceRequest| async move {
        let workflows = Workflows::of(&engine, &caller, None)?;
        workflows.act(act, &ask.instance_id).await.map_err(Status::from)
    })
    .await
}

async fn start(workflows: &Workflows<'_>, ask: StartRequest) -> Result<StartResponse, ApiError> {
    let at = ask.options.get(START_TIME).map(|text| instant(text)).transpose()?;
    let input = text(ask.input)?;
    let instance_id = workflows.start(&ask.workflow_name, &ask.instance_id, input, at).await?;
    Ok(StartResponse { instance_id })
}

/// Of one that does not exist there is only the id, and no error.
async fn get(workflows: &Workflows<'_>, id: String) -> Result<GetResponse, ApiError> {
    let Some(state) = workflows.get(&id).await? else {
        return Ok(GetResponse { instance_id: id, ..Default::default() });
    };
    let properties = properties(&state);
    Ok(GetResponse {
        runtime_status: status_word(&state).to_owned(),
        properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        instance_id: state.instance_id,
        workflow_name: state.name,
        created_at: state.created_timestamp,
        last_updated_at: state.last_updated_timestamp,
    })
}

fn text(bytes: Vec<u8>) -> Result<Option<String>, ApiError> {
    let text = String::from_utf8(bytes);
    let text = text.map_err(|error| ApiError::Body { reason: format!("it is no UTF-8: {error}") });
    text.map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn instant(text: &str) -> Result<SystemTime, ApiError> {
    let format = &time::format_description::well_known::Rfc3339;
    let at = time::OffsetDateTime::parse(text, format);
    at.map(SystemTime::from)
        .map_err(|error| ApiError::BadRequest { reason: format!("{START_TIME}: {error}") })
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let text = error.to_string();
        match error.status() {
            StatusCode::BAD_REQUEST => Self::invalid_argument(text),
            StatusCode::FORBIDDEN => Self::permission_denied(text),
            StatusCode::NOT_FOUND => Self::not_found(text),
            StatusCode::NOT_IMPLEMENTED => Self::unimplemented(text),
            _ => Self::internal(text),
        }
    }
}
