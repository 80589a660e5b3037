//! The suites, in the order in which a failure is cheapest to find.

use anyhow::{Result, bail};

use crate::run::{run, run_in, run_with};
use crate::tidy;

pub fn check() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run_in("store", "cargo", &["fmt", "--all", "--check"])?;
    tidy::all()?;
    run("cargo", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    run_in("store", "cargo", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

pub fn unit() -> Result<()> {
    run(
        "crates/storage/tests/with-postgres.sh",
        &["cargo", "test", "--locked", "--workspace", "--exclude", "archipel-e2e"],
    )
}

/// Each service in the ordinary way of its language.
pub fn store() -> Result<()> {
    run_in("store", "cargo", &["test", "--locked", "--workspace"])?;
    for (dir, program, args) in SERVICE_TESTS {
        run_in(dir, program, args)?;
    }
    Ok(())
}

const SERVICE_TESTS: &[(&str, &str, &[&str])] = &[];

pub fn e2e() -> Result<()> {
    run("cargo", &["build", "--locked", "--package", "archipel"])?;
    run_with(".", "cargo", &["test", "--locked", "--package", "archipel-e2e"], &[])
}

pub fn audit(rest: &[String]) -> Result<()> {
    let mut args = vec!["run", "--quiet", "--locked", "--package", "store-audit", "--"];
    if !rest.iter().any(|arg| arg == "--data") {
        args.extend(["--data", ".archipel/data"]);
    }
    args.extend(rest.iter().map(String::as_str));
    run_in("store", "cargo", &args)
}

pub fn bench(rest: &[String]) -> Result<()> {
    let Some(scenario) = rest.first() else { bail!("name a scenario of bench/scenarios") };
    run(&format!("bench/scenarios/{scenario}"), &[])
}
