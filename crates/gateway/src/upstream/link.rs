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
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use crate::Body;
use crate::entry::wire::{Stream, Upstream};

pub(crate) struct Link {
    sender: SendRequest<Body>,
    /// `None` when it has ended. It must not outlive its end: only its drop tells a request that
    /// was handed over in the same moment that nobody will send it.
    connection: Option<Connection<TokioIo<Upstream>, Body>>,
    look: Arc<AtomicBool>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Stands between the connection and the task that drives it.
///
/// Taking a piece of a body makes hyper wake whoever drives the connection, which is the one who
/// takes it: the task would run once more for nothing, and announce that to another thread. What
/// rings while the task is inside is seen to on the way out, and only if it waits then.
#[derive(Default)]
struct Bell {
    task: AtomicWaker,
    inside: AtomicBool,
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, SeqCst);
        // Of this and `leave`, at least one sees what the other wrote.
        if !self.inside.load(SeqCst) {
            self.task.wake();
        }
    }
}

impl Bell {
    fn enter(&self, cx: &Context<'_>) {
        self.inside.store(true, SeqCst);
        self.task.register(cx.waker());
    }

    fn leave(&self, waits: bool) {
        self.inside.store(false, SeqCst);
        if waits && self.rung.load(SeqCst) {
            self.task.wake();
        }
    }
}

impl Link {
    pub(crate) async fn open(stream: Stream) -> hyper::Result<Box<Self>> {
        let (wire, look) = Upstream::new(stream);
        let (sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        Ok(Box::new(Self { sender, connection: Some(connection), look, bell, waker }))
    }

    /// This idle connection, for use in the runtime that this is called in.
    pub(crate) fn moved(self) -> Option<Box<Self>> {
        let parts = self.connection?.into_parts();
        if !parts.read_buf.is_empty() {
            return None;
        }
        // Nothing is said on the wire, so it is done at once.
        Self::open(parts.io.into_inner().moved()?).now_or_never()?.ok()
    }

    /// Asks for something that comes over this connection; when it is not there, reads and writes
    /// what can be without waiting and asks again.
    pub(crate) fn ask<T>(
        &mut self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // A waker that does nothing: what is asked for cannot come without this connection.
        let mut quiet = Context::from_waker(Waker::noop());
        self.bell.enter(cx);
        let mut answer = poll(&mut quiet);
        if answer.is_pending() {
            self.bell.rung.store(false, SeqCst);
            let mut own = Context::from_waker(&self.waker);
            drive(&mut self.connection, &mut own);
            answer = poll(&mut quiet);
        }
        self.bell.leave(answer.is_pending());
        answer
    }

    /// Whether the last exchange is over on both sides and the next may begin. `look` also asks
    /// the kernel for a close that the runtime has not heard of yet.
    pub(crate) fn is_free(&mut self, look: bool) -> bool {
        self.look.store(look, Relaxed);
        let mut nobody = Context::from_waker(Waker::noop());
        drive(&mut self.connection, &mut nobody);
        self.look.store(false, Relaxed);
        self.connection.is_some() && self.sender.is_ready()
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
        poll_fn(|cx| {
            self.bell.enter(cx);
            self.bell.rung.store(false, SeqCst);
            let mut own = Context::from_waker(&self.waker);
            drive(&mut self.connection, &mut own);
            let head = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.bell.leave(head.is_pending());
            head
        })
        .await
    }
}

/// Reads and writes what can be without waiting.
fn drive(connection: &mut Option<Connection<TokioIo<Upstream>, Body>>, cx: &mut Context<'_>) {
    if let Some(open) = connection
        && Pin::new(open).poll(cx).is_ready()
    {
        *connection = None;
    }
}
