//! Which certificate a client sees: by the name it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::acme::{ALPN_CHALLENGE, Challenges};
use super::authority::LeafIssuer;
use super::certificate::Certificate;

/// Certificates by name; swapped as a whole.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the star: `.example.org`.
    wild: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that name nobody we know.
    first: Option<Arc<CertifiedKey>>,
}

impl Shelf {
    /// Of two for the same name the earlier one stays.
    pub(super) fn add(&mut self, certificate: &Certificate) {
        for name in &certificate.facts.names {
            let (map, name) = match name.strip_prefix('*') {
                Some(below) => (&mut self.wild, below),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.to_owned()).or_insert_with(|| Arc::clone(&certificate.key));
        }
        self.first.get_or_insert_with(|| Arc::clone(&certificate.key));
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        // A star stands for one label (RFC 9525, section 6.3).
        self.exact.get(name).or_else(|| name.find('.').and_then(|dot| self.wild.get(&name[dot..])))
    }
}

/// Answers for one door.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) shelf: ArcSwap<Shelf>,
    /// For what the shelf does not have, when the manifest says `auto`.
    pub(super) local: Option<LeafIssuer>,
    pub(super) challenges: Arc<Challenges>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        if hello.alpn().is_some_and(|mut wanted| wanted.any(|one| one == ALPN_CHALLENGE)) {
            return self.challenges.certificate(name.as_deref()?);
        }
        let shelf = self.shelf.load();
        if let Some(found) = name.as_deref().and_then(|name| shelf.find(name)) {
            return Some(Arc::clone(found));
        }
        if let Some(own) = self.local.as_ref().and_then(|local| local.issue(name.as_deref())) {
            return Some(own);
        }
        shelf.first.clone()
    }
}
