//! One request, one connection: what messages and checks need, and how long it took.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use archipel_rt::clock;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Of an answer; more is not looked at.
const BODY_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("`{0}` is no address to ask")]
    Address(String),
    #[error("no connection to {to}: {why}")]
    Connect { to: String, why: String },
    #[error("no TLS with {to}: {why}")]
    Tls { to: String, why: String },
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
    /// Where to connect instead of where the name leads: our own door, whose certificate may be
    /// vouched for by nobody but us.
    pub(crate) own_door: Option<SocketAddr>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Until the end of the body, or of what is looked at.
    pub(crate) took: Duration,
    pub(crate) certificate_ends_ms: Option<u64>,
}

impl Answer {
    /// What the other side asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(crate) async fn ask(ask: &Ask) -> Result<Answer, ClientError> {
    let late = || ClientError::Late(ask.timeout);
    clock::timeout(ask.timeout, send(ask)).await.map_err(|_| late())?
}

async fn send(ask: &Ask) -> Result<Answer, ClientError> {
    let began = clock::now();
    let wrong = || ClientError::Address(ask.url.to_string());
    let host = ask.url.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
    let tls = match ask.url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(wrong()),
    };
    let port = ask.url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let tcp = connect(&host, port, ask.own_door).await?;
    let _ = tcp.set_nodelay(true);
    let (stream, certificate_ends_ms): (Box<dyn Stream>, _) = match tls {
        false => (Box::new(tcp), None),
        true => {
            let (stream, ends) = handshake(tcp, &host, ask.own_door.is_some()).await?;
            (Box::new(stream), ends)
        }
    };
    let broken = |error: hyper::Error| ClientError::Broken(archipel_rt::chain(&error));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let path = ask.url.path_and_query().map_or("/", |path| path.as_str());
    let authority = ask.url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut request = Request::builder().method(&ask.method).uri(path);
    if !ask.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, authority);
    }
    request = request.header(header::CONNECTION, "close");
    for (name, value) in &ask.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let request = request.body(Full::new(ask.body.clone())).map_err(|_| wrong())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, mut body) = response.into_parts();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            read.extend_from_slice(&data[..data.len().min(BODY_BYTES_MAX - read.len())]);
            if read.len() == BODY_BYTES_MAX {
                break;
            }
        }
        Ok::<_, ClientError>((head, Bytes::from(read)))
    };
    tokio::pin!(connection, exchange);
    let (head, body) = tokio::select! {
        biased;
        done = &mut exchange => done?,
        // The connection is driven here, so that no task outlives the request.
        _ = &mut connection => exchange.await?,
    };
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
        took: clock::now() - began,
        certificate_ends_ms,
    })
}

pub(crate) async fn connect(
    host: &str,
    port: u16,
    own_door: Option<SocketAddr>,
) -> Result<TcpStream, ClientError> {
    let connected = match own_door {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect((host, port)).await,
    };
    let to = own_door.map_or_else(|| format!("{host}:{port}"), |address| address.to_string());
    connected.map_err(|error| ClientError::Connect { to, why: error.to_string() })
}

/// Also says when the certificate ends.
pub(crate) async fn handshake(
    tcp: TcpStream,
    host: &str,
    own_door: bool,
) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, Option<u64>), ClientError> {
    let config = config(own_door).map_err(|why| ClientError::Tls { to: host.to_owned(), why })?;
    handshake_with(config, tcp, host).await
}

/// The same, trusting whom `config` trusts.
pub(crate) async fn handshake_with(
    config: Arc<ClientConfig>,
    tcp: TcpStream,
    host: &str,
) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, Option<u64>), ClientError> {
    let fail = |why: String| ClientError::Tls { to: host.to_owned(), why };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| fail(error.to_string()))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await;
    let stream = stream.map_err(|error| fail(error.to_string()))?;
    let ends = stream.get_ref().1.peer_certificates().and_then(|all| ends_ms(all.first()?));
    Ok((stream, ends))
}

fn ends_ms(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok().map(|seconds| seconds * 1_000)
}

pub(crate) fn config(own_door: bool) -> Result<Arc<ClientConfig>, String> {
    static OWN: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    static OTHERS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let known = if own_door { &OWN } else { &OTHERS };
    if let Some(config) = known.get() {
        return Ok(Arc::clone(config));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = if own_door {
        let anybody = Arc::new(Anybody(provider));
        builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("this system trusts nobody: no certificates of authorities".to_owned());
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::clone(known.get_or_init(|| Arc::new(config))))
}

/// Takes whatever certificate our own door shows: what matters there is until when it is good.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
