//! A thread for each core, with a runtime of its own: a client's connection stays on one of them
//! with all that its requests do.
//!
//! In one runtime for all cores the parts of a request (the client's connection, HTTP/2 streams,
//! the instance's connection) wander between cores, and each move costs a wake-up and cold
//! caches: a tenth of a request over HTTP/1.1 and a quarter over HTTP/2. The price is that a
//! connection cannot use two cores, as with nginx and Envoy.
//!
//! Without threads, as in tests, all runs where the gateway was made.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use archipel_rt::{CancellationToken, Tasks};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};

/// So many turns of tasks until the kernel is asked what is new, if there is no pause before. A
/// turn of a large upload or answer takes half a millisecond, and nobody else hears those events.
const EVENTS_EVERY: u32 = 16;

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(0) };
}

/// The number of the core that this thread is for, from 1; 0 on every other thread.
pub(crate) fn own() -> usize {
    OWN.with(Cell::get)
}

/// Where connections are served.
#[derive(Default)]
pub(crate) struct Cores(Vec<Core>);

struct Core {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// Ends the threads when it is dropped, and with them what still runs there.
pub(crate) struct Threads(CancellationToken);

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Threads {
    pub(crate) fn end(&self) {
        self.0.cancel();
    }
}

impl Cores {
    pub(crate) fn start(count: usize) -> io::Result<(Self, Threads)> {
        let threads = Threads(CancellationToken::new());
        let cores = (1..=count).map(|number| Core::start(number, threads.0.clone()));
        Ok((Self(cores.collect::<io::Result<_>>()?), threads))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Serves a connection on the core that has the fewest; here, when there are none.
    pub(crate) fn serve<F>(
        &self,
        tasks: &Tasks,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(core) = self.0.iter().min_by_key(|core| core.connections.load(Relaxed)) else {
            return tasks.spawn_unnamed(serve(stream));
        };
        let seat = Seat::new(&core.connections);
        // The socket is heard by the runtime it was registered with.
        let Ok(stream) = stream.into_std() else { return };
        tasks.spawn_on(&core.runtime, async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(stream).await;
            }
            drop(seat);
        });
    }

    /// Counts as one more connection of this thread's core until it is dropped: what stays there
    /// when its connection has been served, as a tunnel does.
    pub(crate) fn stay(&self) -> Option<Seat> {
        let core = self.0.get(own().checked_sub(1)?)?;
        Some(Seat::new(&core.connections))
    }
}

impl Core {
    fn start(number: usize, stop: CancellationToken) -> io::Result<Self> {
        // Signals and processes are none of its business, and would be looked after at each turn.
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_io().enable_time().event_interval(EVENTS_EVERY).build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
            OWN.with(|own| own.set(number));
            runtime.block_on(stop.cancelled());
        })?;
        Ok(Self { runtime: handle, connections: Arc::default() })
    }
}

pub(crate) struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn new(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Something that each core has its own of, and threads that are for no core share another.
pub(crate) struct PerCore<T>(Box<[Padded<T>]>);

/// On cache lines of its own: cores write to theirs all the time.
#[derive(Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> PerCore<T> {
    pub(crate) fn new(cores: usize) -> Self {
        Self((0..=cores).map(|_| Padded::default()).collect())
    }
}

impl<T> PerCore<T> {
    /// That of this thread.
    pub(crate) fn own(&self) -> &T {
        // Another gateway, with fewer cores, may be asked by a core of this one.
        &self.0[own() % self.0.len()].0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_stays_after_its_connection_is_spread_over_the_cores() {
        let (cores, _threads) = Cores::start(2).unwrap();
        let cores = Arc::new(cores);
        let tasks = Tasks::new(&CancellationToken::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tell, mut told) = tokio::sync::mpsc::channel(1);
        let mut seats = Vec::new();
        for _ in 0..6 {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let (here, tell) = (Arc::clone(&cores), tell.clone());
            cores.serve(&tasks, stream, move |_| async move {
                let _ = tell.send((own(), here.stay())).await;
            });
            let (core, seat) = told.recv().await.unwrap();
            seats.push((core, seat.expect("it is on a core")));
            // The connection itself is over.
            let over = async {
                while !tasks.is_empty() {
                    tokio::task::yield_now().await
                }
            };
            tokio::time::timeout(Duration::from_secs(20), over).await.unwrap();
        }
        assert_eq!(seats.iter().filter(|(core, _)| *core == 1).count(), 3);
        assert!(cores.stay().is_none(), "this thread is for no core");
    }
}
