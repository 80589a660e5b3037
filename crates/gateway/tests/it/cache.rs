//! Answers from memory: what a caller gets, and how often the app is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use archipel_gateway::{Body, Purge};
use archipel_model::{Bytes as Size, Condition, Part, RouteCache, Want};
use archipel_rt::clock;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Notify;

use crate::support::*;

/// A gateway before one app, whose route caches like this.
async fn cached(world: &World, app: &App, cache: RouteCache) -> std::net::SocketAddr {
    let mut route = route("/** -> shop");
    route.cache = Some(cache);
    let plan = Plan::default().service("shop", &[app.addr]);
    world.apply(plan.public_routes(&[], vec![route]).table()).await;
    world.addr("public")
}

fn with(lines: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers(lines);
    response
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    lines.iter().map(line).collect()
}

fn ask(path: &str, lines: &[(&str, &str)]) -> Request<Body> {
    let mut request = get(path);
    request.headers_mut().extend(headers(lines));
    request
}

fn cache_status(response: &Response<Incoming>) -> &str {
    response.headers()["cache-status"].to_str().unwrap()
}

#[tokio::test]
async fn an_answer_is_given_out_again_while_it_is_fresh() {
    let world = World::new();
    let app = world.app(|_| async { with(&[("cache-control", "max-age=60")], "page") }).await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    let first = world.get(addr, "/a?x=1").await;
    assert_eq!(cache_status(&first), "archipel; fwd=uri-miss; stored");
    assert_eq!(text(first).await, "page");
    let second = world.get(addr, "/a?x=1").await;
    assert!(cache_status(&second).starts_with("archipel; hit; ttl="), "{second:?}");
    assert!(second.headers().contains_key("age") && second.headers().contains_key("date"));
    assert_eq!(second.headers()["content-length"], "4");
    assert_ne!(second.headers()["x-request-id"], "");
    assert_eq!(text(second).await, "page");
    assert_eq!(app.count(), 1);
    world.get(addr, "/a?x=2").await;
    let mut elsewhere = get("/a?x=1");
    elsewhere.headers_mut().insert("host", "other.local".parse().unwrap());
    world.send(addr, elsewhere).await;
    assert_eq!(app.count(), 3, "another query and another host are other resources");
    let counts = world.gateway.counters();
    assert_eq!((counts.cache[0].hits, counts.cache[0].misses), (1, 3));
    assert!(counts.cache_bytes > 0);
}

#[tokio::test]
async fn what_is_for_one_caller_is_never_given_to_another() {
    let check = async |ask_lines: &[(&str, &str)], answer_lines: &'static [(&str, &str)]| {
        let world = World::new();
        let app = world.app(move |_| async { with(answer_lines, "mine") }).await;
        let cache = RouteCache { ttl: Some(Duration::from_secs(60)), ..RouteCache::default() };
        let addr = cached(&world, &app, cache).await;
        for _ in 0..2 {
            assert_eq!(text(world.send(addr, ask("/", ask_lines)).await).await, "mine");
        }
        assert_eq!(app.count(), 2, "{ask_lines:?} {answer_lines:?}");
    };
    check(&[], &[("cache-control", "private")]).await;
    check(&[], &[("cache-control", "no-store")]).await;
    check(&[], &[("cache-control", "max-age=60, private")]).await;
    check(&[], &[("cache-control", "max-age=0")]).await;
    check(&[], &[("set-cookie", "session=1")]).await;
    check(&[], &[("set-cookie", "session=1"), ("cache-control", "max-age=60")]).await;
    check(&[], &[("vary", "*")]).await;
    check(&[], &[("content-type", "text/event-stream")]).await;
    check(&[("authorization", "Bearer x")], &[]).await;
    check(&[("authorization", "Bearer x")], &[("cache-control", "max-age=60")]).await;
    check(&[("cookie", "session=1")], &[]).await;
    check(&[("cache-control", "no-store")], &[]).await;
    check(&[("x-http-method-override", "DELETE")], &[]).await;
}

#[tokio::test]
async fn who_is_logged_in_does_not_get_the_page_of_who_is_not() {
    let world = World::new();
    let page = |request: Request<Incoming>| async move {
        let session = request.headers().contains_key("cookie");
        with(&[], if session { "welcome back" } else { "please log in" })
    };
    let app = world.app(page).await;
    let ttl = RouteCache { ttl: Some(Duration::from_secs(60)), ..RouteCache::default() };
    let addr = cached(&world, &app, ttl.clone()).await;
    for _ in 0..2 {
        assert_eq!(text(world.get(addr, "/").await).await, "please log in");
        let known = world.send(addr, ask("/", &[("cookie", "session=1")])).await;
        assert_eq!(text(known).await, "welcome back");
    }
    assert_eq!(app.count(), 3);
    // The route says that only one cookie matters: then the service sees no other.
    let cookies = RouteCache { cookies: Some(vec!["lang".to_owned()]), ..ttl };
    let addr = cached(&world, &app, cookies).await;
    let asked = |cookie| ask("/shared", &[("cookie", cookie)]);
    let first = world.send(addr, asked("session=1; lang=de")).await;
    assert_eq!(text(first).await, "welcome back");
    assert_eq!(app.last().headers["cookie"], "lang=de");
    world.send(addr, asked("session=2; lang=de")).await;
    assert_eq!(app.count(), 4);
    world.send(addr, asked("lang=fr")).await;
    assert_eq!(text(world.get(addr, "/shared").await).await, "please log in");
    assert_eq!(app.count(), 6);
}

#[tokio::test]
async fn versions_are_kept_apart_by_what_they_vary_by() {
    let world = World::new();
    let app = world
        .app(|request| async move {
            let lines = [("cache-control", "max-age=60"), ("vary", "Accept-Language")];
            let language = request.headers().get("accept-language").cloned();
            with(&lines, language.map_or("none".into(), |l| l.to_str().unwrap().to_owned()))
        })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    for _ in 0..2 {
        for language in ["de", "en"] {
            let response = world.send(addr, ask("/", &[("accept-language", language)])).await;
            assert_eq!(text(response).await, language);
        }
        assert_eq!(text(world.get(addr, "/").await).await, "none");
    }
    assert_eq!(app.count(), 3);
}

#[tokio::test]
async fn a_stale_answer_is_asked_about_before_it_is_given_out_again() {
    let world = World::new();
    let app = world
        .app(|request| async move {
            let lines = [("cache-control", "max-age=0"), ("etag", "\"v1\"")];
            let mut response = with(&lines, "whole");
            if request.headers().get("if-none-match").is_some_and(|tag| tag == "\"v1\"") {
                response = with(&[("etag", "\"v1\""), ("cache-control", "max-age=60")], "");
                *response.status_mut() = StatusCode::NOT_MODIFIED;
            }
            response
        })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    assert_eq!(text(world.get(addr, "/").await).await, "whole");
    eventually(|| world.gateway.counters().cache_bytes, |bytes| *bytes > 0).await;
    let second = world.get(addr, "/").await;
    assert_eq!(second.status(), 200);
    assert!(cache_status(&second).contains("fwd=stale; fwd-status=304"), "{second:?}");
    assert_eq!(text(second).await, "whole");
    assert_eq!(app.last().headers["if-none-match"], "\"v1\"");
    // The 304 said that it is good for a minute.
    let known = world.send(addr, ask("/", &[("if-none-match", "\"v0\", W/\"v1\"")])).await;
    assert_eq!(known.status(), 304);
    assert!(!known.headers().contains_key("content-length"));
    assert_eq!(known.headers()["etag"], "\"v1\"");
    let other = world.send(addr, ask("/", &[("if-none-match", "\"v0\"")])).await;
    assert_eq!(other.status(), 200);
    assert_eq!(app.count(), 2);
    // The caller insists.
    world.send(addr, ask("/", &[("cache-control", "no-cache")])).await;
    assert_eq!(app.count(), 3);
}

#[tokio::test]
async fn parts_and_heads_come_from_the_whole() {
    let world = World::new();
    let lines = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
    let app = world.app(move |_| async move { with(&lines, "0123456789") }).await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    text(world.get(addr, "/").await).await;
    let part = world.send(addr, ask("/", &[("range", "bytes=2-4")])).await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 2-4/10");
    assert_eq!(part.headers()["content-length"], "3");
    assert_eq!(text(part).await, "234");
    let resumed = [("range", "bytes=8-"), ("if-range", "\"a\"")];
    assert_eq!(text(world.send(addr, ask("/", &resumed)).await).await, "89");
    let changed = [("range", "bytes=8-"), ("if-range", "\"b\"")];
    assert_eq!(text(world.send(addr, ask("/", &changed)).await).await, "0123456789");
    let beyond = world.send(addr, ask("/", &[("range", "bytes=10-")])).await;
    assert_eq!((beyond.status().as_u16(), text(beyond).await), (416, String::new()));
    let mut head = get("/");
    *head.method_mut() = http::Method::HEAD;
    let head = world.send(addr, head).await;
    assert_eq!(head.headers()["content-length"], "10");
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn a_change_is_seen_at_once() {
    let world = World::new();
    let version = Arc::new(AtomicUsize::new(0));
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = {
        let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
        world
            .app(move |request| {
                let (version, arrived, go) =
                    (Arc::clone(&version), Arc::clone(&arrived), Arc::clone(&go));
                async move {
                    if request.method() == "POST" {
                        version.fetch_add(1, SeqCst);
                        return with(&[("location", "/items/1")], "");
                    }
                    let seen = version.load(SeqCst).to_string();
                    if request.uri().path() == "/slow" {
                        arrived.notify_one();
                        go.notified().await;
                    }
                    with(&[("cache-control", "max-age=60")], seen)
                }
            })
            .await
    };
    let mut reads = route("GET /** -> shop");
    reads.cache = Some(RouteCache::default());
    // The other route caches nothing, and still its requests have effects.
    let routes = vec![reads, route("/** -> shop")];
    let plan = Plan::default().service("shop", &[app.addr]).public_routes(&[], routes);
    world.apply(plan.table()).await;
    let addr = world.addr("public");
    for path in ["/items", "/items/1", "/other"] {
        assert_eq!(text(world.get(addr, path).await).await, "0");
    }
    world.send(addr, post("/items", "x")).await;
    for (path, expected) in [("/items", "1"), ("/items/1", "1"), ("/other", "0")] {
        assert_eq!(text(world.get(addr, path).await).await, expected, "{path}");
    }
    // Read before the change and answered after it: its caller gets it, nobody else does.
    let slow = world.get(addr, "/slow");
    let change = async {
        arrived.notified().await;
        world.send(addr, post("/slow", "x")).await;
        go.notify_one();
    };
    let (slow, ()) = tokio::join!(slow, change);
    assert_eq!(text(slow).await, "1");
    go.notify_one();
    assert_eq!(text(world.get(addr, "/slow").await).await, "2");
}

#[tokio::test]
async fn one_request_fetches_for_all_who_ask_the_same() {
    let world = World::new();
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let app = world
        .app(move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                with(&[("cache-control", "max-age=60")], "page")
            }
        })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    let all = join_all((0..40).map(|_| async {
        let response = world.get(addr, "/").await;
        (cache_status(&response).to_owned(), text(response).await)
    }));
    let open = async {
        let inflight = || world.gateway.counters().series.iter().map(|s| s.inflight).sum();
        eventually(inflight, |count: &usize| *count == 40).await;
        go.notify_one();
    };
    let (all, ()) = tokio::join!(all, open);
    assert!(all.iter().all(|(_, body)| body == "page"));
    let collapsed = all.iter().filter(|(status, _)| status.contains("collapsed")).count();
    assert_eq!((app.count(), collapsed), (1, 39), "{all:?}");
}

#[tokio::test]
async fn nobody_waits_for_what_turns_out_to_be_for_another() {
    let world = World::in_one_runtime();
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let first = Arc::new(AtomicUsize::new(0));
    let app = world
        .app(move |_| {
            let (gate, first) = (Arc::clone(&gate), Arc::clone(&first));
            async move {
                if first.fetch_add(1, SeqCst) == 0 {
                    gate.notified().await;
                }
                let mut response = with(&[("cache-control", "private")], "mine");
                *response.status_mut() = StatusCode::IM_A_TEAPOT;
                response
            }
        })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    let all = join_all((0..10).map(|_| async { world.get(addr, "/").await.status() }));
    let open = async {
        let inflight = || world.gateway.counters().series.iter().map(|s| s.inflight).sum();
        eventually(inflight, |count: &usize| *count == 10).await;
        // It is on its way by now, and the others wait for it.
        eventually(|| app.count(), |count| *count > 0).await;
        assert_eq!(app.count(), 1, "one leads");
        go.notify_one();
    };
    let (all, ()) = tokio::join!(all, open);
    assert!(all.iter().all(|status| *status == StatusCode::IM_A_TEAPOT), "{all:?}");
    assert_eq!(app.count(), 10);
}

#[tokio::test]
async fn a_leader_who_leaves_is_followed_by_another() {
    let world = World::new();
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let app = world
        .app(move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                with(&[("cache-control", "max-age=60")], "page")
            }
        })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    let mut leader = world.client(addr).await;
    let leading = leader.send_request(get("/"));
    let mut leading = Box::pin(leading);
    let seen = clock::timeout(Duration::ZERO, leading.as_mut()).await;
    assert!(seen.is_err());
    eventually(|| app.count(), |count| *count == 1).await;
    let follow = world.get(addr, "/");
    let leave = async {
        let inflight = || world.gateway.counters().series.iter().map(|s| s.inflight).sum();
        eventually(inflight, |count: &usize| *count == 2).await;
        drop(leading);
        drop(leader);
        eventually(|| app.count(), |count| *count == 2).await;
        go.notify_waiters();
        go.notify_one();
    };
    let (follow, ()) = tokio::join!(follow, leave);
    assert_eq!(text(follow).await, "page");
}

#[tokio::test]
async fn a_slow_reader_keeps_nobody_waiting() {
    let world = World::new();
    let body = "x".repeat(900 << 10);
    let page = body.clone();
    let app = world
        .app(move |_| {
            let page = page.clone();
            async move { with(&[("cache-control", "max-age=60")], page) }
        })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    // It has the head and takes nothing of the body.
    let slow = world.get(addr, "/").await;
    let other = clock::timeout(PATIENCE, world.get(addr, "/")).await.unwrap();
    assert_eq!(text(other).await.len(), body.len());
    assert_eq!(app.count(), 1);
    assert_eq!(text(slow).await, body);
}

#[tokio::test]
async fn stale_answers_bridge_refreshes_and_failures() {
    let world = World::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let broken = Arc::new(AtomicUsize::new(0));
    let app = {
        let (asked, broken) = (Arc::clone(&asked), Arc::clone(&broken));
        world
            .app(move |request| {
                let n = asked.fetch_add(1, SeqCst);
                let fails = broken.load(SeqCst) > 0;
                async move {
                    let meanwhile = request.uri().path() == "/meanwhile";
                    let control = match meanwhile {
                        true => "max-age=0, stale-while-revalidate=60",
                        false => "max-age=0, stale-if-error=60",
                    };
                    let mut response = with(&[("cache-control", control)], n.to_string());
                    if fails {
                        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    }
                    response
                }
            })
            .await
    };
    let addr = cached(&world, &app, RouteCache::default()).await;
    assert_eq!(text(world.get(addr, "/meanwhile").await).await, "0");
    eventually(|| world.gateway.counters().cache_bytes, |bytes| *bytes > 0).await;
    let stale = world.get(addr, "/meanwhile").await;
    assert!(cache_status(&stale).contains("hit; ttl="), "{stale:?}");
    assert_eq!(text(stale).await, "0", "at once, while a newer one is fetched");
    eventually(|| app.count(), |count| *count >= 2).await;

    let before = world.gateway.counters().cache_bytes;
    let last = text(world.get(addr, "/error").await).await;
    eventually(|| world.gateway.counters().cache_bytes, |bytes| *bytes > before).await;
    broken.store(1, SeqCst);
    let bridged = world.get(addr, "/error").await;
    assert_eq!(bridged.status(), 200);
    assert!(cache_status(&bridged).contains("detail=error"), "{bridged:?}");
    assert_eq!(text(bridged).await, last);
    // The service is gone altogether.
    let nobody = Plan::default().service("shop", &[]);
    let mut route = route("/** -> shop");
    (route.cache, route.hold) = (Some(RouteCache::default()), None);
    world.apply(nobody.public_routes(&[], vec![route]).table()).await;
    assert_eq!(text(world.get(addr, "/error").await).await, last);
    assert_eq!(world.get(addr, "/unknown").await.status(), 503);
}

#[tokio::test]
async fn broken_and_too_large_answers_are_not_kept() {
    let world = World::new();
    let app = world
        .app(|request| async move {
            let lines = [("cache-control", "max-age=60")];
            let piece = |n: usize| Bytes::from(vec![b'x'; n]);
            match request.uri().path() {
                "/large" => {
                    let pieces = (0..40).map(move |_| Ok::<_, std::io::Error>(piece(1_000)));
                    with(&lines, Body::stream(futures_util::stream::iter(pieces)))
                }
                _ => with(&lines, breaking(piece(100))),
            }
        })
        .await;
    let small = RouteCache { object_max: Some(Size(20_000)), ..RouteCache::default() };
    let addr = cached(&world, &app, small).await;
    for n in 1..=2 {
        assert_eq!(text(world.get(addr, "/large").await).await.len(), 40_000);
        assert_eq!(app.count(), n);
    }
    for n in 3..=4 {
        let broken = Body::from(world.get(addr, "/broken").await.into_body());
        assert!(broken.collect(1 << 20).await.is_err(), "the caller sees that it is not whole");
        assert_eq!(app.count(), n);
    }
    eventually(|| world.gateway.counters().cache_bytes, |bytes| *bytes == 0).await;
}

#[tokio::test]
async fn memory_stays_within_its_bound_and_can_be_emptied() {
    let world = World::new();
    let app = world
        .app(|_| async { with(&[("cache-control", "max-age=60")], "x".repeat(300_000)) })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    let mut client = world.client(addr).await;
    for n in 0..100 {
        client.ready().await.unwrap();
        let response = client.send_request(get(&format!("/a/{n}"))).await.unwrap();
        assert_eq!(text(response).await.len(), 300_000);
    }
    let bytes = || world.gateway.counters().cache_bytes;
    assert!((1 << 20..=20 << 20).contains(&bytes()), "{}", bytes());
    let below_a = Purge { path: Some("/a/**".to_owned()), ..Purge::default() };
    assert!(world.gateway.purge_cache(&below_a) > 3);
    eventually(bytes, |bytes| *bytes == 0).await;
    let all = Purge { route: Some("/**".to_owned()), ..Purge::default() };
    assert_eq!(world.gateway.purge_cache(&all), 0);
}

#[tokio::test]
async fn a_caller_may_insist_on_memory() {
    let world = World::new();
    let app = world.app(ok).await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    let response = world.send(addr, ask("/", &[("cache-control", "only-if-cached")])).await;
    assert_eq!(response.status(), 504);
    assert_eq!(response.headers()["x-archipel-refused"], "not-cached; route /**");
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn what_is_no_longer_true_is_forgotten_by_name() {
    let world = World::new();
    let app = world
        .app(|request: Request<Incoming>| async move {
            let response = Response::builder().header("cache-control", "max-age=60");
            let response = match request.uri().path() {
                "/lamp" => response.header("cache-tag", "lamps, product-7"),
                "/tea" => response.header("surrogate-key", "teas product-8"),
                _ => response,
            };
            response.body(Body::from("ok")).unwrap()
        })
        .await;
    let addr = cached(&world, &app, RouteCache::default()).await;
    let ask_all = async || {
        let before = app.count();
        for path in ["/lamp", "/lamp?big", "/tea", "/deep/1", "/deep/2", "/deeper"] {
            assert_eq!(text(world.send(addr, ask(path, &[])).await).await, "ok");
        }
        app.count() - before
    };
    assert_eq!((ask_all().await, ask_all().await), (6, 0));
    let check = async |what: Purge, count: usize| {
        assert_eq!(world.gateway.purge_cache(&what), count, "{what:?}");
        assert_eq!(ask_all().await, count, "{what:?}");
    };
    let some = |text: &str| Some(text.to_owned());
    check(Purge { tag: some("product-7"), ..Purge::default() }, 2).await;
    check(Purge { tag: some("teas"), ..Purge::default() }, 1).await;
    check(Purge { tag: some("product"), ..Purge::default() }, 0).await;
    check(Purge { path: some("/lamp"), ..Purge::default() }, 2).await;
    check(Purge { path: some("/lamp?big"), ..Purge::default() }, 1).await;
    check(Purge { path: some("/deep/**"), ..Purge::default() }, 2).await;
    check(Purge { host: some("other.local"), path: some("/tea"), ..Purge::default() }, 0).await;
    check(Purge { host: some("Shop.local"), path: some("/tea"), ..Purge::default() }, 1).await;
    check(Purge { route: some("/**"), ..Purge::default() }, 6).await;
    check(Purge::default(), 6).await;
}

#[tokio::test]
async fn routes_that_conditions_tell_apart_have_answers_of_their_own() {
    let world = World::new();
    let (old, new) = tokio::join!(
        world.app(|_| async { Response::new(Body::from("old")) }),
        world.app(|_| async { Response::new(Body::from("new")) }),
    );
    let beta = Condition {
        part: Part::Header,
        name: "x-beta".to_owned(),
        want: Want::Exact("1".to_owned()),
    };
    let kept = |line: &str, when: Vec<Condition>| {
        let mut route = route(line);
        route.steer.when = when;
        route.cache =
            Some(RouteCache { ttl: Some(Duration::from_secs(60)), ..RouteCache::default() });
        route
    };
    let routes = vec![kept("/** -> old", vec![]), kept("/** -> new", vec![beta])];
    let plan = Plan::default().service("old", &[old.addr]).service("new", &[new.addr]);
    world.apply(plan.public_routes(&[], routes).table()).await;
    let addr = world.addr("public");
    for _ in 0..3 {
        assert_eq!(text(world.send(addr, ask("/", &[])).await).await, "old");
        assert_eq!(text(world.send(addr, ask("/", &[("x-beta", "1")])).await).await, "new");
    }
    assert_eq!((old.count(), new.count()), (1, 1));
}
