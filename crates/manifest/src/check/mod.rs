//! What can only be judged with the whole application at hand: references, cycles, collisions.

mod calls;
mod cycle;
mod env;
mod guard;
mod jobs;
mod paths;
mod ports;
mod profiles;
mod routes;
mod steer;
mod tls;
mod topics;
mod watch;

use std::collections::BTreeMap;

use archipel_model::ServiceName;

use crate::document::Document;
use crate::files::Files;
use crate::load::Question;
use crate::read::Draft;
use crate::read::service::ServiceDraft;
use crate::sink::Sink;
use crate::source::Span;

/// Services and externals by name.
pub(crate) struct Names<'a> {
    pub(crate) services: BTreeMap<&'a ServiceName, &'a ServiceDraft>,
    pub(crate) draft: &'a Draft,
}

impl Names<'_> {
    pub(crate) fn is_external(&self, name: &ServiceName) -> bool {
        self.draft.externals.contains_key(name)
    }

    pub(crate) fn is_defined(&self, name: &ServiceName) -> bool {
        self.services.contains_key(name) || self.is_external(name)
    }

    pub(crate) fn is_disabled(&self, name: &ServiceName) -> bool {
        self.services.get(name).is_some_and(|service| service.disabled)
    }

    /// Of what can be called.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let services = self.services.keys().map(|name| name.as_str());
        services.chain(self.draft.externals.keys().map(ServiceName::as_str))
    }

    pub(crate) fn all_services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(|name| name.as_str())
    }
}

pub(crate) fn check(
    document: &Document,
    draft: &Draft,
    files: &dyn Files,
    question: Option<Question>,
    out: &mut Sink,
) {
    let services = draft.services.iter().map(|draft| (&draft.service.name, draft)).collect();
    let names = Names { services, draft };
    calls::check(&names, out);
    cycle::check(&names, out);
    ports::check(&names, out);
    topics::check(&names, out);
    routes::check(&names, out);
    steer::check(&names, out);
    tls::check(&names, out);
    guard::check(&names, out);
    jobs::check(&names, out);
    watch::check(&names, question, out);
    env::check(document, &names, out);
    profiles::check(&document.base, out);
    paths::check(&draft.paths, files, out);
}

/// A reference to a service that `disabled` leaves out.
pub(crate) fn warn_disabled(out: &mut Sink, span: Span, name: &ServiceName, meanwhile: &str) {
    out.report(crate::Code::Disabled, span, format!("service `{name}` is disabled"))
        .label("left out")
        .help(meanwhile);
}
