//! The whole way from a path to an application.

use std::path::{Path, PathBuf};

use archipel_model::App;

use crate::assemble::assemble;
use crate::files::{Disk, Files, Kind, Memory, resolve};
use crate::problem::{Problem, Problems};
use crate::sink::Sink;
use crate::{check, document, env_files, read, schemas};

/// The name by which an application file is found.
pub const FILE_NAME: &str = "archipel.toml";

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which of `[profiles]` to merge in.
    pub profile: Option<String>,
    /// Says what is wrong with a question in the language of traces and logs, which is not known
    /// here.
    pub question: Option<Question>,
}

pub type Question = fn(&str) -> Result<(), String>;

/// A checked application, and what is doubtful about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub app: App,
    pub warnings: Vec<Problem>,
}

/// Reads the application file at `path` and all that it includes.
///
/// # Errors
/// [`Problems`]: everything that is wrong in all of these files, warnings included.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, Problems> {
    load_from(&Disk, path, options)
}

/// As [`load`], from another file system than the disk.
///
/// # Errors
/// As [`load`].
pub fn load_from(files: &dyn Files, path: &Path, options: &Options) -> Result<Loaded, Problems> {
    run(files, path, options, Reach { includes: true, every_profile: false })
}

/// As [`load`] without a profile, and checks the application with each of its profiles as well: a
/// mistake in `production` is found on the laptop. What is wrong only with a profile says so.
///
/// # Errors
/// As [`load`].
pub fn load_every_profile(path: &Path, question: Option<Question>) -> Result<Loaded, Problems> {
    run(
        &Disk,
        path,
        &Options { profile: None, question },
        Reach { includes: true, every_profile: true },
    )
}

/// Checks a text by itself: files it includes are not read, paths in it are not looked up.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, file_name: &Path, options: &Options) -> Result<Loaded, Problems> {
    let path = absolute(file_name);
    let files = Memory([(path, text.to_owned())].into());
    run(&files, file_name, options, Reach { includes: false, every_profile: false })
}

#[derive(Debug, Clone, Copy)]
struct Reach {
    includes: bool,
    every_profile: bool,
}

/// Each profile is a whole check; more than these nobody has.
const PROFILES_MAX: usize = 50;

fn run(
    files: &dyn Files,
    path: &Path,
    options: &Options,
    reach: Reach,
) -> Result<Loaded, Problems> {
    let mut out = Sink::new();
    let main = document::Main { path: &absolute(path), shown: path };
    let profile = options.profile.as_deref();
    let found = document::read(&main, profile, files, reach.includes, &mut out);
    let app = found.and_then(|mut document| {
        let draft = check_once(&document, files, options.question, &mut out);
        let app = if out.has_errors() { None } else { assemble(&document, draft, &out) };
        if reach.every_profile {
            for profile in document.profiles().iter().take(PROFILES_MAX) {
                out.with_profile(profile);
                document.switch_to(profile, path, &mut out);
                check_once(&document, files, options.question, &mut out);
            }
        }
        app
    });
    let has_errors = out.has_errors();
    let problems = out.finish();
    match app {
        Some(app) if !has_errors => Ok(Loaded { app, warnings: problems }),
        _ => Err(Problems(problems)),
    }
}

fn check_once(
    document: &document::Document,
    files: &dyn Files,
    question: Option<Question>,
    out: &mut Sink,
) -> read::Draft {
    let mut draft = read::read(document.effective(), out);
    schemas::load(&mut draft.events, files, out);
    env_files::load(&mut draft.services, files, out);
    check::check(document, &draft, files, question, out);
    draft
}

fn absolute(path: &Path) -> PathBuf {
    // Fails only for an empty path or when the working directory is gone; then the path as it
    // is leads to an error that names it.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    resolve(Path::new(""), absolute)
}

/// The application file of the directory `from`, or of the nearest one above it.
pub fn find(from: &Path) -> Option<PathBuf> {
    let candidates = from.ancestors().map(|directory| directory.join(FILE_NAME));
    candidates.into_iter().find(|path| Disk.kind(path) == Kind::File)
}

/// What the fuzz target and its property test do with an input: everything that is done with
/// the text of a user. It must not panic, and the outcome must be consistent.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) {
    use crate::{Severity, Style, render, to_json};
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for profile in [None, Some("dev".to_owned())] {
        let (accepted, problems) =
            match parse(text, Path::new("fuzz.toml"), &Options { profile, ..Options::default() }) {
                Ok(loaded) => {
                    let app = &loaded.app;
                    assert!(
                        app.services
                            .values()
                            .all(|s| !s.run.argv.is_empty() && s.path.is_absolute())
                    );
                    let callees = app.services.values().flat_map(|service| service.calls.keys());
                    let known =
                        |name| app.services.contains_key(name) || app.externals.contains_key(name);
                    assert!(callees.into_iter().all(known), "every reference resolves");
                    (true, loaded.warnings)
                }
                Err(problems) => (false, problems.0),
            };
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        assert_eq!(accepted, errors == 0, "refused exactly when there is an error");
        assert!(problems.iter().all(|problem| text.get(problem.span.clone()).is_some()));
        assert!(render(&problems, Style::PLAIN).is_ascii());
        assert_eq!(to_json(&problems)["ok"], accepted);
    }
}
