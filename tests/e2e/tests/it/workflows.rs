//! Durable workflows: the test is the worker of two services, as an SDK in them would be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archipel_e2e::{App, request};
use archipel_testkit::eventually_blocking;
use dapr_durabletask_proto::history_event::EventType;
use dapr_durabletask_proto::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use dapr_durabletask_proto::work_item::Request as Work;
use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
use dapr_durabletask_proto::{
    ActivityResponse, CompleteWorkflowAction, GetInstanceRequest, GetWorkItemsRequest,
    HistoryEvent, OrchestrationStatus as Status, ScheduleTaskAction, TaskRouter, WorkItem,
    WorkflowAction, WorkflowResponse,
};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::fixture::small;
use crate::lifecycle::kill;

const WITHIN: Duration = Duration::from_secs(30);

type Client = TaskHubSidecarServiceClient<Channel>;

/// What a service was told to use.
#[derive(Clone)]
struct Access {
    http: String,
    grpc: String,
    token: String,
}

impl Access {
    fn of(app: &App, service: &str) -> Self {
        let env = app.run(&["exec", service, "--", "env"]).ok().out;
        let env: BTreeMap<_, _> = env.lines().filter_map(|line| line.split_once('=')).collect();
        let of = |name: &str| env.get(name).copied().unwrap_or_default().to_owned();
        assert!(of("DAPR_GRPC_ENDPOINT").ends_with(&of("DAPR_GRPC_PORT")));
        Self {
            http: of("DAPR_HTTP_ENDPOINT"),
            grpc: of("DAPR_GRPC_ENDPOINT"),
            token: of("DAPR_API_TOKEN"),
        }
    }

    fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = MetadataValue::try_from(self.token.as_str()).expect("a token is a header");
        request.metadata_mut().insert("dapr-api-token", token);
        request
    }

    /// `POST` to its own management API.
    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let url = format!("{}/v1.0/workflows/dapr/{path}", self.http);
        let answer = request("POST", &url, &[("dapr-api-token", &self.token)], body);
        let answer = answer.expect("answers");
        (answer.status, answer.body)
    }
}

/// What workers did, by their service.
pub(crate) type Done = Arc<Mutex<Vec<String>>>;

/// Two workers, each of which comes back when its connection breaks, until the runtime ends.
pub(crate) fn work(runtime: &tokio::runtime::Runtime, app: &App, services: &[&'static str]) -> Done {
    let done = Done::default();
    for service in services {
        let (service, access, done) = (*service, Access::of(app, service), Arc::clone(&done));
        runtime.spawn(async move {
            loop {
                // Archipel is being killed around us.
                let _ = stream(service, &access, &done).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    done
}

async fn stream(
    service: &'static str,
    access: &Access,
    done: &Done,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::connect(access.grpc.clone()).await?;
    let items = client.get_work_items(access.signed(GetWorkItemsRequest::default())).await?;
    let mut items = items.into_inner();
    while let Some(item) = items.message().await? {
        let WorkItem { completion_token, request } = item;
        match request {
            Some(Work::WorkflowRequest(turn)) => {
                let past = turn.past_events.iter().chain(&turn.new_events);
                let response = WorkflowResponse {
                    actions: order(&past.collect::<Vec<_>>()),
                    instance_id: turn.instance_id,
                    completion_token,
                    ..Default::default()
                };
                client.complete_workflow_task(access.signed(response)).await?;
            }
            Some(Work::ActivityRequest(task)) => {
                let said = format!("{service}: {}", task.name);
                done.lock().expect("no test panics here").push(said);
                let instance = task.workflow_instance.unwrap_or_default();
                let response = ActivityResponse {
                    instance_id: instance.instance_id,
                    task_id: task.task_id,
                    result: Some("\"shipped\"".to_owned()),
                    completion_token,
                    ..Default::default()
                };
                client.complete_activity_task(access.signed(response)).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The workflow: activity `ship` in the service that the input names, then it waits for any
/// event, then it ends with what the activity said.
fn order(events: &[&HistoryEvent]) -> Vec<WorkflowAction> {
    let kinds = || events.iter().filter_map(|event| event.event_type.as_ref());
    let asked = kinds().any(|kind| matches!(kind, EventType::TaskScheduled(_)));
    let raised = kinds().any(|kind| matches!(kind, EventType::EventRaised(_)));
    let answer = kinds().find_map(|kind| match kind {
        EventType::TaskCompleted(done) => Some(Ok(done.result.clone().unwrap_or_default())),
        EventType::TaskFailed(failed) => {
            let details = failed.failure_details.clone().unwrap_or_default();
            Some(Err(details.error_message))
        }
        _ => None,
    });
    let action = |id, router, action| {
        vec![WorkflowAction { id, router, workflow_action_type: Some(action) }]
    };
    match answer {
        None if !asked => {
            let target = kinds().find_map(|kind| match kind {
                EventType::ExecutionStarted(start) => start.input.clone(),
                _ => None,
            });
            let target = target.map(|text| text.trim_matches('"').to_owned());
            let router = TaskRouter { target_app_id: target, ..Default::default() };
            let task = ScheduleTaskAction { name: "ship".to_owned(), ..Default::default() };
            action(1, Some(router), Action::ScheduleTask(task))
        }
        Some(Ok(result)) if raised => {
            let end = CompleteWorkflowAction {
                workflow_status: Status::Completed as i32,
                result: Some(result),
                ..Default::default()
            };
            action(2, None, Action::CompleteWorkflow(end))
        }
        Some(Err(message)) => {
            let end = CompleteWorkflowAction {
                workflow_status: Status::Failed as i32,
                result: Some(message),
                ..Default::default()
            };
            action(2, None, Action::CompleteWorkflow(end))
        }
        _ => Vec::new(),
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

#[track_caller]
fn until(app: &App, id: &str, what: &str, expected: &str) -> serde_json::Value {
    eventually_blocking(WITHIN, || {
        let told = app.run(&["workflow", "describe", id, "--json"]);
        if told.code != 0 {
            return Err(told.err);
        }
        let whole = told.json();
        match whole[what].as_str().is_some_and(|found| found.contains(expected)) {
            true => Ok(whole),
            false => Err(whole.to_string()),
        }
    })
}

#[test]
fn a_workflow_calls_another_service_and_outlives_a_killed_archipel() {
    let app = small();
    app.up();
    let runtime = runtime();
    app.run(&["workflow", "start", "front", "order", "--id", "o-1", "--input", "\"back\""]).ok();
    until(&app, "o-1", "waits", "no program of `front` is connected");
    let done = work(&runtime, &app, &["front", "back"]);
    until(&app, "o-1", "waits", "an event");
    assert_eq!(*done.lock().expect("whole"), ["back: ship"]);

    kill(app.archipel_pid(), "KILL");
    app.up();
    let listed = app.run(&["workflow", "list", "--json"]).ok().json();
    assert_eq!(listed["counts"]["running"], 1, "{listed}");
    app.run(&["workflow", "raise", "paid", "o-1"]).ok();
    let whole = until(&app, "o-1", "status", "completed");
    assert_eq!(whole["output"], "\"shipped\"");
    assert_eq!(done.lock().expect("whole").len(), 1, "what was answered is not done again");
    let history = app.run(&["workflow", "history", "o-1"]).ok().out;
    for expected in ["activity scheduled", "in back", "event raised", "paid", "ended"] {
        assert!(history.contains(expected), "{expected} in\n{history}");
    }

    app.run(&["workflow", "rerun", "o-1", "--from", "1", "--as", "o-2"]).ok();
    until(&app, "o-2", "waits", "an event");
    assert_eq!(done.lock().expect("whole").len(), 2);
    app.run(&["workflow", "suspend", "--name", "order"]).ok();
    until(&app, "o-2", "status", "suspended");
    app.run(&["workflow", "terminate", "o-2", "--output", "\"enough\""]).ok();
    until(&app, "o-2", "status", "terminated");
    let purged = app.run(&["workflow", "purge", "--all", "--json"]).ok().json();
    assert_eq!(purged["done"].as_array().map(Vec::len), Some(2), "{purged}");
    assert_eq!(app.run(&["workflow", "describe", "o-1"]).code, 2);
}

#[test]
fn other_services_are_reached_only_as_declared() {
    let app = small();
    app.up();
    let runtime = runtime();
    let _done = work(&runtime, &app, &["back", "lonely"]);
    // `back` calls nobody: the activity fails, with the line that is missing.
    app.run(&["workflow", "start", "back", "order", "--id", "o-1", "--input", "\"lonely\""]).ok();
    let whole = until(&app, "o-1", "status", "failed");
    let told = whole["output"].as_str().unwrap_or_default();
    assert!(told.contains("[services.back]: calls = [\"lonely\"]"), "{whole}");

    // Nor are its clients let to others' instances, nor anybody in without the token.
    let (front, back) = (Access::of(&app, "front"), Access::of(&app, "back"));
    let (status, told) = front.post("order/start?instanceID=o-2&appID=back", "\"back\"");
    assert_eq!((status, told.as_str()), (202, "{\"instanceID\":\"o-2\"}"));
    let (status, told) = back.post("o-2/terminate?appID=front", "");
    assert_eq!(status, 403, "{told}");
    let code = runtime.block_on(async {
        let mut client = Client::connect(back.grpc.clone()).await.expect("connects");
        let ask = GetInstanceRequest { instance_id: "o-2".to_owned(), ..Default::default() };
        let found = client.get_instance(back.signed(ask.clone())).await.expect("own");
        assert!(found.into_inner().exists);
        let router = TaskRouter { target_app_id: Some("front".into()), ..Default::default() };
        let other = GetInstanceRequest { router: Some(router), ..ask.clone() };
        let refused = client.get_instance(back.signed(other)).await.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied);
        client.get_instance(ask).await.expect_err("no token").code()
    });
    assert_eq!(code, Code::Unauthenticated);
    // The instance of `back` is not one of `front`.
    assert_eq!(app.run(&["workflow", "describe", "o-2", "--service", "front"]).code, 2);
    app.run(&["workflow", "describe", "o-2", "--service", "back"]).ok();
}
