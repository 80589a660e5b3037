//! The program as a whole.

use std::time::{Duration, Instant};

use axum::http::Method;

use crate::Fixture;

#[tokio::test]
async fn files_are_kept_for_ever_and_named_by_their_content() {
    let f = Fixture::start().await;
    let mut b = f.browser();
    let home = b.get("/").await;
    for file in home.html.split('"').filter(|t| t.starts_with("/static/")).collect::<Vec<_>>() {
        let page = b.get(file).await;
        assert_eq!(page.status, 200, "{file}");
        assert!(page.headers["cache-control"].to_str().unwrap().contains("immutable"), "{file}");
        assert!(page.headers.contains_key("x-content-type-options"));
    }
    assert!(home.headers["cache-control"].to_str().unwrap().contains("private"));
    assert_eq!(b.get("/robots.txt").await.status, 200);
    let asked = f.fakes.asked("catalog");
    for _ in 0..5 {
        b.get("/").await;
    }
    assert_eq!(
        f.fakes.asked("catalog"),
        asked,
        "a busy home page asks the catalogue once in a while"
    );
}

#[tokio::test]
async fn it_stops_when_told_even_with_pages_open() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let (_, id) = f.ordered(&mut b).await;
    let (_, mut live) = b.stream(&format!("/orders/{id}/live")).await;
    live.next().await.unwrap();
    let began = Instant::now();
    assert!(f.shop.terminate().success());
    assert!(began.elapsed() < Duration::from_millis(4900), "{:?}", began.elapsed());
}

#[test]
fn a_wrong_environment_is_named() {
    for (vars, wanted) in [
        (vec![], "SESSION_KEY"),
        (vec![("SESSION_KEY", "short")], "at least 16"),
        (vec![("SESSION_KEY", "a key that is long enough")], "CATALOG_URL"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_storefront"))
            .env_clear()
            .envs(vars)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(wanted), "{said}");
    }
}

#[tokio::test]
async fn the_pages_are_those_of_the_openapi_file() {
    let f = Fixture::start().await;
    let contract = store_testing::Contract::load(env!("CARGO_MANIFEST_DIR"));
    let callee = f.shop.callee();
    for path in ["/healthz", "/readyz", "/_archipel/info", "/cart/count"] {
        assert_eq!(contract.send("GET", path, callee.get(path)).await.status, 200, "{path}");
    }
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml")).unwrap();
    let paths: Vec<&str> =
        file.lines().filter_map(|l| l.strip_prefix("  /")?.strip_suffix(':')).collect();
    assert!(paths.len() > 30, "{paths:?}");
    let mut b = f.browser();
    for path in paths {
        let path = format!(
            "/{}",
            path.replace("{path}", "kitchen")
                .replace("{slug}", "hesk-mug")
                .replace("{id}", "ord_0")
                .replace("{sku}", "X")
                .replace("{tag}", "en")
                .replace("{file}", "x.svg")
        );
        let page = b.once(Method::PATCH, &path, None, &[]).await;
        assert_eq!(page.status, 405, "{path} is in the file and not in the shop");
    }
}
