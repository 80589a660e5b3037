//! Dapr's management API of workflows, by HTTP and by gRPC. There is no worker: what is asked for
//! waits, which is enough to see that it was taken.

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::Full;
use prost::Message;

use crate::world::{TOKEN, Told, World, send};

const API: &str = "/v1.0/workflows/dapr";

async fn post(world: &World, path: &str, body: &str) -> Told {
    world.ask(Request::post(format!("{API}/{path}")), body).await
}

async fn get(world: &World, path: &str) -> Told {
    world.ask(Request::get(format!("{API}/{path}")), "").await
}

#[tokio::test]
async fn an_instance_is_begun_shown_and_steered() {
    let world = World::new().await;
    let told = post(&world, "order/start?instanceID=o-1", "{\"n\":1}").await;
    assert_eq!((told.status, told.text()), (202, "{\"instanceID\":\"o-1\"}"));
    let state = get(&world, "o-1").await;
    assert_eq!(state.status, 200);
    let state = state.json();
    assert_eq!(state["workflowName"], "order");
    assert_eq!(state["runtimeStatus"], "PENDING");
    assert_eq!(state["properties"]["dapr.workflow.input"], "{\"n\":1}");
    for member in ["createdAt", "lastUpdatedAt"] {
        assert!(state[member].as_str().is_some_and(|at| at.ends_with('Z')), "{state}");
    }
    for verb in ["pause", "resume", "raiseEvent/paid", "terminate"] {
        let told = post(&world, &format!("o-1/{verb}"), "").await;
        assert_eq!((told.status, told.text()), (202, ""), "{verb}");
    }
    // The other names of the API are the same, and another service's is not its instance.
    let beta = world.ask(Request::get("/v1.0-beta1/workflows/any/o-1"), "").await;
    assert_eq!(beta.json()["instanceID"], "o-1");
    let fresh = post(&world, "order/start", "").await.json();
    assert!(fresh["instanceID"].as_str().is_some_and(|id| id.len() == 36), "{fresh}");
    assert_eq!(get(&world, "o-1?appID=catalog").await.status, 404);
}

#[tokio::test]
async fn refusals_have_the_status_and_the_code_that_clients_look_for() {
    let world = World::new().await;
    post(&world, "order/start?instanceID=o-1", "").await;
    let long = format!("order/start?instanceID={}", "x".repeat(65));
    for (path, status, code) in [
        ("order/start?instanceID=o-1", 500, "ERR_START_WORKFLOW"),
        ("order/start?instanceID=a%2Fb", 400, "ERR_INSTANCE_ID_INVALID"),
        (&long, 400, "ERR_INSTANCE_ID_TOO_LONG"),
        ("/start", 400, "ERR_WORKFLOW_NAME_MISSING"),
        ("/pause", 400, "ERR_INSTANCE_ID_PROVIDED_MISSING"),
        ("o-1/raiseEvent/", 404, "ERR_DIRECT_INVOKE"),
        ("o-1/purge", 500, "ERR_PURGE_WORKFLOW"),
        ("nobody/purge", 404, "ERR_INSTANCE_ID_NOT_FOUND"),
        ("nobody/terminate", 404, "ERR_INSTANCE_ID_NOT_FOUND"),
        ("nobody/pause", 500, "ERR_PAUSE_WORKFLOW"),
        ("nobody/resume", 500, "ERR_RESUME_WORKFLOW"),
        ("nobody/raiseEvent/paid", 500, "ERR_RAISE_EVENT_WORKFLOW"),
        ("order/start?appID=cart", 403, "ERR_WORKFLOW_APP_ID_INVALID"),
        ("order/start?appID=nobody", 403, "ERR_WORKFLOW_APP_ID_INVALID"),
    ] {
        assert_eq!(post(&world, path, "").await.error(), (status, code.to_owned()), "{path}");
    }
    let told = get(&world, "nobody").await;
    assert_eq!(told.error(), (404, "ERR_INSTANCE_ID_NOT_FOUND".to_owned()));
    assert_eq!(post(&world, "order/start?appID=catalog", "").await.status, 202, "it may call it");
}

#[derive(Clone, PartialEq, Message)]
struct Start {
    #[prost(string, tag = "1")]
    instance_id: String,
    #[prost(string, tag = "3")]
    workflow_name: String,
    #[prost(bytes = "vec", tag = "5")]
    input: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Instance {
    #[prost(string, tag = "1")]
    instance_id: String,
    /// Of the answer to `Get…`.
    #[prost(string, tag = "5")]
    runtime_status: String,
}

/// The status, and the message if there is one.
async fn call(world: &World, method: &str, token: &str, ask: &impl Message) -> (String, Bytes) {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(ask.encoded_len()).expect("small"));
    ask.encode(&mut body).expect("has room");
    let request = Request::post(format!("/dapr.proto.runtime.v1.Dapr/{method}"))
        .header("content-type", "application/grpc")
        .header("dapr-api-token", token);
    let request = request.body(Full::from(body.freeze())).expect("a request");
    let told = send(world.grpc_addr("orders").await, request, true).await;
    let trailers = told.trailers.unwrap_or_default();
    let status = told.headers.get("grpc-status").or(trailers.get("grpc-status"));
    let status = status.expect("a status").to_str().expect("a number").to_owned();
    (status, told.body.slice(told.body.len().min(5)..))
}

#[tokio::test]
async fn the_methods_of_dapr_do_the_same_under_all_their_names() {
    let world = World::new().await;
    let start = Start {
        instance_id: "g-1".to_owned(),
        workflow_name: "order".to_owned(),
        input: b"1".to_vec(),
    };
    let one = Instance { instance_id: "g-1".to_owned(), ..Default::default() };
    let (status, answer) = call(&world, "StartWorkflowBeta1", TOKEN, &start).await;
    assert_eq!((status.as_str(), Instance::decode(answer).expect("reads")), ("0", one.clone()));
    for method in ["GetWorkflowAlpha1", "GetWorkflowBeta1"] {
        let (status, answer) = call(&world, method, TOKEN, &one).await;
        let state = Instance::decode(answer).expect("reads");
        assert_eq!((status.as_str(), state.runtime_status.as_str()), ("0", "PENDING"), "{method}");
    }
    for method in ["PauseWorkflowBeta1", "ResumeWorkflowAlpha1", "TerminateWorkflowBeta1"] {
        assert_eq!(call(&world, method, TOKEN, &one).await.0, "0", "{method}");
    }
    let nobody = Instance { instance_id: "nobody".to_owned(), ..Default::default() };
    assert_eq!(call(&world, "GetWorkflowBeta1", TOKEN, &nobody).await.0, "0", "as in Dapr");
    assert_eq!(call(&world, "TerminateWorkflowBeta1", TOKEN, &nobody).await.0, "5");
    assert_eq!(call(&world, "StartWorkflowBeta1", TOKEN, &nobody).await.0, "3", "without a name");
    assert_eq!(call(&world, "GetMetadata", TOKEN, &()).await.0, "0");
    assert_eq!(call(&world, "SaveState", TOKEN, &()).await.0, "12");
    assert_eq!(call(&world, "GetWorkflowBeta1", "wrong", &one).await.0, "16");
}
