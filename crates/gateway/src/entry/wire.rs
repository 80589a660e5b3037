//! Our ends of TCP connections, as hyper drives them.
//!
//! [`Upstream`] can be asked to look at the socket itself before a pooled connection is used
//! again: the runtime learns of a close a moment after the kernel did, and a request with
//! effects must not be sent into that gap. And an instance may answer and close while the body is
//! still being sent to it: that the rest cannot be written must not hide the answer, which is
//! there to be read (RFC 9112, section 9.6). [`Client`] gives back the bytes that were read to
//! tell the protocol, notes that bytes came, and stays for a moment after the last answer when
//! the client is still sending: closing at once would make the kernel reset the connection, and
//! the client would see that instead of the answer (RFC 9112, section 9.6).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use archipel_rt::clock;
use bytes::{Buf, Bytes};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// How long a client that is still sending is listened to after its answer, at most.
const LINGER: Duration = Duration::from_secs(5);

/// A connection with or without TLS; an enum, so that hyper's code is there only once.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

pub(crate) struct Upstream {
    stream: Stream,
    look: Arc<AtomicBool>,
    /// The instance takes nothing more; what is still written goes nowhere, and what it said
    /// before is read.
    deaf: bool,
}

impl Upstream {
    /// Setting the flag makes the next read that would wait ask the kernel once more.
    pub(crate) fn new(stream: Stream) -> (Self, Arc<AtomicBool>) {
        let look = Arc::new(AtomicBool::new(false));
        (Self { stream, look: Arc::clone(&look), deaf: false }, look)
    }

    /// Takes a broken connection for written to. Reading says how it stands: there is an answer,
    /// or the end, and either comes at once.
    fn unless_deaf<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        all: impl FnOnce() -> T,
    ) -> Poll<io::Result<T>> {
        use io::ErrorKind as K;
        match written {
            Poll::Ready(Err(error))
                if matches!(
                    error.kind(),
                    K::BrokenPipe | K::ConnectionReset | K::ConnectionAborted
                ) =>
            {
                self.deaf = true;
                Poll::Ready(Ok(all()))
            }
            written => written,
        }
    }
}

impl Upstream {
    /// Registers the socket with the runtime that this is called in. `None`: it cannot move.
    pub(crate) fn moved(self) -> Option<Stream> {
        let Stream::Plain(stream) = self.stream else { return None };
        let stream = stream.into_std().and_then(TcpStream::from_std);
        stream.ok().map(Stream::Plain)
    }
}

/// Whether the other side has closed, or sent something that nobody asked for.
fn has_news(stream: &TcpStream) -> bool {
    let mut byte = [0_u8];
    match rustix::net::recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok(_) => true,
        Err(error) => error != rustix::io::Errno::AGAIN && error != rustix::io::Errno::INTR,
    }
}

impl AsyncRead for Upstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.deaf
            && let Stream::Plain(tcp) = &self.stream
        {
            // The kernel knows all that will ever come; the runtime may not have heard of it, and
            // a dead connection that seems to wait would be used again.
            match rustix::net::recv(tcp, buf.initialize_unfilled(), RecvFlags::DONTWAIT) {
                Ok((read, _)) => buf.advance(read),
                Err(error) if error == rustix::io::Errno::AGAIN => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        // An end of file makes hyper drop the connection, which is right for either news.
        if read.is_pending() && self.look.load(Relaxed) && has_news(self.stream.tcp()) {
            return Poll::Ready(Ok(()));
        }
        read
    }
}

/// What a connection's parts tell each other.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Bytes came since this was last cleared.
    pub(crate) came: AtomicBool,
    /// A request body was given up before its end: the client may still be sending it.
    pub(crate) unread: AtomicBool,
    /// Odd while something waits to be written; the same odd number later: nothing of it could be.
    pub(crate) full: AtomicU32,
}

impl Marks {
    fn wrote<T>(&self, written: &Poll<io::Result<T>>) {
        let full = self.full.load(Relaxed);
        if written.is_pending() != Self::is_full(full) {
            self.full.store(full.wrapping_add(1), Relaxed);
        }
    }

    pub(crate) fn is_full(full: u32) -> bool {
        full % 2 == 1
    }
}

pub(crate) struct Client {
    stream: Stream,
    first: Bytes,
    marks: Arc<Marks>,
    closing: Closing,
}

enum Closing {
    No,
    /// Our side is shut; until then the rest is read and thrown away.
    Lingering(Pin<Box<clock::Sleep>>),
    Done,
}

impl Client {
    pub(crate) fn new(stream: Stream, first: Bytes, marks: Arc<Marks>) -> Self {
        Self { stream, first, marks, closing: Closing::No }
    }

    /// Reads past TLS: what comes now is nobody's.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingering(until) = &mut self.closing else { return Poll::Ready(()) };
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let tcp = match &mut self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_mut().0,
        };
        let mut space = [0; 8 << 10];
        // Not until nothing is left: others want to run too.
        for _ in 0..16 {
            let mut buf = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *tcp).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(n));
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.marks.came.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_deaf(written, || buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = || bufs.iter().map(|buf| buf.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(all()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_deaf(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_deaf(flushed, || ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.marks.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.marks.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // TCP itself has nothing to flush.
        if matches!(self.stream, Stream::Tls(_)) {
            self.marks.wrote(&flushed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(cx)
    }
}

impl Client {
    fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::No) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closing = match self.marks.unread.load(Relaxed) {
                true => Closing::Lingering(Box::pin(clock::sleep(LINGER))),
                false => Closing::Done,
            };
        }
        ready!(self.poll_linger(cx));
        self.closing = Closing::Done;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::task::Waker;

    use super::*;

    /// Polls once, without giving the runtime a chance to look at its sockets.
    fn at_once(upstream: &mut Upstream) -> Poll<usize> {
        let mut space = [0; 8];
        let mut buf = ReadBuf::new(&mut space);
        let read = Pin::new(upstream)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut buf)
            .map(Result::unwrap);
        read.map(|()| buf.filled().len())
    }

    #[tokio::test]
    async fn a_close_that_the_runtime_has_not_heard_of_is_seen_when_asked() {
        for speaks_first in [false, true] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut other, _) = listener.accept().unwrap();
            let (mut upstream, look) = Upstream::new(Stream::Plain(stream));
            // The first poll uses up what the runtime knows.
            assert!(at_once(&mut upstream).is_pending());
            look.store(true, Relaxed);
            assert!(at_once(&mut upstream).is_pending(), "an open connection stays open");
            if speaks_first {
                other.write_all(b"408").unwrap();
            } else {
                drop(other);
            }
            look.store(false, Relaxed);
            assert!(at_once(&mut upstream).is_pending(), "the runtime cannot know yet");
            look.store(true, Relaxed);
            assert_eq!(at_once(&mut upstream), Poll::Ready(0));
        }
    }
}
