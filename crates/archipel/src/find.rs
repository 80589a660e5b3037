//! Which application a verb is about: its manifest, its state directory, its socket.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use archipel_control::StateDir;
use archipel_manifest::{Loaded, Options, Problem};

use crate::cli::Global;
use crate::exit::{self, Failure};

/// The application in this directory, found but not yet read.
pub(crate) struct Place {
    pub(crate) manifest: PathBuf,
    pub(crate) state: StateDir,
}

impl Place {
    /// Finds the manifest: `--file`, or the nearest `archipel.toml` upwards.
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let manifest = match (&global.file, &global.dir) {
            (Some(file), _) if file.is_file() => file.clone(),
            (Some(file), _) => {
                return Err(Failure::new(
                    exit::USAGE,
                    format!("there is no file `{}`", file.display()),
                ));
            }
            (None, dir) => {
                let from = match dir {
                    Some(dir) => dir.clone(),
                    None => std::env::current_dir()?,
                };
                nearest(&from)?
            }
        };
        let manifest = manifest.canonicalize()?;
        let root = manifest.parent().unwrap_or(Path::new("/")).to_owned();
        let state = match &global.state_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => root.join(".archipel"),
        };
        Ok(Self { manifest, state: StateDir::at(state) })
    }

    /// Makes the state directory, where it is missing.
    pub(crate) fn create_state(&self) -> Result<(), Failure> {
        self.state.create().map_err(|error| {
            Failure::unexpected(&error).help(
                "`--state-dir DIR`, or ARCHIPEL_STATE_DIR in the environment, keeps state elsewhere",
            )
        })
    }

    /// Whether this application runs.
    pub(crate) async fn client_answers(&self) -> bool {
        crate::client::Client::new(&self.state).is_running().await
    }

    /// Reads and checks the manifest; problems are shown here.
    pub(crate) fn load(&self, global: &Global) -> Result<Loaded, Failure> {
        let question = Some(archipel_alert::check_question as _);
        let options = Options { profile: global.profile.clone(), question };
        match archipel_manifest::load(&self.manifest, &options) {
            Ok(loaded) => Ok(loaded),
            Err(problems) => {
                show_problems(&problems.0, global);
                Err(Failure::silent(exit::MANIFEST))
            }
        }
    }
}

fn nearest(from: &Path) -> Result<PathBuf, Failure> {
    if !from.is_dir() {
        let text = format!("there is no directory `{}`", from.display());
        return Err(Failure::new(exit::USAGE, text));
    }
    let from = from.canonicalize()?;
    archipel_manifest::find(&from).ok_or_else(|| {
        Failure::new(
            exit::MANIFEST,
            format!("no archipel.toml in {} or any directory above it", from.display()),
        )
        .help("`archipel init` writes one")
    })
}

/// To standard error, or with `--json` to standard output: there the problems are the data.
pub(crate) fn show_problems(problems: &[Problem], global: &Global) {
    if problems.is_empty() {
        return;
    }
    if global.json {
        outln!("{:#}", archipel_manifest::to_json(problems));
    } else {
        let terminal = std::io::stderr().is_terminal();
        let width = crate::show::terminal_width();
        let variable = |name: &str| match name {
            "NO_COLOR" if global.no_color => Some("1".to_owned()),
            name => std::env::var(name).ok(),
        };
        let style = archipel_manifest::Style::from_env(terminal, width, variable);
        eprint!("{}", archipel_manifest::render(problems, style));
    }
}
