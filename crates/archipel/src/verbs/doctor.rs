//! `archipel doctor`: what this machine can do, and what is missing.

use archipel_supervisor::{Capabilities, Toolchain};
use serde_json::json;

use super::print_json;
use crate::cli::Global;
use crate::exit::Failure;
use crate::find::Place;
use crate::show::style::Style;

/// One finding; `ok` decides the sign in front and the exit code.
struct Finding {
    what: String,
    ok: bool,
    detail: String,
}

pub(crate) async fn run(global: &Global) -> Result<u8, Failure> {
    let scratch = std::env::temp_dir();
    let capabilities = archipel_supervisor::capabilities(&scratch);
    let mut findings = machine(&capabilities);
    // Outside a project the machine alone is looked at.
    if let Ok(place) = Place::find(global)
        && let Ok(loaded) = place.load(global)
    {
        findings.extend(toolchains(&loaded.app));
        findings.extend(certificates(&loaded.app));
        findings.extend(ports(&loaded.app, place.client_answers().await));
    }
    let ok = findings.iter().all(|finding| finding.ok);
    if global.json {
        let findings: Vec<_> = findings
            .iter()
            .map(|f| json!({ "what": f.what, "ok": f.ok, "detail": f.detail }))
            .collect();
        print_json(&json!({ "schema": "archipel.doctor/1", "ok": ok, "findings": findings }))?;
    } else {
        let style = Style::stdout(global.no_color);
        for finding in &findings {
            let sign = if finding.ok { style.paint("32", "✓") } else { style.red("✗") };
            outln!("{sign} {:<16} {}", finding.what, finding.detail);
        }
    }
    Ok(u8::from(!ok))
}

fn machine(capabilities: &Capabilities) -> Vec<Finding> {
    capabilities
        .findings()
        .into_iter()
        .map(|(what, ok, detail)| Finding { what: what.to_owned(), ok, detail })
        .collect()
}

/// The programs that the manifest's commands begin with.
fn toolchains(app: &archipel_model::App) -> Vec<Finding> {
    let mut programs: Vec<&str> = app
        .services
        .values()
        .flat_map(|service| service.build.iter().chain([&service.run]))
        .filter_map(|command| command.argv.first())
        .map(String::as_str)
        .filter(|program| !program.contains('/') && !program.contains('$'))
        .collect();
    programs.sort_unstable();
    programs.dedup();
    programs
        .into_iter()
        .map(|program| {
            let Toolchain { found, version, hint } = archipel_supervisor::probe_toolchain(program);
            let detail = match &found {
                Some(path) => format!("{} {}", version.unwrap_or_default(), path.display()),
                None => hint.unwrap_or_else(|| "not found in PATH".to_owned()),
            };
            Finding {
                what: program.to_owned(),
                ok: found.is_some(),
                detail: detail.trim().to_owned(),
            }
        })
        .collect()
}

/// What the gateway will show to clients, and until when.
fn certificates(app: &archipel_model::App) -> Vec<Finding> {
    let tls = app.gateway.as_ref().and_then(|gateway| gateway.tls.as_ref());
    let mut findings = Vec::new();
    for files in tls.iter().flat_map(|tls| &tls.files) {
        let (ok, detail) = match archipel_gateway::inspect(files) {
            Ok(facts) => {
                let until = time::OffsetDateTime::from(facts.not_after).date();
                (true, format!("until {until}, for {}", facts.names.join(", ")))
            }
            Err(fault) => (false, archipel_rt::chain(&fault)),
        };
        findings.push(Finding { what: "certificate".to_owned(), ok, detail });
    }
    if let Some(ca) = tls.and_then(|tls| tls.client_ca.as_ref()) {
        let (ok, detail) = match archipel_gateway::inspect_authorities(&ca.file) {
            Ok(count) => (true, format!("{count} in {}", ca.file.display())),
            Err(fault) => (false, archipel_rt::chain(&fault)),
        };
        findings.push(Finding { what: "client authority".to_owned(), ok, detail });
    }
    findings
}

/// Ports that the manifest fixes, unless this application holds them itself.
fn ports(app: &archipel_model::App, running: bool) -> Vec<Finding> {
    let gateway = app.gateway.iter().map(|gateway| ("gateway".to_owned(), gateway.listen.port()));
    let http = app.gateway.iter().filter_map(|gateway| gateway.to_https.http);
    let http = http.map(|http| ("gateway, plain HTTP".to_owned(), http.port()));
    let fixed = app.services.values().filter_map(|s| Some((s.name.to_string(), s.port?)));
    gateway
        .chain(http)
        .chain(fixed)
        .filter(|(_, port)| *port != 0) // any free one
        .map(|(name, port)| {
            let holder = archipel_supervisor::port_holder(port);
            let (ok, detail) = match holder {
                None => (true, "free".to_owned()),
                Some(_) if running => (true, "held by this application".to_owned()),
                Some(holder) => (false, format!("held by {holder}")),
            };
            Finding { what: format!("port {port}"), ok, detail: format!("{name}: {detail}") }
        })
        .collect()
}
