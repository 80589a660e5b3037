//! A process that runs a supervisor, to be killed by tests.
//!
//! `host <state-dir> <fixture> <mark>` applies a fixed set of instances, prints the statuses as
//! one line of JSON whenever they change, and obeys `down` and `leave` on its standard input.

#![expect(clippy::print_stdout, reason = "its standard output is its interface")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use archipel_model::{
    AppName, Backoff, Check, Health, InstanceId, Probe, Protocol, Restart, ServiceName, Stop,
};
use archipel_rt::{CancellationToken, channel};
use archipel_supervisor::{Config, InstanceSpec, Isolation, OnceSpec, Ports, Shutdown, Supervisor};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [state_dir, fixture, mark] = args.as_slice() else {
        return Err("usage: host <state-dir> <fixture> <mark>".into());
    };
    let state_dir = PathBuf::from(state_dir);
    let config = Config::new(AppName::new("chaos")?, state_dir.clone());
    let range = config.port_range.clone();
    let stop = CancellationToken::new();
    let (logs, mut lines) = channel("host.logs", 1024);
    let supervisor = Supervisor::start(config, logs, &stop).await?;
    println!("\"started\"");
    let tasks = archipel_rt::Tasks::new(&stop);
    tasks.spawn("host.lines", async move { while lines.recv().await.is_some() {} });
    let ports = Ports::open(&state_dir, range)?;
    let specs = specs(fixture, mark, &ports)?;
    supervisor.apply(specs, BTreeSet::new()).await;
    // A command under way, which must not survive either.
    let once = OnceSpec {
        name: "long-job".to_owned(),
        service: ServiceName::new("long")?,
        argv: ["sh", "-c", "setsid sleep 100000 & sleep 100000"].map(str::to_owned).to_vec(),
        cwd: PathBuf::from("/"),
        env: BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("ARC_WORLD".to_owned(), mark.clone()),
        ]),
        memory: None,
        isolate: Isolation::default(),
        timeout: None,
    };
    let runner = supervisor.clone();
    tasks.spawn("host.once", async move { drop(runner.run_once(once).await) });
    let (orders_tx, mut orders) = channel("host.orders", 4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if orders_tx.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut watch = supervisor.watch();
    let mut ended = std::pin::pin!(async {
        match orders.recv().await.as_deref() {
            Some("down") => supervisor.shutdown(Shutdown::Down).await,
            Some(_) => supervisor.shutdown(Shutdown::Leave).await,
            None => {}
        }
    });
    loop {
        tokio::select! {
            biased;
            () = &mut ended => break,
            changed = watch.changed() => {
                if changed.is_err() {
                    break;
                }
                let all = watch.borrow_and_update().clone();
                if all.len() > 20 {
                    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
                    all.iter().for_each(|one| *counts.entry(one.state.as_str()).or_default() += 1);
                    println!("{}", serde_json::to_string(&counts)?);
                } else {
                    let all: Vec<_> = all.iter().map(AsRef::as_ref).collect();
                    println!("{}", serde_json::to_string(&all)?);
                }
            }
        }
    }
    println!("\"ended\"");
    Ok(())
}

fn specs(fixture: &str, mark: &str, ports: &Ports) -> Result<Vec<InstanceSpec>, Failure> {
    let mut specs = Vec::new();
    for (name, level) in [("base", 0), ("shop", 1), ("cart", 1)] {
        let mut spec = spec(name, level, &[fixture, "serve"], mark)?;
        let port = ports.get(&format!("instance/{name}/0"))?;
        spec.port = Some(port);
        spec.env.insert("PORT".to_owned(), port.to_string());
        let check = Check::Http { path: "/".to_owned() };
        spec.health.startup =
            Probe { every: Duration::from_millis(20), ..Probe::startup(check.clone()) };
        spec.health.ready = Probe::ready(check);
        specs.push(spec);
    }
    // For measuring: so many more servers.
    let more: usize = std::env::var("HOST_SERVERS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    for n in 0..more {
        let mut spec = spec(&format!("more{n}"), 1, &[fixture, "serve"], mark)?;
        let port = ports.get(&format!("instance/more{n}/0"))?;
        spec.port = Some(port);
        spec.env.insert("PORT".to_owned(), port.to_string());
        let check = Check::Http { path: "/".to_owned() };
        spec.health.startup = Probe::startup(check.clone());
        spec.health.ready = Probe::ready(check);
        specs.push(spec);
    }
    specs.push(spec("forks", 2, &[fixture, "fork", "2"], mark)?);
    specs.push(spec("wrapped", 2, &["sh", "-c", "sleep 100000; true"], mark)?);
    if more == 0 {
        let script = "setsid sleep 100000 & sleep 0.1; exit 3";
        specs.push(spec("crashes", 1, &["sh", "-c", script], mark)?);
    }
    Ok(specs)
}

fn spec(name: &str, level: u32, argv: &[&str], mark: &str) -> Result<InstanceSpec, Failure> {
    let env = [("PATH", "/usr/bin:/bin"), ("ARC_WORLD", mark)];
    Ok(InstanceSpec {
        id: InstanceId { service: ServiceName::new(name)?, replica: 0 },
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        cwd: PathBuf::from("/"),
        env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
        port: None,
        protocol: Protocol::Http,
        health: Health::default(),
        memory: None,
        stop: Stop { drain: Duration::ZERO, grace: Duration::from_secs(5), ..Stop::default() },
        restart: Restart {
            backoff: Backoff { min: Duration::from_millis(100), max: Duration::from_millis(300) },
            ..Restart::default()
        },
        isolate: Isolation::default(),
        spec_hash: "1".to_owned(),
        level,
    })
}
