//! Assembles all parts, keeps them while the application runs, and takes them apart in stages.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use archipel_alert::Alerts;
use archipel_api::Api;
use archipel_broker::Broker;
use archipel_console::view::Status;
use archipel_console::{About, Console, ConsoleRequest, ReloadProblem};
use archipel_control::{Control, Plan, SecretStore, Snapshot};
use archipel_gateway::{Gateway, Limits};
use archipel_model::{
    App, EnvValue, Export, ExportProtocol, SecretName, ServiceName, TelemetryPolicy,
};
use archipel_rt::{CancellationToken, Receiver, Tasks, channel, clock};
use archipel_state::States;
use archipel_storage::embedded::{EmbeddedKv, EmbeddedLogs};
use archipel_storage::{Kv, Logs};
use archipel_supervisor::{Config, PORT_RANGE, Ports, Shutdown, Supervisor};
use archipel_telemetry::export::{Exporter, Target};
use archipel_telemetry::otlp::Otlp;
use archipel_telemetry::{
    Errors, Line, LogStore, MetricPolicy, MetricStore, SpanPolicy, SpanStore,
};
use archipel_workflow::Engine;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::cli::Global;
use crate::exit::{self, Failure};
use crate::find::Place;
use crate::hops;
use crate::shared_store;
use crate::show::live::Live;

pub(crate) struct Options {
    pub(crate) only: Vec<String>,
    pub(crate) dashboard_port: u16,
    /// In front: progress on this terminal, own log to a file. `None`: in the background.
    pub(crate) live: Option<Live>,
}

/// Serves `app` until a signal or `archipel down`. Returns the exit code.
pub(crate) fn run(
    global: &Global,
    place: &Place,
    app: App,
    options: Options,
) -> Result<u8, Failure> {
    log_to(place, options.live.is_some())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let parts = assemble(place, &app, options.dashboard_port).await?;
        serve(global, place, app, options, parts).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// All parts, running, with nothing to run yet.
struct Parts {
    supervisor: Supervisor,
    gateway: Gateway,
    broker: Broker,
    engine: Engine,
    alerts: Alerts,
    api: Api,
    control: Control,
    console: Console,
    logs: LogStore,
    spans: SpanStore,
    exporter: Exporter,
    requests: Receiver<ConsoleRequest>,
    /// Stopped in this order, each with its own set of tasks: loops first, doors last.
    loops: Tasks,
    doors: Tasks,
    storage: Tasks,
    stores: Stores,
}

/// Closed last, when nobody can write any more.
struct Stores {
    logs: Arc<EmbeddedLogs>,
    kv: Arc<EmbeddedKv>,
    workflows: Arc<dyn Kv>,
    states: States,
}

/// Of the budget, an eighth is for metrics: they take little, and are asked for the longest.
fn span_policy(of: &TelemetryPolicy) -> SpanPolicy {
    SpanPolicy { bytes_max: of.max.0 - of.max.0 / 8, age_max: of.traces, sample: of.sample }
}

fn metric_policy(of: &TelemetryPolicy) -> MetricPolicy {
    MetricPolicy { bytes_max: of.max.0 / 8, age_max: of.metrics }
}

async fn assemble(place: &Place, app: &App, dashboard_port: u16) -> Result<Parts, Failure> {
    let root = CancellationToken::new();
    let (loops, doors, storage) = (Tasks::new(&root), Tasks::new(&root), Tasks::new(&root));
    let state = &place.state;
    let logs = LogStore::open(state.logs(), &storage)?;
    let spans = SpanStore::open(state.spans(), span_policy(&app.telemetry), &storage)?;
    let (errors, grouping) =
        Errors::open(state.errors(), spans.clone(), logs.clone(), loops.stop_token());
    loops.spawn("archipel.errors", grouping);
    let supervisor = supervise(place, app, &logs, &storage).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gateway = Gateway::on_cores(&root, Limits::default(), cores)?;
    // Kept, so that visitors stay where they are over restarts.
    gateway.set_visitor_secret(SecretStore::new(state).own("gateway-visitors")?.reveal());
    let records = gateway.access(hops::QUEUE);
    loops.spawn("archipel.hops", hops::run(records, spans.clone(), loops.stop_token()));
    let caller = archipel_api::AppCaller::new(gateway.clone());
    let stores = open_stores(place, app).await?;
    let broker = open_broker(&stores, caller, &root).await?;
    let engine = Engine::open(stores.workflows.clone(), workflow_config(app)?, &root).await?;
    let metrics = MetricStore::open(state.metrics(), metric_policy(&app.telemetry))?;
    let exporter = Exporter::start(&spans, &logs, &metrics, &loops);
    let otlp = Otlp::new(spans.clone(), logs.clone(), metrics.clone());
    loops.spawn("archipel.state", stores.states.clone().keep_swept(loops.stop_token()));
    let api = Api::new(
        gateway.clone(),
        broker.clone(),
        engine.clone(),
        otlp,
        stores.states.clone(),
        &root,
    );
    let control = Control::start(
        archipel_control::Parts {
            state: state.clone(),
            supervisor: supervisor.clone(),
            ports: Ports::open(state.root(), PORT_RANGE)?,
            gateway: gateway.clone(),
            broker: broker.clone(),
        },
        &loops,
    );
    let watched = archipel_alert::Stores {
        spans: spans.clone(),
        logs: logs.clone(),
        metrics: metrics.clone(),
    };
    let alerts = Alerts::open(state.alerts(), watched, &loops);
    let (request, requests) = channel("console.requests", 16);
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at_ms: clock::wall_ms(),
        isolation: format!("{:?}", supervisor.capabilities().isolation).to_lowercase(),
    };
    let console = Console::start(
        archipel_console::Parts {
            control: control.clone(),
            alerts: alerts.clone(),
            gateway: gateway.clone(),
            broker: broker.clone(),
            engine: engine.clone(),
            logs: logs.clone(),
            spans: spans.clone(),
            exporter: exporter.clone(),
            errors,
            metrics,
            state: state.clone(),
            about,
            requests: request,
        },
        state.socket(),
        dashboard_port,
        SecretStore::new(state).own("dashboard")?,
        &doors,
    )
    .await?;
    Ok(Parts {
        supervisor,
        gateway,
        broker,
        engine,
        alerts,
        api,
        control,
        console,
        logs,
        spans,
        exporter,
        requests,
        loops,
        doors,
        storage,
        stores,
    })
}

async fn supervise(
    place: &Place,
    app: &App,
    logs: &LogStore,
    tasks: &Tasks,
) -> Result<Supervisor, Failure> {
    let (lines, mut received) = channel("supervisor.lines", 4096);
    let config = Config::new(app.name.clone(), place.state.root().to_owned());
    let supervisor = Supervisor::start(config, lines, &tasks.stop_token()).await;
    let supervisor = supervisor.map_err(|error| match &error {
        archipel_supervisor::StartError::AlreadyRunning { .. } => {
            Failure::new(exit::LOCKED, error.to_string()).help("`archipel down` stops it")
        }
        _ => Failure::unexpected(&error),
    })?;
    let logs = logs.clone();
    tasks.spawn("archipel.lines", async move {
        // Ends when the supervisor does, so that no last line is left behind.
        while let Some(line) = received.recv().await {
            let archipel_supervisor::LogLine { at_ms, instance, stream, text, .. } = line;
            logs.take(Line { at_ms, instance, stream: stream_of(stream), text });
        }
    });
    Ok(supervisor)
}

/// The parts do not know each other's types.
fn stream_of(stream: archipel_supervisor::Stream) -> archipel_telemetry::Stream {
    use archipel_supervisor::Stream as From;
    use archipel_telemetry::Stream as To;
    match stream {
        From::Stdout => To::Stdout,
        From::Stderr => To::Stderr,
        From::Build => To::Build,
        From::Event => To::Event,
    }
}

/// Instances that have ended are kept for a month: long enough to look into what went wrong.
const WORKFLOWS_KEPT: Duration = Duration::from_secs(30 * 86_400);

fn workflow_config(app: &App) -> Result<archipel_workflow::Config, Failure> {
    let shared = app.storage.workflows.is_some();
    let sharing = shared.then(|| shared_store::sharing(app.storage.lease)).transpose()?;
    let retention = Some(WORKFLOWS_KEPT);
    Ok(archipel_workflow::Config { retention, sharing, ..Default::default() })
}

async fn open_stores(place: &Place, app: &App) -> Result<Stores, Failure> {
    let options = archipel_storage::embedded::Options::default();
    let events = place.state.events();
    let logs = EmbeddedLogs::open(&events.join("events.db"), options).await?;
    let kv = EmbeddedKv::open(&events.join("state.db"), options).await?;
    let workflows: Arc<dyn Kv> = match &app.storage.workflows {
        Some(secret) => shared_store::of_secret(place, app, secret).await?,
        None => {
            let file = place.state.workflows().join("workflows.db");
            Arc::new(EmbeddedKv::open(&file, options).await?)
        }
    };
    let states = EmbeddedKv::open(&place.state.services().join("state.db"), options).await?;
    let states = States::new(Arc::new(states));
    Ok(Stores { logs: Arc::new(logs), kv: Arc::new(kv), workflows, states })
}

async fn open_broker(
    stores: &Stores,
    caller: archipel_api::AppCaller,
    stop: &CancellationToken,
) -> Result<Broker, Failure> {
    let config = archipel_broker::Config::default();
    let (logs, kv) = (stores.logs.clone(), stores.kv.clone());
    Ok(Broker::open(logs, kv, config, Arc::new(caller), stop).await?)
}

async fn serve(
    global: &Global,
    place: &Place,
    app: App,
    mut options: Options,
    mut parts: Parts,
) -> Result<u8, Failure> {
    let only = names(&options.only);
    parts.control.apply(app, only).await?;
    let mut snapshots = parts.control.watch();
    let mut statuses = parts.console.watch();
    let mut signals = Signals::new(options.live.is_some())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut plan: Option<Arc<Plan>> = None;
    let leave = loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Asked::Stop => break false,
                Asked::Reload => {
                    if let Err(problem) = reload(global, place, &parts, &options.only, None).await {
                        tracing::error!(problem = problem.detail, "the manifest was not applied");
                    }
                }
            },
            Some(request) = parts.requests.recv() => match request {
                ConsoleRequest::Shutdown { leave } => break leave,
                ConsoleRequest::Reload { only, profile, reply } => {
                    let applied = reload(global, place, &parts, &only, profile).await;
                    let _ = reply.send(applied);
                }
            },
            Ok(()) = snapshots.changed() => {
                tell_api(&parts, &mut snapshots, &mut plan).await;
            },
            Ok(()) = statuses.changed() => show(options.live.as_mut(), &mut statuses),
            _ = resized.recv() => if let Some(live) = &mut options.live { live.resized() },
            () = clock::sleep(TICK), if options.live.is_some() => {
                if let Some(live) = &mut options.live { live.tick() }
            }
        }
    };
    stop(parts, options.live, signals, leave).await
}

/// How often is looked whether something takes long.
const TICK: Duration = Duration::from_secs(1);

fn names(only: &[String]) -> BTreeSet<ServiceName> {
    // Checked against the manifest before; what is no name cannot be a service.
    only.iter().filter_map(|name| ServiceName::new(name).ok()).collect()
}

/// Reads the manifest again; a broken one changes nothing.
async fn reload(
    global: &Global,
    place: &Place,
    parts: &Parts,
    only: &[String],
    profile: Option<String>,
) -> Result<u64, ReloadProblem> {
    let options = archipel_manifest::Options {
        profile: profile.or_else(|| global.profile.clone()),
        question: Some(archipel_alert::check_question),
    };
    let loaded = archipel_manifest::load(&place.manifest, &options).map_err(|problems| {
        let detail = archipel_manifest::render(&problems.0, archipel_manifest::Style::PLAIN);
        ReloadProblem { detail, exit: exit::MANIFEST }
    })?;
    parts.control.apply(loaded.app, names(only)).await.map_err(|error| ReloadProblem {
        detail: archipel_rt::chain(&error),
        exit: exit::UNEXPECTED,
    })
}

/// A new plan means new APIs and perhaps other alerts; anything else does not concern them.
async fn tell_api(
    parts: &Parts,
    snapshots: &mut watch::Receiver<Option<Arc<Snapshot>>>,
    plan: &mut Option<Arc<Plan>>,
) {
    let latest = snapshots.borrow_and_update().as_ref().map(|snapshot| snapshot.plan.clone());
    let Some(latest) = latest else { return };
    if plan.as_ref().is_some_and(|plan| Arc::ptr_eq(plan, &latest)) {
        return;
    }
    let apis = latest.apis().into_iter().map(|of| archipel_api::ServiceApi {
        service: of.service,
        http_port: of.port,
        grpc_port: of.grpc_port,
        token: of.token.reveal().to_owned(),
        publishes: of.publishes,
        subscriptions: of.subscriptions,
        calls: of.calls,
        workflows: of.workflows,
    });
    for error in parts.api.apply(apis.collect()).await {
        tracing::error!(%error, "an API port could not be opened");
    }
    let app = &latest.app;
    let secrets = latest.secrets.iter().map(|(n, of)| (n.clone(), of.reveal().to_owned()));
    let of_secret = |name: &SecretName| Some(latest.secrets.get(name)?.reveal().to_owned());
    let target = app.export.as_ref().and_then(|export| export_target(export, of_secret));
    if let Err(error) = parts.exporter.apply(target, &parts.loops) {
        tracing::error!(%error, "telemetry is not sent elsewhere");
    }
    let secrets = archipel_alert::Secrets(secrets.collect());
    parts.alerts.apply(app.name.as_str(), &app.watch, secrets);
    *plan = Some(latest);
}

/// With secrets in place; `None` when one has no value, which the plan has complained of.
fn export_target(
    export: &Export,
    of_secret: impl Fn(&SecretName) -> Option<String>,
) -> Option<Target> {
    let text = |value: &EnvValue| match value {
        EnvValue::Text(text) => Some(text.clone()),
        EnvValue::Secret(name) => of_secret(name),
        _ => None,
    };
    let headers = export.headers.iter().map(|(name, of)| Some((name.clone(), text(of)?)));
    Some(Target {
        url: text(&export.url)?,
        grpc: match export.protocol {
            ExportProtocol::Auto => None,
            ExportProtocol::Http => Some(false),
            ExportProtocol::Grpc => Some(true),
        },
        headers: headers.collect::<Option<_>>()?,
        ca: export.ca.clone(),
    })
}

fn show(live: Option<&mut Live>, statuses: &mut watch::Receiver<Option<Arc<Status>>>) {
    let latest = statuses.borrow_and_update().clone();
    if let (Some(live), Some(status)) = (live, latest) {
        live.update(&status);
    }
}

/// Refuse new traffic → finish deliveries → stop services in reverse order → flush → close.
async fn stop(
    parts: Parts,
    mut live: Option<Live>,
    mut signals: Signals,
    leave: bool,
) -> Result<u8, Failure> {
    if let Some(live) = &mut live {
        live.stopping(match leave {
            true => "leaving; the services go on",
            false => "stopping; Ctrl-C again kills at once",
        });
    }
    parts.alerts.rest();
    let mut statuses = parts.console.watch();
    let graceful = async {
        parts.broker.shutdown(Duration::from_secs(5)).await;
        let mode = if leave { Shutdown::Leave } else { Shutdown::Down };
        parts.supervisor.shutdown(mode).await;
        parts.engine.shutdown(Duration::from_secs(2)).await;
        parts.api.shutdown(Duration::from_secs(2)).await;
        parts.gateway.shutdown(Duration::from_secs(2)).await;
    };
    tokio::pin!(graceful);
    let killed = loop {
        tokio::select! {
            biased;
            () = &mut graceful => break false,
            Asked::Stop = signals.next() => break true,
            Ok(()) = statuses.changed() => show(live.as_mut(), &mut statuses),
        }
    };
    if killed {
        tracing::warn!("asked twice: killing what is left");
        if let Some(live) = &mut live {
            live.say("killing what is left; Ctrl-C again leaves at once");
        }
    }
    let rest = async {
        if killed {
            parts.supervisor.shutdown(Shutdown::Kill).await;
        }
        parts.loops.shutdown(Duration::from_secs(2)).await;
        parts.logs.flush().await;
        parts.spans.flush().await;
        parts.storage.shutdown(Duration::from_secs(5)).await;
        parts.doors.shutdown(Duration::from_secs(1)).await;
        Logs::close(&*parts.stores.logs).await;
        Kv::close(&*parts.stores.kv).await;
        Kv::close(&*parts.stores.workflows).await;
        parts.stores.states.close().await;
    };
    tokio::pin!(rest);
    loop {
        tokio::select! {
            biased;
            () = &mut rest => break,
            Asked::Stop = signals.next() => leave_at_once(),
            Ok(()) = statuses.changed() => show(live.as_mut(), &mut statuses),
        }
    }
    if let Some(live) = &mut live {
        live.finish(match (leave, killed) {
            (true, _) => "left; `archipel up` takes the services over again",
            (_, true) => "killed",
            (_, false) => "stopped",
        });
    }
    Ok(if killed { INTERRUPTED } else { 0 })
}

/// As a shell reports an end by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Nothing is waited for any more: what was acknowledged is on disk already, and a process that
/// is left is found by the next `up` or `down`.
fn leave_at_once() -> ! {
    tracing::warn!("asked once more: leaving at once");
    let _ = writeln!(std::io::stderr(), "left at once; `archipel down` stops what may be left");
    std::process::exit(INTERRUPTED.into())
}

enum Asked {
    Stop,
    Reload,
}

struct Signals {
    /// In front, a hang-up means that the terminal has gone; in the background, «read again».
    in_front: bool,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new(in_front: bool) -> Result<Self, Failure> {
        Ok(Self {
            in_front,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => if self.in_front { Asked::Stop } else { Asked::Reload },
        }
    }
}

/// Our own log: to the file when a person watches the terminal, else to standard error, which
/// `up -d` has pointed at that file.
fn log_to(place: &Place, in_front: bool) -> Result<(), Failure> {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("ARCHIPEL_LOG")
        .unwrap_or_else(|_| EnvFilter::new("archipel=info,warn"));
    // Without `log_internal_errors(false)` a line that finds the disk full is complained about on
    // the same full disk, and that complaint panics in whoever wanted to log.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .log_internal_errors(false);
    if in_front {
        let path = place.state.own_log();
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        builder.with_writer(std::sync::Mutex::new(file)).init();
    } else {
        builder.with_writer(std::io::stderr).init();
    }
    Ok(())
}
