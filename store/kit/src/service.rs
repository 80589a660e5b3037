//! A service: its database, its routes, its inbox and its background tasks, on one port.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::db::{Db, Tx};
use crate::env::{Env, StartError};
use crate::inbox::{self, Event, Handler, Verdict};
use crate::input::{Input, UrlQuery};
use crate::log;
use crate::outbox;
use crate::problem::Problem;
use crate::server::{self, Around};
use crate::stop::Stop;

/// What is running may take this long to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// A service being put together, then running.
pub struct Service {
    name: &'static str,
    version: &'static str,
    env: Env,
    db: Option<Db>,
    inbox: Option<Handler>,
    routes: Router,
    stop: Stop,
    tasks: JoinSet<&'static str>,
}

impl Service {
    pub fn new(name: &'static str, version: &'static str, env: Env) -> Self {
        let (stop, tasks) = (Stop::default(), JoinSet::new());
        Self { name, version, env, db: None, inbox: None, routes: Router::new(), stop, tasks }
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Fires when the service is asked to stop; for streams that would otherwise not end.
    pub fn stop_signal(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves the outbox of this database and asks it for `/readyz`.
    #[must_use]
    pub fn database(mut self, db: &Db) -> Self {
        self.db = Some(db.clone());
        self
    }

    /// Takes events. The handler runs in the transaction that marks the event as received.
    #[must_use]
    pub fn inbox<F>(mut self, handler: F) -> Self
    where
        F: Fn(&Tx<'_>, &Event) -> Result<Verdict, Problem> + Send + Sync + 'static,
    {
        self.inbox = Some(Arc::new(handler));
        self
    }

    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Runs `task` for as long as the service runs. It must watch the [`Stop`] it is given. A
    /// task that ends before, or panics, brings the service down: half a service helps nobody.
    #[must_use]
    pub fn task<F, T>(mut self, name: &'static str, task: T) -> Self
    where
        T: FnOnce(Stop) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let work = task(self.stop.clone());
        self.tasks.spawn(async move {
            work.await;
            name
        });
        self
    }

    /// Starts to listen and to serve.
    pub async fn start(mut self) -> Result<Running, StartError> {
        let address = self.env.listen()?;
        let listening = TcpListener::bind(address).await.and_then(|l| Ok((l.local_addr()?, l)));
        let (address, listener) = listening.map_err(|why| StartError::Listen { address, why })?;
        if let Some(db) = self.db.clone() {
            self = self.task("housekeeping", |stop| housekeeping(db, stop));
        }
        let app = self.app();
        let Self { name, stop, mut tasks, .. } = self;
        let listener = listener.tap_io(|io| {
            // Answers are small and written whole; waiting to fill a packet would only delay them.
            let _ = io.set_nodelay(true);
        });
        let told = stop.clone();
        tasks.spawn(async move {
            let server = axum::serve(listener, app)
                .with_graceful_shutdown(async move { told.stopped().await });
            if let Err(error) = server.await {
                tracing::error!(%error, "the server failed");
            }
            "server"
        });
        tracing::info!(addr = %address, service = name, "listening");
        Ok(Running { address, stop, tasks })
    }

    fn app(&mut self) -> Router {
        let platform = Platform {
            info: json!({
                "name": self.name,
                "version": self.version,
                "schema_version": self.db.as_ref().map_or(0, Db::schema_version),
            }),
            source: format!("/store/{}", self.name),
            db: self.db.clone(),
            inbox: self.inbox.clone(),
            stop: self.stop.clone(),
        };
        let mut of_platform = Router::new().route("/_archipel/info", get(info));
        if self.db.is_some() {
            of_platform = of_platform.route("/_archipel/outbox", get(read_outbox));
        }
        if self.inbox.is_some() {
            of_platform = of_platform.route("/_archipel/events", post(receive));
        }
        let token: Option<Arc<str>> = self.env.get("APP_API_TOKEN").map(Arc::from);
        let of_platform = of_platform
            .layer(from_fn_with_state(token, server::platform_only))
            .layer(map_response(|response| async { server::no_store(response) }));
        Router::new()
            .route("/healthz", get(|| async { axum::Json(json!({"status": "ok"})) }))
            .route("/readyz", get(ready))
            .merge(of_platform)
            .with_state(Arc::new(platform))
            .merge(std::mem::take(&mut self.routes))
            .fallback(server::no_such_route)
            .method_not_allowed_fallback(server::no_such_method)
            .layer(DefaultBodyLimit::max(server::BODY_BYTES_MAX))
            .layer(from_fn_with_state(Around::default(), server::around))
    }
}

/// A service that listens.
pub struct Running {
    pub address: SocketAddr,
    pub stop: Stop,
    tasks: JoinSet<&'static str>,
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the service was stopped and everything in it has finished, at most for the
    /// grace period. `false`: a part of it failed.
    pub async fn stopped(mut self) -> bool {
        let mut good = true;
        loop {
            tokio::select! {
                biased;
                () = self.stop.stopped() => break,
                ended = self.tasks.join_next() => {
                    good = false;
                    match ended {
                        Some(Ok(task)) => tracing::error!(task, "a part of the service ended by itself; stopping"),
                        Some(Err(error)) => tracing::error!(%error, "a part of the service failed; stopping"),
                        None => {}
                    }
                    self.stop.stop();
                }
            }
        }
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            tracing::warn!(seconds = GRACE.as_secs(), "not finished in time; leaving");
        }
        good
    }

    /// Stops it and waits.
    pub async fn shut_down(self) -> bool {
        self.stop.stop();
        self.stopped().await
    }
}

/// The whole life of a service: log, environment, run until SIGTERM or SIGINT. `build` puts the
/// service together.
pub fn run<F, B>(build: B) -> ExitCode
where
    B: FnOnce(Env) -> F,
    F: Future<Output = Result<Service, StartError>>,
{
    let env = Env::from_process();
    let level = env.parse("LOG_LEVEL", "error, warn, info, debug or trace", tracing::Level::INFO);
    let log = log::start(*level.as_ref().unwrap_or(&tracing::Level::INFO));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match (level, runtime) {
        (Err(error), _) => Err(error),
        (_, Err(error)) => Err(StartError::Other(format!("no async runtime: {error}"))),
        (Ok(_), Ok(runtime)) => runtime.block_on(live(env, build)),
    };
    let code = match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}

async fn live<F, B>(env: Env, build: B) -> Result<bool, StartError>
where
    B: FnOnce(Env) -> F,
    F: Future<Output = Result<Service, StartError>>,
{
    let signals = |kind| {
        signal(kind).map_err(|e| StartError::Other(format!("cannot listen for signals: {e}")))
    };
    let (mut term, mut int) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let running = build(env).await?.start().await?;
    let stop = running.stop.clone();
    let waiting = async move {
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping");
        stop.stop();
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        good = running.stopped() => {
            tracing::info!(good, "stopped");
            Ok(good)
        }
        never = waiting => match never {},
    }
}

struct Platform {
    info: Value,
    source: String,
    db: Option<Db>,
    inbox: Option<Handler>,
    stop: Stop,
}

async fn info(State(platform): State<Arc<Platform>>) -> impl IntoResponse {
    axum::Json(platform.info.clone())
}

async fn ready(State(platform): State<Arc<Platform>>) -> Result<impl IntoResponse, Problem> {
    if let Some(db) = &platform.db {
        db.ready().await?;
    }
    Ok(axum::Json(json!({"status": "ready"})))
}

async fn read_outbox(
    State(platform): State<Arc<Platform>>,
    UrlQuery(query): UrlQuery<outbox::Query>,
) -> Result<impl IntoResponse, Problem> {
    let db = platform.db.as_ref().ok_or_else(|| Problem::not_found("outbox"))?;
    Ok(axum::Json(outbox::page(db, &platform.source, &query, &platform.stop).await?))
}

async fn receive(
    State(platform): State<Arc<Platform>>,
    Input(event): Input<Event>,
) -> Result<impl IntoResponse, Problem> {
    let (Some(db), Some(handler)) = (&platform.db, &platform.inbox) else {
        return Err(Problem::not_found("inbox"));
    };
    inbox::receive(db, Arc::clone(handler), event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes what the contract no longer promises to keep.
async fn housekeeping(db: Db, stop: Stop) {
    const DAY: Duration = Duration::from_secs(86_400);
    loop {
        let swept = db.write(|tx| {
            let now = tx.now();
            tx.execute("DELETE FROM idempotency WHERE created_at < ?", [now - 14 * DAY])?;
            tx.execute("DELETE FROM inbox WHERE received_at < ?", [now - 30 * DAY])?;
            let newest = "(SELECT max(seq) FROM outbox)";
            tx.execute(
                &format!("DELETE FROM outbox WHERE created_at < ? AND seq < {newest}"),
                [now - 7 * DAY],
            )?;
            Ok(())
        });
        if let Err(problem) = swept.await {
            tracing::warn!(%problem, "could not delete old rows; trying again in an hour");
        }
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
    }
}
