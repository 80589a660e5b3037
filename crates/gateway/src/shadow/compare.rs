//! Asks a second system the same question and notes where its answer differs.

use std::sync::Arc;

use archipel_model::Compare;
use archipel_rt::clock;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::sync::oneshot;

use super::report::{Example, Skipped, Watch};
use super::tee::{Kept, Tee};
use super::{BODY_BYTES_MAX, Sending, WITHIN, differ, head_of};
use crate::message::body::Body;
use crate::record::flow::Flight;

/// One answer, as far as it is compared.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The head of the answer that the caller gets, and its body in the making.
pub(crate) struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Kept,
}

/// Headers that mean the same to a caller whoever sends them.
pub(super) const HEADERS: [http::HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// Sends the copy at once; the flight carries away who tells of the main answer.
pub(super) fn begin(
    to: Sending,
    flight: &mut Flight,
    spec: &Compare,
    watch: &Arc<Watch>,
    request: &Request<Body>,
) {
    let Ok(permit) = Arc::clone(&to.shared.copies).try_acquire_owned() else {
        return watch.compare.skip(Skipped::TooMany);
    };
    let (tell, told) = oneshot::channel();
    let copy = head_of(request);
    let line = line_of(copy.method(), copy.uri());
    let trace = flight.trace.trace;
    let start = to.start(flight, &copy);
    let (watch, ignore) = (Arc::clone(watch), spec.ignore.clone());
    let shared = Arc::clone(&to.shared);
    shared.upstream.spawn("gateway.compare", async move {
        let asked = clock::wall_ms();
        let both = async {
            // Together: the copy must not wait for the caller, who may read slowly.
            tokio::join!(hear_copy(to.send(start, copy.map(|()| Body::empty()))), hear_main(told))
        };
        let heard = Box::pin(clock::timeout(WITHIN, both)).await;
        drop(permit);
        let (other, main) = match heard {
            Ok((Ok(other), Ok(main))) => (other, main),
            Ok((_, Err(why)) | (Err(why), _)) => return watch.compare.skip(why),
            Err(_) => return watch.compare.skip(Skipped::Incomplete),
        };
        let found = differ::differences(&main, &other, &ignore);
        let Some(differences) = found else { return watch.compare.skip(Skipped::Encoded) };
        watch.compared((!differences.list.is_empty()).then(|| Example {
            at_ms: asked,
            trace_id: trace,
            line,
            status: main.status.as_u16(),
            status_other: other.status.as_u16(),
            differences: differences.list,
            more: differences.more,
        }));
    });
    flight.watching = Some(Box::new(tell));
}

async fn hear_copy(
    answer: impl Future<Output = Result<Response<Body>, crate::Refusal>>,
) -> Result<Heard, Skipped> {
    let answer = answer.await.map_err(|_| Skipped::NoAnswer)?;
    let (head, body) = answer.into_parts();
    let body = body.collect(BODY_BYTES_MAX).await.map_err(|error| match error {
        crate::BodyError::TooLarge { .. } => Skipped::TooLarge,
        _ => Skipped::NoAnswer,
    })?;
    Ok(Heard { status: head.status, headers: head.headers, body })
}

async fn hear_main(told: oneshot::Receiver<Result<Seen, Skipped>>) -> Result<Heard, Skipped> {
    let seen = told.await.map_err(|_| Skipped::Incomplete)??;
    let body = seen.body.await.map_err(|_| Skipped::Incomplete)?.ok_or(Skipped::TooLarge)?;
    Ok(Heard { status: seen.status, headers: seen.headers, body })
}

/// Lets the one who compares see what the caller gets.
pub(crate) fn watch(answer: Response<Body>, tell: super::Watching) -> Response<Body> {
    let is_stream = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if is_stream {
        // It has no end that could be waited for.
        return answer;
    }
    let (tee, body) = Tee::new(BODY_BYTES_MAX);
    let wanted =
        |name: &http::HeaderName| Some((name.clone(), answer.headers().get(name)?.clone()));
    let mut headers: HeaderMap<HeaderValue> = HEADERS.iter().filter_map(wanted).collect();
    if let Some(coding) = answer.headers().get(header::CONTENT_ENCODING) {
        headers.insert(header::CONTENT_ENCODING, coding.clone());
    }
    match tell.send(Ok(Seen { status: answer.status(), headers, body })) {
        Ok(()) => answer.map(|inner| tee.around(inner)),
        // The copy has failed meanwhile.
        Err(_) => answer,
    }
}

/// The request line without the values of its query, which may hold what no report should.
fn line_of(method: &Method, uri: &http::Uri) -> String {
    let mut line = format!("{method} {}", uri.path());
    for (i, pair) in uri.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        line.push(if i == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => line.extend([name, "=…"]),
            None => line.push_str(pair),
        }
    }
    differ::shorten(&line, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_without_the_values_of_its_query() {
        let uri: http::Uri = "/a/7?customer=cus_1&all&mail=x%40y".parse().unwrap();
        assert_eq!(line_of(&Method::GET, &uri), "GET /a/7?customer=…&all&mail=…");
    }
}
