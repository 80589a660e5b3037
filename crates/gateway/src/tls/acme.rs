//! Certificates by ACME (RFC 8555).
//!
//! That a host is ours is proved on the listener itself (TLS-ALPN-01, RFC 8737), which needs no
//! second port; where there is a listener for plain HTTP too, every second try proves it there
//! (HTTP-01), for gateways behind something that does not let the first through.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archipel_model::{AutoTls, CertificateFiles};
use archipel_rt::clock;
use async_trait::async_trait;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, LetsEncrypt,
    NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use super::acme_http::Http;
use super::certificate::Certificate;
use super::outbound::{Outbound, Roots};
use super::{TlsFault, provider, store};

pub(super) const ALPN_CHALLENGE: &[u8] = b"acme-tls/1";
/// The path below which an authority looks for a proof over plain HTTP.
pub(crate) const HTTP_CHALLENGE: &str = "/.well-known/acme-challenge/";
/// For one certificate, from the order to the file.
const ISSUE_WITHIN: Duration = Duration::from_secs(180);

/// Gets certificates. Another authority than an ACME server would be another of these.
#[async_trait]
pub(super) trait Issuer: Send + Sync {
    /// The last one for this host, if it was kept.
    fn kept(&self, host: &str) -> Result<Option<Certificate>, TlsFault>;

    /// A new one, kept for the next start. `failures`: how often that failed since it last went
    /// well. Dropped, nothing is kept and the order lapses.
    async fn issue(&self, host: &str, failures: u32) -> Result<Certificate, IssueError>;
}

#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error("the ACME server refused or could not be asked")]
    Server(#[from] instant_acme::Error),
    #[error("the ACME server does not accept that `{host}` is ours: {why}")]
    Unproved { host: String, why: String },
    #[error("the ACME server offers no proof that can be given here")]
    NoProof,
    #[error("the ACME server took longer than {}", archipel_model::show_duration(ISSUE_WITHIN))]
    Slow,
    #[error(transparent)]
    Fault(#[from] TlsFault),
}

/// Proofs that are under way, for all doors: the authority may come to any.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    certificates: Mutex<HashMap<String, Arc<CertifiedKey>>>,
    tokens: Mutex<HashMap<String, String>>,
}

impl Challenges {
    pub(super) fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        lock(&self.certificates).get(host).cloned()
    }

    /// The answer to a request for `path`, when that is a proof under way.
    pub(crate) fn answer(&self, path: &str) -> Option<String> {
        lock(&self.tokens).get(path.strip_prefix(HTTP_CHALLENGE)?).cloned()
    }
}

/// Takes a proof back when the order is over, however it ended.
struct Shown<'a> {
    challenges: &'a Challenges,
    host: Option<String>,
    token: Option<String>,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(host) = &self.host {
            lock(&self.challenges.certificates).remove(host);
        }
        if let Some(token) = &self.token {
            lock(&self.challenges.tokens).remove(token);
        }
    }
}

pub(super) struct Acme {
    directory: String,
    contact: Option<String>,
    ca: Option<PathBuf>,
    roots: Arc<Roots>,
    dir: PathBuf,
    challenges: Arc<Challenges>,
    has_http: bool,
    account: tokio::sync::OnceCell<Account>,
}

impl Acme {
    pub(super) fn new(
        auto: &AutoTls,
        state: &Path,
        challenges: Arc<Challenges>,
        roots: Arc<Roots>,
        has_http: bool,
    ) -> Self {
        let directory =
            auto.directory.clone().unwrap_or_else(|| LetsEncrypt::Production.url().to_owned());
        // One authority's account is nothing to another.
        let digest = Sha256::digest(directory.as_bytes());
        let name: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            dir: state.join(name),
            directory,
            contact: auto.email.as_ref().map(|email| format!("mailto:{email}")),
            ca: auto.directory_ca.clone(),
            roots,
            challenges,
            has_http,
            account: tokio::sync::OnceCell::new(),
        }
    }

    fn file(&self, host: &str) -> PathBuf {
        self.dir.join(format!("{host}.pem"))
    }

    fn http(&self) -> Http {
        let (ca, roots) = (self.ca.clone(), Arc::clone(&self.roots));
        Http::new(Arc::new(move |host: &str| Outbound::new(host, ca.as_deref(), &roots, false)))
    }

    async fn account(&self) -> Result<&Account, IssueError> {
        self.account.get_or_try_init(|| self.open_account()).await
    }

    async fn open_account(&self) -> Result<Account, IssueError> {
        let builder = || Account::builder_with_http(Box::new(self.http()));
        let file = self.dir.join("account.json");
        if let Some(kept) = store::read_if_there(&file)?
            && let Ok(credentials) = serde_json::from_slice::<AccountCredentials>(&kept)
        {
            return Ok(builder().from_credentials(credentials).await?);
        }
        let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) =
            builder().create(&wanted, self.directory.clone(), None).await?;
        let kept = serde_json::to_vec(&credentials).map_err(instant_acme::Error::from)?;
        store::write(&file, &kept)?;
        Ok(account)
    }

    async fn order(&self, host: &str, failures: u32) -> Result<Certificate, IssueError> {
        let account = self.account().await?;
        let mut order = account.new_order(&NewOrder::new(&[Identifier::Dns(host.into())])).await?;
        let mut shown = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            // The other proof in turn: which of them gets through nobody can know beforehand.
            let by_http = self.has_http && failures % 2 == 1;
            let kind = if by_http { ChallengeType::Http01 } else { ChallengeType::TlsAlpn01 };
            let Some(mut challenge) = authorization.challenge(kind) else {
                return Err(IssueError::NoProof);
            };
            let proof = challenge.key_authorization();
            shown.push(match by_http {
                true => self.show_token(&challenge.token, proof.as_str()),
                false => self.show_certificate(host, proof.digest().as_ref())?,
            });
            challenge.set_ready().await?;
        }
        let patience = RetryPolicy::new().timeout(ISSUE_WITHIN);
        if order.poll_ready(&patience).await? != OrderStatus::Ready {
            let why = self.reason(&mut order).await;
            return Err(IssueError::Unproved { host: host.to_owned(), why });
        }
        drop(shown);
        let key = KeyPair::generate().map_err(TlsFault::from)?;
        let mut request = CertificateParams::new(vec![host.to_owned()]).map_err(TlsFault::from)?;
        request.distinguished_name = DistinguishedName::new();
        let request = request.serialize_request(&key).map_err(TlsFault::from)?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&patience).await?;
        let pem = format!("{}{chain}", key.serialize_pem());
        let file = self.file(host);
        let certificate = read(pem.as_bytes(), &file)?;
        store::write(&file, pem.as_bytes())?;
        Ok(certificate)
    }

    /// What the server says was wrong with the proof.
    async fn reason(&self, order: &mut instant_acme::Order) -> String {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            let error = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(error) = error {
                return error.to_string();
            }
        }
        "it does not say why".to_owned()
    }

    fn show_token(&self, token: &str, proof: &str) -> Shown<'_> {
        lock(&self.challenges.tokens).insert(token.to_owned(), proof.to_owned());
        Shown { challenges: &self.challenges, host: None, token: Some(token.to_owned()) }
    }

    fn show_certificate(&self, host: &str, digest: &[u8]) -> Result<Shown<'_>, TlsFault> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsFault::Settings(error.to_string()))?;
        let shown = Arc::new(CertifiedKey::new(vec![certificate.into()], key));
        lock(&self.challenges.certificates).insert(host.to_owned(), shown);
        Ok(Shown { challenges: &self.challenges, host: Some(host.to_owned()), token: None })
    }
}

#[async_trait]
impl Issuer for Acme {
    fn kept(&self, host: &str) -> Result<Option<Certificate>, TlsFault> {
        let file = self.file(host);
        let Some(pem) = store::read_if_there(&file)? else { return Ok(None) };
        read(&pem, &file).map(Some)
    }

    async fn issue(&self, host: &str, failures: u32) -> Result<Certificate, IssueError> {
        let order = self.order(host, failures);
        clock::timeout(ISSUE_WITHIN, order).await.unwrap_or(Err(IssueError::Slow))
    }
}

/// Key and chain in one file, so that they are replaced together.
fn read(pem: &[u8], file: &Path) -> Result<Certificate, TlsFault> {
    let files = CertificateFiles { cert: file.to_owned(), key: file.to_owned() };
    Certificate::from_pem(pem, pem, &files)
}

/// Nothing panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
