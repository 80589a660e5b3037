//! OTLP on the API's port: that SDKs need no further address, and that the port says who sends.
//!
//! HTTP (protobuf or JSON) and gRPC come to the same port, so the commonest mistake, the right
//! protocol on the wrong port, cannot be made.

use archipel_gateway::Body;
use archipel_telemetry::otlp::{BODY_BYTES_MAX, Encoding, Otlp, Reply, Signal};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::server::ServiceApi;

/// Of gRPC.
const UNAUTHENTICATED: u8 = 16;
const INVALID_ARGUMENT: u8 = 3;

pub(crate) struct Ask {
    pub(crate) signal: Signal,
    pub(crate) grpc: bool,
    pub(crate) token_ok: bool,
}

pub(crate) async fn answer(
    otlp: &Otlp,
    of: &ServiceApi,
    ask: Ask,
    request: Request<Incoming>,
) -> Response<Body> {
    let Ask { signal, grpc, token_ok } = ask;
    let refuse = |status, code, why: &str| refusal(grpc, status, code, why);
    if !token_ok {
        let why = "invalid api token; OTEL_EXPORTER_OTLP_HEADERS holds it";
        return refuse(StatusCode::UNAUTHORIZED, UNAUTHENTICATED, why);
    }
    if request.method() != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, INVALID_ARGUMENT, "OTLP is posted");
    }
    let headers = request.headers();
    let word = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let encoding = match word(&header::CONTENT_TYPE).and_then(Encoding::of_content_type) {
        _ if grpc => Encoding::Grpc,
        Some(encoding) => encoding,
        None => {
            let why = "OTLP comes as application/x-protobuf or application/json";
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT, why);
        }
    };
    let packed =
        if grpc { HeaderName::from_static("grpc-encoding") } else { header::CONTENT_ENCODING };
    let gzip = match word(&packed) {
        None | Some("identity") => false,
        Some("gzip") => true,
        Some(_) => {
            let why = "OTLP comes plain or as gzip";
            // Unimplemented, in gRPC.
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, 12, why);
        }
    };
    let body = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let why = format!("the body is over {} MiB", BODY_BYTES_MAX >> 20);
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, INVALID_ARGUMENT, &why);
        }
        // The sender has gone; nobody reads this.
        Err(_) => return refuse(StatusCode::BAD_REQUEST, INVALID_ARGUMENT, "the body broke off"),
    };
    let (otlp, sender) = (otlp.clone(), of.service.clone());
    let took = move || otlp.receive(signal, encoding, gzip, &body, &sender);
    respond(archipel_rt::blocking(took).await)
}

fn refusal(grpc: bool, status: StatusCode, code: u8, why: &str) -> Response<Body> {
    respond(Reply {
        status: if grpc { 200 } else { status.as_u16() },
        content_type: if grpc { "application/grpc" } else { "text/plain; charset=utf-8" },
        body: if grpc { Vec::new() } else { why.as_bytes().to_vec() },
        retry_after: None,
        grpc: grpc.then(|| (code, why.to_owned())),
    })
}

fn respond(reply: Reply) -> Response<Body> {
    let trailers = reply.grpc.map(|(code, message)| {
        let mut trailers = HeaderMap::new();
        trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(code)));
        let message = percent_encoding::utf8_percent_encode(&message, percent_encoding::CONTROLS);
        if let Ok(message) = HeaderValue::from_str(&message.to_string()) {
            trailers.insert(HeaderName::from_static("grpc-message"), message);
        }
        trailers
    });
    let mut response = match trailers {
        None => Response::new(Body::full(reply.body)),
        Some(trailers) if reply.body.is_empty() => {
            // An error: what would be trailers are the only headers.
            let mut response = Response::new(Body::empty());
            response.headers_mut().extend(trailers);
            response
        }
        Some(trailers) => {
            let body = Full::new(bytes::Bytes::from(reply.body));
            Response::new(Body::new(body.with_trailers(async { Some(Ok(trailers)) })))
        }
    };
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Some(seconds) = reply.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
