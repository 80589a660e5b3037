//! Runs a program and turns a failure into an error that names it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the repository").to_owned()
}

/// Runs `program args…` in `dir`, relative to the root, with its output shown.
pub(crate) fn run_in(dir: &str, program: &str, args: &[&str]) -> Result<()> {
    run_with(dir, program, args, &[])
}

pub(crate) fn run(program: &str, args: &[&str]) -> Result<()> {
    run_in(".", program, args)
}

pub(crate) fn run_with(
    dir: &str,
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> Result<()> {
    let shown = format!("{program} {}", args.join(" "));
    eprintln!("$ {}{shown}", if dir == "." { String::new() } else { format!("({dir}) ") });
    // A program given by a path lies below the directory it runs in.
    let path = if program.contains('/') { root().join(dir).join(program) } else { program.into() };
    let status = Command::new(path)
        .args(args)
        .current_dir(root().join(dir))
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("could not run `{program}`; is it installed?"))?;
    if !status.success() {
        bail!("`{shown}` in `{dir}` ended with {status}");
    }
    Ok(())
}

/// Standard output of a program that must succeed.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not run `{program}`; is it installed?"))?;
    if !output.status.success() {
        bail!("`{program} {}` ended with {}", args.join(" "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program is on the path.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
