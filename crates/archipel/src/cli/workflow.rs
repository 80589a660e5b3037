//! `archipel workflow`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Workflow {
    #[command(subcommand)]
    pub(crate) verb: WorkflowVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowVerb {
    /// Instances, newest first, and how many there are of each state
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many, the newest
        #[arg(short = 'n', long, value_name = "INSTANCES", default_value_t = 50)]
        limit: u32,
    },
    /// Tell all about one instance: state, payloads, what it waits for
    Describe {
        #[command(flatten)]
        one: One,
    },
    /// What has happened to an instance, step by step
    History {
        #[command(flatten)]
        one: One,
        /// Whole payloads
        #[arg(short, long)]
        wide: bool,
    },
    /// Begin an instance
    Start {
        /// The service whose workflow it is
        service: String,
        /// As the service's code calls it
        name: String,
        /// What the instance is called; a fresh id without
        #[arg(long)]
        id: Option<String>,
        /// Its input as JSON; `-` reads standard input
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
        /// Begin after this long (`5m`, `2h`) or at this instant (RFC 3339)
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// A tag of the instance
        #[arg(long = "tag", value_name = "NAME=VALUE")]
        tags: Vec<String>,
    },
    /// Send an event to instances that wait for it
    Raise {
        /// The event's name
        event: String,
        #[command(flatten)]
        many: Many,
        /// What comes with it, as JSON; `-` reads standard input
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
    },
    /// Let instances rest where they are
    Suspend {
        #[command(flatten)]
        many: Many,
        /// Kept in the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let suspended instances go on, and try stalled ones again
    Resume {
        #[command(flatten)]
        many: Many,
        /// Kept in the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End instances where they are
    Terminate {
        #[command(flatten)]
        many: Many,
        /// What they end with, as JSON
        #[arg(long, value_name = "JSON")]
        output: Option<String>,
        /// With all children
        #[arg(short, long)]
        recursive: bool,
    },
    /// Run an instance that has ended again, whole or from one of its steps
    Rerun {
        #[command(flatten)]
        one: One,
        /// From this step: an id from `workflow history`; what was answered before is kept
        #[arg(long, value_name = "EVENT")]
        from: Option<i32>,
        /// What the new instance is called; a fresh id without
        #[arg(long = "as", value_name = "ID")]
        new_id: Option<String>,
        /// Another input, as JSON: of the step with --from, else of the whole
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
    },
    /// Remove instances that have ended, with their histories
    Purge {
        #[command(flatten)]
        many: Many,
        /// With all children
        #[arg(short, long)]
        recursive: bool,
        /// Also those that have not ended
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// As `workflow list` names it
    pub(crate) id: String,
    /// The service whose instance it is; found without, if only one has the id
    #[arg(short, long)]
    pub(crate) service: Option<String>,
}

/// By name, or all that a filter finds.
#[derive(Debug, Args)]
pub(crate) struct Many {
    /// As `workflow list` names them; or choose by --name, --status and the like
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) which: Which,
    /// All for which it makes sense
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only of this service
    #[arg(short, long)]
    pub(crate) service: Option<String>,
    /// Only of the workflow of this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only whose id contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) id_contains: Option<String>,
    /// Only in these states: pending, running, suspended, stalled, completed, failed, terminated
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    pub(crate) status: Vec<String>,
    /// Only those created since this long ago (`5m`, `2h`) or this instant (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only those created before this long ago or this instant
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

impl Which {
    /// Whether it chooses at all.
    pub(crate) fn narrows(&self) -> bool {
        self.service.is_some()
            || self.name.is_some()
            || self.id_contains.is_some()
            || !self.status.is_empty()
            || self.since.is_some()
            || self.until.is_some()
    }
}
