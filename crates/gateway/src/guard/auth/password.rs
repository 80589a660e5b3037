//! API keys and HTTP Basic: something secret that names who holds it.
//!
//! Looked up by hash: how long that takes says nothing about a secret, because nobody can choose
//! what a hash begins with.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::guard::auth::cache::{Digest, digest};
use crate::guard::auth::{Fault, Identity};

/// Nobody's key or password is longer.
const CREDENTIAL_MAX: usize = 4 << 10;

pub(crate) struct Passwords {
    /// `None`: `Authorization`.
    header: Option<HeaderName>,
    basic: bool,
    /// By which apps learn who it is.
    forward: Option<HeaderName>,
    holders: HashMap<Digest, Arc<Identity>>,
}

impl Passwords {
    /// `holders`: name and key.
    pub(crate) fn keys<'a>(
        header: Option<&str>,
        forward: Option<&str>,
        holders: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let holders = holders.map(|(name, key)| {
            let identity = Identity { consumer: Some(name.to_owned()), ..told(name, forward) };
            (digest(key.as_bytes()), Arc::new(identity))
        });
        let header = named(header);
        Self { header, basic: false, forward: named(forward), holders: holders.collect() }
    }

    /// `holders`: name and password.
    pub(crate) fn basic<'a>(
        forward: Option<&str>,
        holders: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let holders = holders.map(|(name, password)| {
            let identity = Identity { user: Some(name.to_owned()), ..told(name, forward) };
            (digest(format!("{name}:{password}").as_bytes()), Arc::new(identity))
        });
        Self { header: None, basic: true, forward: named(forward), holders: holders.collect() }
    }

    pub(crate) fn is_basic(&self) -> bool {
        self.basic
    }

    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Fault> {
        let name = self.carrier();
        let mut lines = headers.get_all(name).iter();
        let line = lines.next().ok_or(Fault::Missing)?;
        if lines.next().is_some() || line.len() > CREDENTIAL_MAX {
            return Err(Fault::Bad(format!("`{name}` holds more than one credential")));
        }
        let credential = match (&self.header, self.basic) {
            (Some(_), _) => line.as_bytes().to_vec(),
            (None, false) => scheme(line, "bearer")
                .or_else(|| scheme(line, "apikey"))
                .ok_or(Fault::Missing)?
                .to_vec(),
            (None, true) => {
                let encoded = scheme(line, "basic").ok_or(Fault::Missing)?;
                let decoded = BASE64_STANDARD.decode(encoded);
                decoded.map_err(|_| Fault::Bad("the credentials are not base64".to_owned()))?
            }
        };
        let what = if self.basic { "the name or the password is wrong" } else { "no such key" };
        let holder = self.holders.get(&digest(&credential));
        holder.cloned().ok_or_else(|| Fault::Bad(what.to_owned()))
    }

    pub(crate) fn identity_headers(&self) -> Vec<HeaderName> {
        self.forward.iter().cloned().collect()
    }

    /// What brings the secret, and is of no use to an app.
    pub(crate) fn carrier(&self) -> &HeaderName {
        self.header.as_ref().unwrap_or(&header::AUTHORIZATION)
    }
}

fn named(header: Option<&str>) -> Option<HeaderName> {
    header.and_then(|name| name.parse().ok())
}

fn told(name: &str, forward: Option<&str>) -> Identity {
    let header = forward.and_then(|header| {
        Some((header.parse::<HeaderName>().ok()?, HeaderValue::from_str(name).ok()?))
    });
    Identity { headers: header.into_iter().collect(), ..Identity::default() }
}

/// `Bearer abc` → `abc`; the scheme without case (RFC 9110, section 11.1).
pub(crate) fn scheme<'a>(line: &'a HeaderValue, scheme: &str) -> Option<&'a [u8]> {
    let line = line.as_bytes();
    let (name, rest) = line.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ").filter(|_| name.eq_ignore_ascii_case(scheme.as_bytes()))?;
    Some(rest.trim_ascii())
}
