//! gRPC over one function for each procedure: tonic's codec on our own listener.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use archipel_rt::clock;
use archipel_workflow::MESSAGE_BYTES_MAX;
use http::{HeaderMap, Request, Response, header};
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

fn grpc<Answer, Question>() -> Grpc<ProstCodec<Answer, Question>>
where
    Answer: prost::Message + Default + Send + 'static,
    Question: prost::Message + Default + Send + 'static,
{
    // Answers hold whole histories; whether a worker takes them is for its own limit to say.
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(usize::MAX)
}

/// One question, one answer.
pub(crate) async fn unary<Question, Answer, F>(
    request: Request<Incoming>,
    call: impl FnOnce(Question) -> F + Send,
) -> Response<Body>
where
    Question: prost::Message + Default + Send + 'static,
    Answer: prost::Message + Default + Send + 'static,
    F: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    grpc().unary(Call(Some(call)), request).await
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
    grpc().server_streaming(Call(Some(call)), request).await
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
