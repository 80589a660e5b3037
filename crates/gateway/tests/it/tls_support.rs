//! Certificates and clients for the tests of TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use archipel_gateway::{Body, Entrance, Tls};
use archipel_model::CertificateFiles;
use archipel_rt::clock;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;

/// An authority of the test's own, and a directory for what it signs.
pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
    pem: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Chain and key for a name, as PEM.
    pub(crate) fn pem_for(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn files_for(&self, name: &str) -> CertificateFiles {
        let file = |kind: &str| self.path(&format!("{name}.{kind}"));
        let files = CertificateFiles { cert: file("crt"), key: file("key") };
        self.write(name, &files);
        files
    }

    /// Writes a new pair over the old one.
    pub(crate) fn write(&self, name: &str, files: &CertificateFiles) {
        let (cert, key) = self.pem_for(name);
        std::fs::write(&files.key, key).unwrap();
        std::fs::write(&files.cert, cert).unwrap();
    }

    /// A client's certificate.
    pub(crate) fn client(
        &self,
        common_name: &str,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names =
            vec![SanType::URI(format!("spiffe://shop/{common_name}").try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        (vec![certificate.der().clone()], key)
    }

    pub(crate) fn file(&self) -> PathBuf {
        let file = self.path("authority.crt");
        std::fs::write(&file, &self.pem).unwrap();
        file
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        trusting(&self.der)
    }
}

pub(crate) fn trusting(authority: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    builder().with_root_certificates(roots).with_no_client_auth()
}

pub(crate) fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

/// TLS with files, as a table has it.
pub(crate) fn tls(files: Vec<CertificateFiles>, dir: &Path) -> Tls {
    Tls {
        wanted: archipel_model::Tls { files, ..archipel_model::Tls::default() },
        state: dir.join("acme"),
        authority: dir.join("local"),
        hsts: None,
    }
}

impl Plan {
    /// TLS for the public listener.
    pub(crate) fn with_tls(mut self, tls: &Tls) -> Self {
        for listener in &mut self.0.listeners {
            if let Entrance::Public(routes) = &mut listener.entrance {
                routes.tls = Some(tls.clone());
            }
        }
        self
    }
}

/// A handshake, with the protocols that the client offers.
pub(crate) async fn connect(
    addr: SocketAddr,
    mut config: ClientConfig,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let tcp = TcpStream::connect(addr).await?;
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    clock::timeout(PATIENCE, shaking).await.expect("the handshake ends")
}

impl World {
    pub(crate) async fn https(
        &self,
        addr: SocketAddr,
        config: ClientConfig,
        name: &str,
    ) -> std::io::Result<http1::SendRequest<Body>> {
        let stream = connect(addr, config, name, &["http/1.1"]).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn("test.client", async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    pub(crate) async fn https2(
        &self,
        addr: SocketAddr,
        config: ClientConfig,
        name: &str,
    ) -> http2::SendRequest<Body> {
        let stream = connect(addr, config, name, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn("test.client", async move {
            let _ = connection.await;
        });
        sender
    }
}

/// The certificate that a client is shown for a name, whoever signed it.
pub(crate) async fn shown(addr: SocketAddr, authority: &Authority, name: &str) -> Vec<u8> {
    let stream = connect(addr, authority.client_config(), name, &[]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Looks often, where the product looks every few seconds.
pub(crate) fn quick() -> archipel_gateway::Limits {
    archipel_gateway::Limits {
        tls_look: Duration::from_millis(20),
        acme_retry: Duration::from_millis(100),
        ..archipel_gateway::Limits::default()
    }
}
