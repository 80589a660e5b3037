//! Keeps what passes through a body, up to a bound, without holding it up.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::message::body::{Body, BodyError};

/// The end of the other side: the whole body, `None` when it was too large, an error when it
/// did not come to its end.
pub(crate) type Kept = oneshot::Receiver<Option<Bytes>>;

pub(crate) struct Tee {
    kept: BytesMut,
    bytes_max: usize,
    to: Option<oneshot::Sender<Option<Bytes>>>,
}

struct Teed {
    inner: Body,
    tee: Tee,
}

impl Tee {
    pub(crate) fn new(bytes_max: usize) -> (Self, Kept) {
        let (to, kept) = oneshot::channel();
        (Self { kept: BytesMut::new(), bytes_max, to: Some(to) }, kept)
    }

    pub(crate) fn around(mut self, inner: Body) -> Body {
        if inner.is_end_stream() {
            self.end();
            return inner;
        }
        Body::passing(Teed { inner, tee: self })
    }

    fn see(&mut self, data: &Bytes) {
        if self.to.is_none() {
            return;
        }
        if self.kept.len() + data.len() <= self.bytes_max {
            self.kept.extend_from_slice(data);
            return;
        }
        self.kept = BytesMut::new();
        if let Some(to) = self.to.take() {
            let _ = to.send(None);
        }
    }

    fn end(&mut self) {
        if let Some(to) = self.to.take() {
            // Nobody waits any more: nothing is lost.
            let _ = to.send(Some(std::mem::take(&mut self.kept).freeze()));
        }
    }
}

impl http_body::Body for Teed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.tee.see(data);
                }
                // Whoever knows the length does not ask for the end.
                if self.inner.is_end_stream() {
                    self.tee.end();
                }
            }
            Poll::Ready(None) => self.tee.end(),
            Poll::Ready(Some(Err(_))) => self.tee.to = None,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
