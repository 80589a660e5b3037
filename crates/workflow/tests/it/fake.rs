//! A worker as the SDKs are: it runs a workflow again from its history, every turn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{CancellationToken, clock};
use archipel_storage::Kv;
use archipel_storage::memory::MemoryKv;
use archipel_workflow::{Config, Engine, Key, Reuse, is_terminal};
use dapr_durabletask_proto::history_event::EventType as E;
use dapr_durabletask_proto::work_item::Request;
use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
use dapr_durabletask_proto::{
    ActivityRequest, ActivityResponse, CompleteWorkflowAction, CreateChildWorkflowAction,
    CreateInstanceRequest, CreateTimerAction, HistoryEvent, OrchestrationStatus as Status,
    ScheduleTaskAction, TaskRouter, WorkflowAction, WorkflowRequest, WorkflowResponse,
    WorkflowState,
};
use tokio::task::JoinHandle;

pub(crate) const WITHIN: Duration = Duration::from_secs(30);
pub(crate) const APP: &str = "orders";

pub(crate) async fn engine() -> Engine {
    engine_on(Arc::new(MemoryKv::default())).await
}

pub(crate) async fn engine_on(kv: Arc<dyn Kv>) -> Engine {
    let config = Config { attempts_max: 3, ..Config::default() };
    Engine::open(kv, config, &CancellationToken::new()).await.expect("opens")
}

pub(crate) fn key(id: &str) -> Key {
    Key::new(APP, id).expect("valid")
}

pub(crate) fn named(name: &str, id: &str) -> CreateInstanceRequest {
    CreateInstanceRequest {
        instance_id: id.to_owned(),
        name: name.to_owned(),
        input: Some(format!("in {id}")),
        ..Default::default()
    }
}

pub(crate) async fn start(engine: &Engine, name: &str, id: &str) -> Key {
    engine.create(APP, named(name, id), Reuse::Ended).await.expect("created")
}

pub(crate) async fn ended(engine: &Engine, key: &Key) -> WorkflowState {
    let ready = |s: Option<&WorkflowState>| s.is_some_and(|s| is_terminal(s.workflow_status));
    let ended = clock::timeout(WITHIN, engine.wait(key, true, ready)).await;
    ended.unwrap_or_else(|_| panic!("{key} has not ended")).expect("waits").expect("is there")
}

pub(crate) async fn reaches(engine: &Engine, key: &Key, status: Status) -> WorkflowState {
    let ready = |s: Option<&WorkflowState>| s.is_some_and(|s| s.workflow_status() == status);
    let reached = clock::timeout(WITHIN, engine.wait(key, true, ready)).await;
    let reached = reached.unwrap_or_else(|_| panic!("{key} has not become {status:?}"));
    reached.expect("waits").expect("is there")
}

/// Everything that the workflow's code sees: its name, its input and what has happened.
pub(crate) struct Seen {
    pub events: Vec<HistoryEvent>,
}

impl Seen {
    pub(crate) fn name(&self) -> &str {
        let name = self.events.iter().find_map(|event| match &event.event_type {
            Some(E::ExecutionStarted(start)) => Some(start.name.as_str()),
            _ => None,
        });
        name.expect("every execution begins with a start")
    }

    pub(crate) fn input(&self) -> Option<String> {
        self.events.iter().find_map(|event| match &event.event_type {
            Some(E::ExecutionStarted(start)) => start.input.clone(),
            _ => None,
        })
    }

    pub(crate) fn raised(&self) -> Vec<String> {
        let raised = self.events.iter().filter_map(|event| match &event.event_type {
            Some(E::EventRaised(e)) => Some(e.input.clone().unwrap_or_default()),
            _ => None,
        });
        raised.collect()
    }

    /// Ids that the history says were begun.
    pub(crate) fn begun(&self) -> BTreeSet<i32> {
        let ids = self.events.iter().filter_map(|event| match &event.event_type {
            Some(E::TaskScheduled(_) | E::TimerCreated(_) | E::ChildWorkflowInstanceCreated(_)) => {
                Some(event.event_id)
            }
            _ => None,
        });
        ids.collect()
    }

    /// Ids that were answered. Twice the same is a broken history.
    pub(crate) fn answered(&self) -> BTreeSet<i32> {
        let mut answered = BTreeSet::new();
        for event in &self.events {
            let id = match &event.event_type {
                Some(E::TaskCompleted(e)) => e.task_scheduled_id,
                Some(E::TaskFailed(e)) => e.task_scheduled_id,
                Some(E::TimerFired(e)) => e.timer_id,
                Some(E::ChildWorkflowInstanceCompleted(e)) => e.task_scheduled_id,
                Some(E::ChildWorkflowInstanceFailed(e)) => e.task_scheduled_id,
                _ => continue,
            };
            assert!(answered.insert(id), "{id} was answered twice: {:?}", self.events);
        }
        answered
    }
}

/// Runs stages one after the other, the actions of one side by side; then ends.
pub(crate) fn stages(
    seen: &Seen,
    stages: &[Vec<WorkflowAction>],
    result: &str,
) -> Vec<WorkflowAction> {
    let (begun, answered) = (seen.begun(), seen.answered());
    assert!(answered.is_subset(&begun), "answers to nothing: {:?}", seen.events);
    for stage in stages {
        if stage.iter().all(|action| answered.contains(&action.id)) {
            continue;
        }
        return stage.iter().filter(|action| !begun.contains(&action.id)).cloned().collect();
    }
    vec![complete(900, Status::Completed, result)]
}

fn action(id: i32, kind: Action) -> WorkflowAction {
    WorkflowAction { id, router: None, workflow_action_type: Some(kind) }
}

pub(crate) fn task(id: i32, name: &str) -> WorkflowAction {
    let task = ScheduleTaskAction { name: name.to_owned(), ..Default::default() };
    action(id, Action::ScheduleTask(task))
}

pub(crate) fn timer(id: i32) -> WorkflowAction {
    let fire_at = Some(clock::wall().into());
    action(id, Action::CreateTimer(CreateTimerAction { fire_at, ..Default::default() }))
}

pub(crate) fn child(id: i32, name: &str, instance_id: &str) -> WorkflowAction {
    let child = CreateChildWorkflowAction {
        instance_id: instance_id.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    };
    action(id, Action::CreateChildWorkflow(child))
}

pub(crate) fn complete(id: i32, status: Status, result: &str) -> WorkflowAction {
    let end = CompleteWorkflowAction {
        workflow_status: status as i32,
        result: Some(result.to_owned()),
        ..Default::default()
    };
    action(id, Action::CompleteWorkflow(end))
}

pub(crate) fn to(app: &str, action: WorkflowAction) -> WorkflowAction {
    let router = TaskRouter { target_app_id: Some(app.to_owned()), ..Default::default() };
    WorkflowAction { router: Some(router), ..action }
}

/// Works until it is aborted, which is what the loss of a worker looks like.
pub(crate) fn work(
    engine: &Engine,
    app: &str,
    code: impl Fn(&Seen) -> Vec<WorkflowAction> + Send + 'static,
    activity: impl Fn(&ActivityRequest) -> String + Send + 'static,
) -> JoinHandle<()> {
    let (engine, app) = (engine.clone(), app.to_owned());
    let mut worker = engine.connect(&app, false);
    #[expect(clippy::disallowed_methods, reason = "the test aborts it")]
    tokio::spawn(async move {
        while let Some(item) = worker.next().await {
            let token = item.completion_token;
            match item.request {
                Some(Request::WorkflowRequest(request)) => {
                    let response = turn(request, token, &code);
                    let _ = engine.complete_turn(&app, response).await;
                }
                Some(Request::ActivityRequest(request)) => {
                    let result = Some(activity(&request));
                    let _ = engine.complete_task(&app, answer(request, token, result)).await;
                }
                _ => {}
            }
        }
    })
}

pub(crate) fn turn(
    request: WorkflowRequest,
    completion_token: String,
    code: impl Fn(&Seen) -> Vec<WorkflowAction>,
) -> WorkflowResponse {
    let mut events = request.past_events;
    events.extend(request.new_events);
    WorkflowResponse {
        instance_id: request.instance_id,
        actions: code(&Seen { events }),
        completion_token,
        ..Default::default()
    }
}

pub(crate) fn answer(
    request: ActivityRequest,
    completion_token: String,
    result: Option<String>,
) -> ActivityResponse {
    ActivityResponse {
        instance_id: request.workflow_instance.unwrap_or_default().instance_id,
        task_id: request.task_id,
        result,
        failure_details: None,
        completion_token,
    }
}

pub(crate) fn echo(request: &ActivityRequest) -> String {
    format!("did {}", request.name)
}

pub(crate) fn kinds(events: &[HistoryEvent]) -> Vec<String> {
    let kind = |event: &HistoryEvent| {
        let text = format!("{:?}", event.event_type);
        text.trim_start_matches("Some(").split('(').next().unwrap_or_default().to_owned()
    };
    events.iter().map(kind).collect()
}
