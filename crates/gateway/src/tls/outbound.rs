//! TLS towards foreign systems: we are the client and insist on knowing whom we talk to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{TlsFault, certificate, provider, store};

/// Whom this system trusts; read when it is first needed, since most applications never ask.
#[derive(Debug, Default)]
pub(crate) struct Roots(OnceLock<Arc<RootCertStore>>);

impl Roots {
    fn get(&self) -> Result<Arc<RootCertStore>, TlsFault> {
        if let Some(roots) = self.0.get() {
            return Ok(Arc::clone(roots));
        }
        let mut roots = RootCertStore::empty();
        // One certificate of a hundred that cannot be read is the system's business.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsFault::NoRoots);
        }
        Ok(Arc::clone(self.0.get_or_init(|| Arc::new(roots))))
    }
}

/// How one foreign system is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Outbound {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// When the file that names the authority was last written: another one is another trust.
    ca: Option<(PathBuf, Option<SystemTime>)>,
}

impl Outbound {
    /// `ca`: who vouches for it instead of those whom the system trusts.
    pub(crate) fn new(
        host: &str,
        ca: Option<&Path>,
        roots: &Roots,
        http2: bool,
    ) -> Result<Self, TlsFault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsFault::Settings(format!("`{host}` is no name for a certificate")))?;
        let alpn = if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() };
        let config = Arc::new(client_config(ca, roots, alpn)?);
        let written = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        Ok(Self { config, name, ca: ca.map(|path| (path.to_owned(), written(path))) })
    }

    /// Whether both speak to the same system and trust the same authority.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.ca == other.ca
    }

    /// Drop it to give up; the connection closes.
    pub(crate) async fn connect(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), tcp).await
    }
}

fn client_config(
    ca: Option<&Path>,
    roots: &Roots,
    alpn: Vec<u8>,
) -> Result<ClientConfig, TlsFault> {
    let roots = match ca {
        Some(path) => Arc::new(authorities(path)?),
        None => roots.get()?,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsFault::Settings(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn];
    Ok(config)
}

/// How many authorities a PEM file names.
///
/// # Errors
/// [`TlsFault`] when it names none, or one that cannot be read.
pub fn inspect_authorities(path: &Path) -> Result<usize, TlsFault> {
    authorities(path).map(|roots| roots.len())
}

/// Those whom a PEM file names.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificate::chain(&store::read(path)?, path)? {
        roots.add(certificate).map_err(|error| TlsFault::Malformed {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
    }
    Ok(roots)
}
