//! What a request matters goes on with the calls that are made for it.

use std::sync::Arc;

use archipel_gateway::Body;
use archipel_model::{Priority, Safeguards};
use http::{Request, Response};
use tokio::sync::Semaphore;

use crate::support::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced(path: &str, state: Option<&str>) -> Request<Body> {
    let mut request = get(path);
    request.headers_mut().insert("traceparent", PARENT.parse().unwrap());
    if let Some(state) = state {
        request.headers_mut().insert("tracestate", state.parse().unwrap());
    }
    request
}

fn plan(app: &App) -> Plan {
    let mut buy = route("/buy/** -> a");
    buy.safeguards = Safeguards { priority: Some(Priority::Critical), ..Safeguards::default() };
    let routes = vec![buy, route("/** -> a")];
    Plan::default().service("a", &[app.addr]).public_routes(&[], routes).edge("a")
}

#[tokio::test]
async fn an_app_passes_on_what_its_caller_matters_with_the_trace() {
    let world = World::new();
    let app = world.app(ok).await;
    world.apply(plan(&app).table()).await;
    let check = async |listener: &str, path: &str, sent: Option<&str>, got: Option<&str>| {
        let response = world.send(world.addr(listener), traced(path, sent)).await;
        assert_eq!(response.status(), 200);
        let seen = app.last().headers.get("tracestate").map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(seen.as_deref(), got, "{listener} {path} {sent:?}");
    };
    check("public", "/buy/1", None, Some("archipel=critical")).await;
    check("public", "/buy/1", Some("a=1"), Some("archipel=critical,a=1")).await;
    // Nobody outside makes themselves important.
    check("public", "/buy/1", Some("archipel=low"), Some("archipel=critical")).await;
    check("public", "/", Some("a=1,archipel=critical"), Some("a=1")).await;
    check("public", "/", None, None).await;
    check("a", "/", Some("archipel=low"), Some("archipel=low")).await;
    // Without a trace too.
    world.get(world.addr("public"), "/buy/1").await;
    assert_eq!(app.last().headers["tracestate"], "archipel=critical");
}

#[tokio::test]
async fn an_app_that_passes_on_only_the_trace_passes_on_what_it_matters() {
    let world = World::new();
    let inner = world.app(ok).await;
    let (gateway, world) = (world.gateway.clone(), world);
    let outer = {
        let tasks = world.tasks.clone();
        world
            .app(move |request| {
                let (gateway, tasks) = (gateway.clone(), tasks.clone());
                async move {
                    let stream = tokio::net::TcpStream::connect(gateway.bound("inner").unwrap())
                        .await
                        .unwrap();
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let (mut client, connection) =
                        hyper::client::conn::http1::handshake(io).await.unwrap();
                    tasks.spawn("test.call", async move { drop(connection.await) });
                    let mut call = get("/");
                    let trace = request.headers()["traceparent"].clone();
                    call.headers_mut().insert("traceparent", trace);
                    client.send_request(call).await.unwrap().map(Body::from)
                }
            })
            .await
    };
    let low = Safeguards { priority: Some(Priority::Low), ..Safeguards::default() };
    let (mut first, mut third) = (route("/buy/** -> outer"), route("/more/** -> outer"));
    first.safeguards.priority = Some(Priority::Critical);
    third.safeguards = low;
    let plan = Plan::default().service("outer", &[outer.addr]).service("inner", &[inner.addr]);
    let plan = plan.public_routes(&[], vec![first, route("/** -> outer"), third]).edge("inner");
    world.apply(plan.table()).await;
    for (path, want) in
        [("/buy/1", Some("archipel=critical")), ("/", None), ("/more/1", Some("archipel=low"))]
    {
        // With a trace of a visitor's own, or none.
        for asked in [get(path), traced(path, None), traced(path, Some("archipel=critical"))] {
            let response = world.send(world.addr("public"), asked).await;
            assert_eq!(response.status(), 200);
            let seen =
                inner.last().headers.get("tracestate").map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(seen.as_deref(), want, "{path}");
        }
    }
}

#[tokio::test]
async fn further_in_the_least_important_are_refused_first() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let app = world
        .app(move |_| {
            let wait = Arc::clone(&wait);
            async move {
                let _turn = wait.acquire().await.unwrap();
                Response::new(Body::from("ok"))
            }
        })
        .await;
    world.apply(plan(&app).table()).await;
    let edge = world.addr("a");
    // As many as low priority may have, of the 64 that a service is first taken to manage.
    let mut waiting = tokio::task::JoinSet::new();
    let mut ask = async |state: Option<&'static str>| {
        let mut client = world.client(edge).await;
        waiting.spawn(async move {
            client.send_request(traced("/", state)).await.unwrap().status().as_u16()
        });
    };
    for _ in 0..40 {
        ask(None).await;
    }
    eventually(|| app.count(), |count| *count == 40).await;
    let refused = world.send(edge, traced("/", Some("archipel=low"))).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["x-archipel-refused"], "overloaded; edge web->a");
    for _ in 0..14 {
        ask(None).await;
    }
    eventually(|| app.count(), |count| *count == 54).await;
    assert_eq!(world.send(edge, traced("/", None)).await.status(), 503);
    ask(Some("archipel=critical,b=2")).await;
    eventually(|| app.count(), |count| *count == 55).await;
    gate.add_permits(100);
    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
}
