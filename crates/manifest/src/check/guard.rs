//! Rules of the gateway: that names lead somewhere, and that rules fit where they are used.

use archipel_model::{Auth, LimitBy, Protocol, SecretName};

use super::Names;
use crate::Code;
use crate::read::gateway::{GatewayDraft, RouteDraft};
use crate::sink::{Sink, shown};
use crate::source::Sited;

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    let Some(gateway) = &names.draft.gateway else { return };
    let draft = &gateway.guard;
    for secret in &draft.secrets {
        if !names.draft.secrets.contains_key(&secret.value) {
            let name = &secret.value;
            let known = names.draft.secrets.keys().map(SecretName::as_str);
            let otherwise = format!("declare it: [secrets] {name} = {{ required = true }}");
            let help = out.hint(name.as_str(), known, otherwise);
            out.report(
                Code::UnknownSecret,
                secret.span,
                format!("secret `{name}` is not declared"),
            )
            .label("no such secret")
            .help(help);
        }
    }
    for service in &draft.services {
        let name = &service.value;
        let help = match names.services.get(name) {
            Some(of) if of.service.protocol == Protocol::Http => continue,
            Some(_) => "it must speak HTTP".to_owned(),
            None => out.hint(
                name.as_str(),
                names.all_services(),
                "define it in [services], or give the URL",
            ),
        };
        out.report(Code::BadAuth, service.span, format!("`{name}` cannot be asked for keys"))
            .label("no such service")
            .help(help);
    }
    for limit in &draft.limits {
        if let Some(by) = check_limit(limit, gateway, out) {
            out.report(
                Code::BadLimit,
                limit.span,
                format!("limit `{}` counts by {by}, and the gateway knows no one yet", limit.value),
            )
            .label("for every request, before `auth`")
            .help("name the limit on routes that have `auth`, or count by `ip`");
        }
    }
    for route in &gateway.routes {
        check_route(route, gateway, out);
    }
}

fn check_route(draft: &RouteDraft, gateway: &GatewayDraft, out: &mut Sink) {
    let rules = &gateway.guard.guard.auth;
    let rule = draft.rules.auth.as_ref().and_then(|auth| {
        let rule = rules.get(&auth.value);
        if rule.is_none() {
            let known = rules.keys().map(String::as_str);
            let otherwise = format!("define it: [gateway.auth.{}]", shown(&auth.value));
            unknown(auth, "[gateway.auth]", &known.collect::<Vec<_>>(), otherwise, out);
        }
        rule
    });
    if let (Some(at), true) = (draft.rules.scopes_at, !matches!(rule, Some(Auth::Jwt(_)))) {
        out.report(Code::BadAuth, at, "`scopes` are in tokens, and this route asks for none")
            .label("nobody could pass, or nothing is asked")
            .help("add `auth` with a rule that has `jwt`");
    }
    for limit in &draft.rules.limits {
        let Some(by) = check_limit(limit, gateway, out) else { continue };
        let known = match rule {
            Some(Auth::Keys(_)) => by == "key",
            Some(_) => by == "user",
            // That the rule is missing was said.
            None => draft.rules.auth.is_some(),
        };
        if !known {
            let message =
                format!("limit `{}` counts by {by}, which this route does not know", limit.value);
            out.report(Code::BadLimit, limit.span, message)
                .label("would count by address")
                .help("`key` needs `auth` with `keys`; `user` needs `auth` with `jwt` or `basic`");
        }
    }
}

/// By what identity it counts, if by one.
fn check_limit(
    limit: &Sited<String>,
    gateway: &GatewayDraft,
    out: &mut Sink,
) -> Option<&'static str> {
    let draft = &gateway.guard;
    if !draft.limit_at.contains_key(&limit.value) {
        let known = draft.limit_at.keys().map(String::as_str);
        let name = shown(&limit.value);
        let otherwise = format!("define it: [gateway.limits.{name}] rate = \"50/s\"");
        unknown(limit, "[gateway.limits]", &known.collect::<Vec<_>>(), otherwise, out);
        return None;
    }
    let by = &draft.guard.limits.get(&limit.value)?.by;
    by.iter().find_map(|by| match by {
        LimitBy::Key => Some("key"),
        LimitBy::User => Some("user"),
        _ => None,
    })
}

fn unknown(name: &Sited<String>, section: &str, known: &[&str], otherwise: String, out: &mut Sink) {
    let help = out.hint(&name.value, known.iter().copied(), otherwise);
    let message = format!("there is no `{}` in {section}", shown(&name.value));
    out.report(Code::UnknownRule, name.span, message).label("not defined").help(help);
}
