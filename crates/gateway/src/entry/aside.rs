//! A future beside the one that a task is about: looked at only when it has something to say.
//!
//! Whatever a task waits for is asked again each time the task runs. A connection runs twice a
//! request, and what ends it (a door that closes, a timer) is behind locks that all connections
//! share; asking them for nothing cost as much as finding the route.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

pub(crate) struct Aside<F> {
    future: F,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Rung by whatever the future waits for.
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Aside<F> {
    pub(crate) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future, waker: Waker::from(Arc::clone(&bell)), bell }
    }
}

impl<F: Future + Unpin> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look, so that whoever rings after it finds whom to wake.
        self.bell.task.register(cx.waker());
        if !self.bell.rung.load(Ordering::Relaxed) || !self.bell.rung.swap(false, Ordering::Acquire)
        {
            return Poll::Pending;
        }
        let this = &mut *self;
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use archipel_rt::clock;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn it_is_asked_when_it_rang_and_never_else() {
        let (notify, polls) = (Arc::new(Notify::new()), AtomicUsize::new(0));
        for round in 0..200 {
            let mut inner = pin!(notify.notified());
            polls.store(0, Ordering::Relaxed);
            let counted = std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                inner.as_mut().poll(cx)
            });
            let mut aside = pin!(Aside::new(counted));
            for _ in 0..10 {
                let once = std::future::poll_fn(|cx| Poll::Ready(aside.as_mut().poll(cx)));
                assert!(once.await.is_pending());
            }
            assert_eq!(polls.load(Ordering::Relaxed), 1);
            let other = Arc::clone(&notify);
            let ringer = std::thread::spawn(move || {
                if round % 2 == 0 {
                    std::thread::yield_now();
                }
                other.notify_one();
            });
            clock::timeout(Duration::from_secs(20), aside).await.expect("it is not forgotten");
            ringer.join().unwrap();
        }
    }
}
