//! The suites, in the order in which a failure is cheapest to find.

use anyhow::{Result, bail};

use crate::run::{root, run, run_in, run_with};
use crate::tidy;

pub(crate) fn check() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run_in("store", "cargo", &["fmt", "--all", "--check"])?;
    tidy::all()?;
    run("cargo", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    run_in(
        "store",
        "cargo",
        &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
    )
}

pub(crate) fn unit() -> Result<()> {
    run(
        "crates/storage/tests/with-postgres.sh",
        &["cargo", "test", "--locked", "--workspace", "--exclude", "archipel-e2e"],
    )?;
    js_sdk()
}

/// The official JavaScript SDK against our API; here, where node is part of what is needed, it
/// may not skip itself.
fn js_sdk() -> Result<()> {
    let required = [("ARCHIPEL_REQUIRE_JS_SDK", "1")];
    run_with(".", "crates/api/tests/js-sdk/run.sh", &[], &required)
}

/// The web console: its types, and its logic without a browser. `e2e` walks through its pages.
pub(crate) fn ui() -> Result<()> {
    run_in("ui", "npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"])?;
    run_in("ui", "npm", &["run", "check"])?;
    run_in("ui", "npm", &["test"])
}

/// Each service in the ordinary way of its language. The workflow engine that `orders` is tried
/// with is ours; alone, its tests do without those that need one.
pub(crate) fn store() -> Result<()> {
    run("cargo", &["build", "--locked", "--package", "archipel"])?;
    let archipel = root().join("target/debug/archipel");
    let Some(archipel) = archipel.to_str() else { bail!("{} is no text", archipel.display()) };
    let engine = [("ARCHIPEL_BIN", archipel)];
    run_with("store", "cargo", &["test", "--locked", "--workspace"], &engine)?;
    for (dir, commands) in SERVICE_TESTS {
        for (program, args) in *commands {
            run_in(dir, program, args)?;
        }
    }
    Ok(())
}

type Command = (&'static str, &'static [&'static str]);

/// Directory, and the commands that build and test what is in it.
const SERVICE_TESTS: &[(&str, &[Command])] = &[
    (
        "store/services/payments",
        &[("mvn", &["--batch-mode", "--quiet", "package"]), ("python3", &["-m", "contract"])],
    ),
    (
        "store/services/checkout",
        &[
            ("sh", &["build.sh"]),
            (".venv/bin/python", &["-m", "unittest", "discover", "-s", "tests", "-t", "."]),
        ],
    ),
    ("store/services/warehouse", &[("go", &["test", "./..."])]),
    (
        "store/services/notifications",
        &[("npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"]), ("npm", &["test"])],
    ),
    ("store/outside/psp-sim", &[("python3", PYTHON_TESTS)]),
    ("store/outside/sms-sim", &[("python3", PYTHON_TESTS)]),
    ("store/outside/carrier-sim", &[("go", &["test", "./..."])]),
];

const PYTHON_TESTS: &[&str] = &["-m", "unittest", "discover", "-s", "tests", "-t", "."];

pub(crate) fn e2e() -> Result<()> {
    run("cargo", &["build", "--locked", "--package", "archipel"])?;
    run(
        "crates/storage/tests/with-postgres.sh",
        &["cargo", "test", "--locked", "--package", "archipel-e2e", "--", "--test-threads", "2"],
    )
}

/// The supervisor's tests and the real binary in a virtual machine that has control groups of
/// version 2 alone; this machine may have others, or lend none.
pub(crate) fn cgroup_v2() -> Result<()> {
    run("cargo", &["build", "--locked", "--package", "archipel"])?;
    let test = ["test", "--locked", "--package", "archipel-supervisor"];
    run("cargo", &[&test[..], &["--no-run"]].concat())?; // also the examples, which it needs
    let script = root().join("crates/supervisor/tests/cgroup-v2/run.sh");
    let Some(script) = script.to_str() else { bail!("{} is no text", script.display()) };
    let runner = [("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", script)];
    run_with(".", "cargo", &[&test[..], &["--test", "it"]].concat(), &runner)
}

pub(crate) fn audit(rest: &[String]) -> Result<()> {
    let mut args = vec!["run", "--quiet", "--locked", "--package", "store-audit", "--"];
    if !rest.iter().any(|arg| arg == "--data") {
        args.extend(["--data", ".archipel/data"]);
    }
    args.extend(rest.iter().map(String::as_str));
    run_in("store", "cargo", &args)
}

pub(crate) fn chaos(rest: &[String]) -> Result<()> {
    run("cargo", &["build", "--locked", "--package", "archipel"])?;
    let mut args =
        vec!["run", "--quiet", "--locked", "--package", "archipel-e2e", "--bin", "chaos", "--"];
    args.extend(rest.iter().map(String::as_str));
    run("cargo", &args)
}

/// The workflow engine, killed so many times, from a seed on.
pub(crate) fn kills(rest: &[String]) -> Result<()> {
    let rounds = rest.first().map_or("1000", String::as_str);
    let from = rest.get(1).map_or("0", String::as_str);
    let test = "crash::killed_at_any_moment_every_instance_ends_and_no_history_diverges";
    let package = ["test", "--locked", "--package", "archipel-workflow", "--test", "it", "--"];
    let args = [&package[..], &["--exact", test, "--nocapture"]].concat();
    run_with(".", "cargo", &args, &[("ARC_CRASH_ROUNDS", rounds), ("ARC_SEEDS_FROM", from)])
}

pub(crate) fn bench(rest: &[String]) -> Result<()> {
    let Some((scenario, rest)) = rest.split_first() else {
        bail!("name a scenario of bench/scenarios")
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    run(&format!("bench/scenarios/{scenario}"), &rest)
}
