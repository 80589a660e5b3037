//! An issuer of tokens for the tests: keys of each kind, and what it publishes of them.

use std::sync::{Arc, Mutex};

use archipel_gateway::Body;
use archipel_rt::clock;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Response;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use ring::{hmac, rsa};
use serde_json::{Value, json};

use crate::support::{App, World};

/// For tests alone; `ring` cannot make one.
const RSA: &[u8] = include_bytes!("../../test-data/rsa-of-tests.pk8");

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) struct Keys {
    rsa: rsa::KeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let ec = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec_document = EcdsaKeyPair::generate_pkcs8(ec, &random).unwrap();
        let ed_document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            rsa: rsa::KeyPair::from_pkcs8(RSA).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(ec, ec_document.as_ref(), &random).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed_document.as_ref()).unwrap(),
        }
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public()).n
    }

    /// The keys by these names: `rsa`, `ec`, `ed`, with a suffix to tell them apart.
    pub(crate) fn jwks(&self, suffix: &str) -> String {
        let public = rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let point = self.ec.public_key().as_ref();
        let kid = |kind: &str| format!("{kind}{suffix}");
        json!({ "keys": [
            { "kty": "RSA", "use": "enc", "kid": "other", "n": "AQAB", "e": "AQAB" },
            { "kty": "brainpool", "kid": "unknown" },
            { "kty": "RSA", "use": "sig", "kid": kid("rsa"), "n": base64(&public.n), "e": base64(&public.e) },
            { "kty": "EC", "crv": "P-256", "kid": kid("ec"), "x": base64(&point[1..33]), "y": base64(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": kid("ed"), "x": base64(self.ed.public_key().as_ref()) },
        ]})
        .to_string()
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            base64(header.to_string().as_bytes()),
            base64(claims.to_string().as_bytes())
        );
        let random = SystemRandom::new();
        let message = signed.as_bytes();
        let rsa_sign = |padding: &'static dyn signature::RsaEncoding| {
            let mut out = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(padding, &random, message, &mut out).unwrap();
            out
        };
        let signature = match header["alg"].as_str().unwrap() {
            "RS256" => rsa_sign(&signature::RSA_PKCS1_SHA256),
            "PS256" => rsa_sign(&signature::RSA_PSS_SHA256),
            "ES256" => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{signed}.{}", base64(&signature))
    }
}

pub(crate) fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!(
        "{}.{}",
        base64(header.to_string().as_bytes()),
        base64(claims.to_string().as_bytes())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", base64(tag.as_ref()))
}

pub(crate) fn now() -> u64 {
    clock::wall_ms() / 1_000
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": "http://id.test", "aud": ["shop", "other"], "sub": "ada", "scope": "read write",
        "exp": now() + 600, "nbf": now() - 5, "roles": ["admin", "staff"], "tier": 3,
    })
}

/// Publishes whatever it is told to.
pub(crate) struct Issuer {
    pub(crate) app: App,
    /// `None`: 500.
    pub(crate) document: Arc<Mutex<Option<String>>>,
}

impl Issuer {
    pub(crate) async fn new(world: &World, document: String) -> Self {
        let document = Arc::new(Mutex::new(Some(document)));
        let told = Arc::clone(&document);
        let app = world
            .app(move |request| {
                let document = told.lock().unwrap().clone();
                async move {
                    match document {
                        Some(_) if request.uri().path() == "/missing" => status(404),
                        Some(document) => Response::new(Body::from(document)),
                        None => status(500),
                    }
                }
            })
            .await;
        Self { app, document }
    }

    pub(crate) fn publish(&self, document: Option<String>) {
        *self.document.lock().unwrap() = document;
    }
}

fn status(code: u16) -> Response<Body> {
    Response::builder().status(code).body(Body::empty()).unwrap()
}
