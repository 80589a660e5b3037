//! Environment variables, references in them, and secrets.

use std::collections::BTreeSet;

use archipel_model::{SecretName, ServiceName};

use super::Names;
use crate::Code;
use crate::document::Document;
use crate::read::service::EnvDraft;
use crate::sink::Sink;
use crate::source::Span;
use crate::tree::{Node, Value};

pub(super) fn check(document: &Document, names: &Names<'_>, out: &mut Sink) {
    if let Some(secret) = &names.draft.storage.secret {
        check_secret(&secret.value, secret.span, names, out);
    }
    for draft in names.services.values() {
        let callees: BTreeSet<&ServiceName> = draft.service.calls.keys().collect();
        let owner = Owner {
            what: format!("service `{}`", draft.service.name),
            callees: &callees,
            has_database: draft.service.database.is_some(),
        };
        check_env(&draft.env, &owner, names, out);
    }
    for draft in &names.draft.jobs {
        let service = draft.service.as_ref().and_then(|name| names.services.get(&name.value));
        let callees: BTreeSet<&ServiceName> =
            service.iter().flat_map(|service| service.service.calls.keys()).collect();
        let owner = Owner {
            what: format!("job `{}`", draft.job.name),
            callees: &callees,
            has_database: service.is_some_and(|service| service.service.database.is_some()),
        };
        check_env(&draft.env, &owner, names, out);
    }
    check_unused(document, names, out);
}

struct Owner<'a> {
    what: String,
    callees: &'a BTreeSet<&'a ServiceName>,
    has_database: bool,
}

fn check_secret(name: &SecretName, span: Span, names: &Names<'_>, out: &mut Sink) {
    if !names.draft.secrets.contains_key(name) {
        let known = names.draft.secrets.keys().map(SecretName::as_str);
        let otherwise = format!("declare it: [secrets] {name} = {{ required = true }}");
        let help = out.hint(name.as_str(), known, otherwise);
        out.report(Code::UnknownSecret, span, format!("secret `{name}` is not declared"))
            .label("no such secret")
            .help(help);
    }
}

fn check_env(env: &EnvDraft, owner: &Owner<'_>, names: &Names<'_>, out: &mut Sink) {
    for variable in &env.variables {
        check_variable(&variable.value, variable.span, owner, out);
    }
    for secret in &env.secrets {
        let (name, span) = (&secret.value, secret.span);
        check_secret(name, span, names, out);
    }
    for url in &env.urls {
        let (name, span) = (&url.value, url.span);
        if !names.is_defined(name) {
            let help =
                out.hint(name.as_str(), names.all(), "define it in [services] or [externals]");
            let message = format!("{} refers to `{name}`, which is not defined", owner.what);
            out.report(Code::UndeclaredReference, span, message)
                .label("no such service")
                .help(help);
        } else if !owner.callees.contains(name) {
            let message = format!("{} refers to `{name}` without calling it", owner.what);
            out.report(Code::UndeclaredReference, span, message)
                .label("not in `calls`")
                .help(format!("add \"{name}\" to `calls`; only declared callees get a URL"));
        } else if names.is_disabled(name) {
            let message = format!("{} refers to `{name}`, which is disabled", owner.what);
            out.report(Code::UndeclaredReference, span, message)
                .label("has no URL")
                .help("give the variable a fixed value while the service is disabled");
        }
    }
}

fn check_variable(name: &str, span: crate::source::Span, owner: &Owner<'_>, out: &mut Sink) {
    let reserved = match name {
        "PORT" => Some(
            "remove it: each instance gets a free port as $PORT; for a fixed one write `port = …`",
        ),
        "HOST" => Some("remove it: services listen on loopback, and the gateway on `listen`"),
        "DATABASE_URL" if owner.has_database => {
            Some("remove it, or the key `database`: that is what sets this variable")
        }
        "APP_API_TOKEN" => Some("remove it: Archipel gives each service its own token"),
        _ if name.starts_with("ARCHIPEL_") => {
            Some("names with ARCHIPEL_ are set by Archipel; choose another")
        }
        _ if name.starts_with("DAPR_") => {
            Some("names with DAPR_ are set by Archipel, for programs made for Dapr; choose another")
        }
        _ => None,
    };
    if let Some(help) = reserved {
        out.report(Code::ReservedVariable, span, format!("`{name}` is set by Archipel itself"))
            .label("cannot be set by hand")
            .help(help);
        return;
    }
    let hidden = owner.callees.iter().find(|callee| name == format!("{}_URL", callee.env_name()));
    if let Some(callee) = hidden {
        let message = format!("`{name}` hides the URL of `{callee}` from {}", owner.what);
        out.report(Code::HiddenVariable, span, message)
            .label("set by Archipel, because of `calls`")
            .help(format!(
                "remove it, or `{callee}` from `calls` when the service shall call elsewhere"
            ));
    }
}

/// A secret used only in one profile is used. So the whole file counts, with every profile.
fn check_unused(document: &Document, names: &Names<'_>, out: &mut Sink) {
    let mut used = BTreeSet::new();
    collect_secrets(&document.base, &mut used);
    for (name, (span, _)) in &names.draft.secrets {
        if !used.contains(name.as_str()) {
            out.report(Code::UnusedSecret, *span, format!("secret `{name}` is not used"))
                .label("nobody gets it")
                .help(format!(
                    "remove it, or use it: env = {{ NAME = {{ secret = \"{name}\" }} }}"
                ));
        }
    }
}

fn collect_secrets<'a>(node: &'a Node, used: &mut BTreeSet<&'a str>) {
    match &node.value {
        Value::Table(table) => {
            for (key, entry) in table {
                match entry.node.text() {
                    Some(name) if key == "secret" => {
                        used.insert(name);
                    }
                    _ => collect_secrets(&entry.node, used),
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| collect_secrets(item, used)),
        _ => {}
    }
}
