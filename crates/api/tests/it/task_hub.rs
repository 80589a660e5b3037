//! The durabletask protocol over a real socket, with the client that SDKs are made of.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use archipel_api::{Conduct, TaskHub, TaskHubServer};
use archipel_rt::{CancellationToken, clock};
use archipel_storage::memory::MemoryKv;
use archipel_workflow::{Config, Engine};
use dapr_durabletask_proto::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use dapr_durabletask_proto::work_item::Request as Work;
use dapr_durabletask_proto::workflow_action::WorkflowActionType as Action;
use dapr_durabletask_proto::{
    CompleteWorkflowAction, CreateInstanceRequest, GetInstanceHistoryRequest, GetInstanceRequest,
    GetWorkItemsRequest, ListInstanceIDsRequest, OrchestrationStatus as Status,
    PurgeInstanceFilter, PurgeInstancesRequest, RaiseEventRequest, WorkItem, WorkflowAction,
    WorkflowResponse, purge_instances_request,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

pub(crate) type Client = TaskHubSidecarServiceClient<Channel>;

pub(crate) const WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Hub {
    pub(crate) server: TaskHubServer,
    pub(crate) client: Client,
}

pub(crate) async fn hub(conduct: Conduct) -> Hub {
    let stop = CancellationToken::new();
    let engine = Engine::open(Arc::new(MemoryKv::default()), Config::default(), &stop).await;
    let hub = TaskHub::new(engine.expect("opens"), "orders", conduct);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let server = TaskHubServer::open(hub, here, 0, &stop).await.expect("listens");
    let client = Client::connect(format!("http://{}", server.addr)).await.expect("connects");
    Hub { server, client }
}

async fn next(items: &mut Streaming<WorkItem>) -> WorkItem {
    let item = clock::timeout(WITHIN, items.message()).await.expect("in time");
    item.expect("a message").expect("not the end")
}

/// Completes the turn of an item.
async fn complete(client: &mut Client, item: WorkItem) -> Result<(), tonic::Status> {
    let Some(Work::WorkflowRequest(request)) = item.request else { panic!("not a turn") };
    let end = CompleteWorkflowAction {
        workflow_status: Status::Completed as i32,
        result: Some("done".to_owned()),
        ..Default::default()
    };
    let action = WorkflowAction {
        id: 0,
        router: None,
        workflow_action_type: Some(Action::CompleteWorkflow(end)),
    };
    let response = WorkflowResponse {
        instance_id: request.instance_id,
        actions: vec![action],
        completion_token: item.completion_token,
        ..Default::default()
    };
    client.complete_workflow_task(response).await.map(drop)
}

fn named(id: &str) -> CreateInstanceRequest {
    CreateInstanceRequest {
        instance_id: id.to_owned(),
        name: "order".to_owned(),
        input: Some("42".to_owned()),
        ..Default::default()
    }
}

fn of(id: &str, payloads: bool) -> GetInstanceRequest {
    GetInstanceRequest {
        instance_id: id.to_owned(),
        get_inputs_and_outputs: payloads,
        router: None,
    }
}

pub(crate) async fn run(hub: &mut Hub, items: &mut Streaming<WorkItem>, id: &str) {
    let (mut starter, request) = (hub.client.clone(), named(id));
    let start = async { starter.start_instance(request).await.expect("started") };
    let work = async {
        let item = next(items).await;
        complete(&mut hub.client, item).await.expect("taken");
    };
    tokio::join!(start, work);
}

#[tokio::test]
async fn a_workflow_from_start_to_history() {
    let mut hub = hub(Conduct::Full).await;
    hub.client.hello(()).await.expect("hello");
    let items = hub.client.get_work_items(GetWorkItemsRequest::default()).await;
    let mut items = items.expect("streams").into_inner();
    run(&mut hub, &mut items, "one").await;

    let done = hub.client.wait_for_instance_completion(of("one", true)).await.expect("waits");
    let state = done.into_inner().workflow_state.expect("is there");
    assert_eq!(state.workflow_status(), Status::Completed);
    assert_eq!((state.input.as_deref(), state.output.as_deref()), (Some("42"), Some("done")));
    let bare = hub.client.get_instance(of("one", false)).await.expect("reads").into_inner();
    assert_eq!(bare.workflow_state.expect("is there").output, None);
    let history = GetInstanceHistoryRequest { instance_id: "one".to_owned() };
    let history = hub.client.get_instance_history(history).await.expect("reads").into_inner();
    assert_eq!(history.events.len(), 3);

    for id in ["three", "two"] {
        run(&mut hub, &mut items, id).await;
    }
    let page = |token| ListInstanceIDsRequest { continuation_token: token, page_size: Some(2) };
    let first = hub.client.list_instance_i_ds(page(None)).await.expect("lists").into_inner();
    assert_eq!(first.instance_ids, ["one", "three"]);
    let rest = hub.client.list_instance_i_ds(page(first.continuation_token)).await;
    let rest = rest.expect("lists").into_inner();
    assert_eq!((rest.instance_ids, rest.continuation_token), (vec!["two".to_owned()], None));

    let filter = PurgeInstanceFilter { runtime_status: vec![1], ..Default::default() };
    let all = purge_instances_request::Request::PurgeInstanceFilter(filter);
    let purge = PurgeInstancesRequest { request: Some(all), ..Default::default() };
    let purged = hub.client.purge_instances(purge.clone()).await.expect("purges").into_inner();
    assert_eq!(purged.deleted_instance_count, 3);
    assert!(!hub.client.get_instance(of("one", true)).await.expect("reads").into_inner().exists);
}

#[tokio::test]
async fn refusals_have_the_code_and_the_words_that_clients_look_for() {
    let mut hub = hub(Conduct::Reference).await;
    let raise = RaiseEventRequest { instance_id: "nobody".to_owned(), ..Default::default() };
    let error = hub.client.raise_event(raise).await.expect_err("nobody");
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("no such instance exists"), "{error}");

    let later = CreateInstanceRequest {
        scheduled_start_timestamp: Some(clock::wall().into()),
        ..named("one")
    };
    hub.client.start_instance(later.clone()).await.expect("does not wait for a worker");
    let error = hub.client.start_instance(later).await.expect_err("taken");
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(error.message().contains("orchestration instance already exists"), "{error}");

    let id = purge_instances_request::Request::InstanceId("one".to_owned());
    let purge = PurgeInstancesRequest { request: Some(id), ..Default::default() };
    let error = hub.client.purge_instances(purge).await.expect_err("it runs");
    assert!(error.message().contains("has not yet completed"), "{error}");
    let error = hub.client.start_instance(named(&"x".repeat(300))).await.expect_err("too long");
    assert_eq!(error.code(), Code::InvalidArgument);
    let mut wait = Request::new(of("one", false));
    wait.set_timeout(Duration::from_millis(50));
    let error = hub.client.wait_for_instance_start(wait).await.expect_err("no worker");
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
}

#[tokio::test]
async fn a_broken_stream_gives_its_work_to_the_next_worker() {
    let mut hub = hub(Conduct::Full).await;
    let later = CreateInstanceRequest {
        scheduled_start_timestamp: Some(clock::wall().into()),
        ..named("one")
    };
    hub.client.start_instance(later).await.expect("created");
    // A connection of its own, which breaks with its client.
    let address = format!("http://{}", hub.server.addr);
    let mut lost = Client::connect(address).await.expect("connects");
    let items = lost.get_work_items(GetWorkItemsRequest::default()).await.expect("streams");
    let mut items = items.into_inner();
    let old = next(&mut items).await;
    drop((items, lost));

    let items = hub.client.get_work_items(GetWorkItemsRequest::default()).await.expect("streams");
    let mut items = items.into_inner();
    let item = next(&mut items).await;
    assert_ne!(item.completion_token, old.completion_token);
    complete(&mut hub.client, old).await.expect("a late answer is ignored");
    complete(&mut hub.client, item).await.expect("taken");
    let done = hub.client.wait_for_instance_completion(of("one", false)).await.expect("waits");
    let state = done.into_inner().workflow_state.expect("is there");
    assert_eq!(state.workflow_status(), Status::Completed);
    assert_eq!(hub.server.shutdown(WITHIN).await, 0);
}
