//! A certificate authority of this user's own, for the names of this machine.
//!
//! Made on first use and kept for all applications, so that trusting it once is enough
//! (`archipel trust`). Should its key ever leak, it still vouches for no name on the Internet:
//! its own certificate names what it may sign, and clients check that.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use archipel_rt::clock;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::certificate;
use super::{TlsFault, provider, store};

const DAY: Duration = Duration::from_secs(86_400);
const AUTHORITY_DAYS: u32 = 3_650;
/// Short, since nobody has to renew it by hand.
const LEAF_DAYS: u32 = 30;
/// Names that one door makes certificates for; a client that asks for more gets no new ones.
const LEAVES_MAX: usize = 256;

/// The domains that an authority of one's own may speak for.
const DOMAINS: [&str; 6] = ["localhost", "test", "local", "internal", "home.arpa", "alt"];

/// Where this user's authority is kept: `~/.local/share/archipel/authority`.
pub fn authority_dir(fallback: &Path) -> PathBuf {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    data.unwrap_or_else(|| fallback.to_owned()).join("archipel").join("authority")
}

/// The authority itself.
#[derive(Debug)]
pub struct LocalAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rustls::pki_types::CertificateDer<'static>,
    public: PathBuf,
}

impl LocalAuthority {
    /// The one that is kept in `dir`, made now if there is none.
    ///
    /// # Errors
    /// [`TlsFault`] when it can neither be read nor made.
    pub fn open(dir: &Path) -> Result<Self, TlsFault> {
        let private = dir.join("authority.pem");
        let public = dir.join("authority.crt");
        let pem = match store::read_if_there(&private)? {
            Some(pem) => pem,
            None => make(&private)?,
        };
        let chain = certificate::chain(&pem, &private)?;
        let malformed = |why| TlsFault::Malformed { path: private.clone(), why };
        let facts = certificate::facts(&chain[0]).map_err(malformed)?;
        let issued = chain
            .into_iter()
            .next()
            .ok_or(TlsFault::Nothing { path: private.clone(), what: "certificate" })?;
        let text = String::from_utf8_lossy(&pem);
        let key = KeyPair::from_pem(&text)?;
        let issuer = Issuer::from_ca_cert_der(&issued, key)?;
        if facts.not_after <= clock::wall() {
            let on = certificate::day(facts.not_after);
            return Err(TlsFault::Expired { path: private, on });
        }
        // What a browser is given; the other file holds the key.
        let shown = public_part(&text);
        if store::read_if_there(&public)?.as_deref() != Some(shown.as_bytes()) {
            store::write(&public, shown.as_bytes())?;
        }
        Ok(Self { issuer, certificate: issued, public })
    }

    /// The file that a client must trust; it holds no secret.
    pub fn certificate_file(&self) -> &Path {
        &self.public
    }

    fn leaf(&self, names: &[String], until: SystemTime) -> Result<CertifiedKey, TlsFault> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, first.as_str());
        }
        // An hour ago, for clocks that are behind ours.
        params.not_before = (clock::wall() - Duration::from_secs(3_600)).into();
        params.not_after = until.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let signed = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsFault::Settings(error.to_string()))?;
        Ok(CertifiedKey::new(vec![signed.into(), self.certificate.clone()], key))
    }
}

fn make(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let owner = std::env::var("USER").unwrap_or_else(|_| "this user".to_owned());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    let name = format!("Archipel development authority of {owner}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Archipel");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: permitted(), excluded_subtrees: Vec::new() });
    let now = clock::wall();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * AUTHORITY_DAYS).into();
    let certificate = params.self_signed(&key)?;
    let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
    // Two applications may start at once for the first time: the first one's stays.
    let fresh = path.with_extension(format!("fresh-{}", std::process::id()));
    store::write(&fresh, pem.as_bytes())?;
    let linked = fs::hard_link(&fresh, path);
    let _ = fs::remove_file(&fresh);
    match linked {
        Ok(()) => Ok(pem.into_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => store::read(path),
        Err(source) => Err(TlsFault::Keep { path: path.to_owned(), source }),
    }
}

fn permitted() -> Vec<GeneralSubtree> {
    let address =
        |addr: IpAddr, bits| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(addr, bits));
    let domains = DOMAINS.iter().map(|domain| GeneralSubtree::DnsName((*domain).to_owned()));
    let mut all: Vec<_> = domains.collect();
    all.push(address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8));
    all.push(address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8));
    all.push(address(IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12));
    all.push(address(IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16));
    all.push(address(IpAddr::V6(Ipv6Addr::LOCALHOST), 128));
    all.push(address(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)), 8));
    all
}

fn public_part(pem: &str) -> String {
    pem.find("-----BEGIN CERTIFICATE-----").map(|at| pem[at..].to_owned()).unwrap_or_default()
}

/// Whether our own authority may speak for a name.
fn may_vouch(host: &str) -> bool {
    DOMAINS.iter().any(|domain| {
        host.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    })
}

/// Makes certificates for one door while clients ask for them.
#[derive(Debug)]
pub(super) struct LeafIssuer {
    authority: LocalAuthority,
    /// What the gateway serves; empty: everything.
    hosts: Vec<String>,
    /// For clients that ask for no name, as they do when they connect to an address.
    addresses: Vec<String>,
    leaves: Mutex<HashMap<String, Leaf>>,
}

#[derive(Debug)]
struct Leaf {
    key: Arc<CertifiedKey>,
    renew_at: SystemTime,
}

impl LeafIssuer {
    pub(super) fn new(authority: LocalAuthority, hosts: Vec<String>, listen: IpAddr) -> Self {
        let mut addresses = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let own = hosts.iter().filter(|host| host.parse::<IpAddr>().is_ok()).cloned();
        addresses.extend(own);
        if !listen.is_unspecified() && !listen.is_loopback() {
            addresses.push(listen.to_string());
        }
        Self { authority, hosts, addresses, leaves: Mutex::default() }
    }

    /// The certificate for a name; `None` when that is not ours to vouch for.
    pub(super) fn issue(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let name = name.unwrap_or("localhost");
        if !may_vouch(name) || !self.serves(name) {
            return None;
        }
        let now = clock::wall();
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(name).filter(|leaf| leaf.renew_at > now) {
            return Some(Arc::clone(&leaf.key));
        }
        if leaves.len() >= LEAVES_MAX {
            leaves.retain(|_, leaf| leaf.renew_at > now);
            if leaves.len() >= LEAVES_MAX {
                return None;
            }
        }
        let names = match name {
            "localhost" => self.addresses.clone(),
            name => vec![name.to_owned()],
        };
        let made = self.authority.leaf(&names, now + DAY * LEAF_DAYS);
        let key = match made {
            Ok(key) => Arc::new(key),
            Err(error) => {
                tracing::warn!(name, %error, "could not make a certificate");
                return None;
            }
        };
        let leaf = Leaf { key: Arc::clone(&key), renew_at: now + DAY * (LEAF_DAYS / 2) };
        leaves.insert(name.to_owned(), leaf);
        Some(key)
    }

    fn serves(&self, name: &str) -> bool {
        let fits = |host: &String| match host.strip_prefix('*') {
            Some(below) => name.ends_with(below),
            None => host == name,
        };
        name == "localhost" || self.hosts.is_empty() || self.hosts.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_authority_is_kept_for_all_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("authority");
        let first = LocalAuthority::open(&dir).unwrap();
        let again = LocalAuthority::open(&dir).unwrap();
        assert_eq!(first.certificate, again.certificate);
        let mode = fs::metadata(dir.join("authority.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let public = fs::read_to_string(first.certificate_file()).unwrap();
        assert!(public.contains("BEGIN CERTIFICATE") && !public.contains("PRIVATE"), "{public}");
    }

    #[test]
    fn it_vouches_for_names_of_this_machine_only() {
        for (host, yes) in [
            ("localhost", true),
            ("shop.localhost", true),
            ("a.b.test", true),
            ("example.org", false),
            ("evillocalhost", false),
            ("localhost.example.org", false),
        ] {
            assert_eq!(may_vouch(host), yes, "{host}");
        }
    }

    #[test]
    fn a_name_keeps_its_certificate_and_strangers_get_none() {
        let dir = tempfile::tempdir().unwrap();
        let authority = LocalAuthority::open(dir.path()).unwrap();
        let hosts = vec!["shop.localhost".to_owned(), "*.dev.test".to_owned()];
        let issuer = LeafIssuer::new(authority, hosts, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let first = issuer.issue(Some("shop.localhost")).unwrap();
        assert!(Arc::ptr_eq(&first, &issuer.issue(Some("shop.localhost")).unwrap()));
        assert!(issuer.issue(Some("a.dev.test")).is_some());
        assert!(issuer.issue(None).is_some());
        for stranger in ["other.localhost", "shop.example.org", "x.test"] {
            assert!(issuer.issue(Some(stranger)).is_none(), "{stranger}");
        }
    }
}
