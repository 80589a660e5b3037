//! Fixed ports and the gateway's address.

use std::collections::BTreeMap;

use super::Names;
use crate::Code;
use crate::sink::Sink;
use crate::source::Span;

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    let mut owners: BTreeMap<u16, (String, Span)> = BTreeMap::new();
    if let Some(gateway) = &names.draft.gateway
        && let (port @ 1.., Some(span)) = (gateway.listen.port(), gateway.listen_at)
    {
        owners.insert(port, ("the gateway".to_owned(), span));
    }
    if let Some(gateway) = &names.draft.gateway
        && let (Some(http), Some(span)) = (gateway.tls.to_https.http, gateway.tls.http_at)
        && http.port() != 0
    {
        let own = ("plain HTTP at the gateway".to_owned(), span);
        if let Some((owner, first)) = owners.insert(http.port(), own) {
            let message = format!("port {} for plain HTTP is taken by {owner}", http.port());
            out.report(Code::PortTwice, span, message)
                .label("already taken")
                .also(first, "first used here")
                .help("plain HTTP on the TLS port is sent on too; `http` is for another port");
        }
    }
    for draft in names.services.values().filter(|draft| !draft.disabled) {
        let service = &draft.service;
        let (Some(port), Some(span)) = (service.port, draft.port_at) else { continue };
        if service.replicas > 1 {
            let message = format!(
                "{} replicas of `{}` cannot share port {port}",
                service.replicas, service.name
            );
            out.report(Code::PortReplicas, span, message)
                .label("one instance only")
                .also(draft.replicas_at, "more than one")
                .help("remove `port`: each instance gets a free one as $PORT, and callers a URL");
        }
        match owners.get(&port) {
            Some((owner, first)) => {
                let message = format!("port {port} of `{}` is taken by {owner}", service.name);
                out.report(Code::PortTwice, span, message)
                    .label("already taken")
                    .also(*first, "first used here")
                    .help("remove `port` and a free one is given as $PORT, or choose another");
            }
            None => {
                owners.insert(port, (format!("`{}`", service.name), span));
            }
        }
    }
}
