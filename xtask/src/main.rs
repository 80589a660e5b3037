//! Project verbs: `cargo xtask <verb>`. Nothing else needs to be installed to work on Archipel.

mod conformance;
mod run;
mod setup;
mod suites;
mod tidy;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <verb>

  test       everything that CI runs, in its order
  check      formatting, lints, tidy: seconds after the first time
  unit       tests of the crates
  ui         types and tests of the web console
  store      tests of the store's services, each in its own language
  e2e        the real binary running the store, with a real browser
  cgroup-v2  the supervisor on control groups of version 2, in a virtual machine (minutes)
  tidy       the rules that no linter knows
  setup      install what the tests need from this system's packages (Debian, as root)
  conformance others' suites and SDKs against us [h2spec|grpc|websocket|workflows]
  audit      check the invariants of the running store   [-- options of store-audit]
  chaos      break the running store in every way we know, and audit it   [-- --help]
  kills      kill -9 the workflow engine at seeded moments   [rounds [first seed]]
  bench      run a scenario of bench/                    <scenario>
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.filter(|arg| arg != "--").collect();
    match dispatch(&verb, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: &str, rest: &[String]) -> Result<()> {
    std::env::set_current_dir(run::root())?;
    match verb {
        "test" | "ci" => all(),
        "check" => stage("check", suites::check),
        "unit" => stage("unit", suites::unit),
        "ui" => stage("ui", suites::ui),
        "store" => stage("store", suites::store),
        "e2e" => stage("e2e", suites::e2e),
        "cgroup-v2" => stage("cgroup-v2", suites::cgroup_v2),
        "tidy" => stage("tidy", tidy::all),
        "setup" => stage("setup", setup::all),
        "conformance" => conformance::run_suites(rest),
        "audit" => suites::audit(rest),
        "chaos" => suites::chaos(rest),
        "kills" => suites::kills(rest),
        "bench" => suites::bench(rest),
        _ => bail!("{USAGE}"),
    }
}

fn all() -> Result<()> {
    let started = clock();
    stage("setup", setup::all)?;
    stage("check", suites::check)?;
    stage("ui", suites::ui)?;
    stage("unit", suites::unit)?;
    stage("conformance", conformance::cheap)?;
    stage("store", suites::store)?;
    stage("e2e", suites::e2e)?;
    eprintln!("\nall green in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Runs one part and says how long it took.
fn stage(name: &str, part: fn() -> Result<()>) -> Result<()> {
    eprintln!("\n── {name} ──");
    let started = clock();
    part()?;
    eprintln!("── {name}: ok, {} s", started.elapsed().as_secs());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a build script measures real time")]
fn clock() -> Instant {
    Instant::now()
}
