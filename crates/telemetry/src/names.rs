//! Names of attributes: those that semantic conventions have replaced, and those whose values
//! nobody should read.

use serde_json::Value as Json;

use crate::span::{Text, Value};

const MASK: &str = "••••••";

/// SDKs send the old names for years; one question should find both.
const REPLACED: [(&str, &str); 15] = [
    ("http.method", "http.request.method"),
    ("http.status_code", "http.response.status_code"),
    ("http.url", "url.full"),
    ("http.scheme", "url.scheme"),
    ("http.user_agent", "user_agent.original"),
    ("http.client_ip", "client.address"),
    ("net.host.port", "server.port"),
    ("net.peer.ip", "network.peer.address"),
    ("db.system", "db.system.name"),
    ("db.name", "db.namespace"),
    ("db.statement", "db.query.text"),
    ("db.operation", "db.operation.name"),
    ("db.sql.table", "db.collection.name"),
    ("messaging.operation", "messaging.operation.type"),
    ("deployment.environment", "deployment.environment.name"),
];

pub(crate) fn current(key: String) -> Text {
    match REPLACED.iter().find(|(old, _)| *old == key) {
        Some((_, new)) => (*new).into(),
        None => key.into(),
    }
}

fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 9] = [
        "authorization",
        "cookie",
        "password",
        "passwd",
        "secret",
        "api_key",
        "api-key",
        "apikey",
        "access_token",
    ];
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// What may be shown of the values of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    Open,
    /// All but its secret parts.
    Address,
    /// Nothing: the name says that it is secret.
    Hidden,
}

impl Guard {
    pub(crate) fn of(key: &str) -> Self {
        match key {
            _ if is_secret(key) => Self::Hidden,
            "url.full" | "url.query" | "http.target" => Self::Address,
            _ => Self::Open,
        }
    }

    pub(crate) fn masked(self, value: Value) -> Value {
        match (self, value) {
            (Self::Hidden, _) => Value::Text(MASK.into()),
            (Self::Address, Value::Text(text)) => Value::Text(masked_query(&text).into()),
            (_, value) => value,
        }
    }
}

/// Of a resource, which has no addresses; lists and maps are searched for names.
pub(crate) fn masked_json(value: Json) -> Json {
    match value {
        Json::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let value =
                    if is_secret(&key) { Json::String(MASK.into()) } else { masked_json(value) };
                (key, value)
            })
            .collect(),
        Json::Array(list) => list.into_iter().map(masked_json).collect(),
        value => value,
    }
}

fn masked_query(address: &str) -> String {
    let (before, query) = match address.split_once('?') {
        Some((before, query)) => (Some(before), query),
        None if address.contains("://") => return without_password(address),
        None => (None, address),
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if is_secret(key) || is_secret_parameter(key) => format!("{key}={MASK}"),
            _ => pair.to_owned(),
        })
        .collect();
    let query = pairs.join("&");
    before.map_or_else(|| query.clone(), |before| format!("{}?{query}", without_password(before)))
}

fn is_secret_parameter(key: &str) -> bool {
    matches!(key.to_ascii_lowercase().as_str(), "token" | "key" | "sig" | "signature" | "code")
}

fn without_password(address: &str) -> String {
    let parts = address.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://{MASK}@{host}{path}"))
    });
    parts.unwrap_or_else(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &str, value: &str) -> String {
        match Guard::of(key).masked(Value::Text(value.to_owned().into())) {
            Value::Text(text) => text.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn secrets_do_not_reach_the_store() {
        assert_eq!(shown("http.request.header.authorization", "Bearer x"), MASK);
        assert_eq!(shown("db.Password", "hunter2"), MASK);
        assert_eq!(
            shown("url.full", "http://me:hunter2@host/p?a=1&token=abc&api_key=x"),
            format!("http://{MASK}@host/p?a=1&token={MASK}&api_key={MASK}")
        );
        assert_eq!(shown("url.query", "sig=abc&page=2"), format!("sig={MASK}&page=2"));
        assert_eq!(shown("url.full", "http://host/orders"), "http://host/orders");
        assert_eq!(shown("url.path", "/token=1"), "/token=1");
    }

    #[test]
    fn old_names_become_the_new_ones() {
        assert_eq!(current("http.status_code".to_owned()), "http.response.status_code");
        assert_eq!(current("order.id".to_owned()), "order.id");
    }
}
