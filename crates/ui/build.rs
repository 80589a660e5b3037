//! Builds `ui/` with npm and lists what came out, so that the bundle need not be committed.
//!
//! Without npm, or when it fails, the list is empty and the reason is kept: the binary builds all
//! the same, and says in the browser what is missing.

use std::env;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the bundle is made of, below `ui/`. Tests are not.
const INPUTS: [&str; 8] = [
    "index.html",
    "package.json",
    "package-lock.json",
    ".npmrc",
    "tsconfig.json",
    "vite.config.ts",
    "src",
    "public",
];

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let ui = here.join("../../ui");
    println!("cargo::rerun-if-changed=build.rs");
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", ui.join(input).display());
    }
    let bundle = out.join("bundle");
    let _ = fs::remove_dir_all(&bundle);
    let list = match build(&ui, &bundle).and_then(|()| listed(&bundle).map_err(|e| e.to_string())) {
        Ok(files) => format!("pub(crate) const MISSING: Option<&str> = None;\n{files}"),
        Err(why) => {
            println!("cargo::warning=the web console is left out: {why}");
            // Only now: with npm found, a shell with another PATH need not build again.
            println!("cargo::rerun-if-env-changed=PATH");
            format!("pub(crate) const MISSING: Option<&str> = Some({why:?});\n{}", list(""))
        }
    };
    fs::write(out.join("bundle.rs"), list).expect("OUT_DIR can be written");
}

fn build(ui: &Path, bundle: &Path) -> Result<(), String> {
    // Two builds (debug and release, an editor's and yours) share one node_modules.
    let lock = File::open(ui.join("package.json")).map_err(|e| format!("ui/package.json: {e}"))?;
    lock.lock().map_err(|e| format!("ui/package.json cannot be locked: {e}"))?;
    if !is_installed(ui) {
        npm(ui, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
    }
    let bundle = bundle.to_string_lossy();
    npm(ui, &["run", "--silent", "build", "--", "--outDir", &bundle, "--emptyOutDir"])
}

/// Whether what npm installed last is newer than what it was asked for.
fn is_installed(ui: &Path) -> bool {
    let changed = |path: &str| fs::metadata(ui.join(path)).and_then(|about| about.modified()).ok();
    match (changed("node_modules/.package-lock.json"), changed("package-lock.json")) {
        (Some(installed), Some(asked)) => installed >= asked,
        _ => false,
    }
}

fn npm(ui: &Path, args: &[&str]) -> Result<(), String> {
    let output = Command::new("npm").args(args).current_dir(ui).stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "npm is not installed".to_owned(),
        _ => format!("npm cannot be run: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(6)..].join(" | ");
    Err(format!("`npm {}` failed: {tail}", args[0]))
}

/// Rust source that embeds every file of the bundle with its compressed twin.
fn listed(bundle: &Path) -> io::Result<String> {
    let mut paths = Vec::new();
    walk(bundle, &mut paths)?;
    paths.sort();
    let mut entries = String::new();
    for path in paths.iter().filter(|path| path.extension().is_none_or(|end| end != "gz")) {
        let name = path.strip_prefix(bundle).expect("it was found there").display();
        let twin = PathBuf::from(format!("{}.gz", path.display()));
        let gzip = if twin.exists() {
            format!("Some(include_bytes!({twin:?}))")
        } else {
            "None".to_owned()
        };
        let _ = writeln!(
            entries,
            "    File {{ path: \"{name}\", plain: include_bytes!({path:?}), gzip: {gzip} }},"
        );
    }
    Ok(list(&entries))
}

fn list(entries: &str) -> String {
    format!("pub(crate) const FILES: &[File] = &[\n{entries}];\n")
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
