//! The command line: what can be asked, and nothing about how it is answered.

mod alerts;
pub(crate) mod workflow;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use alerts::{Alerts, AlertsVerb};

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs an application made of services: one binary, one manifest.
#[derive(Debug, Parser)]
#[command(
    name = "archipel",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 ok, 1 unexpected, 2 usage, 3 manifest invalid, 4 nothing running, 5 build failed,\n7 wait timed out, 8 locked by another, 125-127 could not run, 128+n ended by a signal."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct Global {
    /// Look for the manifest here instead of the current directory
    #[arg(short = 'C', long = "dir", global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Use this manifest instead of the nearest archipel.toml
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "dir")]
    pub(crate) file: Option<PathBuf>,
    /// Keep state here instead of .archipel beside the manifest
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ARCHIPEL_STATE_DIR",
        hide_env_values = true,
        value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from),
        value_hint = clap::ValueHint::AnyPath
    )]
    pub(crate) state_dir: Option<PathBuf>,
    /// Apply this overlay of the manifest
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "ARCHIPEL_PROFILE",
        hide_env_values = true
    )]
    pub(crate) profile: Option<String>,
    /// Print data as JSON with a versioned shape
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No colours (also with NO_COLOR set, or when the output is not a terminal)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

impl Global {
    /// A variable that is set to nothing counts as not set, as everywhere else.
    pub(crate) fn forget_empty(&mut self) {
        self.state_dir.take_if(|dir| dir.as_os_str().is_empty());
        self.profile.take_if(|profile| profile.is_empty());
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build and run the application; again: apply what changed
    Up(Up),
    /// Stop everything, in reverse order, leaving nothing behind
    Down(Down),
    /// List the services and how they are
    Ps(Ps),
    /// Watch what passes, the busiest first, with small plots
    Top(Top),
    /// Show who calls whom, what passes over each line now, and whom events reach
    Graph(GraphOf),
    /// Show what services wrote
    Logs(Logs),
    /// List the public routes: where they lead, what has passed, where answers differ
    Routes(RoutesOf),
    /// List traces: `archipel traces service:orders 'duration>200ms'`
    Traces(TracesOf),
    /// Show one trace as a waterfall, with its logs
    Trace(TraceOf),
    /// List what fails, grouped by kind, or show one group
    Errors(ErrorsOf),
    /// Show what fires, silence it, test who is told
    #[command(alias = "alert")]
    Alerts(Alerts),
    /// Show all that services did and said about one key, for example the id of an order
    Find(FindOf),
    /// Tell all about one service
    Describe(Describe),
    /// Stop and start services
    Restart(Names),
    /// Stop services and keep them stopped
    Stop(Names),
    /// Start services that were stopped, or try failed ones again now
    Start(Names),
    /// Run a command with the environment of a service
    Exec(Exec),
    /// Wait until services are ready
    Wait(Wait),
    /// Look into topics, events and dead letters
    Events(Events),
    /// Look into durable workflows and steer them
    Workflow(workflow::Workflow),
    /// Open the database of a service
    Db(Db),
    /// List jobs, run one now
    Job(Job),
    /// Break things on purpose: connections, answers, processes
    Chaos(Chaos),
    /// List, set and remove values of secrets
    Secret(Secret),
    /// Run workflows for one app, without an application around it: what SDK tests need
    Sidecar(Sidecar),
    /// Check the manifest as a whole, without running anything
    Validate,
    /// Tell what an error code means and how to mend it
    Explain(Explain),
    /// Check this machine: limits, isolation, toolchains, ports
    Doctor,
    /// Tell how to make browsers trust the certificates of `tls = "auto"` on this machine
    Trust(Trust),
    /// Print the JSON Schema of the manifest, for editors
    Schema(Schema),
    /// Print the completion script of a shell
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Write a manifest for what is in this directory, or a small example
    Init(Init),
    /// Tell where the dashboard is, and open it
    Dashboard(Dashboard),
    /// Serve an application in the background (used by `up -d`)
    #[command(hide = true)]
    Serve(Serve),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Trust {
    /// Print the file of the authority and nothing else: curl --cacert "$(archipel trust --path)"
    #[arg(long, conflicts_with = "json")]
    pub(crate) path: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// Return as soon as everything is ready, and go on in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Run only these services (comma-separated); calls to others are refused with a reason
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// With --detach: give up waiting after this long (the services go on)
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// With --detach: do not wait until everything is ready
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Port of the dashboard on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 7700, value_name = "PORT")]
    pub(crate) dashboard_port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Sidecar {
    /// Port of the durabletask protocol on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 4001, value_name = "PORT")]
    pub(crate) port: u16,
    /// Name of the app whose workflows these are
    #[arg(long, default_value = "example", value_name = "NAME")]
    pub(crate) app_id: String,
    /// Keep workflows in this file instead of in memory. For a PostgreSQL database that several
    /// processes share, set ARCHIPEL_STORE_URL to its postgres:// URL instead
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// With ARCHIPEL_STORE_URL: which application's workflows; processes that name the same share
    #[arg(long, default_value = "sidecar", value_name = "NAME")]
    pub(crate) application: String,
    /// With ARCHIPEL_STORE_URL: after this long without a sign of life, others take over
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "TIME")]
    pub(crate) lease: Duration,
    /// Also what the reference sidecar refuses: used names, purges by filter and by force
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[arg(long, default_value_t = 7700)]
    pub(crate) dashboard_port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Give up waiting after this long
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// One line for each instance, with process, port and memory tier
    #[arg(short, long)]
    pub(crate) wide: bool,
    /// Only the names
    #[arg(short, long, conflicts_with = "wide")]
    pub(crate) quiet: bool,
    /// Print again at every change
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Print once and end, also on a terminal
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GraphOf {
    /// Only the lines from and to this service, and who would notice if it stopped
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// All services unless named
    pub(crate) services: Vec<String>,
    /// Go on as lines are written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// From this long ago (`5m`, `2h`) or this instant (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Until this long ago or this instant
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only lines of this trace
    #[arg(long, value_name = "ID")]
    pub(crate) trace: Option<String>,
    /// Only this level and above
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<Level>,
    /// Only lines that contain this
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only lines that answer this: `level>=warn "card declined"`
    #[arg(short, long, value_name = "QUERY")]
    pub(crate) query: Option<String>,
    /// The last lines before following, or of the whole
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 200)]
    pub(crate) tail: usize,
    /// Show when each line was written
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Args)]
pub(crate) struct ErrorsOf {
    /// One of them, from the list: its latest example
    pub(crate) id: Option<String>,
    /// Only of this service
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Seen since this long ago or this instant
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub(crate) since: String,
}

#[derive(Debug, Args)]
pub(crate) struct FindOf {
    /// As it is written in paths, log lines and events
    pub(crate) key: String,
    /// From this long ago or this instant
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TracesOf {
    /// Which: 'status>=500 duration>200ms route:/orders* -caller:outside "card declined"'
    ///
    /// One that begins with `-` stands after `--`.
    pub(crate) query: Vec<String>,
    /// From this long ago (`5m`, `2h`) or this instant (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Until this long ago or this instant
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many, the newest
    #[arg(short = 'n', long, value_name = "TRACES", default_value_t = 20)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct TraceOf {
    /// As in the list, in logs and in the `traceparent` of a request
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The name of a service
    pub(crate) service: String,
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Services, or single instances such as orders-0
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Do not wait until it is done
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Give up waiting after this long
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Whose environment and directory
    pub(crate) service: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// All services unless named
    pub(crate) services: Vec<String>,
    /// Give up after this long; exit code 7
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(subcommand)]
    pub(crate) verb: EventsVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsVerb {
    /// Topics with their subscribers, lag and dead letters
    List,
    /// Events of a topic as they come, after the last few
    Tail {
        /// As `events list` names it
        topic: String,
        /// How many of the past
        #[arg(short = 'n', long, value_name = "EVENTS", default_value_t = 10)]
        tail: u64,
        /// Stop after the past
        #[arg(long)]
        no_follow: bool,
    },
    /// Events that could not be delivered, with the reason
    Dead {
        /// Only of this topic
        topic: Option<String>,
        /// Only of this subscriber
        #[arg(long, value_name = "SERVICE")]
        subscriber: Option<String>,
    },
    /// Deliver dead letters again (ids from `events dead`), or a topic from a position
    Replay {
        /// Dead letters to deliver again; or use --topic
        ids: Vec<String>,
        /// Every dead letter
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Deliver this topic again to one subscriber
        #[arg(long, requires = "subscriber", conflicts_with_all = ["ids", "all"])]
        topic: Option<String>,
        /// The service that gets them
        #[arg(long, value_name = "SERVICE")]
        subscriber: Option<String>,
        /// From this position
        #[arg(long, value_name = "SEQ", conflicts_with = "since")]
        from: Option<u64>,
        /// From this long ago or this instant
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// Drop dead letters for good
    Discard {
        /// From `events dead`
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Publish one event as JSON from the command line
    Publish {
        /// As `events list` names it
        topic: String,
        /// The event's data; `-` reads standard input
        data: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Db {
    #[command(subcommand)]
    pub(crate) verb: DbVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbVerb {
    /// An SQL shell on the database of a service
    Shell {
        /// Whose database
        service: String,
        /// Run these statements and end
        #[arg(short, long, value_name = "SQL")]
        command: Option<String>,
    },
    /// Which service has which database
    List,
}

#[derive(Debug, Args)]
pub(crate) struct Job {
    #[command(subcommand)]
    pub(crate) verb: JobVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobVerb {
    /// Jobs with their schedule, last and next run
    List,
    /// Run a job now; ends with its exit code
    Run {
        /// As `job list` names it
        job: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Chaos {
    #[command(subcommand)]
    pub(crate) verb: Option<ChaosVerb>,
}

/// Without one of them: what is broken now.
#[derive(Debug, Subcommand)]
pub(crate) enum ChaosVerb {
    /// Requests do not arrive: as if nobody accepted connections
    Cut(Edge),
    /// Requests arrive, answers do not come back
    Lose(Edge),
    /// Requests arrive twice
    Twice(Edge),
    /// Requests are answered with 503
    Refuse(Edge),
    /// Requests arrive later
    Delay {
        #[command(flatten)]
        edge: Edge,
        /// A time, or a span to draw from: `2s`, `100ms..5s`
        #[arg(value_parser = span, value_name = "TIME")]
        by: (Duration, Duration),
    },
    /// Callers see the connection break; requests arrive later all the same
    Late {
        #[command(flatten)]
        edge: Edge,
        /// A time, or a span to draw from: `2s`, `5s..200s`
        #[arg(value_parser = span, value_name = "TIME")]
        by: (Duration, Duration),
    },
    /// Kill the processes of services (SIGKILL)
    Kill {
        /// Which
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Freeze the processes of services (SIGSTOP)
    Pause {
        /// Which
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// Let frozen services go on
    Resume {
        /// Which
        #[arg(required = true)]
        services: Vec<String>,
    },
    /// End all faults, let everything that is frozen go on
    Heal,
}

/// Whose requests to whom a fault strikes.
#[derive(Debug, Args)]
pub(crate) struct Edge {
    /// The service that is called; `*`: every one
    #[arg(value_name = "SERVICE")]
    pub(crate) to: String,
    /// Only calls of this service; `outside`: the public entrance, `archipel`: events
    #[arg(long, value_name = "CALLER")]
    pub(crate) from: Option<String>,
    /// Only this share of the requests
    #[arg(long, default_value_t = 100, value_name = "1..100", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) percent: u8,
    /// End by itself after this long
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    pub(crate) lasts: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Secret {
    #[command(subcommand)]
    pub(crate) verb: SecretVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretVerb {
    /// Names, and where each value comes from; never the values
    List,
    /// Store a value, read from standard input
    Set {
        /// As the manifest declares it
        name: String,
    },
    /// Forget a value
    Rm {
        /// As the manifest declares it
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// For example ARC0104; all codes unless given
    pub(crate) code: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RoutesOf {
    #[command(subcommand)]
    pub(crate) verb: Option<RoutesVerb>,
    /// Show where the answers of a compared route differed, as the list names it
    #[arg(long, value_name = "ROUTE")]
    pub(crate) diff: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoutesVerb {
    /// Forget stored answers, so that the services are asked again
    Purge(Purge),
}

#[derive(Debug, Args)]
#[command(
    after_help = "All that is given must fit:\n  archipel routes purge '/media/**'\n  archipel routes purge shop.example.org/news\n  archipel routes purge --tag product-7\n  archipel routes purge --all"
)]
pub(crate) struct Purge {
    /// A path, with `/**` also all below it; with a host before it, only there
    #[arg(value_name = "[HOST]/PATH")]
    pub(crate) at: Option<String>,
    /// A route, as the list names it
    #[arg(long)]
    pub(crate) route: Option<String>,
    /// What services say in `Cache-Tag` or `Surrogate-Key`
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["at", "route", "tag"], required_unless_present_any = ["at", "route", "tag"])]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Store it in .archipel/schema.json, where `#:schema` finds it offline
    #[arg(long)]
    pub(crate) write: bool,
    /// JSON Schema 2020-12 instead of draft 4 (which editors for TOML understand)
    #[arg(long)]
    pub draft2020: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Show what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dashboard {
    /// Only print the address
    #[arg(long)]
    pub(crate) no_open: bool,
}

/// One time, or the least and the most.
fn span(text: &str) -> Result<(Duration, Duration), String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (duration(min)?, duration(max)?);
    if max < min {
        Err("the second time is shorter than the first".to_owned())
    } else {
        Ok((min, max))
    }
}

/// `20s`, `2m`, and bare seconds as other tools take them.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    archipel_model::parse_duration(text).map_err(|error| error.to_string())
}
