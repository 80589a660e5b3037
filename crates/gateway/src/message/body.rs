//! The one body type of the data plane: whatever a request or response carries, streamed.
//!
//! An enum rather than a boxed trait object, because nearly every request passes through one and
//! the common kinds (nothing, a few bytes, hyper's own stream) need no allocation.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use archipel_rt::clock;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::record::flow::FlowBody;

/// What is read of a refused request, and for how long.
const SWALLOW_BYTES_MAX: u64 = 256 << 10;
const SWALLOW_WITHIN: Duration = Duration::from_secs(1);

/// A streamed body. Back-pressure passes through: the next piece is asked for when the last one
/// was taken.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
    /// A request body that may not grow beyond what its route allows.
    Limited {
        incoming: Incoming,
        left: u64,
        limit: u64,
    },
    /// A response from an instance, with the connection and the accounting that belong to it.
    Flow(FlowBody),
    Boxed(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the connection broke in the middle of the body")]
    Broken(#[source] hyper::Error),
    #[error("nothing of the body arrived for {}", archipel_model::show_duration(*limit))]
    Idle { limit: Duration },
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the source of the body failed")]
    Source(#[source] Box<dyn Error + Send + Sync>),
}

impl Body {
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Full(bytes)) }
    }

    /// Any other body; it costs one allocation.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let body = body.map_err(|error| BodyError::Source(error.into()));
        Self(Kind::Boxed(Box::pin(body)))
    }

    /// Wrapped around one of ours, whose errors it passes on.
    pub(crate) fn passing<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self(Kind::Boxed(Box::pin(body)))
    }

    /// Pieces as they come.
    pub fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        use futures_util::StreamExt;
        Self::new(http_body_util::StreamBody::new(stream.map(|piece| piece.map(Frame::data))))
    }

    pub(crate) fn limited(incoming: Incoming, limit: u64) -> Self {
        Self(Kind::Limited { incoming, left: limit, limit })
    }

    /// Reads what a refused request still brings, if that is little. A caller who is still writing
    /// when we close sees a broken pipe instead of the answer.
    pub(crate) async fn swallow(self) {
        let little = |size: &SizeHint| size.upper().unwrap_or(size.lower()) <= SWALLOW_BYTES_MAX;
        if !self.is_end_stream() && little(&self.size_hint()) {
            let all = self.collect(usize::try_from(SWALLOW_BYTES_MAX).unwrap_or(usize::MAX));
            // Broken, too much or too slow: then the caller has to live with the close.
            let _ = clock::timeout(SWALLOW_WITHIN, all).await;
        }
    }

    pub(crate) fn flow(body: FlowBody) -> Self {
        Self(Kind::Flow(body))
    }

    /// The whole body, for messages that are small by contract.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] above `limit`, without reading the rest.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        if let Kind::Full(bytes) = &self.0
            && bytes.len() <= limit
        {
            return Ok(bytes.clone());
        }
        let too_large = BodyError::TooLarge { limit: limit as u64 };
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let so_far = rest.as_ref().map_or(first.len(), BytesMut::len);
            if so_far + data.len() > limit {
                return Err(too_large);
            }
            match &mut rest {
                Some(rest) => rest.extend_from_slice(&data),
                // One piece, as nearly always, is handed on without copying.
                None if first.is_empty() => first = data,
                None => {
                    let mut all = BytesMut::with_capacity((first.len() + data.len()) * 2);
                    all.extend_from_slice(&first);
                    all.extend_from_slice(&data);
                    rest = Some(all);
                }
            }
        }
        Ok(rest.map_or(first, BytesMut::freeze))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        if incoming.is_end_stream() { Self::empty() } else { Self(Kind::Incoming(incoming)) }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::full(bytes)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Incoming(_) | Kind::Limited { .. } => "incoming",
            Kind::Flow(_) => "flow",
            Kind::Boxed(_) => "boxed",
        };
        write!(f, "Body({kind})")
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Incoming(incoming) => {
                Pin::new(incoming).poll_frame(cx).map_err(BodyError::Broken)
            }
            Kind::Limited { incoming, left, limit } => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx)).transpose();
                let frame = frame.map_err(BodyError::Broken)?;
                if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) => *left = rest,
                        None => {
                            return Poll::Ready(Some(Err(BodyError::TooLarge { limit: *limit })));
                        }
                    }
                }
                Poll::Ready(frame.map(Ok))
            }
            Kind::Flow(flow) => flow.poll_frame(cx),
            Kind::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Incoming(incoming) | Kind::Limited { incoming, .. } => incoming.is_end_stream(),
            Kind::Flow(flow) => flow.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Incoming(incoming) | Kind::Limited { incoming, .. } => incoming.size_hint(),
            Kind::Flow(flow) => flow.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}
