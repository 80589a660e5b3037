//! Talks to a running Archipel over its control socket.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use archipel_console::view::Problem;
use archipel_control::StateDir;

use crate::exit::{self, Failure};

/// A connection is made for each question: they are few, and the socket is local.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
    /// The state directory: tells what a killed Archipel has left.
    state: PathBuf,
}

impl Client {
    pub(crate) fn new(state: &StateDir) -> Self {
        Self { socket: state.socket(), state: state.root().to_owned() }
    }

    /// Whether somebody answers there. A connection alone proves nothing: the socket of a process
    /// that is being killed takes them until its last moment.
    pub(crate) async fn is_running(&self) -> bool {
        self.send(Method::GET, "/v1/dashboard", Bytes::new()).await.is_ok()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        decode(response).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, Failure> {
        let response = self.send(Method::POST, path, body.to_string().into()).await?;
        decode(response).await
    }

    /// Reads one JSON document a line until the other side ends or `each` says `false`.
    pub(crate) async fn stream<T: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(T) -> bool,
    ) -> Result<(), Failure> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        let mut body = refuse_problem(response).await?.into_body();
        let mut buffer = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&self.socket, &error))?;
            let Ok(data) = frame.into_data() else { continue };
            buffer.extend_from_slice(&data);
            let mut start = 0;
            while let Some(end) = buffer[start..].iter().position(|byte| *byte == b'\n') {
                let line = &buffer[start..start + end];
                start += end + 1;
                if line.is_empty() {
                    continue; // keep-alive
                }
                if !each(serde_json::from_slice(line)?) {
                    return Ok(());
                }
            }
            buffer.drain(..start);
        }
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.not_running(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the response has been read or the sender is dropped.
        #[expect(clippy::disallowed_methods, reason = "ends with the connection it drives")]
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "archipel")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        sender.send_request(request).await.map_err(|error| broken(&self.socket, &error))
    }

    fn not_running(&self, error: &std::io::Error) -> Failure {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        match error.kind() {
            NotFound | ConnectionRefused => match archipel_supervisor::survivors(&self.state) {
                0 => Failure::new(exit::NOT_RUNNING, "this application is not running")
                    .help("start it with `archipel up`"),
                left => Failure::new(
                    exit::NOT_RUNNING,
                    format!(
                        "Archipel is not running, but {} of this application still {}",
                        if left == 1 {
                            "1 service process".into()
                        } else {
                            format!("{left} service processes")
                        },
                        if left == 1 { "lives" } else { "live" }
                    ),
                )
                .help("`archipel up` takes over what lives, `archipel down` ends it"),
            },
            PermissionDenied => Failure::new(
                exit::NOT_RUNNING,
                format!(
                    "this application runs as another user ({} is theirs)",
                    self.socket.display()
                ),
            ),
            _ => Failure::unexpected(error),
        }
    }
}

async fn decode<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    let response = refuse_problem(response).await?;
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&bytes)?)
}

async fn refuse_problem(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    Err(match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Failure::new(problem.exit.unwrap_or(exit::UNEXPECTED), problem.detail),
        Err(_) => Failure::new(exit::UNEXPECTED, unreadable(status, &bytes)),
    })
}

fn unreadable(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    format!("the running Archipel answered {status}: {}", text.trim())
}

fn broken(socket: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new(
        exit::UNEXPECTED,
        format!("the connection to {} broke: {}", socket.display(), archipel_rt::chain(error)),
    )
}
