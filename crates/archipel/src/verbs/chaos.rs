//! `archipel chaos`: breaks things on purpose, to see what an application makes of it.

use std::time::Duration;

use archipel_console::view::{Fault, FaultInForce, Faults, Status};
use rustix::process::{Pid, Signal};
use serde_json::json;

use super::{connect, print_json};
use crate::cli::{Chaos, ChaosVerb, Edge, Global};
use crate::client::Client;
use crate::exit::{self, Failure};
use crate::show::table::{Table, age};

pub(crate) async fn run(global: &Global, chaos: &Chaos) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    match &chaos.verb {
        None => list(global, &client).await?,
        Some(ChaosVerb::Heal) => {
            let _: serde_json::Value = client.post("/v1/faults/heal", &json!({})).await?;
            signal(&client, &[], Signal::CONT).await?;
        }
        Some(ChaosVerb::Kill { services }) => signal(&client, services, Signal::KILL).await?,
        Some(ChaosVerb::Pause { services }) => signal(&client, services, Signal::STOP).await?,
        Some(ChaosVerb::Resume { services }) => signal(&client, services, Signal::CONT).await?,
        Some(ChaosVerb::Cut(edge)) => add(&client, "cut", edge, None).await?,
        Some(ChaosVerb::Lose(edge)) => add(&client, "lose", edge, None).await?,
        Some(ChaosVerb::Twice(edge)) => add(&client, "twice", edge, None).await?,
        Some(ChaosVerb::Refuse(edge)) => add(&client, "refuse", edge, None).await?,
        Some(ChaosVerb::Delay { by, edge }) => add(&client, "delay", edge, Some(*by)).await?,
        Some(ChaosVerb::Late { by, edge }) => add(&client, "late", edge, Some(*by)).await?,
    }
    Ok(0)
}

async fn add(
    client: &Client,
    kind: &str,
    edge: &Edge,
    by: Option<(Duration, Duration)>,
) -> Result<(), Failure> {
    let (min, max) = by.unwrap_or_default();
    let fault = Fault {
        kind: kind.to_owned(),
        from: edge.from.clone(),
        to: (edge.to != "*").then(|| edge.to.clone()),
        percent: edge.percent,
        min_ms: millis(min),
        max_ms: millis(max),
        for_ms: edge.lasts.map(millis),
    };
    let _: Faults = client.post("/v1/faults", &serde_json::to_value(fault)?).await?;
    Ok(())
}

async fn list(global: &Global, client: &Client) -> Result<(), Failure> {
    let faults: Faults = client.get("/v1/faults").await?;
    if global.json {
        return print_json(&faults);
    }
    if faults.faults.is_empty() {
        eprintln!("nothing is broken on purpose");
        return Ok(());
    }
    let mut table = Table::new(&["FAULT", "FROM", "TO", "SHARE", "LEFT", "STRUCK"]);
    for FaultInForce { fault, left_ms, struck } in &faults.faults {
        let what = match fault.max_ms {
            0 => fault.kind.clone(),
            max if max == fault.min_ms => format!("{} {}", fault.kind, age(max)),
            max => format!("{} {}..{}", fault.kind, age(fault.min_ms), age(max)),
        };
        table.row(vec![
            what.into(),
            fault.from.as_deref().unwrap_or("*").into(),
            fault.to.as_deref().unwrap_or("*").into(),
            format!("{} %", fault.percent).into(),
            left_ms.map_or("until heal".to_owned(), age).into(),
            struck.to_string().into(),
        ]);
    }
    table.print();
    Ok(())
}

/// Sends a signal to all processes of the services named, or of every service.
async fn signal(client: &Client, names: &[String], signal: Signal) -> Result<(), Failure> {
    let status: Status = client.get("/v1/status").await?;
    for name in names {
        if !status.services.iter().any(|service| service.name == *name) {
            let known = status.services.iter().map(|service| service.name.as_str());
            let known = archipel_model::suggest::there_are(name, known);
            let text = format!("there is no service `{name}`; {known}");
            return Err(Failure::new(exit::USAGE, text));
        }
    }
    let chosen = |name: &String| names.is_empty() || names.contains(name);
    let instances = status.services.iter().filter(|s| chosen(&s.name)).flat_map(|s| &s.instances);
    for pid in instances.filter_map(|instance| instance.pid) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
        // Each instance leads a group of its own. It may have ended by itself meanwhile.
        match rustix::process::kill_process_group(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => {
                let text = format!("could not send a signal to process {pid}: {error}");
                return Err(Failure::new(exit::UNEXPECTED, text));
            }
        }
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
