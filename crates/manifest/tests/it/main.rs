//! What a user of the crate sees: files on a disk, problems on a terminal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod includes;
mod init;
mod loading;
mod rendering;
mod robustness;
mod telemetry;
mod values;
mod workflows;

use std::path::{Path, PathBuf};

use archipel_manifest::{Loaded, Options, Problem, Problems};

/// A directory with files in it; names ending in `/` are directories.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            tree.write(name, text.as_bytes());
        }
        tree
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        if name.ends_with('/') {
            return std::fs::create_dir_all(path).unwrap();
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Loaded, Problems> {
        self.load_profile(None)
    }

    fn load_profile(&self, profile: Option<&str>) -> Result<Loaded, Problems> {
        let options = Options { profile: profile.map(str::to_owned), ..Options::default() };
        archipel_manifest::load(&self.path("archipel.toml"), &options)
    }
}

fn parse(text: &str) -> Result<Loaded, Problems> {
    archipel_manifest::parse(text, Path::new("archipel.toml"), &Options::default())
}

fn problems(result: Result<Loaded, Problems>) -> Vec<Problem> {
    match result {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.0,
    }
}

/// `code line:column` of each, which is what a reader looks for.
fn places(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|p| format!("{} {}:{}", p.code, p.line, p.column)).collect()
}

const HEAD: &str = "version = 1\n[app]\nname = \"shop\"\n";
