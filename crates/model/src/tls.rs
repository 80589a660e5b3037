//! How the public entrance proves who it is, and asks who comes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// TLS at the public entrance.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tls {
    /// The first one is for clients that name no host, or one that no certificate has.
    pub files: Vec<CertificateFiles>,
    pub auto: Option<AutoTls>,
    pub client_ca: Option<ClientCa>,
}

/// Two PEM files; absolute.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CertificateFiles {
    /// The chain, beginning with the host's own certificate.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Certificates that nobody has to fetch: by ACME for public hosts, from an authority of this
/// user's own for the names of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct AutoTls {
    /// URL of the ACME directory; `None`: Let's Encrypt.
    pub directory: Option<String>,
    /// Who vouches for the ACME server itself, when the system does not: a PEM file.
    pub directory_ca: Option<PathBuf>,
    /// Where the authority writes when something is wrong with a certificate.
    pub email: Option<String>,
}

/// Clients show a certificate that this authority has signed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ClientCa {
    /// PEM; absolute.
    pub file: PathBuf,
    /// Without one a client is turned away.
    pub required: bool,
}

/// How browsers are brought from plain HTTP to TLS, and kept there.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ToHttps {
    /// A second address, for plain HTTP, that sends everybody to the first.
    pub http: Option<SocketAddr>,
    /// For how long a browser shall not try plain HTTP again.
    pub hsts: Option<Duration>,
}

/// Whether a name is one that only means something on this machine or in this network, so that
/// no public authority vouches for it.
pub fn is_local_host(host: &str) -> bool {
    let host = host.strip_prefix("*.").unwrap_or(host);
    if host.parse::<std::net::IpAddr>().is_ok() || !host.contains('.') {
        return true;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    // RFC 6761, RFC 6762, RFC 9476, and what ICANN keeps for networks of one's own.
    ["localhost", "test", "example", "invalid", "local", "internal", "alt"].contains(&last)
        || host.ends_with(".home.arpa")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_names_are_shown_to_public_authorities() {
        for local in ["localhost", "shop.localhost", "*.shop.localhost", "127.0.0.1", "::1", "box"]
        {
            assert!(is_local_host(local), "{local}");
        }
        for local in ["a.test", "printer.local", "db.internal", "nas.home.arpa"] {
            assert!(is_local_host(local), "{local}");
        }
        for public in ["shop.example.org", "*.example.org", "localhost.example.com", "xn--fiq.net"]
        {
            assert!(!is_local_host(public), "{public}");
        }
    }
}
