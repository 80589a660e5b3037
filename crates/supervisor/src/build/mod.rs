//! Builds services, each only when something it is made of has changed.
//!
//! What a build is made of is its command and the content of its input files. Where that hashes
//! to the same as at the last success, and everything the build makes is there, nothing runs.
//! Nothing here deletes or moves an artefact: when a build fails, the old one is what the build
//! tool has left of it.

mod inputs;
mod record;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{InstanceId, ServiceName, show_duration};
use archipel_rt::{blocking, clock};

use crate::once::{Command, OnceSpec};
use crate::spawn::SpawnError;
use crate::spec::Isolation;
use crate::status::{Exit, LogLine, Stream};
use crate::supervisor::{Common, Supervisor};
use crate::toolchain;

use record::BuildRecord;

/// How to build one service.
#[derive(Clone)]
pub struct BuildSpec {
    pub service: ServiceName,
    /// Program and arguments, variables filled in.
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    /// The complete environment; a change of it alone builds nothing.
    pub env: BTreeMap<String, String>,
    /// Files and directories besides `cwd` that the build reads.
    pub inputs: Vec<PathBuf>,
    /// What the build makes; not part of what it reads, even if it lies there.
    pub artifact: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildOutcome {
    /// Nothing has changed since the last success.
    Cached {
        /// Of command and inputs: whoever wants to know whether a service has changed.
        hash: String,
    },
    Built {
        hash: String,
        took: Duration,
    },
    Failed {
        /// `None`: the build never ran, or ran and did not make what it should.
        exit: Option<Exit>,
        /// One sentence for people.
        reason: String,
        last_lines: Vec<String>,
    },
}

impl Supervisor {
    /// Builds a service if needed; as many at once as the machine has cores, the rest waits.
    /// The output goes to the logs as [`Stream::Build`], what happens as [`Stream::Event`].
    /// Dropping the future kills the build with everything it started.
    pub async fn build(&self, spec: BuildSpec) -> BuildOutcome {
        let common = &self.common;
        let say = |text: String| say(common, &spec.service, text);
        let state = match check(common, &spec).await {
            Ok(state) => state,
            Err(reason) => {
                say(format!("build: {reason}"));
                return BuildOutcome::Failed { exit: None, reason, last_lines: Vec::new() };
            }
        };
        let hash = state.hash.clone();
        if state.is_current {
            return BuildOutcome::Cached { hash };
        }
        let Ok(_turn) = common.builds.acquire().await else {
            let reason = "Archipel is stopping".to_owned();
            return BuildOutcome::Failed { exit: None, reason, last_lines: Vec::new() };
        };
        say(format!("build: {}", show(&spec.argv)));
        let once = OnceSpec {
            name: format!("{}-build", spec.service),
            service: spec.service.clone(),
            argv: spec.argv.clone(),
            cwd: spec.cwd.clone(),
            env: spec.env.clone(),
            memory: None,
            isolate: Isolation::default(),
            timeout: None,
        };
        let streams = [Stream::Build, Stream::Build];
        let report = crate::once::run(common, Command { spec: once, streams }).await;
        if !report.is_success() {
            let reason = match &report.exit {
                Err(error) => with_hint(error),
                Ok(exit) => format!("`{}` ended with {exit}", show(&spec.argv)),
            };
            say(format!("build failed: {reason}"));
            let exit = report.exit.ok();
            return BuildOutcome::Failed { exit, reason, last_lines: report.last_lines };
        }
        if let Some(missing) = spec.artifact.iter().find(|path| !path.exists()) {
            let reason = format!(
                "`{}` succeeded but did not make {}: is `artifact` right?",
                show(&spec.argv),
                missing.display()
            );
            say(format!("build failed: {reason}"));
            let exit = report.exit.ok();
            return BuildOutcome::Failed { exit, reason, last_lines: report.last_lines };
        }
        let took = report.took;
        say(format!("built in {}", show_duration(took)));
        store(common, &spec, state, took).await;
        BuildOutcome::Built { hash, took }
    }
}

struct State {
    hash: String,
    is_current: bool,
    files: inputs::Files,
}

async fn check(common: &Arc<Common>, spec: &BuildSpec) -> Result<State, String> {
    let path = BuildRecord::path(&common.paths.builds(), &spec.service);
    let spec = spec.clone();
    blocking(move || {
        let last = BuildRecord::read(&path);
        let roots: Vec<PathBuf> = std::iter::once(&spec.cwd).chain(&spec.inputs).cloned().collect();
        let known = last.as_ref().map(|record| &record.files);
        let files = inputs::hash_all(&roots, &spec.artifact, known).map_err(|error| {
            format!("cannot read what it is built from: {}: {}", error.path.display(), error.source)
        })?;
        let hash = files.digest(&spec.argv, &spec.cwd);
        let made = spec.artifact.iter().all(|path| path.exists());
        let is_current = made && last.as_ref().is_some_and(|record| record.hash == hash);
        if let Some(mut last) = last
            && is_current
            && last.files != files
        {
            // Touched but the same: next time a look at size and time will do.
            last.files = files.clone();
            last.write(&path);
        }
        Ok(State { hash, is_current, files })
    })
    .await
}

async fn store(common: &Arc<Common>, spec: &BuildSpec, state: State, took: Duration) {
    let path = BuildRecord::path(&common.paths.builds(), &spec.service);
    blocking(move || {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        BuildRecord::new(state.hash, took_ms, clock::wall_ms(), state.files).write(&path);
    })
    .await;
}

fn say(common: &Common, service: &ServiceName, text: String) {
    if let Some(logs) = common.logs.sender() {
        let instance = InstanceId { service: service.clone(), replica: 0 };
        let at_ms = clock::wall_ms();
        let _ =
            logs.try_send(LogLine { at_ms, instance, stream: Stream::Event, text, split: false });
    }
}

fn show(argv: &[String]) -> String {
    archipel_model::Command { argv: argv.to_vec(), shell: false }.show()
}

/// A tool that is not there is the commonest reason of all.
fn with_hint(error: &SpawnError) -> String {
    let mut text = error.to_string();
    if let SpawnError::NotInPath { program, .. } = error
        && let Some(hint) = toolchain::hint(program)
    {
        let _ = write!(text, "; {hint}");
    }
    text
}
