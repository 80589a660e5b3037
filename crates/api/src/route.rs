//! Which operation a path asks for. Pure.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::state;
use crate::workflows::{Ask, ask};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Healthz,
    HealthzOutbound,
    Metadata,
    SetMetadata {
        key: String,
    },
    Publish {
        pubsub: String,
        topic: String,
    },
    PublishBulk {
        pubsub: String,
        topic: String,
    },
    /// `path` as it goes to the callee, with its leading slash and still encoded.
    Invoke {
        id: String,
        path: String,
    },
    Workflows(Ask),
    /// The store, and what to do in it.
    State(String, state::Ask),
    /// A building block that Dapr has and this version does not.
    NotServed,
    /// Nothing of the API: an invocation by header, if it has that header.
    Other,
}

pub(crate) fn operation(method: &Method, path: &str) -> Operation {
    let path = path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(path);
    let Some((version, rest)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return Operation::Other;
    };
    if !matches!(version, "v1.0" | "v1.0-alpha1" | "v1.0-beta1" | "v1.1-alpha1") {
        return Operation::Other;
    }
    let (block, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let posts = matches!(*method, Method::POST | Method::PUT);
    match (block, tail) {
        ("healthz", "") if *method == Method::GET => Operation::Healthz,
        ("healthz", "outbound") if *method == Method::GET => Operation::HealthzOutbound,
        ("metadata", "") if *method == Method::GET => Operation::Metadata,
        ("metadata", key) if *method == Method::PUT => Operation::SetMetadata { key: decode(key) },
        ("publish", tail)
            if posts && matches!(version, "v1.0" | "v1.0-alpha1") && tail.starts_with("bulk/") =>
        {
            let tail = &tail["bulk/".len()..];
            let (pubsub, topic) = tail.split_once('/').unwrap_or((tail, ""));
            Operation::PublishBulk { pubsub: decode(pubsub), topic: decode(topic) }
        }
        ("publish", tail) if posts && version == "v1.0" && !tail.starts_with("bulk/") => {
            let (pubsub, topic) = tail.split_once('/').unwrap_or((tail, ""));
            Operation::Publish { pubsub: decode(pubsub), topic: decode(topic) }
        }
        ("invoke", tail) => match tail.split_once("/method") {
            Some((id, path)) if path.is_empty() || path.starts_with('/') => Operation::Invoke {
                id: decode(id),
                path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            },
            _ => Operation::Other,
        },
        ("workflows", tail) if version != "v1.1-alpha1" => match ask(method, tail) {
            Some(ask) => Operation::Workflows(ask),
            None => Operation::Other,
        },
        ("state", tail) => match state::ask(method, version, tail) {
            Some((store, ask)) => Operation::State(store, ask),
            None => Operation::NotServed,
        },
        (
            "bindings" | "secrets" | "configuration" | "jobs" | "actors" | "lock" | "unlock"
            | "crypto" | "conversation" | "publish" | "shutdown",
            _,
        ) => Operation::NotServed,
        _ => Operation::Other,
    }
}

/// `metadata.<key>=<value>` of a query, keys without the prefix and in lower case; of a key that
/// stands there twice the first counts.
pub(crate) fn metadata(query: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode_form(key);
        let Some(key) = key.strip_prefix("metadata.") else { continue };
        let key = key.to_ascii_lowercase();
        if !found.iter().any(|(known, _)| *known == key) {
            found.push((key, decode_form(value)));
        }
    }
    found
}

/// The first value of a key.
pub(crate) fn query_value(query: &str, key: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(name, _)| decode_form(name) == key);
    values.next().map(|(_, value)| decode_form(value))
}

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_operations() {
        let get = |path: &str| operation(&Method::GET, path);
        let post = |path: &str| operation(&Method::POST, path);
        assert_eq!(get("/v1.0/healthz"), Operation::Healthz);
        assert_eq!(get("/v1.0/healthz/outbound/"), Operation::HealthzOutbound);
        let publish =
            |topic: &str| Operation::Publish { pubsub: "pubsub".into(), topic: topic.into() };
        assert_eq!(post("/v1.0/publish/pubsub/a.b"), publish("a.b"));
        assert_eq!(post("/v1.0/publish/pubsub/a%2Fb/c"), publish("a/b/c"));
        assert_eq!(post("/v1.0/publish/pubsub"), publish(""));
        assert_eq!(get("/v1.0/publish/pubsub/a"), Operation::NotServed);
        let bulk = Operation::PublishBulk { pubsub: "pubsub".into(), topic: "a/b".into() };
        assert_eq!(post("/v1.0/publish/bulk/pubsub/a%2Fb"), bulk);
        assert_eq!(post("/v1.0-alpha1/publish/bulk/pubsub/a/b"), bulk);
        assert_eq!(post("/v1.0-beta1/publish/bulk/pubsub/a"), Operation::NotServed);
        let invoke = |path: &str| Operation::Invoke { id: "cart".into(), path: path.into() };
        assert_eq!(get("/v1.0/invoke/cart/method/v1/x%20y"), invoke("/v1/x%20y"));
        assert_eq!(get("/v1.0/invoke/cart/method"), invoke("/"));
        let key = Operation::State("store".into(), state::Ask::Get("a/b".into()));
        assert_eq!(get("/v1.0/state/store/a%2Fb"), key);
        assert_eq!(get("/v1.0/state/store"), Operation::NotServed);
        assert_eq!(get("/v1.0/secrets/store/key"), Operation::NotServed);
        for other in ["/", "/anything", "/v1.0", "/v1.0/nothing", "/v2.0/healthz", "//"] {
            assert_eq!(get(other), Operation::Other, "{other}");
        }
    }

    #[test]
    fn metadata_comes_from_the_query() {
        let found =
            metadata("metadata.rawPayload=true&x=1&metadata.a%20b=c+d&metadata.rawPayload=no");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(found, [pair("rawpayload", "true"), pair("a b", "c d")]);
    }
}
