//! The first bytes of a connection on a door with TLS.

use std::io;
use std::sync::Arc;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::acme::ALPN_CHALLENGE;
use super::client_certificate;
use super::door::TlsDoor;

/// The first byte of every TLS connection: a record of the kind "handshake".
const TLS_HANDSHAKE: u8 = 0x16;

/// What the handshake told us.
#[derive(Debug, Clone)]
pub(crate) struct Secure {
    /// `x-forwarded-client-cert`, when the client showed a certificate.
    pub(crate) client: Option<HeaderValue>,
    /// `strict-transport-security`, when it is to be said.
    pub(crate) hsts: Option<HeaderValue>,
}

pub(crate) enum Hello {
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        is_http2: bool,
        secure: Secure,
    },
    /// Plain HTTP on a port for TLS: a person typed the address without `https`.
    Plain(TcpStream),
    /// The client had another purpose than HTTP, or none.
    Over,
}

/// Waits for the client's first bytes and answers them. No limit of its own: the caller has one.
pub(crate) async fn handshake(tcp: TcpStream, tls: &TlsDoor) -> io::Result<Hello> {
    let mut first = [0_u8];
    if tcp.peek(&mut first).await? == 0 {
        return Ok(Hello::Over);
    }
    if first[0] != TLS_HANDSHAKE {
        return Ok(Hello::Plain(tcp));
    }
    let hello = LazyConfigAcceptor::new(Default::default(), tcp).await?;
    let config = Arc::clone(tls.configs.load().of(&hello.client_hello()));
    let stream = hello.into_stream(config).await?;
    let (_, session) = stream.get_ref();
    let is_http2 = match session.alpn_protocol() {
        Some(protocol) if protocol == ALPN_CHALLENGE => return Ok(Hello::Over),
        protocol => protocol == Some(b"h2"),
    };
    let client = session.peer_certificates().and_then(<[_]>::first);
    let secure =
        Secure { client: client.and_then(client_certificate::header), hsts: tls.hsts.clone() };
    Ok(Hello::Tls { stream: Box::new(stream), is_http2, secure })
}
