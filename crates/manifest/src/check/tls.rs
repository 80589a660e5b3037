//! Hosts for which `auto` finds no certificate.

use archipel_model::is_local_host;

use super::Names;
use crate::Code;
use crate::sink::{Sink, shown};

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    let Some(gateway) = &names.draft.gateway else { return };
    let Some(auto) = gateway.tls.auto_at else { return };
    // Files may hold what `auto` cannot get, which only reading them would tell.
    if gateway.tls.tls.as_ref().is_some_and(|tls| !tls.files.is_empty()) {
        return;
    }
    for host in &gateway.hosts {
        let name = shown(&host.value);
        let why = if host.value.starts_with("*.") && !is_local_host(&host.value) {
            "an ACME authority gives one for `*.` only to who can change its DNS"
        } else if !host.value.contains('.') && host.value != "localhost" {
            "it is neither a public name nor one of this machine's"
        } else {
            continue;
        };
        out.report(Code::NoCertificate, host.span, format!("no certificate can be got for `{name}`"))
            .label(why)
            .also(auto, "certificates are got automatically")
            .help("list each host by its full name, or give files: tls = { auto = true, cert = \"chain.pem\", key = \"key.pem\" }");
    }
}
