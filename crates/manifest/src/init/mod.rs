//! `archipel init`: a first application file for what lies in a directory, or a small
//! application for an empty one.
//!
//! Looking, deciding and writing are apart: [`detect`] reads the tree, [`scaffold`] makes a plan
//! from what it found, and [`Scaffold::write`] writes it without ever replacing a file. The
//! proposal is made to be read: each guess says what it is based on, and the text passes the
//! parser without an error.

mod detect;
mod foreign;
mod languages;
mod text;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use detect::detect;

use crate::load::FILE_NAME;

/// Languages for the sample application, by the programs on the search path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tools {
    pub python: bool,
    pub node: bool,
}

impl Tools {
    /// Looks for `python3` and `node` in the directories of `$PATH`.
    pub fn on_path(path: Option<&OsStr>) -> Self {
        let directories: Vec<PathBuf> =
            path.map(|p| std::env::split_paths(p).collect()).unwrap_or_default();
        let has = |program: &str| directories.iter().any(|dir| dir.join(program).is_file());
        Self { python: has("python3"), node: has("node") }
    }
}

/// What was found in a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detected {
    pub services: Vec<Candidate>,
    /// Databases, caches and the like from a compose file; they are not run by Archipel.
    pub backing: Vec<Backing>,
    /// What looked like a service and is not proposed, with the reason.
    pub notes: Vec<String>,
}

/// A service that could be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub name: String,
    /// Relative to the root; empty for the root itself.
    pub path: PathBuf,
    pub build: Option<String>,
    pub run: String,
    /// `run` needs a shell.
    pub shell: bool,
    pub artifact: Vec<String>,
    /// What the proposal is based on: `package.json`.
    pub because: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    pub name: String,
    pub image: String,
}

/// Files to write, and what to tell about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaffold {
    pub files: Vec<NewFile>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Relative to the directory.
    pub path: PathBuf,
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// The directory is empty, and the sample application needs one of two languages.
    #[error(
        "neither python3 nor node is on the search path, and nothing here looks like a service"
    )]
    NoLanguage,
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What came of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    pub written: Vec<PathBuf>,
    /// Was there already, and stayed as it is.
    pub kept: Vec<PathBuf>,
}

/// A plan for `dir`: an application file for what was found, or a sample application.
///
/// # Errors
/// [`ScaffoldError::NoLanguage`] when there is nothing to build on.
pub fn scaffold(dir: &Path, detected: &Detected, tools: Tools) -> Result<Scaffold, ScaffoldError> {
    let app = text::app_name(dir);
    if !detected.services.is_empty() {
        let manifest = NewFile { path: FILE_NAME.into(), text: text::manifest(&app, detected) };
        return Ok(Scaffold { files: vec![manifest], notes: detected.notes.clone() });
    }
    let (hello, web) = match (tools.python, tools.node) {
        (true, true) => (Language::Python, Language::Node),
        (true, false) => (Language::Python, Language::Python),
        (false, true) => (Language::Node, Language::Node),
        (false, false) => return Err(ScaffoldError::NoLanguage),
    };
    let files = vec![
        NewFile { path: FILE_NAME.into(), text: text::sample(&app, hello, web) },
        hello.file("hello"),
        web.file("web"),
    ];
    Ok(Scaffold { files, notes: detected.notes.clone() })
}

impl Scaffold {
    /// Writes what is not there yet.
    ///
    /// # Errors
    /// [`ScaffoldError::Write`]; what was written before stays.
    pub fn write(&self, dir: &Path) -> Result<Written, ScaffoldError> {
        let mut result = Written::default();
        for file in &self.files {
            let path = dir.join(&file.path);
            let error = |source| ScaffoldError::Write { path: path.clone(), source };
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(error)?;
            }
            // `create_new` leaves the decision to the file system: no moment in between.
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut open) => {
                    open.write_all(file.text.as_bytes()).map_err(error)?;
                    result.written.push(file.path.clone());
                }
                Err(found) if found.kind() == io::ErrorKind::AlreadyExists => {
                    result.kept.push(file.path.clone());
                }
                Err(other) => return Err(error(other)),
            }
        }
        Ok(result)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    Node,
}

impl Language {
    fn file(self, service: &str) -> NewFile {
        let text = match (self, service) {
            (Self::Python, "hello") => include_str!("templates/hello.py"),
            (Self::Python, _) => include_str!("templates/web.py"),
            (Self::Node, "hello") => include_str!("templates/hello.js"),
            (Self::Node, _) => include_str!("templates/web.js"),
        };
        let path = Path::new("services").join(service).join(self.file_name(service));
        NewFile { path, text: text.to_owned() }
    }

    fn file_name(self, service: &str) -> String {
        match self {
            Self::Python => format!("{service}.py"),
            Self::Node => format!("{service}.js"),
        }
    }

    fn run(self, service: &str) -> String {
        match self {
            Self::Python => format!("python3 {}", self.file_name(service)),
            Self::Node => format!("node {}", self.file_name(service)),
        }
    }
}

/// A name that is valid and not taken, as near to `text` as can be.
fn free_name(text: &str, taken: &mut BTreeSet<String>) -> String {
    let base = label(text);
    let numbered = (2..).map(|number| {
        let suffix = format!("-{number}");
        let kept = &base[..base.len().min(42 - suffix.len())];
        format!("{}{suffix}", kept.trim_end_matches('-'))
    });
    let name = std::iter::once(base.clone())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .expect("numbers do not run out");
    taken.insert(name.clone());
    name
}

/// Lower case, hyphens for what a name cannot have.
fn label(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let start = name.find(|c: char| c.is_ascii_lowercase()).unwrap_or(name.len());
    let mut name = name.split_off(start);
    name.truncate(42);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name() {
        for (text, name) in [
            ("cart", "cart"),
            ("@shop/Cart_Service", "shop-cart-service"),
            ("1password", "password"),
            ("", "app"),
            ("---", "app"),
            ("日本", "app"),
            ("a--b-", "a-b"),
        ] {
            assert_eq!(label(text), name, "{text}");
        }
        let mut taken = BTreeSet::new();
        let long = "a".repeat(60);
        let names: Vec<String> = (0..3).map(|_| free_name(&long, &mut taken)).collect();
        assert_eq!(names[0], "a".repeat(42));
        assert_eq!(names[2], format!("{}-3", "a".repeat(40)));
        for name in names {
            archipel_model::ServiceName::new(&name).unwrap();
        }
    }
}
