//! Puts one question to one instance.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use archipel_model::{Check, Command};
use archipel_rt::clock::{self, Instant};
use archipel_rt::{Tasks, blocking};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Subject, grpc};
use crate::holder::ports_of;
use crate::spawn::{Job, no_input};
use crate::tree::{MARK, Tree};

/// How services tell a probe from a visitor, in their logs and metrics.
const USER_AGENT: &str = "archipel-probe";
/// As much of a body as helps to understand a refusal.
const DETAIL_BYTES_MAX: usize = 200;
const BODY_BYTES_MAX: usize = 64 << 10;
/// What counts as having started when there is nothing to ask.
const ALIVE_FOR: Duration = Duration::from_millis(500);

/// Asks one instance, remembering at which of the two loopback addresses it answers.
pub(crate) struct Asker {
    subject: Subject,
    v6: bool,
    token: Option<http::HeaderValue>,
    refused: Option<Refused>,
}

/// Nobody answers on the port: when to look for another one, and what the last look found.
struct Refused {
    look_at: Instant,
    elsewhere: BTreeSet<u16>,
}

/// A program may take a while to listen at all; only then is it worth asking where it does.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// A look reads a part of `/proc`.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What was found, for people: `Ok` is a pass.
type Answer = Result<String, String>;

impl Asker {
    pub(crate) fn new(subject: Subject) -> Self {
        // Services written for Dapr answer only who knows this token.
        let token = subject.env.get("APP_API_TOKEN").and_then(|token| {
            let mut value = http::HeaderValue::from_str(token).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self { subject, v6: false, token, refused: None }
    }

    pub(crate) async fn ask(&mut self, check: &Check) -> Answer {
        match check {
            Check::Log { .. } => {
                let seen = self.subject.pattern_seen.wait_for(|seen| *seen).await;
                seen.map(|_| "the line was printed".to_owned()).map_err(|_| "no output".to_owned())
            }
            Check::Notify => match &mut self.subject.notify {
                Some(socket) => socket.ready().await.map(|()| "READY=1 received".to_owned()),
                None => Err("the notify socket is gone".to_owned()),
            },
            Check::Exec(command) => self.exec(command).await,
            Check::Tcp | Check::Http { .. } | Check::Grpc => {
                let Some(port) = self.subject.port else {
                    clock::sleep(ALIVE_FOR).await;
                    return Ok("it runs (no port to ask)".to_owned());
                };
                let stream = self.connect(port).await?;
                match check {
                    Check::Http { path } => self.http(stream, path).await,
                    Check::Grpc => self.grpc(stream).await,
                    _ => Ok("accepts connections".to_owned()),
                }
            }
        }
    }

    async fn connect(&mut self, port: u16) -> Result<TcpStream, String> {
        let mut refused = String::new();
        for v6 in [self.v6, !self.v6] {
            let ip: IpAddr =
                if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            match TcpStream::connect(SocketAddr::new(ip, port)).await {
                Ok(stream) => {
                    self.v6 = v6;
                    self.refused = None;
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) if refused.is_empty() => {
                    refused = if error.kind() == std::io::ErrorKind::ConnectionRefused {
                        let elsewhere = self.elsewhere().await;
                        format!("nothing listens on port {port} yet{elsewhere}")
                    } else {
                        format!("port {port}: {error}")
                    };
                }
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// Where it listens instead, when it has had the time to.
    async fn elsewhere(&mut self) -> String {
        let now = clock::now();
        let fresh = Refused { look_at: now + LOOK_AFTER, elsewhere: BTreeSet::new() };
        let refused = self.refused.get_or_insert(fresh);
        if refused.look_at <= now {
            refused.look_at = now + LOOK_EVERY;
            let (leaf, mark) = (self.subject.leaf.clone(), self.subject.mark.clone());
            refused.elsewhere = blocking(move || ports_of(&Tree { leaf, mark }.pids())).await;
        }
        let ports: Vec<String> = refused.elsewhere.iter().map(u16::to_string).collect();
        match ports.as_slice() {
            [] => String::new(),
            [port] => format!("; it listens on port {port} instead: does it read PORT?"),
            ports => {
                format!("; it listens on ports {} instead: does it read PORT?", ports.join(", "))
            }
        }
    }

    async fn http(&self, stream: TcpStream, path: &str) -> Answer {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header("dapr-api-token", token);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| show(&error))?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(|error| show(&error))?;
            let status = response.status();
            if status.is_success() || status.is_redirection() {
                return Ok(format!("HTTP {}", status.as_u16()));
            }
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            Err(format!("HTTP {}{}", status.as_u16(), excerpt(&body)))
        };
        drive(connection, exchange).await
    }

    async fn grpc(&self, stream: TcpStream) -> Answer {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("http://localhost/grpc.health.v1.Health/Check")
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers");
        if let Some(token) = &self.token {
            request = request.header("dapr-api-token", token);
        }
        let request = request
            .body(Full::new(Bytes::from_static(grpc::REQUEST)))
            .map_err(|error| error.to_string())?;
        let executor = OnTasks(self.subject.tasks.clone());
        let (mut sender, connection) =
            http2::handshake(executor, TokioIo::new(stream)).await.map_err(|error| show(&error))?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(|error| show(&error))?;
            let status = response.status();
            if !status.is_success() {
                return Err(format!("HTTP {}", status.as_u16()));
            }
            let header = grpc_status(response.headers());
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            let code = header.or_else(|| body.trailers().and_then(grpc_status));
            match code.as_deref() {
                None | Some("0") => {}
                Some("12") => return Err("it has no health service (UNIMPLEMENTED)".to_owned()),
                Some(code) => return Err(format!("gRPC status {code}")),
            }
            match grpc::parse(&body.to_bytes()) {
                Ok(1) => Ok(grpc::name(1).to_owned()),
                Ok(status) => Err(grpc::name(status).to_owned()),
                Err(what) => Err(what.to_owned()),
            }
        };
        drive(connection, exchange).await
    }

    /// Runs a command as the service would, in its group, so that it ends with it.
    async fn exec(&self, command: &Command) -> Answer {
        let subject = &self.subject;
        let (spawner, leaf) = (subject.spawner.clone(), subject.leaf.clone());
        let (env, cwd) = (subject.env.clone(), subject.cwd.clone());
        let (isolation, mark) = (subject.isolation.clone(), subject.mark.clone());
        let argv = command.expand(|name| env.get(name).cloned());
        let started = blocking(move || {
            let system = |error: std::io::Error| error.to_string();
            let memory = rustix::fs::MemfdFlags::CLOEXEC;
            let output = rustix::fs::memfd_create("archipel-probe", memory)
                .map(File::from)
                .map_err(|error| error.to_string())?;
            let job = Job {
                argv: &argv,
                cwd: &cwd,
                env: &env,
                extra_env: &[(MARK, mark)],
                stdin: no_input().map_err(system)?,
                stdout: output.try_clone().map_err(system)?.into(),
                stderr: output.try_clone().map_err(system)?.into(),
                leaf: &leaf,
                isolation: &isolation,
                session: true,
                die_with_us: true,
            };
            let process = spawner.spawn(job).map_err(|error| error.to_string())?;
            Ok::<_, String>((process, output))
        });
        let (process, mut output) = started.await?;
        // Asked too long: the caller drops this future, and the command must not go on.
        let killer = KillOnDrop(Some(process.clone()));
        let exit = process.exited().await;
        killer.disarm();
        if exit.is_success() {
            return Ok("exit 0".to_owned());
        }
        let mut text = Vec::new();
        let _ = output.rewind();
        let _ = output.take(BODY_BYTES_MAX as u64).read_to_end(&mut text);
        Err(format!("{exit}{}", excerpt(&text)))
    }
}

struct KillOnDrop(Option<crate::process::Process>);

impl KillOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            process.kill();
        }
    }
}

/// Lets hyper's connection do its work while one exchange is under way.
async fn drive<C, E>(connection: C, exchange: E) -> Answer
where
    C: Future<Output = hyper::Result<()>>,
    E: Future<Output = Answer>,
{
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        result = connection => match result {
            // It is done with the connection; the answer may have arrived with its end.
            Ok(()) => exchange.await,
            Err(error) => Err(show(&error)),
        },
    }
}

/// hyper keeps the reason one layer down.
fn show(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<String> {
    headers.get("grpc-status")?.to_str().ok().map(str::to_owned)
}

/// `: <the beginning of the text, on one line>`, or nothing.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(DETAIL_BYTES_MAX)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() { String::new() } else { format!(": {}", words.join(" ")) }
}

/// Gives hyper's HTTP/2 a place for its own task.
#[derive(Clone)]
struct OnTasks(Tasks);

impl<F> hyper::rt::Executor<F> for OnTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn("supervisor.probe.http2", async move {
            let _ = future.await;
        });
    }
}
