//! Jobs: whose they are.

use super::{Names, warn_disabled};
use crate::Code;
use crate::sink::Sink;

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    for draft in &names.draft.jobs {
        let Some(service) = &draft.service else { continue };
        let (name, span) = (&service.value, service.span);
        if !names.services.contains_key(name) {
            let help = out.hint(name.as_str(), names.all_services(), "define it in [services]");
            let message =
                format!("job `{}` names service `{name}`, which is not defined", draft.job.name);
            out.report(Code::UnknownJobService, span, message).label("no such service").help(help);
        } else if names.is_disabled(name) {
            warn_disabled(out, span, name, "the job is left out too");
        }
    }
}
