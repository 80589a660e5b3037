//! `archipel ps`: the services at a glance.

use archipel_console::view::{Instance, Service, Status};
use archipel_model::{Bytes, InstanceState};

use super::style::Style;
use super::table::{Cell, Table, age};

pub(crate) fn services(status: &Status, style: Style) -> Vec<String> {
    let mut table =
        Table::new(&["SERVICE", "STATE", "READY", "MEMORY", "LIMIT", "RESTARTS", "UP", "NOTE"]);
    for service in &status.services {
        table.row(vec![
            service.name.as_str().into(),
            Cell::painted(service.state.as_str(), |text| style.state(service.state, text)),
            format!("{}/{}", service.ready, service.desired).into(),
            memory(service.memory_bytes).into(),
            limit(service).into(),
            service.restarts.to_string().into(),
            service.instances.iter().filter_map(ready_for).min().unwrap_or_default().into(),
            note(service).into(),
        ]);
    }
    table.lines()
}

/// What matters while it starts: state and reason, in a terminal of this size.
pub(crate) fn brief(status: &Status, style: Style, width: usize, height: usize) -> Vec<String> {
    let narrow = width < 72;
    let header: &[_] = match narrow {
        true => &["SERVICE", "STATE", "READY", "NOTE"],
        false => &["SERVICE", "STATE", "READY", "MEMORY", "NOTE"],
    };
    let mut services: Vec<&Service> = status.services.iter().collect();
    if services.len() + 4 > height {
        // Not all can be seen: then rather those that are not well.
        services.sort_by_key(|service| service.settled);
    }
    let mut table = Table::new(header);
    for service in services {
        let mut row: Vec<Cell> = vec![
            service.name.as_str().into(),
            Cell::painted(service.state.as_str(), |text| style.state(service.state, text)),
            format!("{}/{}", service.ready, service.desired).into(),
        ];
        if !narrow {
            row.push(memory(service.memory_bytes).into());
        }
        row.push(match (service.state, service.restarts) {
            (InstanceState::Ready, 1) => "restarted once".into(),
            (InstanceState::Ready, times @ 2..) => format!("restarted {times} times").into(),
            _ => note(service).into(),
        });
        table.row(row);
    }
    table.lines()
}

pub(crate) fn instances(status: &Status, style: Style) -> Vec<String> {
    let mut table = Table::new(&[
        "INSTANCE",
        "STATE",
        "PID",
        "PORT",
        "MEMORY",
        "TIER",
        "RESTARTS",
        "IN FLIGHT",
        "LAST EXIT",
    ]);
    for service in &status.services {
        for instance in &service.instances {
            table.row(vec![
                instance.id.as_str().into(),
                Cell::painted(instance.state.as_str(), |text| style.state(instance.state, text)),
                instance.pid.map(|pid| pid.to_string()).unwrap_or_default().into(),
                instance.port.map(|port| port.to_string()).unwrap_or_default().into(),
                memory(instance.memory_bytes).into(),
                service.memory_tier.as_str().into(),
                instance.restarts.to_string().into(),
                instance.inflight.to_string().into(),
                instance.last_exit.clone().unwrap_or_default().into(),
            ]);
        }
    }
    table.lines()
}

fn memory(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { Bytes(bytes).to_string() }
}

fn limit(service: &Service) -> String {
    service
        .memory_limit
        .map(|limit| format!("{} {}", Bytes(limit), service.memory_tier))
        .unwrap_or_default()
}

fn ready_for(instance: &Instance) -> Option<String> {
    let since = instance.ready_since_ms?;
    Some(age(archipel_rt::clock::wall_ms().saturating_sub(since)))
}

fn note(service: &Service) -> String {
    match service.state {
        InstanceState::Ready => String::new(),
        _ => service.reason.clone().unwrap_or_default(),
    }
}
