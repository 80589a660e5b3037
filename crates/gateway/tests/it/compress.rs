//! Encoded answers, as a caller sees them.

use std::io::Read;

use archipel_gateway::Body;
use archipel_model::RouteCache;
use archipel_rt::clock;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::support::*;

const PAGE: &str = "<p>An island is a piece of land that is surrounded by water.</p>\n";

fn page() -> String {
    PAGE.repeat(200)
}

async fn compressing(world: &World, app: &App, cache: bool) -> std::net::SocketAddr {
    let mut route = route("/** -> shop");
    route.compress = true;
    route.cache = cache.then(RouteCache::default);
    let plan = Plan::default().service("shop", &[app.addr]);
    world.apply(plan.public_routes(&[], vec![route]).table()).await;
    world.addr("public")
}

fn accepting(path: &str, codings: &str) -> Request<Body> {
    let mut request = get(path);
    request.headers_mut().insert("accept-encoding", codings.parse().unwrap());
    request
}

async fn bytes(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut out = String::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_string(&mut out).unwrap(),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut out).unwrap(),
        "zstd" => zstd::Decoder::new(bytes).unwrap().read_to_string(&mut out).unwrap(),
        other => panic!("unknown coding {other}"),
    };
    out
}

fn html(body: impl Into<Body>) -> Response<Body> {
    let builder = Response::builder().header("content-type", "text/html").header("etag", "\"a\"");
    builder.header("cache-control", "max-age=60").body(body.into()).unwrap()
}

#[tokio::test]
async fn the_caller_gets_the_coding_it_likes_best() {
    for cache in [false, true] {
        let world = World::new();
        let app = world.app(|_| async { html(page()) }).await;
        let addr = compressing(&world, &app, cache).await;
        for (accepts, expected) in
            [("gzip, deflate, br", "br"), ("zstd, gzip", "zstd"), ("gzip;q=1, br;q=0.1", "gzip")]
        {
            // Twice: the second may come from memory.
            for _ in 0..2 {
                let response = world.send(addr, accepting("/", accepts)).await;
                assert_eq!(response.headers()["content-encoding"], expected);
                assert_eq!(response.headers()["vary"], "accept-encoding");
                assert_eq!(response.headers()["etag"], "W/\"a\"");
                let body = bytes(response).await;
                assert!(body.len() < page().len() / 4, "{}", body.len());
                assert_eq!(decoded(expected, &body), page());
            }
        }
        let plain = world.get(addr, "/").await;
        assert!(!plain.headers().contains_key("content-encoding"));
        assert_eq!(
            (&plain.headers()["etag"], &plain.headers()["vary"]),
            (&"\"a\"".parse().unwrap(), &"accept-encoding".parse().unwrap())
        );
        assert_eq!(text(plain).await, page());
        if cache {
            assert_eq!(app.count(), 1, "all codings are made from one stored answer");
            assert!(!app.last().headers.contains_key("accept-encoding"));
            let mut known = accepting("/", "br");
            known.headers_mut().insert("if-none-match", "W/\"a\"".parse().unwrap());
            assert_eq!(world.send(addr, known).await.status(), 304);
            let mut part = accepting("/", "br");
            part.headers_mut().insert("range", "bytes=0-9".parse().unwrap());
            let part = world.send(addr, part).await;
            assert!(!part.headers().contains_key("content-encoding"), "parts are of the plain one");
            assert_eq!(text(part).await, page()[..10]);
        }
    }
}

#[tokio::test]
async fn what_would_not_gain_or_may_not_change_is_left_alone() {
    let world = World::new();
    let app = world
        .app(|request| async move {
            let mut response = html(page());
            let headers = response.headers_mut();
            match request.uri().path() {
                "/small" => *response.body_mut() = Body::from("<p>short</p>"),
                "/image" => drop(headers.insert("content-type", "image/png".parse().unwrap())),
                "/events" => {
                    drop(headers.insert("content-type", "text/event-stream".parse().unwrap()));
                }
                "/encoded" => drop(headers.insert("content-encoding", "x".parse().unwrap())),
                "/fixed" => {
                    drop(headers.insert("cache-control", "no-transform".parse().unwrap()));
                }
                "/part" => {
                    headers.insert("content-range", "bytes 0-9/99".parse().unwrap());
                    *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
                }
                _ => drop(headers.remove("content-type")),
            }
            response
        })
        .await;
    for cache in [false, true] {
        let addr = compressing(&world, &app, cache).await;
        for path in ["/small", "/image", "/events", "/encoded", "/fixed", "/part", "/untyped"] {
            let response = world.send(addr, accepting(path, "br, gzip")).await;
            let coding = response.headers().get("content-encoding").cloned();
            assert_eq!(coding.is_some(), path == "/encoded", "{path} {coding:?}");
            assert_eq!(response.headers()["etag"], "\"a\"", "{path}");
        }
    }
}

#[tokio::test]
async fn the_head_is_told_what_the_whole_would_be() {
    let world = World::new();
    let app = world
        .app(|request| async move {
            let mut response = html(page());
            if request.method() == Method::HEAD {
                response.headers_mut().insert("content-length", page().len().into());
                *response.body_mut() = Body::empty();
            }
            response
        })
        .await;
    let addr = compressing(&world, &app, false).await;
    let mut head = accepting("/", "gzip");
    *head.method_mut() = Method::HEAD;
    let head = world.send(addr, head).await;
    assert_eq!(head.headers()["content-encoding"], "gzip");
    assert!(!head.headers().contains_key("content-length"));
}

#[tokio::test]
async fn what_streams_slowly_arrives_at_once() {
    for coding in ["br", "zstd", "gzip"] {
        let world = World::new();
        let app = world
            .app(|_| async {
                let first =
                    futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(page()))]);
                html(Body::stream(first.chain(futures_util::stream::pending())))
            })
            .await;
        let addr = compressing(&world, &app, false).await;
        let mut response = world.send(addr, accepting("/", coding)).await;
        let mut got = Vec::new();
        // The answer never ends, and yet all that was sent can be read.
        let readable = async {
            loop {
                let frame = response.body_mut().frame().await.unwrap().unwrap();
                got.extend_from_slice(frame.data_ref().unwrap());
                let mut out = vec![0; page().len()];
                let read = match coding {
                    "gzip" => flate2::read::GzDecoder::new(&got[..]).read_exact(&mut out),
                    "br" => brotli::Decompressor::new(&got[..], 4096).read_exact(&mut out),
                    _ => zstd::Decoder::new(&got[..]).unwrap().read_exact(&mut out),
                };
                if read.is_ok() {
                    return String::from_utf8(out).unwrap();
                }
            }
        };
        assert_eq!(clock::timeout(PATIENCE, readable).await.unwrap(), page(), "{coding}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let world = World::new();
    let app = world.app(|_| async { html(breaking(Bytes::from(page()))) }).await;
    for cache in [false, true] {
        let addr = compressing(&world, &app, cache).await;
        let response = world.send(addr, accepting("/", "gzip")).await;
        assert!(response.into_body().collect().await.is_err());
    }
}
