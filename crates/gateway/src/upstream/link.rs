//! One HTTP/1.1 connection to an instance, driven by the request that uses it.
//!
//! hyper splits a connection into a handle and a future that does the work; the usual way gives
//! that future a task of its own. Here the request drives it instead: no task per connection, no
//! hand-over between cores twice per request, and at the end of a response it is *known* whether
//! the connection can be used again. In between, an idle connection is plain data in a list.
//!
//! The invariant: a link has one owner, which is a request or the idle list, never both. So its
//! handle becomes ready only through its own work, in the same task: waking that task for it
//! would only make it look twice, and the handle is polled with a waker that does nothing.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use crate::Body;
use crate::entry::wire::{Stream, Upstream};

pub(crate) struct Link {
    sender: SendRequest<Body>,
    connection: Connection<TokioIo<Upstream>, Body>,
    look: Arc<AtomicBool>,
    closed: bool,
}

impl Link {
    pub(crate) async fn open(stream: Stream) -> hyper::Result<Box<Self>> {
        let (wire, look) = Upstream::new(stream);
        let (sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        Ok(Box::new(Self { sender, connection, look, closed: false }))
    }

    /// Reads and writes what can be without waiting.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.closed && Pin::new(&mut self.connection).poll(cx).is_ready() {
            self.closed = true;
        }
    }

    /// Whether the last exchange is over on both sides and the next may begin. `look` also asks
    /// the kernel for a close that the runtime has not heard of yet.
    pub(crate) fn is_free(&mut self, look: bool) -> bool {
        self.look.store(look, Relaxed);
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.look.store(false, Relaxed);
        !self.closed && self.sender.is_ready()
    }

    /// Sends and waits for the head of the response. Dropped before that, the connection closes,
    /// which is how the instance learns that nobody waits any more.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        // Unconstrained: a turn cut short by the runtime's budget is announced to the waker, and
        // this one does nothing. The connection itself keeps to the budget.
        let answer = self.sender.try_send_request(request);
        let mut answer = pin!(tokio::task::unconstrained(answer));
        let (connection, closed) = (&mut self.connection, &mut self.closed);
        poll_fn(|cx| {
            if !*closed && Pin::new(&mut *connection).poll(cx).is_ready() {
                *closed = true;
            }
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }
}
