//! The few requests that ACME needs, each on a connection of its own: they come every few weeks.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use archipel_rt::clock;
use bytes::Bytes;
use futures_util::future::join;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::TlsFault;
use super::outbound::Outbound;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;

type Tls = dyn Fn(&str) -> Result<Outbound, TlsFault> + Send + Sync;

pub(super) struct Http {
    tls: Arc<Tls>,
}

impl Http {
    /// `tls`: how to speak to a host.
    pub(super) fn new(tls: Arc<Tls>) -> Self {
        Self { tls }
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let sent = clock::timeout(ANSWER_WITHIN, send(request, &*tls)).await;
            let slow = || {
                let within = archipel_model::show_duration(ANSWER_WITHIN);
                Err(format!("no answer within {within}").into())
            };
            sent.unwrap_or_else(|_| slow()).map(BytesResponse::from).map_err(Error::Other)
        })
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn send(
    mut request: Request<BodyWrapper<Bytes>>,
    tls: &Tls,
) -> Result<Response<Full<Bytes>>, Failed> {
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or("the URL has no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
    *request.uri_mut() = Uri::try_from(path)?;
    if uri.scheme_str() == Some("http") {
        let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
        return exchange(tcp, request).await;
    }
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    exchange(tls(host)?.connect(tcp).await?, request).await
}

async fn exchange<S>(
    stream: S,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asking = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(head, Full::new(body)))
    };
    // With the sender gone the connection ends too.
    join(asking, connection).await.0
}
