//! From what `control` knows to what people see.

use archipel_control::{Built, Preparation, ServiceState, Snapshot};
use archipel_gateway::Gateway;
use archipel_model::{Check, EnvValue, Probe, Service, ServiceName, show_duration};
use archipel_supervisor::InstanceStatus;

use crate::{topology, view};

/// Facts about this process that stand in every status.
#[derive(Debug, Clone)]
pub struct About {
    pub version: &'static str,
    pub pid: u32,
    pub started_at_ms: u64,
    pub isolation: String,
}

pub(crate) fn status(
    snapshot: &Snapshot,
    about: &About,
    gateway: &Gateway,
    dashboard: Option<String>,
) -> view::Status {
    let app = &snapshot.plan.app;
    view::Status {
        schema: view::Status::SCHEMA.to_owned(),
        app: app.name.to_string(),
        version: about.version.to_owned(),
        profile: app.profile.as_ref().map(ToString::to_string),
        manifest: app.files.first().map(|file| file.display().to_string()).unwrap_or_default(),
        pid: about.pid,
        started_at_ms: about.started_at_ms,
        generation: snapshot.generation,
        gateway: app.gateway.as_ref().map(|entrance| view::GatewayStatus {
            url: public_url(entrance.listen),
            error: snapshot.gateway_error.clone(),
        }),
        dashboard,
        problems: snapshot.problems.clone(),
        services: app
            .services
            .values()
            .map(|of| service(of, &snapshot.services[&of.name], gateway))
            .collect(),
    }
}

/// An address a browser can open: nobody can connect to «every interface».
fn public_url(listen: std::net::SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", listen.port())
    } else {
        format!("http://{listen}")
    }
}

pub(crate) fn service(service: &Service, state: &ServiceState, gateway: &Gateway) -> view::Service {
    let instances: Vec<view::Instance> =
        state.instances.iter().map(|status| instance(status, gateway)).collect();
    view::Service {
        name: service.name.to_string(),
        state: state.state(),
        desired: state.desired,
        ready: state.ready(),
        settled: state.is_settled_well(),
        needs_a_person: state.needs_a_person(),
        reason: state.reason(),
        last_lines: state.last_lines().to_vec(),
        build: build(service, &state.preparation),
        database: database(service),
        restarts: instances.iter().map(|instance| instance.restarts).sum(),
        memory_bytes: instances.iter().map(|instance| instance.memory_bytes).sum(),
        memory_limit: service.memory.map(|memory| memory.limit.0),
        memory_tier: state
            .instances
            .first()
            .map_or_else(|| "none".to_owned(), |status| status.memory_tier.to_string()),
        instances,
    }
}

fn instance(status: &InstanceStatus, gateway: &Gateway) -> view::Instance {
    view::Instance {
        id: status.id.to_string(),
        state: status.state,
        pid: status.pid.and_then(|pid| u32::try_from(pid).ok()),
        port: status.port,
        started_at_ms: status.started_at_ms,
        ready_since_ms: status.ready_since_ms,
        restarts: status.restarts,
        next_start_at_ms: status.next_start_at_ms,
        last_exit: status.last_exit.as_ref().map(ToString::to_string),
        last_probe: status.probe_last.as_ref().map(|probe| {
            format!(
                "{} {}: {}",
                probe.what,
                if probe.ok { "passed" } else { "failed" },
                probe.detail
            )
        }),
        memory_bytes: status.memory_bytes.unwrap_or(0),
        adopted: status.adopted,
        inflight: u64::try_from(gateway.inflight(&status.id)).unwrap_or(u64::MAX),
    }
}

fn build(service: &Service, preparation: &Preparation) -> Option<view::Build> {
    service.build.as_ref()?;
    let (state, took) = match preparation {
        Preparation::LeftOut => return None,
        Preparation::Waiting => ("waiting", None),
        Preparation::Building => ("building", None),
        Preparation::Failed { phase: "build", .. } => ("failed", None),
        Preparation::Migrating | Preparation::Failed { .. } => ("built", None),
        Preparation::Done(Built { took: None, .. }) => ("cached", None),
        Preparation::Done(Built { took: Some(took), .. }) => ("built", Some(*took)),
    };
    let took_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    Some(view::Build { state: state.to_owned(), took_ms })
}

fn database(service: &Service) -> Option<String> {
    service.database.as_ref().map(|database| topology::engine(database.engine).to_owned())
}

/// All about one service. `env` is its whole own environment; what is secret in it is masked
/// here, by the names that the plan knows and by the shape of names that people use for secrets.
pub(crate) fn description(
    snapshot: &Snapshot,
    name: &ServiceName,
    env: &std::collections::BTreeMap<String, String>,
    about: &About,
    gateway: &Gateway,
) -> Option<view::Description> {
    let app = &snapshot.plan.app;
    let declared = app.services.get(name)?;
    let of = &snapshot.plan.services[name];
    let url =
        |name: String, port: u16| view::NamedUrl { name, url: format!("http://127.0.0.1:{port}") };
    let mut urls: Vec<view::NamedUrl> =
        of.edges.iter().map(|(callee, port)| url(format!("→ {callee}"), *port)).collect();
    urls.push(url("own API (Dapr)".to_owned(), of.api_port));
    urls.push(url("own API (gRPC)".to_owned(), of.grpc_port));
    Some(view::Description {
        schema: view::Description::SCHEMA.to_owned(),
        service: service(declared, &snapshot.services[name], gateway),
        path: declared.path.display().to_string(),
        build_command: declared.build.as_ref().map(archipel_model::Command::show),
        run_command: declared.run.show(),
        urls,
        routes: routes_to(snapshot, name),
        calls: declared.calls.keys().map(ToString::to_string).collect(),
        called_by: app.callers(name).map(|caller| caller.name.to_string()).collect(),
        publishes: declared.publishes.iter().map(ToString::to_string).collect(),
        subscribes: declared
            .subscribes
            .iter()
            .map(|(pattern, subscription)| format!("{pattern} → {}", subscription.path))
            .collect(),
        database: database(declared),
        env: env.iter().map(|(key, value)| masked(declared, key, value)).collect(),
        health: health(declared),
        stop: format!(
            "drain {}, {}, grace {}",
            show_duration(declared.stop.drain),
            declared.stop.signal,
            show_duration(declared.stop.grace)
        ),
        restart: format!(
            "{}, {} to {}, anew after {} ready",
            declared.restart.on,
            show_duration(declared.restart.backoff.min),
            show_duration(declared.restart.backoff.max),
            show_duration(declared.restart.reset_after)
        ),
        isolation: about.isolation.clone(),
    })
}

fn routes_to(snapshot: &Snapshot, name: &ServiceName) -> Vec<String> {
    let routes = snapshot.plan.app.gateway.iter().flat_map(|gateway| &gateway.routes);
    routes
        .filter(|route| route.callees().contains(&name))
        .map(|route| {
            let method = route.method.as_ref().map(|m| format!("{m} ")).unwrap_or_default();
            format!("{method}{}{}", route.host.as_deref().unwrap_or_default(), route.path)
        })
        .collect()
}

fn health(service: &Service) -> Vec<String> {
    let health = &service.health;
    let mut lines = vec![
        format!(
            "startup {} within {}",
            check(&health.startup),
            show_duration(health.startup.within)
        ),
        format!("ready {} every {}", check(&health.ready), show_duration(health.ready.every)),
    ];
    if let Some(live) = &health.live {
        lines.push(format!("live {} every {}", check(live), show_duration(live.every)));
    }
    lines
}

fn check(probe: &Probe) -> String {
    match &probe.check {
        Check::Http { path } => format!("GET {path}"),
        Check::Tcp => "tcp".to_owned(),
        Check::Grpc => "grpc".to_owned(),
        Check::Exec(command) => format!("exec {}", command.show()),
        Check::Log { pattern } => format!("log /{pattern}/"),
        Check::Notify => "notify".to_owned(),
    }
}

fn masked(service: &Service, key: &str, value: &str) -> view::EnvEntry {
    let declared_secret =
        matches!(service.env.get(key), Some(EnvValue::Secret(_) | EnvValue::Hidden(_)));
    let secret = declared_secret || looks_secret(key, value);
    let value = if secret { "••••••".to_owned() } else { value.to_owned() };
    view::EnvEntry { name: key.to_owned(), value, masked: secret }
}

/// Errs on the side of hiding: names that people give to secrets, and URLs with a password.
fn looks_secret(key: &str, value: &str) -> bool {
    const WORDS: [&str; 9] = [
        "OTLP_HEADERS",
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "PRIVATE",
        "API_KEY",
        "_KEY",
    ];
    let key = key.to_ascii_uppercase();
    let named =
        WORDS.iter().any(|word| key.contains(word)) || key == "KEY" || key.ends_with("_DSN");
    let in_url = value.split_once("://").is_some_and(|(_, rest)| {
        rest.split('/').next().is_some_and(|authority| {
            authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        })
    });
    named || in_url
}

#[cfg(test)]
mod tests {
    use super::looks_secret;

    #[test]
    fn secrets_are_masked_by_name_and_by_shape() {
        for (key, value) in [
            ("DAPR_API_TOKEN", "x"),
            ("JWT_SIGNING_KEY", "x"),
            ("PGPASSWORD", "x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "dapr-api-token=x"),
            ("ConnectionStrings__db", "postgres://u:p@h/db"),
            ("DATABASE_URL", "postgres://u:p@h:5432/db"),
        ] {
            assert!(looks_secret(key, value), "{key}");
        }
        for (key, value) in [
            ("PORT", "80"),
            ("DATABASE_URL", "sqlite:////a/b.db"),
            ("CART_URL", "http://127.0.0.1:1"),
        ] {
            assert!(!looks_secret(key, value), "{key}");
        }
    }
}
