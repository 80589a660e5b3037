//! The two doors: a Unix socket for the command line, a loopback port for browsers.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use archipel_alert::Alerts;
use archipel_broker::Broker;
use archipel_control::{Control, Secret, StateDir};
use archipel_gateway::Gateway;
use archipel_rt::{CancellationToken, Sender, Tasks};
use archipel_telemetry::export::Exporter;
use archipel_telemetry::{Errors, LogStore, MetricStore, SpanStore};
use archipel_workflow::Engine;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::traffic::Traffic;
use crate::veil::Veils;
use crate::view::Status;
use crate::{About, admin, browser, facts, present, samples};

/// What the console shows and changes.
pub struct Parts {
    pub control: Control,
    pub alerts: Alerts,
    pub gateway: Gateway,
    pub broker: Broker,
    pub engine: Engine,
    pub logs: LogStore,
    pub spans: SpanStore,
    pub exporter: Exporter,
    pub errors: Errors,
    pub metrics: MetricStore,
    /// Where all of it is kept.
    pub state: StateDir,
    pub about: About,
    /// Changes that only the assembly can make.
    pub requests: Sender<Request>,
}

/// What a client may ask of the whole process.
pub enum Request {
    /// Read the manifest again and apply it; answers with its generation.
    Reload {
        only: Vec<String>,
        profile: Option<String>,
        reply: tokio::sync::oneshot::Sender<Result<u64, ReloadProblem>>,
    },
    /// Stop; services too unless `leave`.
    Shutdown { leave: bool },
}

/// Why a manifest was not applied; the running one stays.
#[derive(Debug, Clone)]
pub struct ReloadProblem {
    pub detail: String,
    pub exit: u8,
}

#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("could not open the control socket {}", path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Shared by every connection.
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) status: watch::Receiver<Option<Arc<Status>>>,
    pub(crate) dashboard: Result<DashboardDoor, String>,
    pub(crate) traffic: Traffic,
    pub(crate) veils: Veils,
    pub(crate) stop: CancellationToken,
}

pub(crate) struct DashboardDoor {
    pub(crate) port: u16,
    pub(crate) key: Secret,
}

impl DashboardDoor {
    /// With the key that opens it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/?key={}", self.port, self.key.reveal())
    }
}

/// The admin API and the dashboard, served until its tasks stop.
pub struct Console {
    status: watch::Receiver<Option<Arc<Status>>>,
}

impl Console {
    /// Opens both doors. A dashboard port that is taken is no reason not to start: it is told.
    ///
    /// # Errors
    /// [`ConsoleError::Socket`]: without it nobody could stop what was started.
    pub async fn start(
        parts: Parts,
        socket: PathBuf,
        dashboard_port: u16,
        dashboard_key: Secret,
        tasks: &Tasks,
    ) -> Result<Self, ConsoleError> {
        let listener = open_socket(&socket)
            .map_err(|source| ConsoleError::Socket { path: socket.clone(), source })?;
        let (dashboard, browser) = open_dashboard(dashboard_port, dashboard_key).await;
        let (publish, status) = watch::channel(None);
        let (traffic, sampling) = Traffic::new(parts.gateway.clone(), tasks.stop_token());
        tasks.spawn("console.traffic", sampling);
        let shared = Arc::new(Shared {
            parts,
            status: status.clone(),
            dashboard,
            traffic,
            veils: Veils::default(),
            stop: tasks.stop_token(),
        });
        tasks.spawn("console.status", follow(shared.clone(), publish));
        tasks.spawn("console.samples", samples::run(shared.clone()));
        let state = shared.parts.state.root().to_owned();
        tasks.spawn("console.facts", facts::run(shared.clone(), state));
        tasks.spawn("console.socket", serve_socket(shared.clone(), listener, tasks.clone()));
        if let Some(browser) = browser {
            tasks.spawn("console.dashboard", serve_browser(shared, browser, tasks.clone()));
        }
        Ok(Self { status })
    }

    /// The state as people see it.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Status>>> {
        self.status.clone()
    }
}

/// Replaces a socket that nobody answers on. The supervisor's lock has been taken by now, so
/// nobody else can be serving this application.
fn open_socket(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The directory is private already; between these two lines nobody else can get in.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn open_dashboard(
    port: u16,
    key: Secret,
) -> (Result<DashboardDoor, String>, Option<TcpListener>) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let opened = match TcpListener::bind(address).await {
        Ok(listener) => listener.local_addr().map(|address| (address.port(), listener)),
        Err(error) => Err(error),
    };
    match opened {
        Ok((port, listener)) => (Ok(DashboardDoor { port, key }), Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder =
                archipel_rt::blocking(move || archipel_supervisor::port_holder(port)).await;
            let holder = holder.map_or("another process".to_owned(), |holder| holder.to_string());
            let text = format!(
                "the dashboard's port {port} is held by {holder}; choose another with --dashboard-port"
            );
            (Err(text), None)
        }
        Err(error) => (Err(format!("could not open the dashboard's port {port}: {error}")), None),
    }
}

/// Keeps the status as people see it: at every change, and once a second for what has no event
/// of its own (memory, requests in flight).
async fn follow(shared: Arc<Shared>, publish: watch::Sender<Option<Arc<Status>>>) {
    let mut snapshots = shared.parts.control.watch();
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        let latest = snapshots.borrow_and_update().clone();
        if let Some(snapshot) = latest {
            let dashboard = shared.dashboard.as_ref().ok();
            let address = dashboard.map(|door| format!("http://127.0.0.1:{}", door.port));
            let mut status =
                present::status(&snapshot, &shared.parts.about, &shared.parts.gateway, address);
            if let Err(problem) = &shared.dashboard {
                status.problems.push(problem.clone());
            }
            publish.send_if_modified(|current| {
                let changed = current.as_deref() != Some(&status);
                if changed {
                    *current = Some(Arc::new(status));
                }
                changed
            });
        }
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            changed = snapshots.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
    }
}

async fn serve_socket(shared: Arc<Shared>, listener: UnixListener, tasks: Tasks) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            breathe().await;
            continue;
        };
        let shared = shared.clone();
        tasks.spawn("console.connection", async move {
            let stop = shared.stop.clone();
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(admin::answer(&shared, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            finish(connection, &stop).await;
        });
    }
}

async fn serve_browser(shared: Arc<Shared>, listener: TcpListener, tasks: Tasks) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            breathe().await;
            continue;
        };
        let shared = shared.clone();
        tasks.spawn("console.browser", async move {
            let stop = shared.stop.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(browser::answer(&shared, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            finish(connection, &stop).await;
        });
    }
}

/// Out of descriptors, most likely: trying again at once would only burn the processor.
async fn breathe() {
    archipel_rt::clock::sleep(std::time::Duration::from_millis(100)).await;
}

/// Streams that follow something end with us.
async fn finish(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    stop: &CancellationToken,
) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a client of the console went away");
        }
    }
}
