//! Alerts and checks: that the names in them lead somewhere, and that questions can be asked.

use archipel_model::{SecretName, WatchName};

use super::Names;
use crate::Code;
use crate::load::Question;
use crate::sink::Sink;

pub(super) fn check(names: &Names<'_>, question: Option<Question>, out: &mut Sink) {
    let draft = &names.draft.watch;
    for secret in &draft.secrets {
        let name = &secret.value;
        if !names.draft.secrets.contains_key(name) {
            let known = names.draft.secrets.keys().map(SecretName::as_str);
            let otherwise = format!("declare it: [secrets] {name} = {{ required = true }}");
            let help = out.hint(name.as_str(), known, otherwise);
            let message = format!("secret `{name}` is not declared");
            out.report(Code::UnknownSecret, secret.span, message)
                .label("no such secret")
                .help(help);
        }
    }
    for told in &draft.notify {
        let name = &told.value;
        if !draft.watch.channels.contains_key(name) {
            let known = draft.watch.channels.keys().map(WatchName::as_str);
            let otherwise = format!("define it: [notify.{name}] webhook = \"https://…\"");
            let help = out.hint(name.as_str(), known, otherwise);
            let message = format!("channel `{name}` is not defined");
            out.report(Code::UnknownChannel, told.span, message)
                .label("no such channel")
                .help(help);
        }
    }
    if names.draft.gateway.is_none() {
        for span in &draft.of_gateway {
            out.report(Code::BadCheck, *span, "a check asks the gateway, and there is none")
                .label("a path of the gateway")
                .help("give a whole URL, or add [gateway]");
        }
    }
    let Some(question) = question else { return };
    for asked in &draft.questions {
        if let Err(why) = question(&asked.value) {
            out.report(Code::BadQuestion, asked.span, "this question cannot be read")
                .label(why)
                .help("terms such as service:orders, status>=500, duration>200ms or \"words\"");
        }
    }
}
