//! gRPC over one function for each procedure, on our own listener; streams with tonic's codec.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use archipel_rt::clock;
use archipel_workflow::MESSAGE_BYTES_MAX;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::Stream;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// Whether a request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    kind.starts_with(b"application/grpc") && !kind.starts_with(b"application/grpc-web")
}

/// One question, one answer. Written out, because it is most of what workers and clients do: one
/// frame in, one frame and a status out, each in a buffer of its size.
pub(crate) async fn unary<Question, Answer, F>(
    request: Request<Incoming>,
    call: impl FnOnce(Question) -> F + Send,
) -> Response<Body>
where
    Question: prost::Message + Default + Send + 'static,
    Answer: prost::Message + Default + Send + 'static,
    F: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    let answered = match question(request.into_body()).await {
        Ok(question) => call(question).await,
        Err(status) => Err(status),
    };
    let framed = answered.and_then(|answer| frame(&answer));
    match framed {
        Err(status) => status.into_http(),
        Ok(data) => {
            let mut response = Response::new(Body::new(Reply { data: Some(data), ended: false }));
            response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
            response
        }
    }
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const OK: HeaderValue = HeaderValue::from_static("0");
/// Before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// The one message of a request.
async fn question<Question: prost::Message + Default>(
    mut body: Incoming,
) -> Result<Question, Status> {
    let (mut read, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let broken = |error| Status::internal(format!("the request broke off: {error}"));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        // One frame, usually: then nothing is copied.
        if rest.is_empty() && read.is_empty() {
            read = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut read));
            rest.extend_from_slice(&data);
        }
        if rest.len() > MESSAGE_BYTES_MAX + HEAD {
            return Err(too_long(rest.len() - HEAD));
        }
    }
    let mut read = if rest.is_empty() { read } else { rest.freeze() };
    if read.len() < HEAD {
        return Err(Status::internal("the request holds no message"));
    }
    let compressed = read.get_u8() != 0;
    let length = usize::try_from(read.get_u32()).unwrap_or(usize::MAX);
    match length {
        _ if compressed => Err(Status::unimplemented("compressed requests are not taken")),
        length if length > MESSAGE_BYTES_MAX => Err(too_long(length)),
        length if length != read.len() => {
            Err(Status::internal(format!("a message of {length} bytes came with {}", read.len())))
        }
        _ => Question::decode(read)
            .map_err(|error| Status::internal(format!("the request cannot be read: {error}"))),
    }
}

fn too_long(bytes: usize) -> Status {
    Status::out_of_range(format!("a message has at most {MESSAGE_BYTES_MAX} bytes, not {bytes}"))
}

fn frame(answer: &impl prost::Message) -> Result<Bytes, Status> {
    let bytes = answer.encoded_len();
    let length = u32::try_from(bytes);
    let length = length.map_err(|_| Status::resource_exhausted("the answer is too long"))?;
    let mut data = BytesMut::with_capacity(HEAD + bytes);
    data.put_u8(0);
    data.put_u32(length);
    answer.encode(&mut data).map_err(|error| Status::internal(error.to_string()))?;
    Ok(data.freeze())
}

/// One message, then that all went well.
struct Reply {
    data: Option<Bytes>,
    ended: bool,
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", OK);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// One question, a stream of answers.
pub(crate) async fn streaming<Question, Answer, F, S>(
    request: Request<Incoming>,
    call: impl FnOnce(Question) -> F + Send,
) -> Response<Body>
where
    Question: prost::Message + Default + Send + 'static,
    Answer: prost::Message + Default + Send + 'static,
    F: Future<Output = Result<S, Status>> + Send + 'static,
    S: Stream<Item = Result<Answer, Status>> + Send + 'static,
{
    // Items hold whole histories; whether a worker takes them is for its own limit to say.
    let mut grpc = Grpc::new(ProstCodec::default())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(usize::MAX);
    grpc.server_streaming(Call(Some(call)), request).await
}

/// One call of one function, as a service.
struct Call<C>(Option<C>);

impl<Question, Answer, C, F> Service<tonic::Request<Question>> for Call<C>
where
    C: FnOnce(Question) -> F,
    F: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    type Response = tonic::Response<Answer>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Question>) -> Self::Future {
        let call = self.0.take().map(|call| call(request.into_inner()));
        Box::pin(async move {
            match call {
                Some(call) => call.await.map(tonic::Response::new),
                None => Err(Status::new(Code::Internal, "called twice")),
            }
        })
    }
}

/// The answer, or that the client's deadline has passed.
pub(crate) async fn within(
    deadline: Option<Duration>,
    answer: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    match deadline {
        None => answer.await,
        Some(within) => match clock::timeout(within, answer).await {
            Ok(response) => response,
            Err(_) => Status::deadline_exceeded("the client's deadline has passed").into_http(),
        },
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().expect("a header"));
            deadline(&headers)
        };
        assert_eq!(of("30S"), Some(Duration::from_secs(30)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "30", "-1S", "999999999S", "1世"] {
            let mut headers = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(bad.as_bytes()) {
                headers.insert("grpc-timeout", value);
            }
            assert_eq!(deadline(&headers), None, "{bad:?}");
        }
    }
}
