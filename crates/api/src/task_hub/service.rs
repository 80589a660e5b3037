//! Each remote procedure, and how a request finds its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use archipel_workflow::{
    Engine, Filter, Key, Rerun, Reuse, Room, Worker, WorkflowError, is_terminal,
};
use dapr_durabletask_proto::{self as proto, OrchestrationStatus as Is, WorkflowState};
use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::tokio_stream::Stream;

use super::status::status;
use crate::rpc::{self, unary};

const PREFIX: &str = "/TaskHubSidecarService/";

/// What the service offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Full,
    /// As the stand-alone sidecar that the SDKs are tested with, whose tests assert what it
    /// refuses: a name stays taken until it is purged, `force` is ignored, and neither filtered
    /// purges, nor those in other apps, nor reruns exist.
    Reference,
}

/// The workflows of one app, for its clients and workers. Cheap to clone.
#[derive(Clone)]
pub struct TaskHub {
    engine: Engine,
    app: Arc<str>,
    conduct: Conduct,
}

impl TaskHub {
    pub fn new(engine: Engine, app: &str, conduct: Conduct) -> Self {
        Self { engine, app: app.into(), conduct }
    }

    /// Answers one gRPC request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let deadline = rpc::deadline(request.headers());
        rpc::within(deadline, self.route(request)).await
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        // One request has one method, and it outlives what is read of the request.
        let uri = request.uri().clone();
        let hub = self.clone();
        match uri.path().strip_prefix(PREFIX).unwrap_or_default() {
            "Hello" => unary(request, |()| async { Ok(()) }).await,
            "StartInstance" => unary(request, |r| async move { hub.start(r).await }).await,
            "GetInstance" => unary(request, |r| async move { hub.get(r).await }).await,
            "WaitForInstanceStart" => {
                // Also of one that is only about to be created.
                unary(request, |r| async move { hub.wait(r, begun).await }).await
            }
            "WaitForInstanceCompletion" => {
                unary(request, |r| async move { hub.wait(r, ended).await }).await
            }
            "RaiseEvent" => unary(request, |r| async move { hub.raise(r).await }).await,
            "TerminateInstance" => unary(request, |r| async move { hub.terminate(r).await }).await,
            "SuspendInstance" => unary(request, |r| async move { hub.suspend(r).await }).await,
            "ResumeInstance" => unary(request, |r| async move { hub.resume(r).await }).await,
            "PurgeInstances" => unary(request, |r| async move { hub.purge(r).await }).await,
            "ListInstanceIDs" => unary(request, |r| async move { hub.list(r).await }).await,
            "GetInstanceHistory" => unary(request, |r| async move { hub.history(r).await }).await,
            "CompleteActivityTask" => {
                unary(request, |r: proto::ActivityResponse| async move {
                    let done = hub.engine.complete_task(&hub.app, r).await;
                    done.map(|()| proto::CompleteTaskResponse {}).map_err(|e| status(&e))
                })
                .await
            }
            // The second is the name of the first in older SDKs.
            "CompleteWorkflowTask" | "CompleteOrchestratorTask" => {
                unary(request, |r: proto::WorkflowResponse| async move {
                    let done = hub.engine.complete_turn(&hub.app, r).await;
                    done.map(|()| proto::CompleteTaskResponse {}).map_err(|e| status(&e))
                })
                .await
            }
            "GetWorkItems" => {
                let room = room_of(request.headers());
                rpc::streaming(request, move |r: proto::GetWorkItemsRequest| async move {
                    let stateful =
                        r.capabilities().any(|c| c == proto::WorkerCapability::StatefulHistory);
                    Ok(Items(hub.engine.connect_with(&hub.app, stateful, room)))
                })
                .await
            }
            "RerunWorkflowFromEvent" if self.conduct == Conduct::Full => {
                unary(request, |r| async move { hub.rerun(r).await }).await
            }
            "RerunWorkflowFromEvent" => {
                Status::unimplemented("rerun from an event is not implemented").into_http()
            }
            _ => {
                let text = format!("{} is not served here", uri.path());
                Status::unimplemented(text).into_http()
            }
        }
    }

    async fn start(
        &self,
        request: proto::CreateInstanceRequest,
    ) -> Result<proto::CreateInstanceResponse, Status> {
        let scheduled = request.scheduled_start_timestamp.is_some();
        let app = self.target(&request.router)?;
        let reuse = match self.conduct {
            Conduct::Full => Reuse::Ended,
            Conduct::Reference => Reuse::Purged,
        };
        let key = self.engine.create(&app, request, reuse).await.map_err(|e| status(&e))?;
        if !scheduled {
            self.engine.wait(&key, false, begun).await.map_err(|e| status(&e))?;
        }
        Ok(proto::CreateInstanceResponse { instance_id: key.id.to_string() })
    }

    async fn get(
        &self,
        request: proto::GetInstanceRequest,
    ) -> Result<proto::GetInstanceResponse, Status> {
        self.wait(request, |_| true).await
    }

    async fn wait(
        &self,
        request: proto::GetInstanceRequest,
        ready: impl Fn(Option<&WorkflowState>) -> bool + Send,
    ) -> Result<proto::GetInstanceResponse, Status> {
        let key = self.key(&request.router, &request.instance_id)?;
        let found = self.engine.wait(&key, request.get_inputs_and_outputs, ready).await;
        let mut found = found.map_err(|e| status(&e))?;
        if let Some(state) = &mut found
            && !request.get_inputs_and_outputs
        {
            state.custom_status = None;
        }
        Ok(proto::GetInstanceResponse { exists: found.is_some(), workflow_state: found })
    }

    async fn raise(
        &self,
        request: proto::RaiseEventRequest,
    ) -> Result<proto::RaiseEventResponse, Status> {
        let key = self.key(&request.router, &request.instance_id)?;
        let raised = self.engine.raise(&key, request.name, request.input).await;
        raised.map(|()| proto::RaiseEventResponse {}).map_err(|e| status(&e))
    }

    async fn terminate(
        &self,
        request: proto::TerminateRequest,
    ) -> Result<proto::TerminateResponse, Status> {
        let key = self.key(&request.router, &request.instance_id)?;
        let end = async {
            self.engine.terminate(&key, request.output, request.recursive).await?;
            self.engine.wait(&key, false, ended).await
        };
        end.await.map(|_| proto::TerminateResponse {}).map_err(|e| status(&e))
    }

    async fn suspend(
        &self,
        request: proto::SuspendRequest,
    ) -> Result<proto::SuspendResponse, Status> {
        let key = self.key(&request.router, &request.instance_id)?;
        let suspend = async {
            self.engine.suspend(&key, request.reason).await?;
            let there = |s: Option<&WorkflowState>| is(s, Is::Suspended) || ended(s);
            self.engine.wait(&key, false, there).await
        };
        suspend.await.map(|_| proto::SuspendResponse {}).map_err(|e| status(&e))
    }

    async fn resume(&self, request: proto::ResumeRequest) -> Result<proto::ResumeResponse, Status> {
        let key = self.key(&request.router, &request.instance_id)?;
        let resume = async {
            self.engine.resume(&key, request.reason).await?;
            let there = |s: Option<&WorkflowState>| is(s, Is::Running) || ended(s);
            self.engine.wait(&key, false, there).await
        };
        resume.await.map(|_| proto::ResumeResponse {}).map_err(|e| status(&e))
    }

    async fn purge(
        &self,
        request: proto::PurgeInstancesRequest,
    ) -> Result<proto::PurgeInstancesResponse, Status> {
        use proto::purge_instances_request::Request as Of;
        let reference = self.conduct == Conduct::Reference;
        let app = self.target(&request.router)?;
        if reference && app != self.app {
            return Err(Status::unimplemented("a cross-app purge is not implemented"));
        }
        let force = request.force.unwrap_or_default();
        let gone = match request.request {
            Some(Of::InstanceId(id)) => {
                let key = self.key(&request.router, &id)?;
                if reference && force {
                    self.refuse_force(&key, request.recursive).await?;
                }
                self.engine.purge(&key, request.recursive, force && !reference).await
            }
            Some(Of::PurgeInstanceFilter(_)) if reference => {
                return Err(Status::unknown("multi-instance purge is not implemented"));
            }
            Some(Of::PurgeInstanceFilter(filter)) => {
                self.engine.purge_where(&app, &Filter::from(&filter), request.recursive).await
            }
            None => return Err(Status::invalid_argument("neither an instance nor a filter")),
        };
        let gone = i32::try_from(gone.map_err(|e| status(&e))?).unwrap_or(i32::MAX);
        let is_complete = Some(true);
        Ok(proto::PurgeInstancesResponse { deleted_instance_count: gone, is_complete })
    }

    /// The reference looks at the children before it finds that it cannot force them.
    async fn refuse_force(&self, key: &Key, recursive: bool) -> Result<(), Status> {
        match self.engine.get(key, false).await.map_err(|e| status(&e))? {
            state if state.is_some() && !ended(state.as_ref()) => {
                let what = if recursive { "failed to purge child workflow: " } else { "" };
                let id = key.id.to_string();
                let text = format!("{what}{}", WorkflowError::NotCompleted { id });
                Err(Status::failed_precondition(text))
            }
            _ => Ok(()),
        }
    }

    async fn list(
        &self,
        request: proto::ListInstanceIDsRequest,
    ) -> Result<proto::ListInstanceIDsResponse, Status> {
        let max = request.page_size.filter(|size| *size > 0).map_or(usize::MAX, |n| n as usize);
        let after = request.continuation_token.filter(|token| !token.is_empty());
        let listed = self.engine.list(&self.app, &Filter::default(), after.as_deref(), max).await;
        let (states, more) = listed.map_err(|e| status(&e))?;
        let instance_ids: Vec<_> = states.into_iter().map(|state| state.instance_id).collect();
        let continuation_token = instance_ids.last().filter(|_| more).cloned();
        Ok(proto::ListInstanceIDsResponse { instance_ids, continuation_token })
    }

    async fn history(
        &self,
        request: proto::GetInstanceHistoryRequest,
    ) -> Result<proto::GetInstanceHistoryResponse, Status> {
        let key = self.key(&None, &request.instance_id)?;
        let events = self.engine.history(&key).await.map_err(|e| status(&e))?;
        Ok(proto::GetInstanceHistoryResponse { events })
    }

    async fn rerun(
        &self,
        request: proto::RerunWorkflowFromEventRequest,
    ) -> Result<proto::RerunWorkflowFromEventResponse, Status> {
        let source = self.key(&request.router, &request.source_instance_id)?;
        let event_id = i32::try_from(request.event_id);
        let rerun = Rerun {
            event_id: event_id.map_err(|_| Status::invalid_argument("no such event"))?,
            new_id: request.new_instance_id.filter(|id| !id.is_empty()),
            input: request.overwrite_input.then_some(request.input),
            child_id: request.new_child_workflow_instance_id.filter(|id| !id.is_empty()),
        };
        let key = self.engine.rerun(&source, rerun).await.map_err(|e| status(&e))?;
        Ok(proto::RerunWorkflowFromEventResponse { new_instance_id: key.id.to_string() })
    }

    /// The app whose instance is meant: another one only as the application declares.
    fn target(&self, router: &Option<proto::TaskRouter>) -> Result<Arc<str>, Status> {
        let target = router.as_ref().and_then(|router| router.target_app_id.as_deref());
        let Some(app) = target.filter(|app| !app.is_empty()) else {
            return Ok(Arc::clone(&self.app));
        };
        self.engine.check_reach(&self.app, app).map_err(|e| status(&e))?;
        Ok(app.into())
    }

    fn key(&self, router: &Option<proto::TaskRouter>, id: &str) -> Result<Key, Status> {
        Key::new(&self.target(router)?, id).map_err(|e| status(&e))
    }
}

/// What a worker takes at once. The JavaScript SDK puts a hundred items in line and drops what
/// comes beyond that, silently: nobody would ever answer those.
fn room_of(headers: &HeaderMap) -> Room {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], |value| value.as_bytes());
    match agent.split(|byte| *byte == b' ').any(|word| word.starts_with(b"grpc-node-js/")) {
        true => Room { turns: 40, tasks: 40 },
        false => Room::default(),
    }
}

fn begun(state: Option<&WorkflowState>) -> bool {
    state.is_some_and(|state| state.workflow_status() != Is::Pending)
}

/// Or purged.
fn ended(state: Option<&WorkflowState>) -> bool {
    state.is_none_or(|state| is_terminal(state.workflow_status))
}

fn is(state: Option<&WorkflowState>, status: Is) -> bool {
    state.is_some_and(|state| state.workflow_status() == status)
}

/// The work of one worker; the end of the stream gives it back.
struct Items(Worker);

impl Stream for Items {
    type Item = Result<proto::WorkItem, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(context).map(|item| item.map(Ok))
    }
}
