//! Small documents that rules need: fetched the way every request goes, from a service of the
//! application or from a system outside.

use std::sync::Arc;
use std::time::Duration;

use archipel_model::{EdgePolicy, Retry, ServiceName};
use archipel_rt::clock;
use bytes::Bytes;
use http::uri::Uri;
use http::{HeaderMap, Method, Request, header};

use crate::hop::outgoing::Origin;
use crate::hop::{self, Passage};
use crate::message::body::Body;
use crate::message::trace::Trace;
use crate::record::access::Caller;
use crate::record::counters::SeriesKey;
use crate::record::flow::{Flight, Start};
use crate::shared::Shared;
use crate::table::Upstream;
use crate::upstream::service::Service;
use crate::way::Way;

const BYTES_MAX: usize = 512 << 10;
/// For one document.
const WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Fetched {
    pub(crate) body: Bytes,
    /// What its server allows to keep it for, if it says.
    pub(crate) fresh: Option<Duration>,
}

/// `name` is who is asked, as metrics and traces show it.
pub(crate) async fn url(
    shared: &Arc<Shared>,
    name: &ServiceName,
    url: &str,
) -> Result<Fetched, String> {
    let uri: Uri = url.parse().map_err(|_| format!("`{url}` is not a URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("`{url}` is not a whole URL"));
    };
    let external = Some(format!("{scheme}://{authority}"));
    let upstream = Upstream { external, ..Upstream::default() };
    let service = Arc::new(Service::new(name.clone()));
    service.update(Some(&upstream), shared);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let fetched = from(shared, &service, path).await;
    service.update(None, shared);
    fetched.map_err(|why| format!("{url}: {why}"))
}

pub(crate) async fn from(
    shared: &Arc<Shared>,
    service: &Arc<Service>,
    path: &str,
) -> Result<Fetched, String> {
    let whole = clock::timeout(WITHIN, ask(shared, service, path)).await;
    whole.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())))
}

async fn ask(shared: &Arc<Shared>, service: &Arc<Service>, path: &str) -> Result<Fetched, String> {
    // We try again ourselves, later, and do not wait for somebody who is not there.
    let policy = EdgePolicy {
        hold: None,
        retry: Retry { attempts: 0, ..Retry::default() },
        ..EdgePolicy::default()
    };
    let key =
        SeriesKey { caller: Caller::Archipel, callee: Some(service.name.clone()), route: None };
    let way = Way::inside(Arc::clone(service), policy.clone(), shared.counters.series(&key));
    let request = Request::get(path)
        .header(header::HOST, service.name_header.clone())
        .header(header::ACCEPT, "application/json")
        .body(Body::empty())
        .map_err(|_| format!("`{path}` is not a path"))?;
    let trace = Trace::read(&HeaderMap::new());
    let request_id = trace.request_id(request.headers());
    let start = Start {
        way: Arc::new(way),
        trace,
        started: clock::now(),
        method: Method::GET,
        path: request.uri().path_and_query().cloned(),
        busy: None,
    };
    let mut flight = Flight::new(Arc::clone(shared), start);
    let passage = Passage {
        shared,
        policy: &policy,
        request,
        request_id: &request_id,
        origin: Origin::Inside,
    };
    let answer = match hop::forward(&mut flight, passage).await {
        Ok((answer, _)) => hop::answer(flight, answer, request_id, policy.idle),
        Err(refusal) => {
            flight.refused(refusal.problem);
            return Err(refusal.detail);
        }
    };
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("it answered {status}"));
    }
    let fresh = fresh(answer.headers());
    let body = answer.into_body().collect(BYTES_MAX).await.map_err(|error| error.to_string())?;
    Ok(Fetched { body, fresh })
}

fn fresh(headers: &HeaderMap) -> Option<Duration> {
    let line = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let age = line.split(',').find_map(|word| word.trim().strip_prefix("max-age="))?;
    age.trim_matches('"').parse().ok().map(Duration::from_secs)
}
