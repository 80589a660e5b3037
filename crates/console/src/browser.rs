//! The browser's door: the pages of the console, and what they may ask and do.

use std::sync::Arc;

use archipel_ui::File;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::answer::{Answer, problem, with};
use crate::server::Shared;
use crate::{admin, guard, metrics, plain};

pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let Ok(door) = &shared.dashboard else {
        return problem(StatusCode::NOT_FOUND, "no dashboard".to_owned(), None);
    };
    let (head, body) = request.into_parts();
    if head.uri.path() == "/metrics" {
        return veiled(shared, metrics::answer(shared, &head, door));
    }
    if let Some(refusal) = guard::refuse(&head, door.key.reveal(), door.port) {
        return refusal;
    }
    let mut answer = match head.uri.path().strip_prefix("/api") {
        Some(path) if path.starts_with('/') => {
            let path = path.to_owned();
            api(shared, Request::from_parts(head, body), &path).await
        }
        _ => page(shared, &head.method, &head.uri, &head.headers),
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let headers = answer.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Nothing from elsewhere, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

async fn api(shared: &Arc<Shared>, mut request: Request<Incoming>, path: &str) -> Answer {
    let words: Vec<&str> = path.split('/').skip(1).collect();
    if !is_for_browsers(request.method(), &words) {
        let text = format!("{} {path} is not open to browsers", request.method());
        return problem(StatusCode::NOT_FOUND, text, None);
    }
    let uri = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    match Uri::try_from(uri) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error.to_string(), None),
    }
    veiled(shared, admin::answer(shared, request).await)
}

/// Each frame is a whole document, or whole lines.
fn veiled(shared: &Shared, answer: Answer) -> Answer {
    let snapshot = shared.parts.control.watch().borrow().clone();
    let veil = shared.veils.of(snapshot.as_deref());
    answer.map(|body| {
        body.map_frame(move |frame| frame.map_data(|bytes| veil.hide(bytes))).boxed_unsync()
    })
}

/// Whole environments and the key of this door stay behind the socket; so does what ends
/// Archipel itself, which could not be undone from a page.
fn is_for_browsers(method: &Method, words: &[&str]) -> bool {
    match (method.as_str(), words) {
        ("GET", ["v1", what, rest @ ..]) => match *what {
            "status" | "live" | "graph" | "traffic" | "routes" | "databases" | "logs" | "jobs"
            | "events" | "traces" | "spans" | "edges" | "find" | "errors" | "metrics"
            | "workflows" | "apis" | "settings" => true,
            "services" => rest.len() == 1,
            _ => false,
        },
        ("POST", ["v1", "restart" | "stop" | "start"]) => true,
        ("POST", ["v1", "jobs", _, "run"]) => true,
        ("POST", ["v1", "workflows", ..]) => true,
        ("POST", ["v1", "events", "replay" | "discard"] | ["v1", "events", "topics", _]) => true,
        ("POST", ["v1", "databases", _, "query"] | ["v1", "apis", _, "send"]) => true,
        _ => false,
    }
}

fn page(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "pages are only read".to_owned(), None);
    }
    let path = uri.path().trim_start_matches('/');
    match (path, archipel_ui::file(path)) {
        ("plain.css", _) => plain::style(),
        (_, Some(found)) if path != "index.html" => file(found, headers),
        (path, None) if path.starts_with("assets/") => {
            problem(StatusCode::NOT_FOUND, "there is no such file".to_owned(), None)
        }
        // Every other address is a view of the one page, which reads it itself.
        ("plain", _) => plain_page(shared),
        _ => match archipel_ui::file("index.html") {
            Some(index) => file(index, headers),
            None => plain_page(shared),
        },
    }
}

fn plain_page(shared: &Shared) -> Answer {
    match &*shared.status.borrow() {
        Some(status) => veiled(shared, plain::page(status, &admin::topics(shared))),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "starting".to_owned(), None),
    }
}

fn file(file: &File, headers: &HeaderMap) -> Answer {
    let tag = format!("\"{}\"", &tag_of(file.plain));
    let named = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut answer = if named(header::IF_NONE_MATCH).is_some_and(|known| known == tag) {
        let mut unchanged = with(StatusCode::NOT_MODIFIED, file.media_type(), "");
        unchanged.headers_mut().remove(header::CONTENT_TYPE);
        unchanged
    } else {
        let takes = named(header::ACCEPT_ENCODING).is_some_and(|takes| takes.contains("gzip"));
        match file.gzip.filter(|_| takes) {
            None => with(StatusCode::OK, file.media_type(), file.plain),
            Some(bytes) => {
                let mut answer = with(StatusCode::OK, file.media_type(), bytes);
                let gzip = HeaderValue::from_static("gzip");
                answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
                answer
            }
        }
    };
    let cache =
        if file.is_immutable() { "public, max-age=31536000, immutable" } else { "no-cache" };
    let answered = answer.headers_mut();
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answered.insert(header::ETAG, tag);
    }
    answer
}

/// FNV-1a: tells versions of our own files apart, nothing more.
fn tag_of(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_never_reach_environments_keys_or_the_end_of_everything() {
        let open = |method: Method, path: &str| {
            let words: Vec<&str> = path.split('/').skip(1).collect();
            is_for_browsers(&method, &words)
        };
        for path in ["/v1/services/a/env", "/v1/dashboard", "/v1/nothing", "/v2/status"] {
            assert!(!open(Method::GET, path), "{path}");
        }
        for path in ["/v1/shutdown", "/v1/reload", "/v1/status", "/v1/faults"] {
            assert!(!open(Method::POST, path), "{path}");
        }
        assert!(open(Method::GET, "/v1/services/a") && open(Method::POST, "/v1/restart"));
    }

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        static FILE: File = File { path: "index.html", plain: b"<p>", gzip: Some(b"zip") };
        let mut headers = HeaderMap::new();
        let first = file(&FILE, &headers);
        assert_eq!(first.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        assert_eq!(file(&FILE, &headers).headers()[header::CONTENT_ENCODING], "gzip");
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(file(&FILE, &headers).status(), StatusCode::NOT_MODIFIED);
    }
}
