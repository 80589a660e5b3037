//! A certificate with its key, read from PEM and checked to be a pair.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use archipel_model::CertificateFiles;
use archipel_rt::clock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{TlsFault, provider, store};

/// What a certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Host names in lower case, `*.example.org` among them, and addresses.
    pub names: Vec<String>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// Ready to be shown to clients.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) facts: CertificateFacts,
    pub(super) key: Arc<CertifiedKey>,
}

/// Whether two files can be used for TLS, and until when: for a check before anything runs.
///
/// # Errors
/// [`TlsFault`] with the file and what is wrong with it; also when it has expired.
pub fn inspect(files: &CertificateFiles) -> Result<CertificateFacts, TlsFault> {
    let facts = Certificate::from_files(files)?.facts;
    if facts.not_after <= clock::wall() {
        let on = day(facts.not_after);
        return Err(TlsFault::Expired { path: files.cert.clone(), on });
    }
    Ok(facts)
}

impl Certificate {
    pub(super) fn from_files(files: &CertificateFiles) -> Result<Self, TlsFault> {
        let (cert, key) = (store::read(&files.cert)?, store::read(&files.key)?);
        Self::from_pem(&cert, &key, files)
    }

    /// `files`: where the two are from, for messages.
    pub(super) fn from_pem(
        cert: &[u8],
        key: &[u8],
        files: &CertificateFiles,
    ) -> Result<Self, TlsFault> {
        let chain = chain(cert, &files.cert)?;
        let unusable = |why: String| TlsFault::Key { path: files.key.clone(), why };
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| TlsFault::Nothing { path: files.key.clone(), what: "private key" })?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| unusable(error.to_string()))?;
        let facts = facts(&chain[0])
            .map_err(|why| TlsFault::Malformed { path: files.cert.clone(), why })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => {
                let (cert, key) = (files.cert.clone(), files.key.clone());
                return Err(TlsFault::Mismatch { cert, key });
            }
        }
        Ok(Self { facts, key: Arc::new(key) })
    }
}

/// All certificates of a PEM file; at least one.
pub(super) fn chain(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let malformed = |why: String| TlsFault::Malformed { path: path.to_owned(), why };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsFault::Nothing { path: path.to_owned(), what: "certificate" });
    }
    Ok(chain)
}

pub(super) fn facts(der: &CertificateDer<'_>) -> Result<CertificateFacts, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let at = |time: x509_parser::time::ASN1Time| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
    };
    let validity = certificate.validity();
    let names = alternative_names(&certificate)
        .into_iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    Ok(CertificateFacts {
        names,
        not_before: at(validity.not_before),
        not_after: at(validity.not_after),
    })
}

pub(super) fn alternative_names<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Vec<&'a GeneralName<'a>> {
    let found = certificate.subject_alternative_name().ok().flatten();
    found.map(|extension| extension.value.general_names.iter().collect()).unwrap_or_default()
}

pub(super) fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| std::net::IpAddr::from(b).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| std::net::IpAddr::from(b).to_string())).ok()
}

/// `2026-11-24`
pub(super) fn day(at: SystemTime) -> String {
    time::OffsetDateTime::from(at).date().to_string()
}
