//! TLS at the gateway.

use archipel_model::{AutoTls, CertificateFiles, ClientCa, Tls, ToHttps};

use super::{Reader, Want, text};
use crate::Code;
use crate::shape::format::Format;
use crate::source::{Sited, Span};
use crate::tree::Node;

#[derive(Default)]
pub(crate) struct TlsDraft {
    pub(crate) tls: Option<Tls>,
    /// Where certificates are asked for that nobody has to fetch.
    pub(crate) auto_at: Option<Span>,
    pub(crate) to_https: ToHttps,
    pub(crate) http_at: Option<Span>,
}

impl Reader<'_> {
    /// `gateway`: its table.
    pub(super) fn tls(&mut self, gateway: &Node) -> TlsDraft {
        let mut draft = TlsDraft::default();
        if let Some(node) = gateway.get("tls") {
            match node.text() {
                Some("auto") => {
                    draft.auto_at = Some(node.span);
                    draft.tls = Some(Tls { auto: Some(AutoTls::default()), ..Tls::default() });
                }
                Some(_) => {}
                None => self.tls_table(node, &mut draft),
            }
        }
        let http = text(gateway, "http", Format::NonEmpty);
        draft.to_https.http = http.as_ref().and_then(|http| self.listen(http));
        draft.http_at = http.map(|http| http.span);
        draft.to_https.hsts = self.period(gateway, "hsts");
        let needless = ["http", "hsts"].into_iter().find_map(|key| gateway.entry(key));
        if let Some(entry) = needless.filter(|_| draft.tls.is_none()) {
            let help = "add tls = \"auto\", or a table with `cert` and `key`; or remove this";
            self.out
                .report(Code::MissingKey, entry.key, "there is no HTTPS to lead anybody to")
                .label("needs `tls` beside it")
                .help(help);
        }
        draft
    }

    fn tls_table(&mut self, node: &Node, draft: &mut TlsDraft) {
        if node.table().is_none() {
            return;
        }
        let mut tls = Tls::default();
        tls.files.extend(self.pair(node));
        for pair in node.get("certificates").and_then(Node::list).unwrap_or_default() {
            tls.files.extend(self.pair(pair));
        }
        if let Some(auto) = node.get("auto").filter(|auto| auto.bool() == Some(true)) {
            draft.auto_at = Some(auto.span);
            tls.auto = Some(AutoTls {
                directory: self.directory_url(node),
                directory_ca: self.pem(node, "directory_ca"),
                email: text(node, "email", Format::NonEmpty).map(|email| email.value.to_owned()),
            });
        }
        tls.client_ca = self.pem(node, "client_ca").map(|file| {
            let required = node.get("client_cert").and_then(Node::text) != Some("optional");
            ClientCa { file, required }
        });
        if let Some(entry) = node.entry("client_cert").filter(|_| node.get("client_ca").is_none()) {
            self.out
                .report(Code::MissingKey, entry.key, "`client_cert` needs `client_ca`")
                .label("nobody would vouch for clients")
                .help("name the PEM file with the authority of the clients in `client_ca`");
        }
        draft.tls = Some(tls);
    }

    /// `cert` and `key`, which belong together.
    fn pair(&mut self, node: &Node) -> Option<CertificateFiles> {
        for (one, other) in [("cert", "key"), ("key", "cert")] {
            if let Some(entry) = node.entry(one).filter(|_| node.get(other).is_none()) {
                self.out
                    .report(Code::MissingKey, entry.key, format!("`{one}` needs `{other}`"))
                    .label("one of a pair")
                    .help("`cert` is the PEM file with the chain, `key` the one with its key");
                return None;
            }
        }
        Some(CertificateFiles { cert: self.pem(node, "cert")?, key: self.pem(node, "key")? })
    }

    fn pem(&mut self, node: &Node, key: &str) -> Option<std::path::PathBuf> {
        let file = text(node, key, Format::NonEmpty)?;
        Some(self.path_beside_file(&file, Want::File, format!("`{key}` of the gateway's TLS")))
    }

    fn directory_url(&mut self, node: &Node) -> Option<String> {
        let Sited { value, span } = text(node, "directory", Format::HttpUrl)?;
        if !value.starts_with("https://") {
            self.out
                .report(Code::BadUrl, span, "the ACME directory is not an `https://` URL")
                .label("not usable")
                .help("for example \"https://acme-v02.api.letsencrypt.org/directory\"");
        }
        Some(value.to_owned())
    }
}
