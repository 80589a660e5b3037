//! Files: our own, named after their content and kept for ever; pictures, from catalog.

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::App;
use crate::shelf::Found;

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// One of our own files.
pub(crate) struct Asset {
    /// With the hash of the content, so that a new version is another file.
    pub(crate) path: String,
    body: &'static str,
    kind: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, body: &'static str) -> Self {
        let hash: String =
            Sha256::digest(body.as_bytes()).iter().take(6).map(|b| format!("{b:02x}")).collect();
        Self { path: format!("/static/{stem}.{hash}.{ending}"), body, kind }
    }
}

pub(crate) struct Statics {
    pub(crate) style: Asset,
    pub(crate) script: Asset,
    pub(crate) icon: Asset,
    pub(crate) hero: Asset,
    pub(crate) hero_dark: Asset,
}

impl Statics {
    pub(crate) fn load() -> Self {
        let svg = "image/svg+xml";
        Self {
            style: Asset::new(
                "shop",
                "css",
                "text/css; charset=utf-8",
                include_str!("../static/shop.css"),
            ),
            script: Asset::new(
                "shop",
                "js",
                "text/javascript; charset=utf-8",
                include_str!("../static/shop.js"),
            ),
            icon: Asset::new("icon", "svg", svg, include_str!("../static/icon.svg")),
            hero: Asset::new("hero", "svg", svg, include_str!("../static/hero.svg")),
            hero_dark: Asset::new("hero-dark", "svg", svg, include_str!("../static/hero-dark.svg")),
        }
    }

    fn all(&self) -> [&Asset; 5] {
        [&self.style, &self.script, &self.icon, &self.hero, &self.hero_dark]
    }
}

pub(crate) async fn file(State(shop): State<App>, Path(name): Path<String>) -> Response {
    let path = format!("/static/{name}");
    match shop.statics.all().into_iter().find(|asset| asset.path == path) {
        Some(asset) => serve(asset.kind, FOR_EVER, asset.body),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(crate) async fn favicon(State(shop): State<App>) -> Response {
    serve(shop.statics.icon.kind, "public, max-age=86400", shop.statics.icon.body)
}

pub(crate) async fn robots() -> Response {
    let text = "User-agent: *\nDisallow: /cart\nDisallow: /checkout\nDisallow: /orders\nDisallow: /account\nDisallow: /lang\n";
    serve("text/plain; charset=utf-8", "public, max-age=86400", text)
}

/// Catalog's pictures under our own address, for when nobody in front of us sends them there.
pub(crate) async fn picture(State(shop): State<App>, Path(file): Path<String>) -> Response {
    let plain = file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    if !plain || !file.ends_with(".svg") || file.len() > 120 {
        return StatusCode::NOT_FOUND.into_response();
    }
    match shop.back.catalog.picture(&file).await {
        Found::Fresh(bytes) | Found::Stale(bytes) => {
            serve("image/svg+xml", FOR_EVER, (*bytes).clone())
        }
        Found::Nothing => StatusCode::NOT_FOUND.into_response(),
        Found::Away => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")]).into_response()
        }
    }
}

fn serve(kind: &'static str, cache: &'static str, body: impl IntoResponse) -> Response {
    const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'");
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(HeaderName::from_static("content-security-policy"), NOTHING);
    response
}
