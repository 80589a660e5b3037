//! A body that is encoded as it passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use crate::compress::encoder::{Coding, Encoder};
use crate::message::body::{Body, BodyError};

/// What is encoded at a stretch before others have their turn: about half a millisecond.
const STRETCH: usize = 32 << 10;

pub(crate) fn encode(coding: Coding, body: Body) -> Body {
    Body::new(Encoded { body, coding, encoder: None, left: Bytes::new(), state: State::Reading })
}

struct Encoded {
    body: Body,
    coding: Coding,
    /// Made with the first piece: an answer that breaks off at once needs none.
    encoder: Option<Encoder>,
    /// Read and not yet encoded.
    left: Bytes,
    state: State,
}

enum State {
    Reading,
    /// Something was written that the caller cannot read yet.
    Unflushed,
    /// The end of the content was read; trailers may follow.
    Ending(Option<Frame<Bytes>>),
    Ended,
    Failed {
        error: Option<BodyError>,
        /// The caller had its turn to be sent the rest.
        told: bool,
    },
}

impl Encoded {
    fn encode(&mut self) -> std::io::Result<Option<Bytes>> {
        let piece = self.left.split_to(self.left.len().min(STRETCH));
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::new(self.coding)?),
        };
        encoder.write(&piece)?;
        self.state = State::Unflushed;
        let out = encoder.take();
        Ok((!out.is_empty()).then_some(out))
    }

    fn flush(&mut self) -> std::io::Result<Option<Bytes>> {
        self.state = State::Reading;
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        encoder.flush()?;
        let out = encoder.take();
        Ok((!out.is_empty()).then_some(out))
    }

    fn finish(&mut self) -> std::io::Result<Bytes> {
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(self.coding)?,
        };
        encoder.finish()
    }
}

impl http_body::Body for Encoded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let failed = |error: std::io::Error| Some(Err(BodyError::Source(error.into())));
        loop {
            if !this.left.is_empty() {
                match this.encode() {
                    Ok(Some(out)) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                    Ok(None) => continue,
                    Err(error) => return Poll::Ready(failed(error)),
                }
            }
            match &mut this.state {
                State::Ended => return Poll::Ready(None),
                State::Ending(trailers) => {
                    let trailers = trailers.take();
                    if this.encoder.is_some() || trailers.is_none() {
                        let out = this.finish();
                        this.state = match trailers {
                            Some(trailers) => State::Ending(Some(trailers)),
                            None => State::Ended,
                        };
                        return Poll::Ready(Some(
                            out.map(Frame::data).map_err(|error| BodyError::Source(error.into())),
                        ));
                    }
                    this.state = State::Ended;
                    return Poll::Ready(trailers.map(Ok));
                }
                State::Failed { told: told @ false, .. } => {
                    *told = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                State::Failed { error, .. } => return Poll::Ready(error.take().map(Err)),
                State::Reading | State::Unflushed => {}
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.left = data,
                    Err(trailers) => this.state = State::Ending(Some(trailers)),
                },
                Poll::Ready(Some(Err(error))) => {
                    // hyper drops what it has not yet written when a body fails: the caller first
                    // gets what did come, and a turn in which that is written.
                    let out = this.flush().ok().flatten();
                    this.state = State::Failed { error: Some(error), told: out.is_none() };
                    if let Some(out) = out {
                        return Poll::Ready(Some(Ok(Frame::data(out))));
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(None) => this.state = State::Ending(None),
                // The service pauses: the caller gets what there is.
                Poll::Pending if matches!(this.state, State::Unflushed) => match this.flush() {
                    Ok(Some(out)) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                    Ok(None) => return Poll::Pending,
                    Err(error) => return Poll::Ready(failed(error)),
                },
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}
