//! Our ends of TCP connections, as hyper drives them.
//!
//! [`Upstream`] can be asked to look at the socket itself before a pooled connection is used
//! again: the runtime learns of a close a moment after the kernel did, and a request with
//! effects must not be sent into that gap. [`Client`] gives back the bytes that were read to
//! tell the protocol, and notes that bytes came.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) struct Upstream {
    stream: TcpStream,
    look: Arc<AtomicBool>,
}

impl Upstream {
    /// Setting the flag makes the next read that would wait ask the kernel once more.
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<AtomicBool>) {
        let look = Arc::new(AtomicBool::new(false));
        (Self { stream, look: Arc::clone(&look) }, look)
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
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        // An end of file makes hyper drop the connection, which is right for either news.
        if read.is_pending() && self.look.load(Relaxed) && has_news(&self.stream) {
            return Poll::Ready(Ok(()));
        }
        read
    }
}

pub(crate) struct Client {
    stream: TcpStream,
    first: Bytes,
    came: Arc<AtomicBool>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, first: Bytes, came: Arc<AtomicBool>) -> Self {
        Self { stream, first, came }
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
            self.came.store(true, Relaxed);
        }
        read
    }
}

macro_rules! write_through {
    ($wire:ident) => {
        impl AsyncWrite for $wire {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.stream).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.stream).poll_shutdown(cx)
            }
        }
    };
}
write_through!(Upstream);
write_through!(Client);

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
            let (mut upstream, look) = Upstream::new(stream);
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
