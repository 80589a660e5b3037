//! Edges between services: calls and order of start.

use archipel_model::{DatabaseEngine, Protocol, ServiceName};
use std::collections::BTreeMap;

use super::{Names, warn_disabled};
use crate::Code;
use crate::read::service::ServiceDraft;
use crate::sink::Sink;

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    for (name, (span, _)) in &names.draft.externals {
        if let Some(service) = names.services.get(name) {
            out.report(Code::NameTwice, *span, format!("`{name}` is a service and an external"))
                .label("the external")
                .also(service.at, "the service")
                .help("both are called by name; rename one of the two");
        }
    }
    for draft in names.services.values() {
        check_calls(draft, names, out);
        check_protocols(draft, names, out);
        check_dependencies(draft, names, out);
        check_database(draft, out);
    }
    check_database_names(names, out);
}

fn check_calls(draft: &ServiceDraft, names: &Names<'_>, out: &mut Sink) {
    let from = &draft.service.name;
    for callee in &draft.calls {
        let (to, span) = (&callee.value, callee.span);
        if to == from {
            out.report(Code::SelfCall, span, format!("service `{from}` calls itself"))
                .label("this is itself")
                .help("a call to oneself needs no network; remove it from `calls`");
        } else if !names.is_defined(to) {
            let otherwise = "define it in [services] or, when it is not run here, in [externals]";
            let help = out.hint(to.as_str(), names.all(), otherwise);
            let message = format!("service `{from}` calls `{to}`, which is not defined");
            out.report(Code::UnknownCallee, span, message).label("no such service").help(help);
        } else if names.is_disabled(to) {
            warn_disabled(out, span, to, "the caller gets no URL for it");
        }
    }
}

fn check_protocols(draft: &ServiceDraft, names: &Names<'_>, out: &mut Sink) {
    for (callee, said) in &draft.spoken {
        let Some(callee) = names.services.get(callee) else { continue };
        if callee.service.protocol != said.value {
            let (name, protocol) = (&callee.service.name, word(callee.service.protocol));
            let said_word = word(said.value);
            out.report(
                Code::ProtocolMismatch,
                said.span,
                format!("`{name}` speaks {protocol}, not {said_word}"),
            )
            .label("another protocol than the callee's")
            .also(callee.at, "the callee")
            .help(format!("set protocol = \"{said_word}\" in `{name}`, or remove it here"));
        }
    }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
    }
}

fn check_dependencies(draft: &ServiceDraft, names: &Names<'_>, out: &mut Sink) {
    let from = &draft.service.name;
    for dependency in &draft.depends_on {
        let (to, span) = (&dependency.value, dependency.span);
        if names.is_external(to) && !names.services.contains_key(to) {
            let message = format!("`{from}` waits for `{to}`, which is not started here");
            out.report(Code::UnknownDependency, span, message)
                .label("an external")
                .help("`depends_on` is the order in which services start; put it into `calls`");
        } else if !names.services.contains_key(to) {
            let help = out.hint(to.as_str(), names.all_services(), "define it in [services]");
            let message = format!("service `{from}` depends on `{to}`, which is not defined");
            out.report(Code::UnknownDependency, span, message).label("no such service").help(help);
        } else if names.is_disabled(to) {
            warn_disabled(out, span, to, "the start does not wait for it");
        }
    }
}

fn check_database(draft: &ServiceDraft, out: &mut Sink) {
    let service = &draft.service;
    let sqlite = service.database.as_ref().is_some_and(|db| db.engine == DatabaseEngine::Sqlite);
    if let (true, 2.., Some(database_at)) = (sqlite, service.replicas, draft.database_at) {
        let message = format!(
            "{} replicas of `{}` would share one SQLite file",
            service.replicas, service.name
        );
        out.report(Code::SqliteReplicas, draft.replicas_at, message)
            .label("at most 1")
            .also(database_at, "sqlite")
            .help("set replicas = 1, or use engine = \"postgres\"");
    }
}

/// Two services with one Postgres database would share what each should own.
fn check_database_names(names: &Names<'_>, out: &mut Sink) {
    let mut owners: BTreeMap<&str, (&ServiceName, &ServiceDraft)> = BTreeMap::new();
    for draft in names.services.values() {
        let Some(database) = &draft.service.database else { continue };
        let Some(at) = draft.database_at else { continue };
        if database.engine != DatabaseEngine::Postgres {
            continue;
        }
        match owners.get(database.name.as_str()) {
            Some((owner, first)) => {
                let message = format!(
                    "`{}` and `{owner}` have the same database `{}`",
                    draft.service.name, database.name
                );
                let note = out.report(Code::BadDatabase, at, message);
                note.label("a database belongs to one service")
                    .help("give one of the two another `name`; share data through calls or events");
                if let Some(first_at) = first.database_at {
                    note.also(first_at, "the other");
                }
            }
            None => {
                owners.insert(&database.name, (&draft.service.name, draft));
            }
        }
    }
}
