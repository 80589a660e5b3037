//! One listening socket: accepts, does the TLS handshake, tells HTTP/1 from HTTP/2, and serves
//! until told to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use archipel_rt::{CancellationToken, clock};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::Body;
use crate::entry::aside::Aside;
use crate::entry::entrance::{self, WayIn};
use crate::entry::redirect;
use crate::entry::stall::{self, Handed};
use crate::entry::watch::{Verdict, watch};
use crate::entry::wire::{Client, Marks, Stream};
use crate::message::headers;
use crate::shared::Shared;
use crate::tls::{Hello, Secure, TlsDoor, handshake};

/// RFC 9113, section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An open listener.
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    pub(crate) way_in: ArcSwap<WayIn>,
    /// `None`: plain HTTP.
    pub(crate) tls: ArcSwapOption<TlsDoor>,
    /// Not 0: everybody is sent on to this port, over TLS.
    pub(crate) moved_to: AtomicU16,
    /// Cancelled: no more connections, and those that are open finish what they have.
    pub(crate) close: CancellationToken,
    /// Cancelled when the socket is closed, so that the address can be bound again.
    pub(crate) closed: CancellationToken,
    pub(crate) shared: Arc<Shared>,
}

/// One client's connection.
pub(crate) struct Conn {
    pub(crate) door: Arc<Door>,
    /// The client's address, as the public entrance passes it on.
    pub(crate) peer: HeaderValue,
    /// What the TLS handshake told; `None` without one.
    pub(crate) secure: Option<Secure>,
    /// Plain HTTP where TLS is expected: each request is sent on to this port.
    moved_to: Option<u16>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) addr: std::net::IpAddr,
    /// Of a client outside on HTTP/2, whose streams may stall one by one.
    pub(super) handed: Option<Handed>,
    pub(super) inflight: AtomicU32,
    pub(super) requests: AtomicU32,
}

impl Conn {
    /// For a body that has to be closed with care when it is given up; see [`Marks`].
    pub(crate) fn marks_for(&self, version: Version) -> Option<Arc<Marks>> {
        (version != Version::HTTP_2).then(|| Arc::clone(&self.marks))
    }

    /// The client may go on sending a body that nobody reads.
    pub(crate) fn gives_up_body(&self, version: Version) {
        if version != Version::HTTP_2 {
            self.marks.unread.store(true, Relaxed);
        }
    }
}

/// Held while a request of the connection is under way.
pub(crate) struct Busy {
    conn: Arc<Conn>,
    /// The last piece of its answer, until the client takes it.
    piece: Option<stall::Turn>,
}

impl Busy {
    pub(crate) fn new(conn: Arc<Conn>) -> Self {
        conn.inflight.fetch_add(1, Relaxed);
        conn.requests.fetch_add(1, Relaxed);
        Self { conn, piece: None }
    }

    /// A piece of the answer goes out.
    pub(crate) fn hand(&mut self) {
        self.piece = self.conn.handed.as_ref().map(Handed::hand);
    }

    /// The client has taken it.
    pub(crate) fn taken(&mut self) {
        if let (Some(handed), Some(piece)) = (&self.conn.handed, self.piece.take()) {
            handed.taken(piece);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.taken();
        self.conn.inflight.fetch_sub(1, Relaxed);
    }
}

impl Door {
    /// Binds and begins to accept.
    pub(crate) fn open(
        addr: SocketAddr,
        way_in: Arc<WayIn>,
        tls: Option<Arc<TlsDoor>>,
        moved_to: u16,
        shared: Arc<Shared>,
    ) -> std::io::Result<Arc<Self>> {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Without it a restart would wait for old connections in TIME_WAIT to expire.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(1024)?;
        let door = Arc::new(Self {
            addr: listener.local_addr()?,
            way_in: ArcSwap::new(way_in),
            tls: ArcSwapOption::new(tls),
            moved_to: AtomicU16::new(moved_to),
            close: shared.tasks.stop_token().child_token(),
            closed: CancellationToken::new(),
            shared,
        });
        let accepting = Arc::clone(&door);
        door.shared.tasks.spawn("gateway.listener", async move {
            let closed = accepting.closed.clone().drop_guard();
            accept(listener, accepting).await;
            drop(closed);
        });
        Ok(door)
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.close.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_of_one_connection(&error) {
                    // Out of descriptors or memory: trying again at once would only burn CPU.
                    tracing::warn!(addr = %door.addr, %error, "could not accept a connection");
                    clock::sleep(Duration::from_millis(50)).await;
                }
                continue;
            }
        };
        let Some(seat) = door.way_in.load().seat(&door.shared, peer.ip()) else { continue };
        // The one that is one too many waits here, the rest in the kernel's queue.
        let room = tokio::select! {
            biased;
            () = door.close.cancelled() => return,
            room = Arc::clone(&door.shared.connections).acquire_owned() => room,
        };
        let of = Arc::clone(&door);
        door.shared.cores.serve(&door.shared.tasks, stream, move |stream| async move {
            serve(stream, peer, of).await;
            drop((room, seat));
        });
    }
}

/// The client gave up before we came to it; the listener is fine.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused)
}

async fn serve(stream: TcpStream, peer: SocketAddr, door: Arc<Door>) {
    // Refused only by a socket that is broken already; the first read will tell.
    let _ = stream.set_nodelay(true);
    let closing = door.close.clone();
    let opened = tokio::select! {
        biased;
        opened = open(stream, &door) => opened,
        () = closing.cancelled() => return,
    };
    let Some(Opened { stream, first, is_http2, secure, moved_to }) = opened else { return };
    let conn = Arc::new(Conn {
        peer: headers::peer_value(peer.ip()),
        addr: peer.ip().to_canonical(),
        secure,
        moved_to,
        marks: Arc::default(),
        handed: (is_http2 && door.way_in.load().is_public()).then(Handed::default),
        inflight: AtomicU32::new(0),
        requests: AtomicU32::new(0),
        door,
    });
    let io = TokioIo::new(Client::new(stream, first, Arc::clone(&conn.marks)));
    let service = {
        let conn = Arc::clone(&conn);
        service_fn(move |request: Request<Incoming>| handle(Arc::clone(&conn), request))
    };
    let shared = &conn.door.shared;
    let heads = conn.door.way_in.load().heads(&shared.limits);
    if is_http2 {
        let connection = shared
            .http2_server()
            .max_header_list_size(heads.bytes_max)
            .serve_connection(io, service);
        drive(connection, http2::Connection::graceful_shutdown, &conn, true).await;
    } else {
        let mut builder = http1::Builder::new();
        if let Some(max) = heads.lines_max {
            builder.max_headers(max);
        }
        let connection = builder
            // Ours costs nothing per request; see `watch`.
            .header_read_timeout(None)
            .max_header_size(heads.bytes_max as usize)
            .serve_connection(io, service)
            .with_upgrades();
        drive(connection, http1::UpgradeableConnection::graceful_shutdown, &conn, false).await;
    }
}

/// A connection of which the protocol is known.
struct Opened {
    stream: Stream,
    first: Bytes,
    is_http2: bool,
    secure: Option<Secure>,
    moved_to: Option<u16>,
}

/// `None`: the client had nothing to say, took too long, or is not one of ours.
async fn open(stream: TcpStream, door: &Door) -> Option<Opened> {
    let limits = &door.shared.limits;
    let tls = door.tls.load_full();
    let Some(tls) = tls else {
        let port = Some(door.moved_to.load(Relaxed)).filter(|port| *port != 0);
        return clock::timeout(limits.head_timeout, sniff(stream, port)).await.ok()?.ok()?;
    };
    let _one_of_a_bounded_number = door.shared.handshakes.try_acquire().ok()?;
    match clock::timeout(limits.handshake_timeout, handshake(stream, &tls)).await.ok()?.ok()? {
        Hello::Tls { stream, is_http2, secure } => Some(Opened {
            stream: Stream::Tls(Box::new((*stream).into())),
            first: Bytes::new(),
            is_http2,
            secure: Some(secure),
            moved_to: None,
        }),
        Hello::Plain(stream) => {
            let here = Some(door.addr.port());
            clock::timeout(limits.head_timeout, sniff(stream, here)).await.ok()?.ok()?
        }
        Hello::Over => None,
    }
}

async fn handle(conn: Arc<Conn>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if let Some(port) = conn.moved_to {
        let _busy = Busy::new(Arc::clone(&conn));
        return Ok(redirect::answer(&conn.door.shared, &request, port));
    }
    let hsts = conn.secure.as_ref().and_then(|secure| secure.hsts.clone());
    let Some(hsts) = hsts else { return Ok(entrance::enter(conn, request).await) };
    let mut response = entrance::enter(conn, request).await;
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    Ok(response)
}

/// Reads as much as tells the protocols apart.
async fn sniff(mut stream: TcpStream, moved_to: Option<u16>) -> std::io::Result<Option<Opened>> {
    let mut first = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut first).await? == 0 {
            return Ok(None);
        }
        let known = first.len().min(HTTP2_PREFACE.len());
        let is_http2 = first[..known] == HTTP2_PREFACE[..known];
        if !is_http2 || known == HTTP2_PREFACE.len() {
            let (stream, first) = (Stream::Plain(stream), first.freeze());
            return Ok(Some(Opened { stream, first, is_http2, secure: None, moved_to }));
        }
    }
}

/// Runs a connection to its end: its own, the client's silence, or the door's closing.
async fn drive<C>(connection: C, finish: fn(std::pin::Pin<&mut C>), conn: &Conn, is_http2: bool)
where
    C: Future<Output = hyper::Result<()>>,
{
    let shared = &conn.door.shared;
    let mut connection = pin!(connection);
    {
        let mut watch = pin!(watch(conn, is_http2));
        tokio::select! {
            biased;
            // How it ended is the client's business; what it cost stands in the flights.
            _ = connection.as_mut() => return,
            verdict = Aside::new(watch.as_mut()) => if verdict == Verdict::Stalled { return },
        }
    }
    finish(connection.as_mut());
    tokio::select! {
        biased;
        _ = connection => {}
        () = shared.cut.cancelled() => {}
        () = clock::sleep(shared.limits.close_grace) => {}
    }
}
