//! `/v1.0/state/{store}/…`: each service has its own keys in the one store there is.

mod fault;

use archipel_gateway::Body;
use archipel_state::{Change, Guard, Item, Space, States, What, time_to_live};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

pub(crate) use self::fault::Doing;
pub use self::fault::StateFault;
use crate::error::ApiError;
use crate::publish::rfc3339;
use crate::route::{self, decode};
use crate::server::ServiceApi;

/// The store that is there without a word in the manifest, as after `dapr init`.
pub(crate) const STORE: &str = "statestore";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Save,
    Get(String),
    Delete(String),
    Bulk,
    Transaction,
    Query,
}

/// `tail` is what comes after `state/`.
pub(crate) fn ask(method: &Method, version: &str, tail: &str) -> Option<(String, Ask)> {
    let posts = matches!(*method, Method::POST | Method::PUT);
    let (store, rest) = tail.split_once('/').unwrap_or((tail, ""));
    let ask = match (version, rest) {
        ("v1.0-alpha1", "query") if posts => Ask::Query,
        ("v1.0", "") if posts => Ask::Save,
        ("v1.0", "bulk") if posts => Ask::Bulk,
        ("v1.0", "transaction") if posts => Ask::Transaction,
        ("v1.0", key) if *method == Method::GET && !key.is_empty() => Ask::Get(decode(key)),
        ("v1.0", key) if *method == Method::DELETE && !key.is_empty() => Ask::Delete(decode(key)),
        _ => return None,
    };
    Some((decode(store), ask))
}

pub(crate) struct Asked<'a> {
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

pub(crate) async fn perform(
    states: &States,
    of: &ServiceApi,
    (store, ask): (String, Ask),
    asked: Asked<'_>,
) -> Result<Response<Body>, ApiError> {
    if store != STORE {
        return Err(StateFault::NoStore { store }.into());
    }
    let space = Space::new(store.as_str(), of.service.as_str());
    let failed = |doing: Doing| move |error| ApiError::State(StateFault::of(&doing, &error));
    match ask {
        Ask::Save => {
            let items: Vec<Written<'_>> = parse(asked.body)?;
            let over = route::metadata(asked.query);
            let changes: Result<Vec<_>, _> = items.iter().map(|item| item.put(&over)).collect();
            states.save(&space, &changes?).await.map_err(failed(Doing::Save))?;
        }
        Ask::Get(key) => {
            let doing = Doing::Get { key: key.clone() };
            let found = states.get(&space, &key).await.map_err(failed(doing))?;
            return Ok(found.map_or_else(crate::server::empty, |item| whole(&item)));
        }
        Ask::Delete(key) => {
            let doing = Doing::Delete { key: key.clone() };
            let etag = asked.headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
            let guard = guard(etag.map(|etag| etag.trim_matches('"')), None)?;
            let change = Change::delete(key).guarded(guard);
            states.save(&space, &[change]).await.map_err(failed(doing))?;
        }
        Ask::Bulk => {
            let Many { keys, parallelism } = parse(asked.body)?;
            let at_once = usize::try_from(parallelism.unwrap_or(10)).unwrap_or(10);
            let found = states.get_many(&space, &keys, at_once).await;
            let found = found.map_err(failed(Doing::Bulk))?;
            let rows = keys.iter().zip(found).map(|(key, found)| match found {
                Ok(None) => json!({ "key": key }),
                Ok(Some(item)) => row(key, &item),
                Err(error) => json!({ "key": key, "error": error.to_string() }),
            });
            return Ok(crate::server::json(StatusCode::OK, &rows.collect::<Value>()));
        }
        Ask::Transaction => {
            let body: Operations<'_> = parse(asked.body)?;
            let mut over = body.metadata.unwrap_or_default();
            over.retain(|_, value| value.is_string());
            let mut over: Vec<_> = over
                .into_iter()
                .map(|(key, value)| (key.to_lowercase(), value.as_str().unwrap_or("").to_owned()))
                .collect();
            over.splice(0..0, route::metadata(asked.query));
            let change = |of: &Operation<'_>| match of.operation.as_str() {
                "upsert" => of.request.put(&over),
                "delete" => of.request.delete(),
                _ => Err(StateFault::Operation { name: of.operation.clone() }.into()),
            };
            let changes: Result<Vec<_>, _> = body.operations.iter().map(change).collect();
            states.transact(&space, &changes?).await.map_err(failed(Doing::Transaction))?;
        }
        Ask::Query => return Err(StateFault::NoQuery.into()),
    }
    Ok(crate::server::empty())
}

#[derive(serde::Deserialize)]
struct Written<'a> {
    #[serde(default, alias = "Key")]
    key: String,
    #[serde(borrow, default, alias = "Value")]
    value: Option<&'a RawValue>,
    #[serde(default, alias = "eTag", alias = "ETag", alias = "Etag")]
    etag: Option<String>,
    #[serde(default, alias = "Metadata")]
    metadata: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default, alias = "Options")]
    options: Option<Options>,
}

#[derive(serde::Deserialize)]
struct Options {
    #[serde(default)]
    concurrency: Option<String>,
}

#[derive(serde::Deserialize)]
struct Many {
    #[serde(default)]
    keys: Vec<String>,
    parallelism: Option<i64>,
}

#[derive(serde::Deserialize)]
struct Operations<'a> {
    #[serde(borrow, default)]
    operations: Vec<Operation<'a>>,
    metadata: Option<Map<String, Value>>,
}

#[derive(serde::Deserialize)]
struct Operation<'a> {
    operation: String,
    #[serde(borrow)]
    request: Written<'a>,
}

impl Written<'_> {
    /// What the request says goes over what the item says.
    fn put(&self, over: &[(String, String)]) -> Result<Change, ApiError> {
        let mut change = self.delete()?;
        let is_ttl = |key: &str| key.eq_ignore_ascii_case("ttlInSeconds");
        let own = self.metadata.iter().flatten().find(|(key, _)| is_ttl(key)).map(|(_, v)| v);
        let text = over.iter().find(|(key, _)| is_ttl(key)).map(|(_, value)| value).or(own);
        let time_to_live = text.map(|text| time_to_live(text)).transpose();
        let time_to_live = time_to_live.map_err(|error| StateFault::of(&Doing::Save, &error))?;
        let data = compact(self.value.map_or("null", RawValue::get)).into();
        change.what = What::Put { data, time_to_live: time_to_live.flatten() };
        if change.guard == Guard::None && self.concurrency() == Some("first-write") {
            change.guard = Guard::Absent;
        }
        Ok(change)
    }

    fn delete(&self) -> Result<Change, ApiError> {
        if self.key.is_empty() {
            return Err(StateFault::malformed("\"key\" is a required field").into());
        }
        let guard = guard(self.etag.as_deref(), self.concurrency())?;
        Ok(Change::delete(self.key.as_str()).guarded(guard))
    }

    fn concurrency(&self) -> Option<&str> {
        self.options.as_ref()?.concurrency.as_deref()
    }
}

fn guard(etag: Option<&str>, concurrency: Option<&str>) -> Result<Guard, ApiError> {
    if let Some(other) = concurrency.filter(|c| !matches!(*c, "" | "first-write" | "last-write")) {
        let text = format!("concurrency is first-write or last-write, not {other}");
        return Err(StateFault::malformed(text).into());
    }
    let etag = etag.filter(|etag| !etag.is_empty());
    Ok(etag.map_or(Guard::None, |etag| Guard::Etag(etag.to_owned())))
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| StateFault::malformed(error.to_string()).into())
}

/// JSON without the white space between its parts; numbers stay as they were written.
fn compact(json: &str) -> Vec<u8> {
    let (mut text, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        if text {
            (text, escaped) = (escaped || *byte != b'"', !escaped && *byte == b'\\');
            return true;
        }
        text = *byte == b'"';
        !byte.is_ascii_whitespace()
    };
    json.bytes().filter(keep).collect()
}

fn metadata(item: &Item) -> Option<String> {
    let at = std::time::Duration::from_millis(item.expires_ms?);
    let at = time::OffsetDateTime::UNIX_EPOCH.checked_add(at.try_into().ok()?)?;
    Some(rfc3339(at))
}

fn whole(item: &Item) -> Response<Body> {
    let mut response = Response::new(Body::from(item.data.clone()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    if let Ok(etag) = HeaderValue::from_str(&item.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    if let Some(at) = metadata(item).and_then(|at| HeaderValue::from_str(&at).ok()) {
        response.headers_mut().insert(HeaderName::from_static("metadata.ttlexpiretime"), at);
    }
    response
}

fn row(key: &str, item: &Item) -> Value {
    let data = serde_json::from_slice::<Value>(&item.data)
        .unwrap_or_else(|_| String::from_utf8_lossy(&item.data).into_owned().into());
    let mut row = json!({ "key": key, "data": data, "etag": item.etag });
    if let Some(at) = metadata(item) {
        row["metadata"] = json!({ "ttlExpireTime": at });
    }
    row
}
