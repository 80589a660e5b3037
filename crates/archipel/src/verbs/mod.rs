//! One module for each verb, or for a few that are one idea.

pub(crate) mod alerts;
pub(crate) mod change;
pub(crate) mod chaos;
pub(crate) mod dashboard;
pub(crate) mod db;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod job;
pub(crate) mod logs;
pub(crate) mod manifest;
pub(crate) mod ps;
pub(crate) mod routes;
pub(crate) mod secret;
pub(crate) mod sidecar;
pub(crate) mod sql_shell;
pub(crate) mod story;
pub(crate) mod top;
pub(crate) mod traces;
pub(crate) mod trust;
pub(crate) mod up;
pub(crate) mod wait;
pub(crate) mod workflow;

use clap::CommandFactory;

use crate::cli::{Cli, Global};
use crate::client::Client;
use crate::exit::{self, Failure};
use crate::find::Place;

/// The running application in this directory.
///
/// Its manifest may be broken by now; the name of the application, which is part of a long
/// socket path, is then taken from what the running one left in its state directory.
pub(crate) async fn connect(global: &Global) -> Result<(Place, Client), Failure> {
    let place = Place::find(global)?;
    let client = Client::new(&place.state);
    Ok((place, client))
}

/// Prints a value as the `--json` of a verb: one object, pretty, on standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    outln!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A document of the admin API that does not name its own shape, named.
#[derive(serde::Serialize)]
pub(crate) struct Versioned<'a, T> {
    pub(crate) schema: &'static str,
    #[serde(flatten)]
    pub(crate) document: &'a T,
}

impl<'a, T: serde::Serialize> Versioned<'a, T> {
    pub(crate) fn new(schema: &'static str, document: &'a T) -> Self {
        Self { schema, document }
    }
}

pub(crate) fn completion(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "archipel", &mut script);
    crate::show::out::bytes(&script);
    Ok(0)
}

/// `5m` ago, or an instant in RFC 3339, as milliseconds since 1970.
pub(crate) fn instant(text: &str) -> Result<u64, Failure> {
    if let Ok(ago) = archipel_model::parse_duration(text) {
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        return Ok(archipel_rt::clock::wall_ms().saturating_sub(ago));
    }
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    parsed.ok().and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()).ok_or_else(
        || {
            Failure::new(exit::USAGE, format!("`{text}` is neither a duration nor an instant"))
                .help("for example `5m`, `2h` or `2026-01-31T09:00:00Z`")
        },
    )
}

/// Builds a query string; keys are plain words.
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn add(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(key);
        self.0.push('=');
        let value = format!("{value}");
        self.0.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
        self
    }

    pub(crate) fn maybe(self, key: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.add(key, value),
            None => self,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
