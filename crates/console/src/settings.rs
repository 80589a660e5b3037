//! What is in force: listeners, budgets, limits, and where files are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use archipel_control::Snapshot;
use archipel_model::{Bytes, LogPolicy, show_duration};

use crate::admin::{BODY_BYTES_MAX, Done, starting};
use crate::answer;
use crate::server::Shared;
use crate::view::{self, Kept, Setting, SettingsListener};

pub(crate) async fn settings(shared: &Shared) -> Done {
    let snapshot = shared.parts.control.watch().borrow().clone().ok_or_else(starting)?;
    let kept = kept(shared, &snapshot);
    let kept = archipel_rt::blocking(move || kept.into_iter().map(weighed).collect()).await;
    Ok(answer::json(&view::Settings {
        schema: view::Settings::SCHEMA.to_owned(),
        listeners: listeners(shared, &snapshot),
        kept,
        limits: limits(&snapshot),
        files: files(shared, &snapshot),
        isolation: shared.parts.about.isolation.clone(),
    }))
}

fn listeners(shared: &Shared, snapshot: &Snapshot) -> Vec<SettingsListener> {
    let listener = |name: &str, address: String, open_to: &str| SettingsListener {
        name: name.to_owned(),
        address,
        open_to: open_to.to_owned(),
    };
    let mut all = Vec::new();
    if let Some(gateway) = &snapshot.plan.app.gateway {
        let open_to = match gateway.listen.ip() {
            ip if ip.is_loopback() => "this machine",
            ip if ip.is_unspecified() => "every network of this machine",
            _ => "the network of that address",
        };
        all.push(listener("Gateway", gateway.listen.to_string(), open_to));
    }
    if let Ok(door) = &shared.dashboard {
        let address = format!("127.0.0.1:{}", door.port);
        all.push(listener("Console and /metrics", address, "this machine, with the key"));
    }
    let socket = shared.parts.state.socket().display().to_string();
    all.push(listener("Control socket", socket, "this user"));
    all
}

struct Area {
    name: &'static str,
    at: PathBuf,
    bytes_max: Option<u64>,
    age_max: Option<Duration>,
}

fn kept(shared: &Shared, snapshot: &Snapshot) -> Vec<Area> {
    let state = &shared.parts.state;
    let policy = &snapshot.plan.app.telemetry;
    let area = |name, at, bytes_max, age_max| Area { name, at, bytes_max, age_max };
    // Each service has a budget of its own, and so has each file of a job's lines.
    let of_logs = snapshot.plan.app.services.values().map(|service| service.log.max.0).sum();
    let oldest = snapshot.plan.app.services.values().map(|service| service.log.keep).max();
    let metrics = policy.max.0 / 8;
    vec![
        area("Logs", state.logs(), Some(of_logs), oldest),
        area("Traces", state.spans(), Some(policy.max.0 - metrics), Some(policy.traces)),
        area("Metrics", state.metrics(), Some(metrics), Some(policy.metrics)),
        area("Events", state.events(), None, None),
        area("Workflows", state.workflows(), None, None),
        area("Databases in files", state.data_root(), None, None),
    ]
}

fn weighed(of: Area) -> Kept {
    Kept {
        name: of.name.to_owned(),
        bytes: weight(&of.at, 0),
        bytes_max: of.bytes_max,
        age_max_ms: of.age_max.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        dir: of.at.display().to_string(),
    }
}

/// Of all files below; what cannot be read weighs nothing.
fn weight(dir: &Path, depth: usize) -> u64 {
    const DEPTH_MAX: usize = 6;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let each = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() && depth < DEPTH_MAX => weight(&entry.path(), depth + 1),
        Ok(about) if about.is_file() => about.len(),
        _ => 0,
    });
    each.sum()
}

fn limits(snapshot: &Snapshot) -> Vec<Setting> {
    let setting = |name: &str, value: String, key: Option<&str>| Setting {
        name: name.to_owned(),
        value,
        key: key.map(str::to_owned),
    };
    let size = |bytes: u64| Bytes(bytes).to_string();
    let log = LogPolicy::default();
    let retention = archipel_broker::EVENT_BYTES_MAX as u64;
    let mut all = vec![
        setting("One event", size(retention), None),
        setting("Logs of a service", size(log.max.0), Some("log = { max }")),
        setting("Logs are kept", show_duration(log.keep), Some("log = { keep }")),
        setting("Ended workflows are kept", "30d".to_owned(), None),
        setting("A request to this API", size(BODY_BYTES_MAX as u64), None),
        setting(
            "A statement on a database",
            format!(
                "{}, {} rows",
                show_duration(archipel_storage::inspect::QUERY_TIME_MAX),
                archipel_storage::inspect::ROWS_MAX
            ),
            None,
        ),
    ];
    let services = snapshot.plan.app.services.values();
    let limited = services.clone().filter_map(|service| service.memory).map(|of| of.limit.0);
    let total: u64 = limited.clone().sum();
    if total > 0 {
        let text = format!("{} of {} with one", size(total), limited.count());
        all.push(setting("Memory limits, together", text, Some("memory")));
    }
    all
}

fn files(shared: &Shared, snapshot: &Snapshot) -> Vec<Setting> {
    let state = &shared.parts.state;
    let file = |name: &str, path: &Path| Setting {
        name: name.to_owned(),
        value: path.display().to_string(),
        key: None,
    };
    let manifests = snapshot.plan.app.files.iter().enumerate();
    let manifests = manifests.map(|(i, path)| file(if i == 0 { "Manifest" } else { "with" }, path));
    manifests
        .chain([
            file("State", state.root()),
            file("Own log", &state.own_log()),
            file("Secrets", &state.secrets()),
        ])
        .collect()
}
