//! Who is asking: tokens signed by customers with Ed25519, checked by everybody else with the
//! published keys.
//!
//! Only one algorithm is accepted, so there is nothing to confuse. The keys are kept in memory
//! and beside the database: a customers service that is away never locks out a buyer who has
//! signed in, not even after we were restarted. Known keys are used while they are renewed. A token with an unknown key id makes us ask for
//! the keys again, at most once in a few seconds.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::http::{Callee, Outcome};
use crate::id::CustomerId;
use crate::problem::Problem;
use crate::time::{Clock, Timestamp};

pub const ISSUER: &str = "store/customers";
pub const AUDIENCE: &str = "store";
const ALGORITHM: &str = "EdDSA";
/// How far the clocks of customers and ours may differ.
const LEEWAY: Duration = Duration::from_secs(60);
/// Keys older than this are asked for again when somebody needs them.
const REFRESH: Duration = Duration::from_secs(600);
/// An unknown key id makes us ask at most this often.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const TOKEN_BYTES_MAX: usize = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: CustomerId,
    /// `guest` or `member`.
    pub kind: String,
    /// Seconds since 1970.
    pub iat: i64,
    pub exp: i64,
    /// The sign-in that this token came from, for customers to end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

impl Claims {
    pub fn new(sub: CustomerId, kind: &str, now: Timestamp, lifetime: Duration) -> Self {
        let (iat, exp) = (now.millis() / 1000, (now + lifetime).millis() / 1000);
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub,
            kind: kind.to_owned(),
            iat,
            exp,
            sid: None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    alg: String,
    typ: String,
    kid: String,
}

/// The published keys, as RFC 7517 and RFC 8037 write them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    alg: String,
    #[serde(default, rename = "use")]
    usage: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    x: String,
}

/// Makes tokens; only customers has one.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    kid: String,
}

impl Signer {
    /// The Ed25519 seed is the SHA-256 of `text`.
    pub fn from_text(text: &str) -> Self {
        let seed: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let key = SigningKey::from_bytes(&seed);
        let public = Sha256::digest(key.verifying_key().as_bytes());
        Self { key, kid: B64.encode(&public[..9]) }
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, Problem> {
        let head = Head { alg: ALGORITHM.into(), typ: "JWT".into(), kid: self.kid.clone() };
        let part = |bytes: Vec<u8>| B64.encode(bytes);
        let signed =
            format!("{}.{}", part(serde_json::to_vec(&head)?), part(serde_json::to_vec(claims)?));
        let signature = self.key.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", B64.encode(signature.to_bytes())))
    }

    /// The answer of `GET /.well-known/jwks.json`.
    pub fn jwks(&self) -> serde_json::Value {
        let key = Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            alg: ALGORITHM.into(),
            usage: "sig".into(),
            kid: self.kid.clone(),
            x: B64.encode(self.key.verifying_key().as_bytes()),
        };
        serde_json::to_value(Jwks { keys: vec![key] }).unwrap_or_default()
    }

    /// Checks the tokens of this signer without asking anybody.
    pub fn verifier(&self) -> Verifier {
        let keys = vec![(self.kid.clone(), self.key.verifying_key())];
        Verifier::with(None, None, Keys { keys, fetched: Some(Instant::now()), asked: None })
    }
}

/// Checks tokens. Clones share the keys.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    customers: Option<Callee>,
    file: Option<PathBuf>,
    clock: Clock,
    keys: Mutex<Keys>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Keys {
    keys: Vec<(String, VerifyingKey)>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

impl Verifier {
    /// Asks `customers` for its keys when they are needed, and keeps them in `file` (beside the
    /// database) for the next start.
    pub fn new(customers: Callee, file: Option<PathBuf>) -> Self {
        let stored = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let stored: Option<Jwks> = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let keys = stored.map(|jwks| usable(&jwks)).unwrap_or_default();
        Self::with(Some(customers), file, Keys { keys, fetched: None, asked: None })
    }

    fn with(customers: Option<Callee>, file: Option<PathBuf>, keys: Keys) -> Self {
        let keys = Mutex::new(keys);
        Self(Arc::new(Inner {
            customers,
            file,
            clock: Clock::default(),
            keys,
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether `token` is one of customers' and still good.
    ///
    /// # Errors
    /// 401 when it is not; 503 when we never had the keys and customers does not answer.
    pub async fn verify(&self, token: &str) -> Result<Claims, Problem> {
        let token = Token::parse(token).ok_or_else(|| refuse("The token is malformed."))?;
        let key = self.key(&token.kid).await?;
        token.check(&key, self.0.clock.now())
    }

    async fn key(&self, kid: &str) -> Result<VerifyingKey, Problem> {
        if let Some(key) = self.known(kid, Duration::MAX) {
            if self.known(kid, REFRESH).is_none() && self.0.asking.try_lock().is_ok() {
                // Nobody waits for this. It ends with its time-out, and only one asks at a time.
                let (verifier, kid) = (self.clone(), kid.to_owned());
                tokio::spawn(async move { verifier.ask(&kid).await });
            }
            return Ok(key);
        }
        let outage = self.ask(kid).await.err();
        match (self.known(kid, Duration::MAX), outage) {
            (Some(key), _) => Ok(key),
            (None, Some(problem)) if self.lock().keys.is_empty() => Err(problem),
            (None, _) => Err(refuse("The token is signed with a key that is not in use.")),
        }
    }

    fn known(&self, kid: &str, age_max: Duration) -> Option<VerifyingKey> {
        let keys = self.lock();
        let fresh =
            age_max == Duration::MAX || keys.fetched.is_some_and(|at| at.elapsed() < age_max);
        let found = keys.keys.iter().find(|(id, _)| id == kid).map(|(_, key)| *key);
        found.filter(|_| fresh)
    }

    /// Gets the keys, unless somebody just tried.
    async fn ask(&self, kid: &str) -> Result<(), Problem> {
        let Some(customers) = &self.0.customers else { return Ok(()) };
        let _turn = self.0.asking.lock().await;
        if self.known(kid, REFRESH).is_some() {
            return Ok(());
        }
        if self.lock().asked.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            let busy = "asked a moment ago without success";
            return Err(Problem::dependency_unavailable(customers.name(), busy));
        }
        self.lock().asked = Some(Instant::now());
        let jwks = match customers.get("/.well-known/jwks.json").send::<Jwks>().await {
            Outcome::Ok(answer) => answer.body,
            other => return other.or_problem().map(drop),
        };
        let found = usable(&jwks);
        if found.is_empty() {
            return Err(Problem::dependency_unavailable(
                customers.name(),
                "it published no usable key",
            ));
        }
        if let (Some(file), Ok(bytes)) = (&self.0.file, serde_json::to_vec(&jwks)) {
            // Only a convenience for the next start: without it we ask again.
            let _ = std::fs::write(file, bytes);
        }
        let mut keys = self.lock();
        (keys.keys, keys.fetched) = (found, Some(Instant::now()));
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(detail: &str) -> Problem {
    Problem::unauthorised(detail)
}

fn usable(jwks: &Jwks) -> Vec<(String, VerifyingKey)> {
    let ours = |key: &&Jwk| key.kty == "OKP" && key.crv == "Ed25519";
    let read = |key: &Jwk| {
        let bytes: [u8; 32] = B64.decode(&key.x).ok()?.try_into().ok()?;
        Some((key.kid.clone(), VerifyingKey::from_bytes(&bytes).ok()?))
    };
    jwks.keys.iter().filter(ours).filter_map(read).collect()
}

/// A compact JWS, taken apart.
struct Token<'t> {
    kid: String,
    signed: &'t str,
    claims: Vec<u8>,
    signature: Signature,
}

impl<'t> Token<'t> {
    fn parse(token: &'t str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let head: Head = serde_json::from_slice(&B64.decode(head).ok()?).ok()?;
        let signature = Signature::from_slice(&B64.decode(signature).ok()?).ok()?;
        let claims = B64.decode(claims).ok()?;
        (head.alg == ALGORITHM).then_some(Self { kid: head.kid, signed, claims, signature })
    }

    fn check(&self, key: &VerifyingKey, now: Timestamp) -> Result<Claims, Problem> {
        key.verify_strict(self.signed.as_bytes(), &self.signature)
            .map_err(|_| refuse("The signature of the token is wrong."))?;
        let claims: Claims = serde_json::from_slice(&self.claims)
            .map_err(|_| refuse("The token does not say who you are."))?;
        if claims.iss != ISSUER || claims.aud != AUDIENCE {
            return Err(refuse("The token is not for this store."));
        }
        let end = claims.exp.saturating_mul(1000);
        if Timestamp::from_millis(end) + LEEWAY < now {
            return Err(refuse("The token has expired; sign in again."));
        }
        Ok(claims)
    }
}

/// The person who asks, by `Authorization: Bearer`. The router's state must hold a [`Verifier`].
pub struct Bearer {
    pub claims: Claims,
    /// To call on with.
    pub token: String,
}

impl Bearer {
    pub fn customer(&self) -> &CustomerId {
        &self.claims.sub
    }
}

impl<S> FromRequestParts<S> for Bearer
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().to_owned())
            .ok_or_else(|| refuse("Send the header Authorization: Bearer <token>."))?;
        let claims = Verifier::from_ref(state).verify(&token).await?;
        Ok(Self { claims, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(signer: &Signer, lifetime: i64) -> String {
        let now = Clock::default().now();
        let mut claims = Claims::new(CustomerId::new(), "guest", now, Duration::from_secs(60));
        claims.exp = now.millis() / 1000 + lifetime;
        signer.sign(&claims).unwrap()
    }

    #[tokio::test]
    async fn accepts_its_own_and_refuses_everything_else() {
        let signer = Signer::from_text("one");
        let verifier = signer.verifier();
        assert_eq!(verifier.verify(&token(&signer, 60)).await.unwrap().kind, "guest");

        let forged = token(&Signer::from_text("two"), 60);
        let expired = token(&signer, -61);
        let good = token(&signer, 60);
        let (signed, _) = good.rsplit_once('.').unwrap();
        let (head, rest) = good.split_once('.').unwrap();
        let none = B64.encode(r#"{"alg":"none","typ":"JWT","kid":""}"#);
        let cut = &good[..good.len() - 4];
        let unsigned = format!("{signed}.");
        let no_algorithm = format!("{none}.{rest}");
        let swapped = format!("{head}.{}.{}", B64.encode("{}"), good.rsplit_once('.').unwrap().1);
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for bad in [
            "",
            ".",
            "..",
            "a.b.c",
            &forged,
            &expired,
            cut,
            &unsigned,
            &no_algorithm,
            &swapped,
            &long,
        ] {
            let problem = verifier.verify(bad).await.unwrap_err();
            assert_eq!(problem.status(), 401, "{bad}");
        }
    }

    #[test]
    fn the_published_key_is_readable() {
        let signer = Signer::from_text("one");
        let jwks: Jwks = serde_json::from_value(signer.jwks()).unwrap();
        assert_eq!(usable(&jwks)[0].1, signer.key.verifying_key());
        let odd: Jwks = serde_json::from_str(
            r#"{"keys":[{"kty":"RSA","n":"x"},{"kty":"OKP","crv":"Ed25519","x":"!"}]}"#,
        )
        .unwrap();
        assert!(usable(&odd).is_empty());
    }
}
