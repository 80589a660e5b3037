//! Keys that signatures are checked with (RFC 7517, RFC 7518, RFC 8037).
//!
//! A key knows which algorithms it is for, and a token's `alg` only chooses among those: a public
//! key can never be used as the secret of an HMAC, and there is no key for `none`.

use archipel_model::Algorithm;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

/// More keys than this in one set are not looked at.
const KEYS_MAX: usize = 64;
/// A modulus of 8192 bits, and what belongs to it, is below.
const NUMBER_MAX: usize = 1_400;

pub(crate) struct Key {
    id: Option<String>,
    /// The one that it is for, if it says.
    alg: Option<Algorithm>,
    material: Material,
}

enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

/// All keys of one issuer at one time.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Skips what is not for signatures, or of a kind that we do not know: an issuer may have
    /// more keys than we need.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Value =
            serde_json::from_slice(text).map_err(|_| "it is not JSON".to_owned())?;
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or("it has no array `keys`")?;
        let keys: Vec<Key> = keys.iter().take(KEYS_MAX).filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err("none of its keys is for signatures of a kind that is known".to_owned());
        }
        Ok(Self { keys })
    }

    /// One secret that both sides know.
    pub(crate) fn secret(secret: &str) -> Self {
        let material = Material::Secret(secret.as_bytes().to_vec());
        Self { keys: vec![Key { id: None, alg: None, material }] }
    }

    /// The keys that a token may be signed with: the one it names, or else all that fit.
    pub(crate) fn candidates<'a>(
        &'a self,
        id: Option<&'a str>,
        alg: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        // A key without a name may be meant, whatever the token says.
        let named = move |key: &&Key| match (id, key.id.as_deref()) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        self.keys.iter().filter(named).filter(move |key| key.fits(alg))
    }
}

impl Key {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let operations = jwk.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|all| all.iter().all(|op| op.as_str() != Some("verify"))) {
            return None;
        }
        let alg = match text("alg") {
            Some(alg) => Some(Algorithm::parse(alg)?),
            None => None,
        };
        let number = |name: &str| {
            let text = text(name).filter(|text| text.len() <= NUMBER_MAX)?;
            BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
        };
        let point = |size: usize| {
            let (x, y) = (number("x")?, number("y")?);
            (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                Material::Rsa { n: without_zeros(number("n")?), e: without_zeros(number("e")?) }
            }
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(number("x").filter(|x| x.len() == 32)?),
            // Also `oct`: a secret that anybody can fetch is none.
            _ => return None,
        };
        let key = Self { id: text("kid").map(str::to_owned), alg, material };
        key.alg.is_none_or(|alg| key.fits(alg)).then_some(key)
    }

    fn fits(&self, alg: Algorithm) -> bool {
        use Algorithm as A;
        let kind = match self.material {
            Material::Rsa { .. } => {
                matches!(alg, A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512)
            }
            Material::P256(_) => alg == A::ES256,
            Material::P384(_) => alg == A::ES384,
            Material::Ed25519(_) => alg == A::EdDSA,
            Material::Secret(_) => alg.is_shared_secret(),
        };
        kind && self.alg.is_none_or(|own| own == alg)
    }

    /// In constant time where that matters: `ring` sees to it.
    pub(crate) fn verifies(&self, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        use Algorithm as A;
        let checked = |by: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(by, key).verify(message, signature).is_ok()
        };
        if !self.fits(alg) {
            return false;
        }
        match &self.material {
            Material::Rsa { n, e } => {
                let by: &RsaParameters = match alg {
                    A::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    A::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    A::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    A::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
                    A::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
                    A::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(by, message, signature).is_ok()
            }
            Material::P256(point) => checked(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => checked(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(key) => checked(&signature::ED25519, key),
            Material::Secret(secret) => {
                let by = match alg {
                    A::HS256 => hmac::HMAC_SHA256,
                    A::HS384 => hmac::HMAC_SHA384,
                    A::HS512 => hmac::HMAC_SHA512,
                    _ => return false,
                };
                hmac::verify(&hmac::Key::new(by, secret), message, signature).is_ok()
            }
        }
    }
}

/// Some issuers write a sign byte, which numbers in a JWK do not have.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}
