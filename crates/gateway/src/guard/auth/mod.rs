//! Who sends a request, proven: by a token (JWT), an API key, or a password (HTTP Basic).

pub(crate) mod cache;
pub(crate) mod jwk;
pub(crate) mod keyring;
pub(crate) mod password;
pub(crate) mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use archipel_model::Jwt;
use archipel_rt::{CancellationToken, clock};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::guard::auth::cache::Cache;
use crate::guard::auth::keyring::Keyring;
use crate::guard::auth::password::{Passwords, scheme};
use crate::guard::auth::token::{Bad, Claims, Unproven};
use crate::refusal::{Problem, Refusal, plain};

/// Somebody who has proven to be that.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Of an API key.
    pub(crate) consumer: Option<String>,
    pub(crate) user: Option<String>,
    scopes: Vec<String>,
    /// What the app is told.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) struct Rule {
    name: String,
    proof: Proof,
}

enum Proof {
    Jwt(Box<Tokens>),
    Password(Passwords),
    /// As it is configured, nobody can pass; why.
    Broken(String),
}

struct Tokens {
    rule: Jwt,
    keys: Arc<Keyring>,
    forward: Vec<(String, HeaderName)>,
    cache: Cache,
    /// Ends the fetching of keys with the rule.
    _stop: StopOnDrop,
}

struct StopOnDrop(CancellationToken);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Why a request is nobody's.
#[derive(Debug)]
pub(crate) enum Fault {
    Missing,
    Bad(String),
    /// It may be somebody's once there are other keys.
    Keys(Option<String>),
    Broken(String),
}

impl Rule {
    pub(crate) fn jwt(name: &str, rule: &Jwt, keys: Arc<Keyring>, stop: CancellationToken) -> Self {
        let pair =
            |(claim, header): (&String, &String)| Some((claim.clone(), header.parse().ok()?));
        let tokens = Tokens {
            forward: rule.forward.iter().filter_map(pair).collect(),
            rule: rule.clone(),
            keys,
            cache: Cache::default(),
            _stop: StopOnDrop(stop),
        };
        Self { name: name.to_owned(), proof: Proof::Jwt(Box::new(tokens)) }
    }

    pub(crate) fn password(name: &str, passwords: Passwords) -> Self {
        Self { name: name.to_owned(), proof: Proof::Password(passwords) }
    }

    pub(crate) fn broken(name: &str, why: String) -> Self {
        Self { name: name.to_owned(), proof: Proof::Broken(why) }
    }

    /// Headers by which apps learn who it is: from outside they mean nothing.
    pub(crate) fn identity_headers(&self) -> Vec<HeaderName> {
        match &self.proof {
            Proof::Jwt(tokens) => tokens.forward.iter().map(|(_, name)| name.clone()).collect(),
            Proof::Password(passwords) => passwords.identity_headers(),
            Proof::Broken(_) => Vec::new(),
        }
    }

    /// With newer keys once more, when it is for want of a key that somebody is not known.
    pub(crate) async fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Fault> {
        match (&self.proof, self.try_identify(headers)) {
            (Proof::Jwt(tokens), Err(Fault::Keys(_))) => {
                // In a box, so that the requests that need not wait do not carry the room for it.
                Box::pin(tokens.keys.refresh()).await;
                self.try_identify(headers)
            }
            (_, known) => known,
        }
    }

    fn try_identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Fault> {
        match &self.proof {
            Proof::Jwt(tokens) => tokens.identify(headers, since_1970()),
            Proof::Password(passwords) => passwords.identify(headers),
            Proof::Broken(why) => Err(Fault::Broken(why.clone())),
        }
    }

    /// Takes out of the request what only we need, and adds what the app is told.
    pub(crate) fn introduce(&self, identity: &Identity, headers: &mut HeaderMap) {
        if let Proof::Password(passwords) = &self.proof {
            headers.remove(passwords.carrier());
        }
        for (name, value) in &identity.headers {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// The first scope that is asked for, by the rule or by the route, and is not there.
    pub(crate) fn missing_scope<'a>(
        &'a self,
        identity: &Identity,
        of_route: &'a [String],
    ) -> Option<&'a str> {
        let of_rule = match &self.proof {
            Proof::Jwt(tokens) => tokens.rule.scopes.as_slice(),
            _ => &[],
        };
        let wanted = of_rule.iter().chain(of_route).find(|s| !identity.scopes.contains(s));
        wanted.map(String::as_str)
    }

    /// What to answer, with the challenge that goes with it (RFC 6750, section 3).
    pub(crate) fn refuse(&self, fault: Fault) -> (Refusal, Option<HeaderValue>) {
        let rule = format!("auth {}", self.name);
        let refusal = |problem, detail: String| Refusal::new(problem, rule.clone(), detail);
        let (why, error) = match fault {
            Fault::Missing => (self.ask().to_owned(), false),
            Fault::Bad(why) => (why, true),
            Fault::Keys(why) => match why {
                Some(why) => (why, true),
                None => {
                    let detail = "the keys of the issuer could not be fetched yet";
                    let mut refusal = refusal(Problem::KeysUnavailable, detail.to_owned());
                    refusal.retry_after_s = Some(1);
                    return (refusal, None);
                }
            },
            Fault::Broken(why) => return (refusal(Problem::KeysUnavailable, why), None),
        };
        let challenge = match (&self.proof, error) {
            (Proof::Password(passwords), _) if passwords.is_basic() => {
                format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.name)
            }
            (_, false) => format!("Bearer realm=\"{}\"", self.name),
            (_, true) => {
                let why = why.replace(['"', '\\'], "'");
                let name = &self.name;
                format!(
                    "Bearer realm=\"{name}\", error=\"invalid_token\", error_description=\"{why}\""
                )
            }
        };
        (refusal(Problem::Unauthenticated, why), Some(plain(&challenge)))
    }

    fn ask(&self) -> &'static str {
        match &self.proof {
            Proof::Password(passwords) if passwords.is_basic() => {
                "a name and a password are needed"
            }
            Proof::Password(_) => "an API key is needed",
            _ => "a token is needed: `Authorization: Bearer …`",
        }
    }

    pub(crate) fn refuse_scope(&self, scope: &str) -> (Refusal, HeaderValue) {
        let detail = format!("the token does not have the scope `{scope}`");
        let refusal = Refusal::new(Problem::Forbidden, format!("auth {}", self.name), detail);
        let challenge = format!(
            "Bearer realm=\"{}\", error=\"insufficient_scope\", scope=\"{scope}\"",
            self.name
        );
        (refusal, plain(&challenge))
    }
}

impl Tokens {
    fn identify(&self, headers: &HeaderMap, now: Duration) -> Result<Arc<Identity>, Fault> {
        let token = self.token(headers)?;
        let round = self.keys.now();
        if round.number == 0 {
            return Err(Fault::Keys(None));
        }
        let digest = cache::digest(token.as_bytes());
        if let Some(known) = self.cache.get(&digest, round.number, now) {
            return Ok(known);
        }
        let unproven = Unproven::read(token, &self.rule.algorithms).map_err(bad)?;
        let claims = unproven.prove(&round.keys).map_err(bad)?;
        let until = claims.judge(&self.rule, now).map_err(bad)?;
        let identity = Arc::new(self.identity(&claims));
        self.cache.put(digest, &identity, until, round.number, now);
        Ok(identity)
    }

    /// From `Authorization`, or else from the cookie.
    fn token<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Fault> {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let line = lines.next();
        if lines.next().is_some() {
            // We might judge one and the app believe the other.
            return Err(Fault::Bad("there is more than one `authorization`".to_owned()));
        }
        let token = match line.and_then(|line| scheme(line, "bearer")) {
            Some(token) => Some(token),
            None => self.rule.cookie.as_ref().and_then(|name| cookie(headers, name)),
        };
        let token = std::str::from_utf8(token.ok_or(Fault::Missing)?);
        token.map_err(|_| Fault::Bad("the token is not ASCII".to_owned()))
    }

    fn identity(&self, claims: &Claims) -> Identity {
        let header = |(claim, name): &(String, HeaderName)| {
            let value = HeaderValue::from_str(&claims.line(claim)?).ok()?;
            Some((name.clone(), value))
        };
        Identity {
            consumer: None,
            user: claims.text("sub").map(str::to_owned),
            scopes: claims.scopes(),
            headers: self.forward.iter().filter_map(header).collect(),
        }
    }
}

fn bad(bad: Bad) -> Fault {
    match bad {
        Bad::UnknownKey(_) => Fault::Keys(Some(bad.text())),
        bad => Fault::Bad(bad.text()),
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|b| *b == b';')).find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

fn since_1970() -> Duration {
    clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
