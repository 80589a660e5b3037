//! Extractors that refuse with problems instead of plain text.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use sha2::{Digest, Sha256};

use crate::idempotency::Key;
use crate::problem::Problem;

/// A JSON body. Give commands' types `#[serde(deny_unknown_fields)]`.
pub struct Input<T>(pub T);

/// A JSON body, or the default of `T` when there is none.
pub struct Optional<T>(pub T);

/// A JSON body with an `Idempotency-Key`; see [`crate::Db::once`]. Without a body, `T` is `()`.
pub struct Command<T> {
    pub key: Key,
    pub body: T,
}

/// Parts of the path.
pub struct UrlPath<T>(pub T);

/// The query string.
pub struct UrlQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(body_problem)?;
        parse(&body).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for Optional<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(body_problem)?;
        if body.is_empty() { Ok(Self(T::default())) } else { parse(&body).map(Self) }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Command<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let key = key_of(request.headers())?;
        let method = request.method().to_string();
        let path = request.uri().path().to_owned();
        let matched = request.extensions().get::<MatchedPath>();
        let route = format!("{method} {}", matched.map_or(path.as_str(), MatchedPath::as_str));
        let bytes = Bytes::from_request(request, state).await.map_err(body_problem)?;
        let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
        let body = parse(&bytes)?;
        // What is not JSON was refused above.
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        let fingerprint = fingerprint(&format!("{method} {path}"), json);
        Ok(Self { key: Key { key, route, fingerprint }, body })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for UrlPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|e| Problem::not_found("such resource").detail(e.body_text()))?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|e| Problem::validation(e.body_text()))?;
        Ok(Self(value))
    }
}

fn key_of(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Err(Problem::new(400, "idempotency-key-missing", "An Idempotency-Key is needed")
            .detail("Send the header Idempotency-Key with a value of your own; repeat it when you repeat the request."));
    };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if text.is_empty() || text.len() > 255 {
        return Err(Problem::new(400, "idempotency-key-missing", "An Idempotency-Key is needed")
            .detail("The key must have 1 to 255 visible characters."));
    }
    Ok(text.to_owned())
}

/// Equal for the same `body` sent to the same place, however its JSON is spaced or ordered.
pub fn fingerprint(place: &str, mut body: Value) -> String {
    body.sort_all_objects();
    let mut hash = Sha256::new();
    for part in [place, &body.to_string()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (pointer, inner) = (pointer(error.path()), error.inner());
        Problem::validation("The body is not what this route takes.")
            .field(pointer, inner.to_string())
    })?;
    json.end().map_err(|error| {
        Problem::validation("The body goes on after its JSON.").field("", error.to_string())
    })?;
    Ok(value)
}

/// A JSON Pointer of where it went wrong.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn body_problem(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(413, "too-large", "The body is too large")
            .detail("Bodies of more than 256 KiB are refused.")
    } else {
        Problem::new(400, "unreadable", "The body could not be read").detail(rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[expect(dead_code, reason = "only its shape matters here")]
        qty: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Lines {
        #[expect(dead_code, reason = "only its shape matters here")]
        lines: Vec<Line>,
    }

    #[test]
    fn says_where_the_body_is_wrong() {
        for (body, pointer) in [
            (r#"{"lines":[{"qty":1},{"qty":-1}]}"#, "/lines/1/qty"),
            (r#"{"lines":[{"qty":1,"x":0}]}"#, "/lines/0/x"),
            (r#"{"lines":3}"#, "/lines"),
            (r#"{"lines":[]} 7"#, ""),
            ("", ""),
            ("nonsense", ""),
        ] {
            let problem = parse::<Lines>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.to_json(None)["errors"][0]["pointer"], pointer, "{body}");
        }
    }

    #[test]
    fn deep_json_is_refused_not_a_crash() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse::<Value>(deep.as_bytes()).is_err());
    }

    #[test]
    fn the_fingerprint_is_of_the_meaning() {
        let print = |body: &str| fingerprint("PUT /v1/x", serde_json::from_str(body).unwrap());
        assert_eq!(print(r#"{"a":1,"b":2}"#), print(r#"{ "b": 2, "a": 1 }"#));
        assert_ne!(print(r#"{"a":1}"#), print(r#"{"a":2}"#));
        assert_ne!(print("null"), fingerprint("PUT /v1/y", Value::Null));
    }
}
