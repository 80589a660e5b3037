//! Routes that do more than lead to one service: conditions, rewrites, shares, sticky visitors,
//! fallbacks, copies, and the report of what differs.

use std::collections::BTreeMap;

use archipel_gateway::{Body, RouteReport, Skipped};
use archipel_model::{
    Compare, Condition, Elsewhere, FallbackOn, Lead, Mirror, Part, PathPattern, Respond, Route,
    Sample, Sticky, Template, Want,
};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::support::*;

fn condition(part: Part, name: &str, want: Want) -> Condition {
    Condition { part, name: name.to_owned(), want }
}

fn split(line: &str, shares: &[(&str, u32)]) -> Route {
    let shares: BTreeMap<_, _> = shares.iter().map(|(to, share)| (name(to), *share)).collect();
    Route { to: Lead::Split(shares), ..route(line) }
}

fn fallback(to: &str, statuses: &[u16], connect: bool, methods: &[&str]) -> Elsewhere {
    Elsewhere {
        to: name(to),
        on: FallbackOn {
            connect,
            reset: false,
            timeout: false,
            breaker: false,
            overload: false,
            statuses: statuses.to_vec(),
        },
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
    }
}

fn report(world: &World) -> RouteReport {
    world.gateway.routes().into_iter().next().expect("one route is watched")
}

async fn says(app: &'static str) -> Response<Body> {
    Response::new(Body::from(app))
}

fn json(body: impl Into<String>) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.into()));
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

#[tokio::test]
async fn headers_and_query_choose_the_route() {
    let world = World::new();
    let (old, new) = (world.app(|_| says("old")).await, world.app(|_| says("new")).await);
    let mut beta = route("/** -> new");
    beta.steer.when = vec![condition(Part::Header, "x-beta", Want::Exact("1".to_owned()))];
    let mut both = route("/** -> new");
    both.steer.when = vec![
        condition(Part::Header, "x-beta", Want::Absent),
        condition(Part::Query, "v", Want::Prefix("2".to_owned())),
    ];
    let plan = Plan::default().service("old", &[old.addr]).service("new", &[new.addr]);
    let routes = vec![route("/** -> old"), beta, both];
    world.apply(plan.public_routes(&[], routes).table()).await;
    let addr = world.addr("public");
    let check = |path: &'static str, beta: Option<&'static str>, expected: &'static str| {
        let world = &world;
        async move {
            let mut request = get(path);
            if let Some(beta) = beta {
                request.headers_mut().insert("x-beta", beta.parse().unwrap());
            }
            let got = text(world.send(addr, request).await).await;
            assert_eq!(got, expected, "{path} {beta:?}");
        }
    };
    check("/a", None, "old").await;
    check("/a", Some("1"), "new").await;
    check("/a", Some("2"), "old").await;
    check("/a?v=2.1", None, "new").await;
    check("/a?v=2.1", Some("2"), "old").await;
    check("/a?v=3", None, "old").await;
}

#[tokio::test]
async fn a_path_is_rewritten_and_a_visitor_sent_elsewhere() {
    let world = World::new();
    let app = world.app(ok).await;
    let pattern = PathPattern::new("/api/{kind}/**").unwrap();
    let mut rewritten = route("/api/{kind}/** -> app");
    rewritten.steer.rewrite = Some(Template::path("/v2/{2}/of/{kind}", &pattern).unwrap());
    let to = |to: &str, status| Lead::Redirect {
        to: Template::address(to, &PathPattern::new("/old/**").unwrap()).unwrap(),
        status,
    };
    let moved = Route { to: to("https://www.shop.local/new/{1}", 308), ..route("/old/** -> app") };
    let gone = Respond {
        status: 410,
        body: "it is gone".to_owned(),
        content_type: "text/plain".to_owned(),
    };
    let gone = Route { to: Lead::Respond(gone), ..route("/gone -> app") };
    let plan = Plan::default().service("app", &[app.addr]);
    world.apply(plan.public_routes(&[], vec![rewritten, moved, gone]).table()).await;
    let addr = world.addr("public");
    world.get(addr, "/api/items/a%20b/c?x=/1").await;
    assert_eq!(app.last().line, "GET /v2/a%20b/c/of/items?x=/1");
    let answer = world.send(addr, post("/old/a/b?x=1", "body")).await;
    assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(answer.headers()["location"], "https://www.shop.local/new/a/b?x=1");
    assert!(answer.headers().contains_key("x-request-id"));
    let answer = world.get(addr, "/gone").await;
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::GONE, &"text/plain".parse().unwrap())
    );
    assert_eq!(text(answer).await, "it is gone");
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn a_sticky_split_keeps_its_visitors_and_moves_few() {
    let world = World::new();
    let (old, new) = (world.app(|_| says("legacy")).await, world.app(|_| says("orders")).await);
    let apply = async |share: u32| {
        let mut split = split("/** -> orders", &[("orders", share), ("legacy", 100 - share)]);
        split.steer.sticky = Some(Sticky::Header("x-customer-id".to_owned()));
        let plan = Plan::default().service("orders", &[new.addr]).service("legacy", &[old.addr]);
        world.apply(plan.public_routes(&[], vec![split]).table()).await;
    };
    apply(20).await;
    let addr = world.addr("public");
    let mut client = world.client(addr).await;
    let mut ask = async |customer: usize| {
        let mut request = get("/orders");
        request.headers_mut().insert("x-customer-id", customer.to_string().parse().unwrap());
        text(client.send_request(request).await.unwrap()).await
    };
    let mut before = Vec::new();
    for customer in 0..300 {
        before.push(ask(customer).await);
    }
    let moved = before.iter().filter(|to| *to == "orders").count();
    assert!((30..=95).contains(&moved), "a fifth of 300: {moved}");
    for (customer, before) in before.iter().enumerate().take(50) {
        assert_eq!(ask(customer).await, *before, "the same visitor, the same answer");
    }
    apply(60).await;
    let mut after = 0;
    for (customer, before) in before.iter().enumerate() {
        let now = ask(customer).await;
        assert!(now == "orders" || before == "legacy", "nobody moves back");
        after += usize::from(now == "orders");
    }
    assert!((140..=220).contains(&after), "three fifths of 300: {after}");
    let counted: u64 = world.gateway.counters().series.iter().map(|s| s.requests()).sum();
    assert_eq!(counted, 650);
}

#[tokio::test]
async fn a_cookie_keeps_a_visitor_on_one_instance_until_it_goes() {
    let world = World::new();
    let apps = [
        world.app(|_| says("0")).await,
        world.app(|_| says("1")).await,
        world.app(|_| says("2")).await,
    ];
    let addrs: Vec<_> = apps.iter().map(|app| app.addr).collect();
    let mut sticky = route("/** -> cart");
    sticky.steer.sticky = Some(Sticky::Cookie);
    let table = |addrs: &[std::net::SocketAddr]| {
        Plan::default().service("cart", addrs).public_routes(&[], vec![sticky.clone()]).table()
    };
    world.apply(table(&addrs)).await;
    let addr = world.addr("public");
    let mut visitors = Vec::new();
    for _ in 0..30 {
        let answer = world.get(addr, "/").await;
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        visitors.push((cookie, text(answer).await));
    }
    let ask = async |cookie: &str| {
        let mut request = get("/");
        request.headers_mut().insert("cookie", format!("a=b; {cookie}").parse().unwrap());
        let answer = world.send(addr, request).await;
        assert!(!answer.headers().contains_key("set-cookie"), "the cookie is there already");
        text(answer).await
    };
    for (cookie, at) in &visitors {
        assert_eq!(ask(cookie).await, *at);
    }
    for n in ["0", "1", "2"] {
        assert!(visitors.iter().any(|(_, at)| at == n), "all are used: {visitors:?}");
    }
    // The third leaves: its visitors go elsewhere, the others stay.
    world.apply(table(&addrs[..2])).await;
    for (cookie, at) in &visitors {
        let now = ask(cookie).await;
        assert!(now == *at || at == "2", "{at} → {now}");
        assert_ne!(now, "2");
    }
}

#[tokio::test]
async fn not_mine_is_asked_of_the_other_system() {
    let world = World::new();
    let new = world
        .app(async |request| {
            let status = if request.uri().path().starts_with("/mine") { 200 } else { 404 };
            Response::builder().status(status).body(Body::from("new")).unwrap()
        })
        .await;
    let old = world.app(async |request: Request<Incoming>| {
        Response::new(Body::from(format!("legacy {}", request.uri())))
    });
    let old = old.await;
    let mut route = route("/** -> customers");
    route.steer.fallback = Some(fallback("legacy", &[404], true, &["GET", "HEAD", "POST"]));
    route.steer.compare = Some(Compare { to: name("legacy"), sample: Sample::ALL, ignore: vec![] });
    let plan = Plan::default().service("customers", &[new.addr]).service("legacy", &[old.addr]);
    world.apply(plan.public_routes(&[], vec![route.clone()]).table()).await;
    let addr = world.addr("public");
    assert_eq!(text(world.get(addr, "/mine").await).await, "new");
    let mut client = world.client(addr).await;
    for i in 0..20 {
        let answer = client.send_request(get(&format!("/theirs/{i}?q=1"))).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(text(answer).await, format!("legacy /theirs/{i}?q=1"));
    }
    assert!(*new.connections.lock().unwrap() < 15, "dropped answers give their connection back");
    let posted = world.send(addr, post("/theirs", "x")).await;
    assert_eq!(posted.status(), 404, "what may have had an effect is not asked again");
    let fell_back = |report: RouteReport| report.compare.skipped[Skipped::FellBack as usize];
    eventually(|| fell_back(report(&world)), |n| *n == 20).await;
    assert_eq!(report(&world).fell_back, 20);
    assert_eq!(report(&world).compare.skipped.iter().sum::<u64>(), 20, "once each");

    // Nobody there: nothing can have had an effect, so a small body goes along.
    let (raw, dead) = world.raw().await;
    drop(raw);
    let plan = Plan::default().service("customers", &[dead]).service("legacy", &[old.addr]);
    world.apply(plan.public_routes(&[], vec![route]).table()).await;
    assert_eq!(text(world.send(addr, post("/theirs", "x")).await).await, "legacy /theirs");
    assert_eq!(text(world.get(addr, "/mine").await).await, "legacy /mine");
    let large = world.send(addr, post("/theirs", vec![b'x'; 100_000])).await;
    assert_eq!(large.status(), 502, "a large one is not kept");
    let mut put = get("/mine");
    *put.method_mut() = http::Method::PUT;
    assert_eq!(world.send(addr, put).await.status(), 502, "its methods do not name PUT");
}

#[tokio::test]
async fn a_mirror_gets_copies_with_bodies_and_can_do_no_harm() {
    let world = World::new();
    let main = world.app(echo).await;
    let seen: std::sync::Arc<std::sync::Mutex<Vec<String>>> = Default::default();
    let notes = seen.clone();
    let copy = world.app(move |request: Request<Incoming>| {
        let notes = notes.clone();
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let body = Body::from(request.into_body()).collect(1 << 20).await.unwrap();
            notes.lock().unwrap().push(format!("{line} {}", body.len()));
            Response::builder().status(500).body(Body::from("broken")).unwrap()
        }
    });
    let copy = copy.await;
    let mut mirrored = route("/** -> main");
    mirrored.steer.mirror = Some(Mirror { to: name("copy"), sample: Sample::ALL });
    let plan = Plan::default().service("main", &[main.addr]).service("copy", &[copy.addr]);
    world.apply(plan.public_routes(&[], vec![mirrored.clone()]).table()).await;
    let addr = world.addr("public");
    world.get(addr, "/a?b=c").await;
    assert_eq!(text(world.send(addr, post("/b", "12345")).await).await, "12345");
    let large = vec![b'x'; 300_000];
    assert_eq!(text(world.send(addr, post("/c", large)).await).await.len(), 300_000);
    let wanted = ["GET /a?b=c 0".to_owned(), "POST /b 5".to_owned()];
    eventually(|| seen.lock().unwrap().clone(), |seen| wanted.iter().all(|w| seen.contains(w)))
        .await;
    assert_eq!(seen.lock().unwrap().len(), 2, "the large one was left out");
    let mirror = report(&world).mirror;
    assert_eq!((mirror.done, mirror.skipped[Skipped::TooLarge as usize]), (2, 1));
    let outside: u64 = world
        .gateway
        .counters()
        .series
        .iter()
        .filter(|s| s.key.caller == archipel_gateway::Caller::Outside)
        .map(|s| s.requests())
        .sum();
    assert_eq!(outside, 3, "copies are not counted as anybody's requests");

    // The mirror hangs: the main requests do not, and copies stay bounded.
    let (raw, hung) = world.raw().await;
    let plan = Plan::default().service("main", &[main.addr]).service("copy", &[hung]);
    world.apply(plan.public_routes(&[], vec![mirrored]).table()).await;
    let mut client = world.client(addr).await;
    for _ in 0..300 {
        let answer = client.send_request(get("/x")).await.unwrap();
        assert_eq!(answer.status(), 200);
        text(answer).await;
    }
    assert!(report(&world).mirror.skipped[Skipped::TooMany as usize] >= 150);
    drop(raw);
}

#[tokio::test]
async fn what_differs_is_told_and_what_does_not_is_not() {
    let world = World::new();
    let main = world
        .app(async |request| match request.uri().path() {
            "/same" => json(r#"{"a":1,"b":[1,2],"at":1}"#),
            "/price" => json(r#"{"items":[{"sku":"a","price":1299,"at":5}],"email":"ada@x.org"}"#),
            "/status" => json("{}"),
            _ => Response::new(Body::from("plain")),
        })
        .await;
    let other = world
        .app(async |request| match request.uri().path() {
            "/same" => json(r#"{"b":[1.0,2], "at":2, "a":1}"#),
            "/price" => json(r#"{"items":[{"sku":"a","price":1300,"at":6}],"email":"bob@x.org"}"#),
            "/status" => {
                let mut answer = json("{}");
                *answer.status_mut() = StatusCode::NOT_FOUND;
                answer
            }
            _ => Response::new(Body::from("plain!")),
        })
        .await;
    let mut compared = route("/** -> main");
    compared.steer.compare = Some(Compare {
        to: name("other"),
        sample: Sample::ALL,
        ignore: vec!["/at".to_owned(), "/items/*/at".to_owned()],
    });
    let plan = Plan::default().service("main", &[main.addr]).service("other", &[other.addr]);
    world.apply(plan.public_routes(&[], vec![compared]).table()).await;
    let addr = world.addr("public");
    for path in ["/same", "/price?customer=cus_1", "/status", "/plain"] {
        let mut request = get(path);
        request.headers_mut().insert("authorization", "Bearer geheim".parse().unwrap());
        assert_eq!(world.send(addr, request).await.status(), 200);
    }
    world.send(addr, post("/same", "x")).await;
    let mut conditional = get("/same");
    conditional.headers_mut().insert("if-none-match", "\"1\"".parse().unwrap());
    world.send(addr, conditional).await;
    eventually(|| report(&world).compare.done, |done| *done == 4).await;
    assert_eq!(other.count(), 4, "a POST and a conditional request are not repeated");
    assert_eq!(other.last().headers["authorization"], "Bearer geheim");
    let report = report(&world);
    assert_eq!(report.differing, 3);
    let told: BTreeMap<&str, Vec<(&str, &str, &str)>> = report
        .examples
        .iter()
        .map(|example| {
            let places = example.differences.iter();
            let places = places.map(|d| (d.at.as_str(), d.main.as_str(), d.other.as_str()));
            (example.line.as_str(), places.collect())
        })
        .collect();
    let wanted = BTreeMap::from([
        (
            "GET /price?customer=…",
            vec![
                ("/items/0/price", "1299", "1300"),
                ("/email", "(hidden, 9 characters)", "(hidden, 9 characters)"),
            ],
        ),
        ("GET /status", vec![("status", "200", "404")]),
        ("GET /plain", vec![("body (from byte 5)", "5 bytes", "6 bytes")]),
    ]);
    assert_eq!(told, wanted);
    let all = format!("{report:?}");
    assert!(!all.contains("geheim") && !all.contains("cus_1") && !all.contains("x.org"), "{all}");
}

#[tokio::test]
async fn streams_and_switched_protocols_pass_through_untouched() {
    let world = World::new();
    let main = world
        .app(async |request: Request<Incoming>| {
            if request.uri().path() == "/events" {
                let first =
                    futures_util::stream::iter([Ok::<_, std::io::Error>("data: 1\n\n".into())]);
                let endless = futures_util::stream::pending();
                use futures_util::StreamExt;
                let mut answer = Response::new(Body::stream(first.chain(endless)));
                answer.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
                return answer;
            }
            let answer = Response::builder()
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "echo")
                .body(Body::empty())
                .unwrap();
            #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(request).await.unwrap();
                let (mut r, mut w) = tokio::io::split(hyper_util::rt::TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut r, &mut w).await;
            });
            answer
        })
        .await;
    let copy = world.app(ok).await;
    let mut all = split("/** -> main", &[("main", 100), ("copy", 0)]);
    all.steer.sticky = Some(Sticky::Cookie);
    all.steer.mirror = Some(Mirror { to: name("copy"), sample: Sample::ALL });
    all.steer.compare = Some(Compare { to: name("copy"), sample: Sample::ALL, ignore: vec![] });
    all.steer.fallback = Some(fallback("copy", &[404, 101], true, &["GET"]));
    let plan = Plan::default().service("main", &[main.addr]).service("copy", &[copy.addr]);
    world.apply(plan.public_routes(&[], vec![all]).table()).await;
    let addr = world.addr("public");
    let mut request = get("/ws");
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let answer = world.send(addr, request).await;
    assert_eq!(answer.status(), 101);
    assert!(answer.headers().contains_key("set-cookie"), "shares apply to them too");
    let upgraded = hyper::upgrade::on(answer).await.unwrap();
    let mut io = hyper_util::rt::TokioIo::new(upgraded);
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    io.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    io.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    assert_eq!(copy.count(), 0, "it was not copied");

    let mut events = world.get(addr, "/events").await;
    use http_body_util::BodyExt;
    let frame = events.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: 1\n\n");
    let skipped = |report: RouteReport| report.compare.skipped[Skipped::Incomplete as usize];
    eventually(|| skipped(report(&world)), |n| *n == 1).await;
}
