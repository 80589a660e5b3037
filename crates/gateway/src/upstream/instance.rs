//! One endpoint of a service: its connections, how busy it is, whether it answers.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_model::InstanceId;
use archipel_rt::clock::{self, Instant};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Body;
use crate::cores::PerCore;
use crate::entry::wire::Stream;
use crate::record::access::Caller;
use crate::record::counters::{Series, SeriesKey};
use crate::shared::Shared;
use crate::tls::Outbound;
use crate::upstream::latency::Latency;
use crate::upstream::link::Link;
use crate::upstream::outlier::Outlier;

/// Where an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Addr(SocketAddr),
    /// A foreign system: the name is looked up for each new connection.
    Name(String, u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    /// Cleartext with prior knowledge.
    Http2,
}

pub(crate) struct Instance {
    /// `None` for a foreign system.
    pub(crate) id: Option<InstanceId>,
    pub(crate) target: Target,
    pub(crate) speaks: Speaks,
    /// `None`: cleartext.
    tls: Option<Outbound>,
    /// Requests whose answer has not ended; also upgraded connections.
    /// Requests that it answered, or was tried last for.
    pub(crate) series: Series,
    pub(crate) inflight: AtomicUsize,
    /// Kept only where there are others to choose from.
    pub(crate) latency: Latency,
    pub(crate) outlier: Outlier,
    /// Milliseconds of [`Shared::millis`], as all of these: when it joined the others; 0: it was
    /// there when they came.
    joined: u64,
    /// Until then others are preferred.
    avoid_until: AtomicU64,
    /// Left the table: what is in flight ends, nothing is kept for later.
    retired: AtomicBool,
    pools: PerCore<Pool>,
    shared: Arc<Shared>,
}

/// Of 256: what an instance gets at first.
const COLD: u64 = 26;

/// Connections that can be used. Each core has its own, which no other core hears of.
#[derive(Default)]
struct Pool {
    /// The last one used is the first used again, so that the rest can age out.
    idle: Mutex<Vec<Idle>>,
    multiplexed: Mutex<Option<http2::SendRequest<Body>>>,
    /// Held while the one shared HTTP/2 connection is being opened.
    opening: tokio::sync::Mutex<()>,
}

impl Pool {
    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_multiplexed(&self) -> std::sync::MutexGuard<'_, Option<http2::SendRequest<Body>>> {
        self.multiplexed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// The head of a response, and the connection it came on when that is ours to give back.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) link: Option<Box<Link>>,
}

/// A try that came to nothing; see [`crate::hop::retry::Reached`].
pub(crate) enum Failure {
    Connect { request: Box<Request<Body>>, source: io::Error },
    Unsent { request: Box<Request<Body>>, source: hyper::Error },
    Broken { source: hyper::Error },
}

impl Instance {
    pub(crate) fn new(
        id: Option<InstanceId>,
        target: Target,
        speaks: Speaks,
        tls: Option<Outbound>,
        shared: Arc<Shared>,
    ) -> Self {
        let callee = id.as_ref().map(|id| id.service.clone());
        let key = SeriesKey { caller: Caller::Archipel, callee, route: None };
        Self {
            id,
            target,
            speaks,
            tls,
            series: Series::new(key),
            inflight: AtomicUsize::new(0),
            latency: Latency::default(),
            outlier: Outlier::default(),
            joined: 0,
            avoid_until: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            pools: PerCore::new(shared.cores.count()),
            shared,
        }
    }

    /// Whether it is spoken to in this way.
    pub(crate) fn has_tls(&self, tls: Option<&Outbound>) -> bool {
        match (&self.tls, tls) {
            (Some(own), Some(wanted)) => own.is(wanted),
            (own, wanted) => own.is_none() && wanted.is_none(),
        }
    }

    /// Whether a connection was refused at or after this moment.
    fn failed_since(&self, millis: u64) -> bool {
        let pause = self.shared.limits.avoid.as_millis() as u64;
        self.avoid_until.load(Relaxed) >= millis + pause
    }

    /// It joins others that are warm already.
    pub(crate) fn joining(self, now_ms: u64) -> Self {
        Self { joined: now_ms.max(1), ..self }
    }

    /// The share of its requests that it gets by now, of 256: new ones, and those that were passed
    /// over, begin with few.
    pub(crate) fn warmth(&self, now_ms: u64, slow_start: Duration) -> u64 {
        let since = self.joined.max(self.outlier.back_at());
        if since == 0 {
            return 256;
        }
        let (warm, full) = (now_ms.saturating_sub(since), slow_start.as_millis() as u64);
        if warm >= full { 256 } else { (256 * warm / full).max(COLD) }
    }

    pub(crate) fn is_avoided(&self, now_ms: u64) -> bool {
        self.avoid_until.load(Relaxed) > now_ms
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Relaxed);
        for pool in self.pools.all() {
            pool.lock_idle().clear();
            // The connection ends by itself when its last stream has.
            *pool.lock_multiplexed() = None;
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn prune(&self, now: Instant) {
        for pool in self.pools.all() {
            let mut idle = pool.lock_idle();
            let fresh = idle.partition_point(|i| now - i.since > self.shared.limits.idle_upstream);
            // Closing is a system call each; not under the lock.
            let old: Vec<Idle> = idle.drain(..fresh).collect();
            drop(idle);
            drop(old);
        }
    }

    /// Gives a connection back whose exchange is over.
    pub(crate) fn keep(&self, link: Box<Link>) {
        if self.retired.load(Relaxed) {
            return;
        }
        let mut idle = self.pools.own().lock_idle();
        if idle.len() < self.shared.limits.idle_upstream_max {
            idle.push(Idle { link, since: clock::now() });
        }
    }

    /// Sends one request and waits for the head of the response.
    ///
    /// `fresh`: not on a connection that was used before. `careful`: the request cannot be
    /// repeated, so a used connection is checked twice. `patience`: until a new one is accepted.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
        fresh: bool,
        careful: bool,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        match self.speaks {
            Speaks::Http1 => self.send_http1(request, fresh, careful, patience).await,
            Speaks::Http2 => self.send_http2(request, patience).await,
        }
    }

    async fn send_http1(
        &self,
        request: Request<Body>,
        fresh: bool,
        careful: bool,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let pooled = if fresh { None } else { self.checkout(careful) };
        let reused = pooled.is_some();
        let mut link = match pooled {
            Some(link) => link,
            None => match self.open(patience).await {
                Ok(link) => link,
                Err(source) => {
                    return Err(Failure::Connect { request: Box::new(request), source });
                }
            },
        };
        match link.exchange(request).await {
            Ok(response) => Ok(Answer { response, link: Some(link) }),
            Err(mut error) => Err(match error.take_message().map(Box::new) {
                Some(request) if reused => Failure::Unsent { request, source: error.into_error() },
                // Accepted and closed at once: as good as not accepted.
                Some(request) => {
                    Failure::Connect { request, source: io::Error::other(error.into_error()) }
                }
                None => Failure::Broken { source: error.into_error() },
            }),
        }
    }

    fn checkout(&self, careful: bool) -> Option<Box<Link>> {
        let own = self.pools.own();
        loop {
            let Some(Idle { mut link, since }) = own.lock_idle().pop() else {
                return self.adopt();
            };
            if clock::now() - since > self.shared.limits.idle_upstream {
                // Below it lie only older ones; the sweep closes them.
                return None;
            }
            if link.is_free(careful) {
                return Some(link);
            }
        }
    }

    /// Takes a connection over from another core, when nothing else is under way here: some apps
    /// serve one connection at a time, and would not see a second one before the first is closed.
    fn adopt(&self) -> Option<Box<Link>> {
        // One with TLS cannot move, and would be lost to the core that has it.
        let stays = self.tls.is_some() || self.shared.cores.count() == 0;
        if stays || self.inflight.load(Relaxed) > 1 {
            return None;
        }
        let idle = self.pools.all().find_map(|pool| pool.lock_idle().pop())?;
        if clock::now() - idle.since > self.shared.limits.idle_upstream {
            return None;
        }
        let mut link = idle.link.moved()?;
        // This runtime has not heard of a close: only the kernel knows.
        link.is_free(true).then_some(link)
    }

    async fn open(&self, patience: Duration) -> io::Result<Box<Link>> {
        let stream = self.connect(patience).await?;
        Link::open(stream).await.map_err(io::Error::other)
    }

    /// A connection, with TLS where that is spoken; a refusal is remembered for a while.
    async fn connect(&self, patience: Duration) -> io::Result<Stream> {
        let connecting = async {
            let (host, port) = match &self.target {
                Target::Addr(addr) => return connect_loopback(*addr).await.map(Stream::Plain),
                Target::Name(host, port) => (host, *port),
            };
            // In a box, so that requests to our own instances do not carry the room for it.
            Box::pin(async {
                let tcp = TcpStream::connect((host.as_str(), port)).await?;
                match &self.tls {
                    None => Ok(Stream::Plain(tcp)),
                    Some(tls) => Ok(Stream::Tls(Box::new(tls.connect(tcp).await?.into()))),
                }
            })
            .await
        };
        let connected = clock::timeout(patience, connecting).await.unwrap_or_else(|_| {
            let limit = archipel_model::show_duration(patience);
            let what = format!("the connection was not accepted within {limit}");
            Err(io::Error::new(io::ErrorKind::TimedOut, what))
        });
        match &connected {
            Ok(stream) => {
                self.avoid_until.store(0, Relaxed);
                stream.tcp().set_nodelay(true)?;
            }
            Err(_) => {
                let pause = self.shared.limits.avoid.as_millis() as u64;
                self.avoid_until.store(self.shared.millis() + pause, Relaxed);
            }
        }
        connected
    }

    async fn send_http2(
        &self,
        mut request: Request<Body>,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let mut sender = match self.shared_connection(patience).await {
            Ok(sender) => sender,
            Err(source) => return Err(Failure::Connect { request: Box::new(request), source }),
        };
        *request.version_mut() = Version::HTTP_2;
        match sender.try_send_request(request).await {
            Ok(response) => Ok(Answer { response, link: None }),
            Err(mut error) => Err(match error.take_message() {
                Some(request) => {
                    self.forget_closed();
                    Failure::Unsent { request: Box::new(request), source: error.into_error() }
                }
                None => Failure::Broken { source: error.into_error() },
            }),
        }
    }

    async fn shared_connection(&self, patience: Duration) -> io::Result<http2::SendRequest<Body>> {
        if let Some(sender) = self.open_connection() {
            return Ok(sender);
        }
        let asked = self.shared.millis();
        let pool = self.pools.own();
        let _one_at_a_time = pool.opening.lock().await;
        if let Some(sender) = self.open_connection() {
            return Ok(sender);
        }
        if self.failed_since(asked) {
            // Whoever held the lock found out for us; a row of waiting requests must not try one
            // after the other, each with the full patience.
            return Err(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "it was refused just now",
            ));
        }
        let stream = self.connect(patience).await?;
        let (sender, connection) = http2::Builder::new(self.shared.executor())
            .max_header_list_size(self.shared.limits.header_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let cut = self.shared.cut.clone();
        self.shared.upstream.spawn("gateway.http2-upstream", async move {
            // Requests in flight learn of an error by their own futures.
            tokio::select! {
                biased;
                _ = connection => {}
                () = cut.cancelled() => {}
            }
        });
        if !self.retired.load(Relaxed) {
            *pool.lock_multiplexed() = Some(sender.clone());
        }
        Ok(sender)
    }

    fn open_connection(&self) -> Option<http2::SendRequest<Body>> {
        self.pools.own().lock_multiplexed().as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    fn forget_closed(&self) {
        let mut multiplexed = self.pools.own().lock_multiplexed();
        if multiplexed.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *multiplexed = None;
        }
    }

    /// Sends a request that asks to switch protocols: on a connection of its own, which nobody
    /// gets back.
    pub(crate) async fn send_upgrade(
        &self,
        request: Request<Body>,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let opened = async {
            let io = TokioIo::new(self.connect(patience).await?);
            http1::handshake(io).await.map_err(io::Error::other)
        };
        let (mut sender, connection) = match opened.await {
            Ok(opened) => opened,
            Err(source) => return Err(Failure::Connect { request: Box::new(request), source }),
        };
        let cut = self.shared.cut.clone();
        self.shared.upstream.spawn("gateway.upgrade-upstream", async move {
            tokio::select! {
                biased;
                _ = connection.with_upgrades() => {}
                () = cut.cancelled() => {}
            }
        });
        match sender.try_send_request(request).await {
            Ok(response) => Ok(Answer { response, link: None }),
            Err(error) => Err(Failure::Broken { source: error.into_error() }),
        }
    }
}

/// Some programs listen on `::1` alone, because their `localhost` means that; probes take it too.
async fn connect_loopback(addr: SocketAddr) -> io::Result<TcpStream> {
    match TcpStream::connect(addr).await {
        Err(refused)
            if refused.kind() == io::ErrorKind::ConnectionRefused && addr.ip().is_loopback() =>
        {
            let other = SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port()));
            TcpStream::connect(other).await.map_err(|_| refused)
        }
        connected => connected,
    }
}
