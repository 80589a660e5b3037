//! OTLP to a collector: one connection, requests one after another, over HTTP or gRPC.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::{Tasks, clock};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::answer::{self, Verdict};
use crate::otlp::Signal;

const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Of one request, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Less is not worth the work.
const GZIP_BYTES_MIN: usize = 1 << 10;

/// A collector, with all that is secret in place.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    /// `None`: gRPC to port 4317, otherwise HTTP.
    pub grpc: Option<bool>,
    pub headers: Vec<(String, String)>,
    pub ca: Option<std::path::PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Not repeated: it may carry a password.
    #[error("`otlp` is no address of a collector; it is like https://collector:4318")]
    Address,
    #[error("the header `{0}` cannot be sent")]
    Header(String),
    #[error("no certificates to trust: {0}")]
    Trust(String),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

enum Link {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

pub struct Client {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    grpc: bool,
    headers: HeaderMap,
    link: Option<Link>,
    compress: bool,
    tasks: Tasks,
}

impl Client {
    /// # Errors
    /// When the target cannot be one.
    pub fn new(target: &Target, tasks: &Tasks) -> Result<Self, ExportError> {
        let wrong = || ExportError::Address;
        let url: Uri = target.url.parse().map_err(|_| wrong())?;
        let host = url.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let port = url.port_u16();
        let grpc = target.grpc.unwrap_or(port == Some(4317));
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        let mut headers = HeaderMap::new();
        for (name, value) in &target.headers {
            let made = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
            let (Ok(key), Ok(mut value)) = made else {
                return Err(ExportError::Header(name.clone()));
            };
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let tls = secure.then(|| trust(target.ca.as_deref(), grpc)).transpose();
        let tls = tls.map_err(ExportError::Trust)?;
        Ok(Self {
            url,
            host,
            port,
            tls,
            grpc,
            headers,
            link: None,
            compress: true,
            tasks: tasks.clone(),
        })
    }

    /// Uncompressed, for a collector that is near.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.compress = false;
        self
    }

    /// Sends one request. Never fails: what went wrong on the way asks for another try.
    pub async fn send(&mut self, signal: Signal, message: &[u8]) -> Verdict {
        let sent = clock::timeout(TIMEOUT, self.exchange(signal, message)).await;
        match sent {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(why)) => {
                self.link = None;
                Verdict::Again(None, why)
            }
            Err(_) => {
                self.link = None;
                Verdict::Again(None, format!("no answer within {} s", TIMEOUT.as_secs()))
            }
        }
    }

    async fn exchange(&mut self, signal: Signal, message: &[u8]) -> Result<Verdict, String> {
        let (packed, body) = match self.compress && message.len() >= GZIP_BYTES_MIN {
            true => (true, gzip(message).map_err(|error| error.to_string())?),
            false => (false, message.to_vec()),
        };
        let request = self.request(signal, packed, body)?;
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect().await?,
        };
        // An idle connection may have been closed by the other side.
        if link.ready().await.is_err() {
            link = self.connect().await?;
            link.ready().await?;
        }
        let response = match &mut link {
            Link::Http1(link) => link.send_request(request).await,
            Link::Http2(link) => link.send_request(request).await,
        };
        let (head, body) = response.map_err(|error| archipel_rt::chain(&error))?.into_parts();
        let (body, trailers) = read(body).await?;
        self.link = Some(link);
        let status = head.status.as_u16();
        Ok(match self.grpc {
            true => answer::of_grpc(status, trailers.as_ref().unwrap_or(&head.headers), &body),
            false => answer::of_http(status, &head.headers, &body),
        })
    }

    fn request(
        &self,
        signal: Signal,
        packed: bool,
        body: Vec<u8>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let base = self.url.path().trim_end_matches('/');
        let path = format!("{base}{}", signal.path(self.grpc));
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let mut request = Request::post(path.as_str());
        let body = match self.grpc {
            true => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                request = request.uri(format!("{scheme}://{authority}{path}"));
                let mut frame = vec![u8::from(packed)];
                frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
                frame.extend_from_slice(&body);
                frame
            }
            false => {
                request = request.header(header::HOST, authority);
                body
            }
        };
        let mut request =
            request.body(Full::new(body.into())).map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        let kind = if self.grpc { "application/grpc" } else { "application/x-protobuf" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("archipel"));
        if self.grpc {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if packed {
            let name = match self.grpc {
                true => HeaderName::from_static("grpc-encoding"),
                false => header::CONTENT_ENCODING,
            };
            headers.insert(name, HeaderValue::from_static("gzip"));
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Link, String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(|error| format!("no connection: {error}"))?;
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|e| e.to_string())?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
                Box::new(stream.map_err(|error| format!("no TLS: {error}"))?)
            }
        };
        let io = TokioIo::new(stream);
        let broken = |error: hyper::Error| archipel_rt::chain(&error);
        match self.grpc {
            false => {
                let (link, connection) = http1::handshake(io).await.map_err(broken)?;
                self.tasks.spawn("telemetry.export.connection", async { drop(connection.await) });
                Ok(Link::Http1(link))
            }
            true => {
                let tasks = Executor(self.tasks.clone());
                let (link, connection) = http2::handshake(tasks, io).await.map_err(broken)?;
                self.tasks.spawn("telemetry.export.connection", async { drop(connection.await) });
                Ok(Link::Http2(link))
            }
        }
    }
}

impl Link {
    async fn ready(&mut self) -> Result<(), String> {
        let ready = match self {
            Self::Http1(link) => link.ready().await,
            Self::Http2(link) => link.ready().await,
        };
        ready.map_err(|error| archipel_rt::chain(&error))
    }
}

#[derive(Clone)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn_unnamed(async { drop(task.await) });
    }
}

async fn read(body: Incoming) -> Result<(Bytes, Option<HeaderMap>), String> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
    let trailers = body.trailers().cloned();
    Ok((body.to_bytes(), trailers))
}

fn gzip(message: &[u8]) -> std::io::Result<Vec<u8>> {
    let out = Vec::with_capacity(message.len() / 4);
    let mut out = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    out.write_all(message)?;
    out.finish()
}

fn trust(ca: Option<&Path>, grpc: bool) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
            for certificate in read {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        return Err("there are none".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(Arc::new(config))
}
