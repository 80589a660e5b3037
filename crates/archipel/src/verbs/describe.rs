//! `archipel describe`.

use archipel_console::view::Description;
use archipel_model::Bytes;

use super::{connect, print_json};
use crate::cli::Global;
use crate::exit::Failure;
use crate::show::style::Style;
use crate::show::table::age;

pub(crate) async fn run(global: &Global, service: &str) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let about: Description = client.get(&format!("/v1/services/{service}")).await?;
    if global.json {
        print_json(&about)?;
    } else {
        show(&about, Style::stdout(global.no_color));
    }
    Ok(0)
}

fn show(about: &Description, style: Style) {
    let service = &about.service;
    let line = |name: &str, value: &str| {
        if !value.is_empty() {
            outln!("{} {value}", style.dim(&format!("{name:<12}")));
        }
    };
    outln!(
        "{} {} {}/{}",
        style.bold(&service.name),
        style.state(service.state, service.state.as_str()),
        service.ready,
        service.desired
    );
    line("reason", service.reason.as_deref().unwrap_or_default());
    line("path", &about.path);
    line("build", about.build_command.as_deref().unwrap_or_default());
    line("run", &about.run_command);
    line("calls", &about.calls.join(", "));
    line("called by", &about.called_by.join(", "));
    line("publishes", &about.publishes.join(", "));
    line("subscribes", &about.subscribes.join(", "));
    line("routes", &about.routes.join(", "));
    line("database", about.database.as_deref().unwrap_or_default());
    line("health", &about.health.join("; "));
    line("stop", &about.stop);
    line("restart", &about.restart);
    line("isolation", &about.isolation);
    let limit = service.memory_limit.map(|limit| Bytes(limit).to_string());
    let limit = limit.unwrap_or_else(|| "no limit".to_owned());
    line(
        "memory",
        &format!("{} of {limit} ({})", Bytes(service.memory_bytes), service.memory_tier),
    );
    outln!("{}", style.bold("urls"));
    for url in &about.urls {
        outln!("  {:<20} {}", url.name, url.url);
    }
    outln!("{}", style.bold("instances"));
    let now = archipel_rt::clock::wall_ms();
    for instance in &service.instances {
        let pid = instance.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
        let port = instance.port.map(|port| format!(" port {port}")).unwrap_or_default();
        let since = instance.started_at_ms.map(|at| format!(" up {}", age(now.saturating_sub(at))));
        let adopted = if instance.adopted { " adopted" } else { "" };
        outln!(
            "  {} {}{pid}{port}{}{adopted}",
            instance.id,
            style.state(instance.state, instance.state.as_str()),
            since.unwrap_or_default()
        );
        for (name, value) in
            [("last exit", &instance.last_exit), ("last probe", &instance.last_probe)]
        {
            if let Some(value) = value {
                outln!("    {} {value}", style.dim(name));
            }
        }
    }
    outln!("{}", style.bold("environment"));
    for entry in &about.env {
        outln!("  {}={}", entry.name, entry.value);
    }
    if !service.last_lines.is_empty() {
        outln!("{}", style.bold("last lines"));
        for text in &service.last_lines {
            outln!("  {text}");
        }
    }
}
