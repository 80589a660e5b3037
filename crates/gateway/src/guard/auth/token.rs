//! A token (RFC 7519, in the compact form of RFC 7515): read, checked, judged. Pure.
//!
//! What a token says about its own keys (`jku`, `jwk`, `x5u`, `x5c`) is not read: which keys
//! count is the rule's to say. `crit` names what must be understood, and none of it is.

use std::collections::BTreeSet;
use std::time::Duration;

use archipel_model::{Algorithm, Jwt};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::guard::auth::jwk::KeySet;

/// A longer one is not worth the work; headers of all browsers and proxies end below.
pub(crate) const TOKEN_MAX: usize = 16 << 10;

/// A token whose form is right and whose signature has not been looked at.
pub(crate) struct Unproven<'a> {
    pub(crate) alg: Algorithm,
    pub(crate) kid: Option<String>,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// What a token says, once it is known who signed it.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

/// Why a token is not good, in words for the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bad {
    Form(&'static str),
    Algorithm(String),
    /// No key of this name; another set of keys may have it.
    UnknownKey(Option<String>),
    Signature,
    Expired(u64),
    NotYet(u64),
    Claim(String),
}

impl Bad {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Form(what) => format!("the token is malformed: {what}"),
            Self::Algorithm(alg) => {
                format!("the token is signed with `{alg}`, which this rule does not accept")
            }
            Self::UnknownKey(Some(kid)) => format!("the issuer has no key `{kid}`"),
            Self::UnknownKey(None) => "the issuer has no key for this kind of signature".to_owned(),
            Self::Signature => "the signature of the token is not the issuer's".to_owned(),
            Self::Expired(seconds) => format!("the token expired {seconds} s ago"),
            Self::NotYet(seconds) => format!("the token is good only in {seconds} s"),
            Self::Claim(what) => what.clone(),
        }
    }
}

impl<'a> Unproven<'a> {
    pub(crate) fn read(token: &'a str, accepted: &BTreeSet<Algorithm>) -> Result<Self, Bad> {
        if token.len() > TOKEN_MAX {
            return Err(Bad::Form("it is longer than any token is"));
        }
        let three = || Bad::Form("it has not three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(three)?;
        let (head, payload) = signed.split_once('.').ok_or_else(three)?;
        if payload.contains('.') {
            return Err(three());
        }
        let head: Value = serde_json::from_slice(&decode(head)?)
            .map_err(|_| Bad::Form("its header is not JSON"))?;
        if head.get("crit").is_some() {
            return Err(Bad::Form("it has a critical extension"));
        }
        let alg = head.get("alg").and_then(Value::as_str);
        let alg = alg.ok_or(Bad::Form("its header names no algorithm"))?;
        let known = Algorithm::parse(alg).filter(|alg| accepted.contains(alg));
        let short = |text: &str| text.chars().take(80).filter(|c| !c.is_control()).collect();
        Ok(Self {
            alg: known.ok_or_else(|| Bad::Algorithm(short(alg)))?,
            kid: head.get("kid").and_then(Value::as_str).map(short),
            signed,
            payload,
            signature: decode(signature)?,
        })
    }

    pub(crate) fn prove(&self, keys: &KeySet) -> Result<Claims, Bad> {
        let mut candidates = keys.candidates(self.kid.as_deref(), self.alg).peekable();
        if candidates.peek().is_none() {
            return Err(Bad::UnknownKey(self.kid.clone()));
        }
        let signed = self.signed.as_bytes();
        if !candidates.any(|key| key.verifies(self.alg, signed, &self.signature)) {
            return Err(Bad::Signature);
        }
        match serde_json::from_slice(&decode(self.payload)?) {
            Ok(Value::Object(claims)) => Ok(Claims(claims)),
            _ => Err(Bad::Form("its content is not a JSON object")),
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Bad> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Bad::Form("a part is not base64url"))
}

impl Claims {
    /// Holds the claims against the rule; returns until when they hold, in seconds since 1970.
    pub(crate) fn judge(&self, rule: &Jwt, now: Duration) -> Result<u64, Bad> {
        let leeway = rule.leeway.as_secs();
        let now = now.as_secs();
        let exp = self.time("exp")?.ok_or(Bad::Claim("the token has no `exp`".to_owned()))?;
        let until = exp.saturating_add(leeway);
        if now >= until {
            return Err(Bad::Expired(now - exp));
        }
        if let Some(nbf) = self.time("nbf")?.filter(|nbf| *nbf > now.saturating_add(leeway)) {
            return Err(Bad::NotYet(nbf - now));
        }
        if let Some(issuer) = &rule.issuer
            && self.text("iss") != Some(issuer)
        {
            return Err(Bad::Claim("the token is from another issuer (`iss`)".to_owned()));
        }
        if !rule.audience.is_empty() && !rule.audience.iter().any(|who| self.holds("aud", who)) {
            return Err(Bad::Claim("the token is for somebody else (`aud`)".to_owned()));
        }
        for (claim, value) in &rule.claims {
            if !self.holds(claim, value) {
                return Err(Bad::Claim(format!(
                    "the token does not have the `{claim}` that is asked for"
                )));
            }
        }
        Ok(until)
    }

    /// `exp` and `nbf` may have a fraction (RFC 7519, section 2).
    fn time(&self, claim: &str) -> Result<Option<u64>, Bad> {
        let Some(value) = self.0.get(claim) else { return Ok(None) };
        let whole = value.as_u64();
        let time = whole.or_else(|| value.as_f64().filter(|t| *t >= 0.0).map(|t| t as u64));
        time.map(Some).ok_or_else(|| Bad::Claim(format!("`{claim}` of the token is not a time")))
    }

    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim).and_then(Value::as_str)
    }

    /// The claim is the value, or an array with it.
    fn holds(&self, claim: &str, wanted: &str) -> bool {
        let is = |value: &Value| match value {
            Value::String(text) => text == wanted,
            Value::Bool(b) => b.to_string() == wanted,
            Value::Number(number) => number.to_string() == wanted,
            _ => false,
        };
        match self.0.get(claim) {
            Some(Value::Array(items)) => items.iter().any(is),
            Some(value) => is(value),
            None => false,
        }
    }

    /// As `scope` (RFC 8693, section 4.2) or `scp` has them.
    pub(crate) fn scopes(&self) -> Vec<String> {
        let of = |claim: &str| match self.0.get(claim) {
            Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(items)) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        [of("scope"), of("scp")].concat()
    }

    /// As a header can carry it; several values with commas, and nothing of what has parts.
    pub(crate) fn line(&self, claim: &str) -> Option<String> {
        let one = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(b) => Some(b.to_string()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match self.0.get(claim)? {
            Value::Array(items) => {
                let items: Option<Vec<String>> = items.iter().map(one).collect();
                items.map(|items| items.join(","))
            }
            value => one(value),
        }
    }
}
