//! `Expect: 100-continue`, from the client to the app: its body is asked for when the app asks.
//!
//! The client waits to be told to go on. It is told when something reads its body; so the body is
//! held back here until the app says `100 Continue`. An app that answers at once instead (401,
//! 413) spares everybody the upload. Many know nothing of all that and wait for the body that
//! they are waited for with: they get it after a while, as from any client (RFC 9110, 10.1.1).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use archipel_rt::clock;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderValue, Request, StatusCode, header};
use http_body::{Frame, SizeHint};

use crate::message::body::{Body, BodyError};

/// An app that has said nothing by then is taken not to know.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn is_100<B>(request: &Request<B>) -> bool {
    let expect = request.headers().get(header::EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Tells the app what its client waits for, and holds the body back until it answers.
pub(crate) fn pass_on(mut request: Request<Body>) -> Request<Body> {
    let go = Arc::new(Go::default());
    let told = Arc::clone(&go);
    hyper::ext::on_informational(&mut request, move |answer| {
        if answer.status() == StatusCode::CONTINUE {
            told.said.store(true, Relaxed);
            told.task.wake();
        }
    });
    request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    request.map(|body| Body::passing(Held { body, go, alarm: None, over: false }))
}

#[derive(Default)]
struct Go {
    said: AtomicBool,
    task: AtomicWaker,
}

struct Held {
    body: Body,
    go: Arc<Go>,
    alarm: Option<Pin<Box<clock::Sleep>>>,
    over: bool,
}

impl Held {
    fn may_go(&mut self, cx: &mut Context<'_>) -> bool {
        self.go.task.register(cx.waker());
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(clock::sleep(PATIENCE)));
        self.go.said.load(Relaxed) || alarm.as_mut().poll(cx).is_ready()
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.over {
            if !self.may_go(cx) {
                return Poll::Pending;
            }
            (self.over, self.alarm) = (true, None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
