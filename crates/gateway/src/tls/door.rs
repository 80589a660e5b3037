//! What one listener uses for TLS now.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use archipel_model::{CertificateFiles, is_local_host};
use archipel_rt::CancellationToken;
use http::HeaderValue;
use rustls::server::{ClientHello, WebPkiClientVerifier};
use rustls::{CipherSuite, ServerConfig};

use super::acme::{ALPN_CHALLENGE, Acme};
use super::authority::{LeafIssuer, LocalAuthority};
use super::certificate::{self, Certificate};
use super::outbound::authorities;
use super::renewal::{Renewal, RetryPause};
use super::shelf::{Resolver, Shelf};
use super::{Tls, TlsFault, files, provider};
use crate::shared::Shared;

pub(crate) struct TlsDoor {
    wanted: Tls,
    hosts: Vec<String>,
    pub(super) configs: ArcSwap<Configs>,
    pub(super) hsts: Option<HeaderValue>,
    resolver: Arc<Resolver>,
    sources: Mutex<Sources>,
    /// Ends the tasks that keep the certificates fresh.
    stop: CancellationToken,
}

impl Drop for TlsDoor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whose order of ciphers holds.
///
/// Ours begins with the one that costs least where AES is in hardware, for a handshake and for
/// bulk. Clients without that hardware say so by putting ChaCha20 first (RFC 8446 leaves the
/// order to us); then theirs holds.
pub(super) struct Configs {
    ours: Arc<ServerConfig>,
    theirs: Arc<ServerConfig>,
}

impl Configs {
    /// The keys for tickets are shared: a client may come back with another order.
    fn new(theirs: ServerConfig) -> Self {
        let mut ours = theirs.clone();
        ours.ignore_client_order = true;
        Self { ours: Arc::new(ours), theirs: Arc::new(theirs) }
    }

    pub(super) fn of(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        // Some put a value without meaning before all others (RFC 8701).
        let known = |suite: &&CipherSuite| suite.as_str().is_some();
        match hello.cipher_suites().iter().find(known) {
            Some(first) if is_chacha20(*first) => &self.theirs,
            _ => &self.ours,
        }
    }
}

fn is_chacha20(suite: CipherSuite) -> bool {
    use CipherSuite as S;
    matches!(
        suite,
        S::TLS13_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// Where the certificates on the shelf come from.
#[derive(Default)]
struct Sources {
    files: Vec<Certificate>,
    issued: BTreeMap<String, Certificate>,
}

impl TlsDoor {
    /// Reads all that is needed; from then on keeps it fresh by itself.
    ///
    /// # Errors
    /// [`TlsFault`] about the first file that cannot be used: a listener with half of its
    /// certificates would surprise.
    pub(crate) fn open(
        wanted: &Tls,
        hosts: &[String],
        listen: IpAddr,
        has_http: bool,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Self>, TlsFault> {
        let files = load(&wanted.wanted.files)?;
        let auto = wanted.wanted.auto.as_ref();
        let local = match auto {
            Some(_) => {
                let authority = LocalAuthority::open(&wanted.authority)?;
                Some(LeafIssuer::new(authority, hosts.to_vec(), listen))
            }
            None => None,
        };
        let challenges = Arc::clone(&shared.challenges);
        let resolver = Arc::new(Resolver { shelf: ArcSwap::default(), local, challenges });
        let stop = shared.tasks.stop_token().child_token();
        let door = Arc::new(Self {
            wanted: wanted.clone(),
            hosts: hosts.to_vec(),
            configs: ArcSwap::from_pointee(Configs::new(server_config(wanted, &resolver)?)),
            hsts: wanted
                .hsts
                .and_then(|time| HeaderValue::try_from(format!("max-age={}", time.as_secs())).ok()),
            resolver,
            sources: Mutex::new(Sources { files, issued: BTreeMap::new() }),
            stop: stop.clone(),
        });
        door.publish();
        if !wanted.wanted.files.is_empty() || wanted.wanted.client_ca.is_some() {
            let (weak, pause) = (Arc::downgrade(&door), shared.limits.tls_look);
            let watching = files::watch(weak, pause, stop.clone());
            shared.tasks.spawn("gateway.tls-files", watching);
        }
        if let Some(auto) = auto {
            door.keep_issued(auto, has_http, shared, stop);
        }
        Ok(door)
    }

    fn keep_issued(
        self: &Arc<Self>,
        auto: &archipel_model::AutoTls,
        has_http: bool,
        shared: &Arc<Shared>,
        stop: CancellationToken,
    ) {
        let hosts = public_hosts(&self.hosts);
        if hosts.is_empty() {
            return;
        }
        let (challenges, roots) = (Arc::clone(&shared.challenges), Arc::clone(&shared.roots));
        let acme = Acme::new(auto, &self.wanted.state, challenges, roots, has_http);
        let pause = RetryPause { first: shared.limits.acme_retry };
        let renewal = Renewal::new(hosts, Box::new(acme), Arc::downgrade(self), pause);
        shared.tasks.spawn("gateway.acme", renewal.run(stop));
    }

    /// Whether it is what the table wants already.
    pub(crate) fn is(&self, wanted: &Tls, hosts: &[String]) -> bool {
        self.wanted == *wanted && self.hosts == hosts
    }

    pub(super) fn wanted(&self) -> &Tls {
        &self.wanted
    }

    /// Takes what the files hold now; on an error all stays as it is.
    pub(super) fn reload(&self) -> Result<(), TlsFault> {
        let files = load(&self.wanted.wanted.files)?;
        if self.wanted.wanted.client_ca.is_some() {
            // With new keys for tickets: a session of yesterday was let in by yesterday's rule.
            let config = server_config(&self.wanted, &self.resolver)?;
            self.configs.store(Arc::new(Configs::new(config)));
        }
        self.lock().files = files;
        self.publish();
        Ok(())
    }

    pub(super) fn put_issued(&self, host: &str, certificate: Certificate) {
        self.lock().issued.insert(host.to_owned(), certificate);
        self.publish();
    }

    fn publish(&self) {
        let mut shelf = Shelf::default();
        let sources = self.lock();
        for certificate in sources.files.iter().chain(sources.issued.values()) {
            shelf.add(certificate);
        }
        self.resolver.shelf.store(Arc::new(shelf));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that a public authority can vouch for; it answers for no `*.` by the proofs we give.
fn public_hosts(hosts: &[String]) -> Vec<String> {
    let public = |host: &&String| !is_local_host(host) && !host.starts_with("*.");
    hosts.iter().filter(public).cloned().collect()
}

fn load(files: &[CertificateFiles]) -> Result<Vec<Certificate>, TlsFault> {
    let loaded: Vec<Certificate> =
        files.iter().map(Certificate::from_files).collect::<Result<_, _>>()?;
    for (certificate, files) in loaded.iter().zip(files) {
        let not_after = certificate.facts.not_after;
        let path = files.cert.display();
        // Some clients accept it still, and a page with a warning beats none.
        if not_after <= archipel_rt::clock::wall() {
            tracing::warn!(
                "the certificate in `{path}` expired on {}",
                certificate::day(not_after)
            );
        }
    }
    Ok(loaded)
}

fn server_config(wanted: &Tls, resolver: &Arc<Resolver>) -> Result<ServerConfig, TlsFault> {
    let refused = |error: rustls::Error| TlsFault::Settings(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(refused)?;
    let builder = match &wanted.wanted.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(authorities(&ca.file)?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            if !ca.required {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier = verifier.build().map_err(|e| TlsFault::Settings(e.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::clone(resolver) as _);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if wanted.wanted.auto.is_some() {
        config.alpn_protocols.push(ALPN_CHALLENGE.to_vec());
    }
    // What a returning client brings lies with the client: no memory here, keys change every
    // six hours.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(refused)?;
    Ok(config)
}
