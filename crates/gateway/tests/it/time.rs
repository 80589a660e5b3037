//! How long anybody waits: for a connection, for an answer, for its next byte; and how that is
//! told from hop to hop.

use std::time::Duration;

use archipel_gateway::{Body, Caller, Problem, Upstream};
use archipel_model::EdgePolicy;
use archipel_rt::clock;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::support::*;

const EXPECTED: &str = "x-envoy-expected-rq-timeout-ms";

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    request
}

fn millis(app: &App) -> Option<u64> {
    app.last().headers.get(EXPECTED).map(|value| value.to_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_callee_is_told_how_long_its_caller_waits() {
    let world = World::new();
    let app = world.app(ok).await;
    let policy = EdgePolicy { timeout: Some(PATIENCE), ..EdgePolicy::default() };
    let plan = Plan::default().service("a", &[app.addr]).service("b", &[app.addr]);
    let mut route = route("/** -> a");
    route.timeout = Some(PATIENCE);
    let plan = plan.edge_with("a", policy).edge("b").public_routes(&[], vec![route]);
    world.apply(plan.table()).await;
    let (a, b, public) = (world.addr("a"), world.addr("b"), world.addr("public"));
    let whole = PATIENCE.as_millis() as u64;

    world.get(b, "/").await;
    assert_eq!(millis(&app), None, "nobody said anything");
    world.get(a, "/").await;
    let left = millis(&app).unwrap();
    assert!(left > 0 && left <= whole, "{left}");
    // What came in shrinks, and a policy only makes it shorter.
    for (addr, asked) in [(a, whole / 2), (b, whole / 2), (b, whole * 2)] {
        world.send(addr, with(get("/"), EXPECTED, &asked.to_string())).await;
        let left = millis(&app).unwrap();
        assert!(left > 0 && left <= asked, "{left} of {asked}");
    }
    world.send(a, with(get("/"), EXPECTED, &(whole * 2).to_string())).await;
    assert!(millis(&app).unwrap() <= whole);
    world.send(b, with(get("/"), EXPECTED, "soon")).await;
    assert_eq!(millis(&app), None, "nonsense is not passed on");
    // The outside is not believed.
    world.send(public, with(get("/"), EXPECTED, "1")).await;
    assert!(millis(&app).unwrap() > 1);
}

#[tokio::test]
async fn grpc_has_its_own_words_for_it_also_from_outside() {
    let world = World::new();
    let app = world.app_http2(ok).await;
    let plan = Plan::default().grpc("a", &[app.addr]).public(&[], &["/** -> a"]);
    world.apply(plan.table()).await;
    let mut client = world.client_http2(world.addr("public")).await;
    let call = |timeout: &'static str| {
        Request::post("http://shop.local/x.Y/Z")
            .header("content-type", "application/grpc")
            .header("grpc-timeout", timeout)
            .body(Body::empty())
            .unwrap()
    };
    client.send_request(call("20S")).await.unwrap();
    let told = app.last().headers["grpc-timeout"].to_str().unwrap().to_owned();
    let left: u64 = told.strip_suffix('u').unwrap().parse().unwrap();
    assert!(left > 0 && left <= 20_000_000, "{told}");
    let seen = app.count();
    let answer = client.send_request(call("0m")).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED");
    assert_eq!(answer.headers()["x-archipel-refused"], "deadline; route /**");
    assert_eq!(app.count(), seen, "nobody works for a caller that is gone");
}

#[tokio::test]
async fn a_caller_that_will_not_wait_longer_is_answered_in_time() {
    let world = World::new();
    let app = world.app(|_| std::future::pending()).await;
    let policy = EdgePolicy { timeout: Some(PATIENCE), ..EdgePolicy::default() };
    let nobody = Upstream { awaited: true, ..Upstream::default() };
    let plan = Plan::default().service("a", &[app.addr]).edge_with("a", policy.clone());
    let hold = EdgePolicy { hold: Some(PATIENCE), ..EdgePolicy::default() };
    world.apply(plan.upstream("b", nobody).edge_with("b", hold).table()).await;
    let response = world.send(world.addr("a"), with(get("/"), EXPECTED, "150")).await;
    assert_eq!(response.status(), 504);
    assert_eq!(response.headers()["x-archipel-refused"], "deadline; edge web->a");
    let body = text(response).await;
    assert!(body.contains("its caller had left"), "{body}");
    eventually(|| world.gateway.inflight(&id("a-0")), |n| *n == 0).await;
    let request = with(get("/"), EXPECTED, "150");
    let refusal =
        world.gateway.call(Caller::Archipel, &name("a"), &policy, request).await.unwrap_err();
    assert_eq!((refusal.problem, refusal.is_unsent()), (Problem::Deadline, false));
    // Nor does it wait for an instance to come up.
    let response = world.send(world.addr("b"), with(get("/"), EXPECTED, "150")).await;
    assert_eq!(response.status(), 503);
}

/// Answers with the head at once and with a piece for each one that it is fed.
async fn fed(world: &World) -> (App, archipel_rt::Sender<Bytes>) {
    let (feed, receiver) = archipel_rt::channel::<Bytes>("test.fed", 1);
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let app = world
        .app(move |_: Request<Incoming>| {
            let mut receiver = receiver.lock().unwrap().take().unwrap();
            async move {
                let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
                Response::new(Body::stream(pieces.map(Ok::<_, std::io::Error>)))
            }
        })
        .await;
    (app, feed)
}

#[tokio::test]
async fn an_answer_that_goes_silent_is_cut_and_one_that_goes_on_is_not() {
    const IDLE: Duration = Duration::from_millis(1_200);
    let world = World::new();
    let (app, feed) = fed(&world).await;
    let policy = EdgePolicy { idle: Some(IDLE), ..EdgePolicy::default() };
    world.apply(Plan::default().service("a", &[app.addr]).edge_with("a", policy).table()).await;
    let started = clock::now();
    let mut body = world.get(world.addr("a"), "/").await.into_body();
    // Longer than the limit in all, in steps that are shorter.
    while clock::now() - started < 2 * IDLE {
        feed.send(Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
        clock::sleep(IDLE / 12).await;
    }
    let silent = clock::now();
    let end = clock::timeout(PATIENCE, body.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "what is missing is not taken for the end");
    assert!(clock::now() - silent >= IDLE / 2);
    eventually(|| world.gateway.counters().series[0].broken, |broken| *broken == 1).await;
    drop(feed);
}

#[tokio::test]
async fn a_connection_that_is_not_accepted_is_given_up_in_time() {
    let world = World::new();
    // Its queue is full, so the kernel answers no further connection.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    let full = async {
        loop {
            let next = tokio::net::TcpStream::connect(addr);
            match clock::timeout(Duration::from_millis(300), next).await {
                Ok(stream) => queue.push(stream.unwrap()),
                Err(_) => return,
            }
        }
    };
    clock::timeout(PATIENCE, full).await.unwrap();
    let policy = EdgePolicy {
        connect: Some(Duration::from_millis(150)),
        hold: None,
        retry: archipel_model::Retry { attempts: 0, ..archipel_model::Retry::default() },
        ..EdgePolicy::default()
    };
    world.apply(Plan::default().service("a", &[addr]).edge_with("a", policy).table()).await;
    let response = world.get(world.addr("a"), "/").await;
    assert_eq!(response.headers()["x-archipel-refused"], "connect-failed; edge web->a");
    let body = text(response).await;
    assert!(body.contains("not accepted within 150ms"), "{body}");
    drop((listener, queue));
}
