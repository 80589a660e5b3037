//! What is declared, as one picture: services, the edges between them, routes, topics, databases.

use archipel_broker::TopicView;
use archipel_control::{Control, Snapshot};
use archipel_model::{DatabaseEngine, Lead, Protocol, Route, Service};

use crate::view;

pub(crate) fn graph(snapshot: &Snapshot, topics: &[TopicView]) -> view::Graph {
    let app = &snapshot.plan.app;
    let entrance = app.gateway.as_ref();
    view::Graph {
        schema: view::Graph::SCHEMA.to_owned(),
        generation: snapshot.generation,
        listen: entrance.map(|gateway| gateway.listen.to_string()),
        hosts: entrance.map(|gateway| gateway.hosts.clone()).unwrap_or_default(),
        routes: entrance.iter().flat_map(|gateway| &gateway.routes).map(route).collect(),
        services: app.services.values().map(node).collect(),
        externals: app
            .externals
            .values()
            .map(|external| view::GraphExternal {
                name: external.name.to_string(),
                url: without_password(&external.url),
                owner: external.owner.clone(),
            })
            .collect(),
        topics: topics
            .iter()
            .map(|topic| view::GraphTopic {
                name: topic.name.to_string(),
                publisher: topic.publisher.as_ref().map(ToString::to_string),
                subscribers: topic.subscribers.iter().map(|s| s.service.to_string()).collect(),
                description: app.events.get(&topic.name).and_then(|e| e.description.clone()),
            })
            .collect(),
    }
}

fn node(service: &Service) -> view::GraphService {
    view::GraphService {
        name: service.name.to_string(),
        protocol: protocol(service.protocol).to_owned(),
        calls: service.calls.keys().map(ToString::to_string).collect(),
        database: service.database.as_ref().map(|database| engine(database.engine).to_owned()),
        labels: service.labels.clone(),
    }
}

pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
    }
}

fn route(route: &Route) -> view::Route {
    view::Route {
        label: route.label(),
        host: route.host.clone(),
        method: route.method.clone(),
        path: route.path.to_string(),
        to: lead(&route.to),
        targets: route.to.services().into_iter().map(ToString::to_string).collect(),
        strip: route.strip.clone(),
        timeout_ms: route.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        body_bytes_max: route.body_max.map(|bytes| bytes.0),
    }
}

/// In a few words: a name, or what happens instead.
fn lead(lead: &Lead) -> String {
    match lead {
        Lead::Service(name) => name.to_string(),
        Lead::Split(shares) => {
            let each = shares.iter().map(|(name, share)| format!("{name} {share}%"));
            each.collect::<Vec<_>>().join(", ")
        }
        Lead::Redirect { to, .. } => format!("→ {to}"),
        Lead::Respond(respond) => respond.status.to_string(),
    }
}

pub(crate) fn engine(engine: DatabaseEngine) -> &'static str {
    match engine {
        DatabaseEngine::Sqlite => "sqlite",
        DatabaseEngine::Postgres => "postgres",
        DatabaseEngine::External => "external",
    }
}

/// `http://user:password@host/` → `http://host/`
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Who owns which database, and what its file weighs.
pub(crate) async fn databases(control: &Control, snapshot: &Snapshot) -> view::Databases {
    let mut databases = Vec::new();
    for service in snapshot.plan.app.services.values() {
        let Some(database) = &service.database else { continue };
        // A service that is not prepared yet has no file to speak of.
        let environment = control.environment(service.name.as_str()).await.ok();
        let file =
            environment.and_then(|environment| environment.whole.get("DATABASE_PATH").cloned());
        let bytes = match &file {
            Some(file) => size_of(file.clone()).await,
            None => None,
        };
        databases.push(view::Database {
            service: service.name.to_string(),
            engine: engine(database.engine).to_owned(),
            name: database.name.clone(),
            file,
            bytes,
            migrate: database.migrate.as_ref().map(archipel_model::Command::show),
        });
    }
    view::Databases { schema: view::Databases::SCHEMA.to_owned(), databases }
}

/// With what SQLite keeps beside the file.
async fn size_of(file: String) -> Option<u64> {
    archipel_rt::blocking(move || {
        let main = std::fs::metadata(&file).ok()?.len();
        let beside = |end: &str| std::fs::metadata(format!("{file}{end}")).map_or(0, |m| m.len());
        Some(main + beside("-wal") + beside("-shm"))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("http://legacy:9000/shop", "http://legacy:9000/shop"),
            ("http://bob:hunter2@legacy:9000/a@b", "http://legacy:9000/a@b"),
            ("http://token@legacy", "http://legacy"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
