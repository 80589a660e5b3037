//! `archipel alerts …`

use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

#[derive(Debug, Args)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    pub(crate) verb: Option<AlertsVerb>,
}

/// Without one of them: what fires now.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsVerb {
    /// All rules, those that ship with Archipel and those of the manifest
    Rules,
    /// When alerts began and were over
    History,
    /// The checks from outside and how they went
    Checks,
    /// Objectives and what is left of their budgets
    Slos,
    /// Messages that were sent, wait or were given up
    Deliveries,
    /// Want no messages for a while
    Silence {
        /// Only of this rule
        rule: Option<String>,
        /// Only with this label: `service=orders`; several times, all must fit
        #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// For how long
        #[arg(long = "for", value_parser = duration, value_name = "TIME", default_value = "2h")]
        lasts: Duration,
        /// Why, for who looks later
        #[arg(long, short = 'm', default_value = "")]
        reason: String,
    },
    /// End a silence
    Unsilence {
        /// As the list shows it
        id: String,
    },
    /// Send a test to a channel and say whether it arrived
    Test {
        /// As in [notify]
        channel: String,
    },
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE, for example service=orders".to_owned()),
    }
}
