//! Limits, lists, headers: what the public entrance asks before a request goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use archipel_gateway::{Body, Problem, PublicRoutes, Table};
use archipel_model::{
    AccessFormat, AccessLog, Bots, Bytes, Cidr, Cors, Guard, HeaderChanges, LimitBy, RateLimit,
    Route, SecurityHeaders,
};
use archipel_rt::clock;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::{App, PATIENCE, Plan, World, eventually, get, ok, route, text};

fn per_hour(burst: u32, by: Vec<LimitBy>) -> RateLimit {
    RateLimit { count: 1, per: Duration::from_secs(3_600), burst, by }
}

fn cidrs(list: &[&str]) -> Vec<Cidr> {
    list.iter().map(|text| Cidr::parse(text).unwrap()).collect()
}

fn table(app: &App, guard: Guard, routes: Vec<Route>) -> Table {
    let public = PublicRoutes { routes, guard: Box::new(guard), ..PublicRoutes::default() };
    Plan::default().service("a", &[app.addr]).public_with(public).table()
}

fn limited(limit: RateLimit) -> (Guard, Vec<Route>) {
    let guard = Guard { limits: [("login".to_owned(), limit)].into(), ..Guard::default() };
    let mut login = route("POST /login -> a");
    login.guard.limits = vec!["login".to_owned()];
    (guard, vec![login, route("/** -> a")])
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "shop.local");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn send(
    world: &World,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Incoming> {
    world.send(world.addr("public"), request(method, path, headers)).await
}

#[tokio::test]
async fn a_storm_of_logins_is_limited_and_browsing_is_not() {
    let world = World::new();
    let app = world.app(ok).await;
    let (guard, routes) = limited(per_hour(3, vec![LimitBy::Ip]));
    world.apply(table(&app, guard.clone(), routes.clone())).await;
    for left in [2, 1, 0] {
        let answer = send(&world, "POST", "/login", &[]).await;
        assert_eq!(answer.status(), 200);
        let told = answer.headers()["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"login\";r={left};t=")), "{told}");
        assert_eq!(answer.headers()["ratelimit-policy"], "\"login\";q=3;w=10800");
    }
    // An instance that comes or goes gives nobody a new burst.
    world.apply(table(&app, guard, routes)).await;
    for _ in 0..20 {
        let answer = send(&world, "POST", "/login", &[("accept", "application/json")]).await;
        assert_eq!(answer.status(), 429);
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((3_500..=3_600).contains(&wait), "{wait}");
        assert_eq!(answer.headers()["x-archipel-refused"], "rate-limited; limit login");
        let body: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!(body["rule"], "limit login");
        assert!(body["help"].as_str().unwrap().contains("retry-after"), "{body}");
        assert_eq!(send(&world, "GET", "/shop", &[]).await.status(), 200);
    }
    assert_eq!(app.count(), 23);
    let counters = world.gateway.counters();
    let hit = counters.refusals.iter().find(|r| r.problem == Problem::RateLimited).unwrap();
    assert_eq!((hit.rule.as_str(), hit.count), ("limit login", 20));
}

#[tokio::test]
async fn a_header_that_is_left_out_is_no_way_around_a_limit() {
    let world = World::new();
    let app = world.app(ok).await;
    let (guard, routes) = limited(per_hour(1, vec![LimitBy::Header("x-shop".to_owned())]));
    world.apply(table(&app, guard, routes)).await;
    let mut statuses = Vec::new();
    for headers in [&[("x-shop", "a")][..], &[("x-shop", "a")], &[("x-shop", "b")], &[], &[]] {
        statuses.push(send(&world, "POST", "/login", headers).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 429, 200, 200, 429]);
}

#[tokio::test]
async fn a_limit_of_the_gateway_counts_what_finds_no_route_too() {
    let world = World::new();
    let app = world.app(ok).await;
    let guard = Guard {
        limits: [("all".to_owned(), per_hour(2, vec![LimitBy::Ip]))].into(),
        limit: vec!["all".to_owned()],
        ..Guard::default()
    };
    world.apply(table(&app, guard, vec![route("/only -> a")])).await;
    let mut statuses = Vec::new();
    for path in ["/.env", "/only", "/wp-admin", "/only"] {
        statuses.push(send(&world, "GET", path, &[]).await.status().as_u16());
    }
    assert_eq!(statuses, [404, 200, 429, 429]);
}

#[tokio::test]
async fn only_a_trusted_proxy_says_who_the_client_is() {
    let world = World::new();
    let app = world.app(ok).await;
    let (mut guard, routes) = limited(per_hour(1, vec![LimitBy::Ip]));
    let forwarded = |who: &'static str| [("x-forwarded-for", who), ("x-forwarded-proto", "https")];
    world.apply(table(&app, guard.clone(), routes.clone())).await;
    assert_eq!(send(&world, "POST", "/login", &forwarded("203.0.113.1")).await.status(), 200);
    assert_eq!(app.last().headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(app.last().headers["x-forwarded-proto"], "http");
    assert_eq!(send(&world, "POST", "/login", &forwarded("203.0.113.2")).await.status(), 429);
    guard.trusted = cidrs(&["127.0.0.0/8"]);
    world.apply(table(&app, guard, routes)).await;
    assert_eq!(
        send(&world, "POST", "/login", &forwarded("9.9.9.9, 203.0.113.1")).await.status(),
        200
    );
    assert_eq!(app.last().headers["x-forwarded-for"], "203.0.113.1");
    assert_eq!(app.last().headers["x-forwarded-proto"], "https");
    assert_eq!(
        send(&world, "POST", "/login", &forwarded("8.8.8.8, 203.0.113.1")).await.status(),
        429
    );
    assert_eq!(send(&world, "POST", "/login", &forwarded("203.0.113.2")).await.status(), 200);
}

#[tokio::test]
async fn one_address_gets_so_many_connections_and_no_more() {
    let world = World::new();
    let app = world.app(ok).await;
    let guard = Guard { connections_max: Some(2), ..Guard::default() };
    world.apply(table(&app, guard, vec![route("/** -> a")])).await;
    let addr = world.addr("public");
    let mut first = world.client(addr).await;
    let mut second = world.client(addr).await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.send_request(get("/")).await.unwrap().status(), 200);
    }
    let mut third = TcpStream::connect(addr).await.unwrap();
    let closed = clock::timeout(PATIENCE, third.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop(first);
    let probe = || async {
        let mut client = world.client(addr).await;
        client.send_request(get("/")).await.map(|_| ()).map_err(|error| error.to_string())
    };
    archipel_testkit::eventually(PATIENCE, probe).await;
    assert_eq!(second.send_request(get("/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn lists_of_addresses_close_a_route() {
    let world = World::new();
    let app = world.app(ok).await;
    let (mut internal, mut blocked) = (route("/internal -> a"), route("/blocked -> a"));
    internal.guard.allow = cidrs(&["10.0.0.0/8", "::1"]);
    blocked.guard.allow = cidrs(&["127.0.0.0/8"]);
    blocked.guard.deny = cidrs(&["127.0.0.1"]);
    let routes = vec![internal, blocked, route("/** -> a")];
    let guard = Guard { trusted: cidrs(&["127.0.0.1"]), ..Guard::default() };
    world.apply(table(&app, guard, routes)).await;
    let answer = send(&world, "GET", "/internal", &[]).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers()["x-archipel-refused"], "address-denied; allow of route /internal");
    assert_eq!(send(&world, "GET", "/blocked", &[]).await.status(), 403);
    assert_eq!(send(&world, "GET", "/", &[]).await.status(), 200);
    let inside = [("x-forwarded-for", "10.1.2.3")];
    assert_eq!(send(&world, "GET", "/internal", &inside).await.status(), 200);
}

fn cors(origins: &[&str], credentials: bool) -> Cors {
    Cors {
        origins: origins.iter().map(|o| (*o).to_owned()).collect(),
        methods: vec![],
        headers: vec!["content-type".to_owned()],
        expose: vec!["x-total".to_owned()],
        credentials,
        max_age: Some(Duration::from_secs(60)),
    }
}

#[tokio::test]
async fn a_preflight_is_answered_for_the_method_it_asks_about() {
    let world = World::new();
    let app = world.app(ok).await;
    let mut put = route("PUT /basket -> a");
    put.guard.cors = Some(cors(&["https://shop.example.org"], true));
    world.apply(table(&app, Guard::default(), vec![put, route("GET /plain -> a")])).await;
    let ask = |origin: &'static str, method: &'static str, headers: &'static str| {
        [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ]
    };
    let shop = "https://shop.example.org";
    let answer = send(&world, "OPTIONS", "/basket", &ask(shop, "PUT", "content-type")).await;
    assert_eq!(answer.status(), 204);
    let headers = answer.headers();
    assert_eq!(headers["access-control-allow-origin"], shop);
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(headers["access-control-allow-methods"], "GET, HEAD, POST, PUT");
    assert_eq!(headers["access-control-allow-headers"], "content-type");
    assert_eq!(headers["access-control-max-age"], "60");
    let evil = "https://shop.example.org.evil.test";
    for refused in [ask(evil, "PUT", "content-type"), ask(shop, "PUT", "x-secret")] {
        let answer = send(&world, "OPTIONS", "/basket", &refused).await;
        assert_eq!(answer.status(), 403, "{refused:?}");
        assert_eq!(
            answer.headers()["x-archipel-refused"],
            "origin-denied; cors of route PUT /basket"
        );
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
    // Without CORS of ours, OPTIONS is a method like any other.
    let answer = send(&world, "OPTIONS", "/plain", &ask(shop, "GET", "")).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn a_browser_learns_which_pages_may_read_an_answer() {
    let world = World::new();
    let app = world
        .app(|_| async {
            let answer = Response::builder().header("access-control-allow-origin", "*");
            answer.body(Body::from("ok")).unwrap()
        })
        .await;
    let (mut some, mut all) = (route("/some -> a"), route("/all -> a"));
    some.guard.cors = Some(cors(&["https://*.example.org"], true));
    all.guard.cors = Some(cors(&["*"], false));
    world.apply(table(&app, Guard::default(), vec![some, all])).await;
    let from = |origin: &'static str| [("origin", origin)];
    let answer = send(&world, "GET", "/some", &from("https://a.example.org")).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example.org");
    assert_eq!(answer.headers()["access-control-expose-headers"], "x-total");
    assert_eq!(answer.headers()["vary"], "origin");
    let answer = send(&world, "GET", "/some", &from("https://evil.test")).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("access-control-allow-origin"), "ours, not the app's");
    let answer = send(&world, "GET", "/all", &from("https://evil.test")).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn security_headers_stand_on_every_answer_and_yield_to_the_apps() {
    let world = World::new();
    let app = world
        .app(|_| async {
            let answer =
                Response::builder().header("x-frame-options", "DENY").header("server", "x");
            answer.body(Body::from("ok")).unwrap()
        })
        .await;
    let mut route = route("/a -> a");
    route.guard.response_headers = HeaderChanges {
        set: [("x-shop".to_owned(), "7".to_owned())].into(),
        remove: vec!["server".to_owned()],
    };
    route.guard.request_headers = HeaderChanges {
        set: [("x-from".to_owned(), "gateway".to_owned())].into(),
        remove: vec!["x-noise".to_owned()],
    };
    let headers =
        SecurityHeaders { csp: Some("default-src 'self'".to_owned()), ..SecurityHeaders::strict() };
    let guard =
        Guard { headers: Some(headers), trusted: cidrs(&["127.0.0.1"]), ..Guard::default() };
    world.apply(table(&app, guard, vec![route])).await;
    let answer = send(&world, "GET", "/a", &[("x-noise", "1"), ("x-from", "outside")]).await;
    let got = answer.headers();
    assert_eq!(got["x-content-type-options"], "nosniff");
    assert_eq!(got["referrer-policy"], "strict-origin-when-cross-origin");
    assert_eq!(got["x-frame-options"], "DENY");
    assert_eq!(got["content-security-policy"], "default-src 'self'");
    assert_eq!(got["x-shop"], "7");
    assert!(!got.contains_key("server") && !got.contains_key("strict-transport-security"));
    let seen = app.last().headers;
    assert_eq!(seen["x-from"], "gateway");
    assert!(!seen.contains_key("x-noise"));
    let refused = send(&world, "GET", "/nowhere", &[("x-forwarded-proto", "https")]).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.headers()["x-frame-options"], "SAMEORIGIN");
    assert_eq!(refused.headers()["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn scanners_are_refused_and_crawlers_slowed_by_name() {
    let world = World::new();
    let app = world.app(ok).await;
    let bots = Bots {
        known: true,
        deny: vec!["grabber".to_owned()],
        allow: vec![],
        crawl: Some(per_hour(1, vec![])),
        robots: Some("User-agent: *\nDisallow: /cart\n".to_owned()),
    };
    let guard = Guard { bots: Some(bots), ..Guard::default() };
    world.apply(table(&app, guard, vec![route("/a -> a")])).await;
    let visit = |agent: &'static str| [("user-agent", agent)];
    let get = async |agent| send(&world, "GET", "/a", &visit(agent)).await;
    let answer = get("sqlmap/1.8#stable").await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers()["x-archipel-refused"], "bot-denied; bots known sqlmap");
    assert_eq!(get("Site-Grabber/3").await.status(), 403);
    assert_eq!(get("Mozilla/5.0 Firefox/140.0").await.status(), 200);
    let one = "Mozilla/5.0 (compatible; OneBot/2.1; +http://one.example)";
    assert_eq!(get(one).await.status(), 200);
    let slowed = get(one).await;
    assert_eq!(slowed.status(), 429);
    assert_eq!(slowed.headers()["x-archipel-refused"], "rate-limited; limit crawl");
    assert_eq!(get("other-crawler/1").await.status(), 200);
    assert_eq!(get("Mozilla/5.0 Firefox/140.0").await.status(), 200);
    let robots = send(&world, "GET", "/robots.txt", &visit("OneBot")).await;
    assert_eq!(robots.status(), 200);
    assert_eq!(text(robots).await, "User-agent: *\nDisallow: /cart\n");
}

#[tokio::test]
async fn who_wants_no_reasons_told_tells_none() {
    let world = World::new();
    let app = world.app(ok).await;
    let guard = Guard { reasons: false, ..Guard::default() };
    world.apply(table(&app, guard, vec![route("/a -> a")])).await;
    let answer = send(&world, "GET", "/secret-path", &[]).await;
    assert_eq!(answer.status(), 404);
    assert!(!answer.headers().contains_key("x-archipel-refused"));
    let body = text(answer).await;
    assert!(!body.contains("secret-path") && !body.contains("rule"), "{body}");
    assert!(body.contains("urn:archipel:problem:no-route"), "{body}");
}

#[tokio::test]
async fn heads_may_be_kept_smaller_than_usual() {
    let world = World::new();
    let app = world.app(ok).await;
    let guard = Guard { headers_max: Some(10), head_max: Some(Bytes(8 << 10)), ..Guard::default() };
    world.apply(table(&app, guard, vec![route("/a -> a")])).await;
    assert_eq!(send(&world, "GET", "/a", &[]).await.status(), 200);
    let many: Vec<(&str, &str)> = vec![("x-a", "1"); 12];
    assert_eq!(send(&world, "GET", "/a", &many).await.status(), 431);
    let long = "x".repeat(10_000);
    assert_eq!(send(&world, "GET", "/a", &[("x-long", &long)]).await.status(), 431);
}

#[tokio::test]
async fn each_request_leaves_a_line_for_those_who_ask() {
    for format in [AccessFormat::Json, AccessFormat::Combined] {
        let world = World::new();
        let app = world.app(ok).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("logs/access.log");
        let log = AccessLog { file: file.clone(), format, max: Bytes(1 << 20) };
        let guard = Guard { access_log: Some(log), ..Guard::default() };
        world.apply(table(&app, guard, vec![route("/a -> a")])).await;
        let agent = [("user-agent", "te\"st"), ("referer", "http://r.example/")];
        send(&world, "GET", "/a?token=secret", &agent).await;
        send(&world, "GET", "/nowhere", &agent).await;
        let read = || std::fs::read_to_string(&file).unwrap_or_default();
        eventually(read, |text| text.lines().count() == 2).await;
        let text = read();
        assert!(!text.contains("secret"), "a query may hold what no log should: {text}");
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_by_key(|line| line.contains("nowhere"));
        if format == AccessFormat::Json {
            let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
            assert_eq!(line["client"], "127.0.0.1");
            assert_eq!((&line["path"], &line["status"]), (&"/a".into(), &200.into()));
            assert_eq!((&line["service"], &line["agent"]), (&"a".into(), &"te\"st".into()));
            let line: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
            assert_eq!((&line["refused"], &line["rule"]), (&"no-route".into(), &"routes".into()));
        } else {
            assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
            let end = "+0000] \"GET /a HTTP/1.1\" 200 2 \"http://r.example/\" \"te\\\"st\"";
            assert!(lines[0].ends_with(end), "{}", lines[0]);
        }
    }
}

/// Routes, limits and CORS change a hundred times under load: no request fails, and no
/// connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_change_under_load_without_a_failure() {
    let world = World::new();
    let app = world.app(ok).await;
    let state = |n: u32| {
        let limit = RateLimit {
            count: 1_000_000,
            per: Duration::from_secs(1),
            burst: 1_000_000 - n,
            by: vec![LimitBy::Ip],
        };
        let guard = Guard {
            limits: [("all".to_owned(), limit)].into(),
            limit: if n.is_multiple_of(2) { vec!["all".to_owned()] } else { vec![] },
            headers: n.is_multiple_of(3).then(SecurityHeaders::strict),
            reasons: n.is_multiple_of(5),
            ..Guard::default()
        };
        let mut everything = route("/** -> a");
        everything.guard.cors = n.is_multiple_of(2).then(|| cors(&["*"], false));
        everything.guard.response_headers.set = [("x-n".to_owned(), n.to_string())].into();
        let mut routes = vec![everything];
        routes.extend((0..n % 7).map(|i| route(&format!("/extra/{i}/** -> a"))));
        table(&app, guard, routes)
    };
    world.apply(state(1)).await;
    let addr = world.addr("public");
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = world.client(addr).await;
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        clients.push(async move {
            while !stop.load(Relaxed) {
                client.ready().await.expect("the connection stays open");
                let sent = client.send_request(get("/extra/3/x")).await;
                let answer = sent.expect("the connection stays open");
                assert_eq!(answer.status(), 200);
                text(answer).await;
                answered.fetch_add(1, Relaxed);
            }
        });
    }
    let changing = async {
        for n in 2..102 {
            world.apply(state(n)).await;
            let so_far = answered.load(Relaxed);
            eventually(|| answered.load(Relaxed), |now| *now > so_far + 2).await;
        }
        stop.store(true, Relaxed);
    };
    tokio::join!(futures_util::future::join_all(clients), changing);
    let answer = send(&world, "GET", "/", &[]).await;
    assert_eq!(answer.headers()["x-n"], "101");
    assert_eq!(world.gateway.counters().series.iter().map(|s| s.refused).sum::<u64>(), 0);
}
