//! Pictures. Their name says all that is drawn, so they are drawn when asked for and kept by
//! whoever asked.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use store_kit::{Problem, UrlPath};
use store_seed::ArtSpec;

/// The address of a picture, from the name without version that the database keeps.
pub(crate) fn url(stem: &str) -> String {
    match ArtSpec::parse_stem(stem) {
        Some(spec) => format!("/media/{}.svg", spec.name()),
        None => format!("/media/{stem}.svg"),
    }
}

/// A page that was rendered before a new version of the drawings may still ask for the old name:
/// it gets today's drawing, and must not keep it.
pub(crate) async fn picture(
    UrlPath(file): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found(format!("picture {file}"));
    let name = file.strip_suffix(".svg").ok_or_else(missing)?;
    let (stem, _version) = name.rsplit_once("-v").ok_or_else(missing)?;
    let spec = ArtSpec::parse_stem(stem).ok_or_else(missing)?;
    let current = spec.name();
    let cache =
        if name == current { "public, max-age=31536000, immutable" } else { "public, max-age=60" };
    let tag = format!("\"{current}\"");
    let known =
        headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { spec.svg().into_response() };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    Ok(response)
}
