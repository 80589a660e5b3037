//! What others' test suites and libraries say of us:
//! `cargo xtask conformance [h2spec|grpc|websocket|workflows]`.
//!
//! Each suite of the gateway is fetched in a fixed version by its ordinary client (Go modules, npm),
//! runs against a gateway of its own with an app behind it, and fails the verb when a case fails that
//! is not listed here with its reason.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{root, run, run_in, run_with};

const H2SPEC: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";
const GRPC: &str = "google.golang.org/grpc/interop";
const GRPC_VERSION: &str = "v1.85.0";

/// What gRPC's interoperability client can ask for without somebody's cloud account.
const GRPC_CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
];

pub(crate) fn run_suites(names: &[String]) -> Result<()> {
    let all = ["h2spec", "grpc", "websocket", "workflows"];
    let wanted: Vec<&str> = match names {
        [] => all.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    if wanted.iter().any(|suite| *suite != "workflows") {
        let example = ["--package", "archipel-gateway", "--example", "conformance"];
        run("cargo", &[&["build", "--locked"], &example[..]].concat())?;
    }
    for suite in wanted {
        eprintln!("\n── conformance: {suite} ──");
        match suite {
            "h2spec" => h2spec()?,
            "grpc" => grpc()?,
            "websocket" => websocket()?,
            "workflows" => workflows()?,
            other => bail!("no suite is called `{other}`: there are {}", all.join(", ")),
        }
    }
    Ok(())
}

/// Those that take seconds.
pub(crate) fn cheap() -> Result<()> {
    run_suites(&["h2spec".to_owned(), "websocket".to_owned()])
}

/// A program that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program; the first line that it prints comes back.
fn start(program: PathBuf, args: &[&str]) -> Result<(Running, String)> {
    let shown = program.display().to_string();
    let child = Command::new(program)
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not run `{shown}`"))?;
    let mut running = Running(child);
    let stdout = running.0.stdout.take().context("its output is ours")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim().is_empty() {
        bail!("`{shown} {}` ended at once", args.join(" "));
    }
    Ok((running, line.trim().to_owned()))
}

fn gateway(args: &[&str], app: &str) -> Result<(Running, String)> {
    let args = [args, &["127.0.0.1:0", app]].concat();
    start(root().join("target/debug/examples/conformance"), &args)
}

fn bin() -> PathBuf {
    root().join("target/conformance/bin")
}

fn go_install(package: &str) -> Result<()> {
    let bin = bin();
    run_with(".", "go", &["install", package], &[("GOBIN", bin.to_str().context("a text")?)])
}

/// HTTP/2 at the listener.
fn h2spec() -> Result<()> {
    go_install(H2SPEC)?;
    let (_app, app) = start("node".into(), &["tests/conformance/app.mjs"])?;
    // Over TLS, where the protocol is agreed on beforehand. On the cleartext port HTTP/1 is spoken
    // too, so what is not HTTP/2 gets an answer of HTTP/1 before the close that h2spec expects.
    let (_gateway, addr) = gateway(&["--tls", "target/conformance/authority"], &app)?;
    let (host, port) = addr.rsplit_once(':').context("an address")?;
    let program = bin().join("h2spec");
    let args =
        ["--host", host, "--port", port, "--tls", "--insecure", "--timeout", "3", "--strict"];
    run(program.to_str().context("a text")?, &args)
}

/// gRPC through the gateway.
fn grpc() -> Result<()> {
    for program in ["client", "server"] {
        go_install(&format!("{GRPC}/{program}@{GRPC_VERSION}"))?;
    }
    let port = free_port()?;
    let server = Command::new(bin().join("server"))
        .args(["--port", &port.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("could not run gRPC's interoperability server")?;
    let _server = Running(server);
    let app = format!("127.0.0.1:{port}");
    let mut tries = 0;
    while TcpStream::connect(&app).is_err() {
        tries += 1;
        if tries > 1_000_000 {
            bail!("gRPC's interoperability server does not listen");
        }
        std::thread::yield_now();
    }
    let (_gateway, addr) = gateway(&["--grpc"], &app)?;
    let (host, port) = addr.rsplit_once(':').context("an address")?;
    let client = bin().join("client");
    let client = client.to_str().context("a text")?;
    for case in GRPC_CASES {
        run(client, &["--server_host", host, "--server_port", port, "--test_case", case])?;
    }
    eprintln!("{} cases passed", GRPC_CASES.len());
    Ok(())
}

/// WebSocket through the gateway, over both versions of HTTP; each case must go as it goes
/// without the gateway.
fn websocket() -> Result<()> {
    let dir = "tests/conformance/websocket";
    run_in(dir, "npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"])?;
    let (_app, app) = start("node".into(), &[&format!("{dir}/app.mjs")])?;
    let (_gateway, addr) = gateway(&[], &app)?;
    run("node", &[&format!("{dir}/cases.mjs"), &app, &addr])
}

/// The official SDKs of five languages, each in a service of one application.
fn workflows() -> Result<()> {
    run("cargo", &["build", "--locked", "--package", "archipel"])?;
    // Not beside the sources: nothing of other people's code belongs in the checkout.
    let app = root().join("target/conformance/workflows");
    std::fs::create_dir_all(&app)?;
    let path = app.to_str().context("a text")?;
    run("cp", &["-R", "tests/conformance/workflows/.", path])?;
    let test = ["test", "--locked", "--package", "archipel-e2e", "--", "--ignored", "polyglot"];
    run_with(".", "cargo", &test, &[("ARCHIPEL_WORKFLOWS", path)])
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
