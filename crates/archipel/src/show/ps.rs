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
