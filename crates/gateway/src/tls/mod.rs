//! TLS: who we are to clients, who they are to us, and who foreign systems are.
//!
//! ```text
//! Tls (of a table) → door (what one listener uses now) → shelf (certificate by name)
//!                        ├── files      reloaded when they change
//!                        ├── authority  our own, for the names of this machine
//!                        └── renewal    by ACME, for public names
//! ```
//!
//! What a listener uses is swapped as a whole; connections keep what they began with. A change
//! that cannot be used (half a pair, an authority that does not answer) leaves the old in force
//! and says so.
//!
//! Cryptography is ring's. Measured against aws-lc-rs it takes a tenth more CPU for a handshake
//! and 5 % more for 64 KiB of bulk, and builds in a fraction of its time with a C compiler alone.

mod acme;
mod acme_http;
mod authority;
mod certificate;
mod client_certificate;
mod door;
mod files;
mod handshake;
mod outbound;
mod renewal;
mod shelf;
mod store;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;

pub(crate) use acme::Challenges;
pub use authority::{LocalAuthority, authority_dir};
pub use certificate::{CertificateFacts, inspect};
pub(crate) use door::TlsDoor;
pub(crate) use handshake::{Hello, Secure, handshake};
pub use outbound::inspect_authorities;
pub(crate) use outbound::{Outbound, Roots};

/// TLS of one listener, as a table wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub wanted: archipel_model::Tls,
    /// Where accounts and certificates by ACME are kept.
    pub state: PathBuf,
    /// Where this user's own authority is kept; see [`authority_dir`].
    pub authority: PathBuf,
    /// Tells browsers for how long not to try plain HTTP again.
    pub hsts: Option<Duration>,
}

/// Why certificates cannot be used; the words are for the one who wrote the manifest.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    #[error("could not read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("could not keep `{}`", path.display())]
    Keep {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` holds no {what} in PEM form", path.display())]
    Nothing { path: PathBuf, what: &'static str },
    #[error("the certificate in `{}` cannot be read: {why}", path.display())]
    Malformed { path: PathBuf, why: String },
    #[error("the key in `{}` is not of a kind that can be used: {why}", path.display())]
    Key { path: PathBuf, why: String },
    #[error("the key `{}` does not belong to the certificate `{}`", key.display(), cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate in `{}` expired on {on}", path.display())]
    Expired { path: PathBuf, on: String },
    #[error("could not make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the TLS library refuses these settings: {0}")]
    Settings(String),
    #[error(
        "this system trusts no certificate authority: install `ca-certificates`, or name a `ca`"
    )]
    NoRoots,
}

/// Versions and ciphers: TLS 1.2 and 1.3, AEAD ciphers with forward secrecy only. AES-128 comes
/// first: SHA-256 is in hardware where AES is, SHA-384 is not, and ten rounds cost less than
/// fourteen.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

fn is_aes_128(suite: CipherSuite) -> bool {
    use CipherSuite as S;
    matches!(
        suite,
        S::TLS13_AES_128_GCM_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}
