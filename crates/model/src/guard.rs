//! Who may come in through the public entrance, how often, and what we add to the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Bytes, SecretName, ServiceName};

/// What holds for the whole entrance, and the rules that its routes name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Guard {
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted: Vec<Cidr>,
    pub limits: BTreeMap<String, RateLimit>,
    pub auth: BTreeMap<String, Auth>,
    /// Limits of every request, whatever its route; names of `limits`.
    pub limit: Vec<String>,
    pub bots: Option<Bots>,
    pub headers: Option<SecurityHeaders>,
    /// Say in refusals which rule refused and what to do.
    pub reasons: bool,
    pub access_log: Option<AccessLog>,
    /// Open connections of one address; `None`: as the data plane thinks fit.
    pub connections_max: Option<u32>,
    /// Bytes of a request's head; `None`: as the data plane thinks fit.
    pub head_max: Option<Bytes>,
    /// Header lines of a request; `None`: as the data plane thinks fit.
    pub headers_max: Option<u32>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            limits: BTreeMap::new(),
            auth: BTreeMap::new(),
            limit: Vec::new(),
            bots: None,
            headers: None,
            reasons: true,
            access_log: None,
            connections_max: None,
            head_max: None,
            headers_max: None,
        }
    }
}

impl Guard {
    /// Every secret that a rule needs the value of.
    pub fn secrets(&self) -> BTreeSet<&SecretName> {
        let mut secrets = BTreeSet::new();
        for auth in self.auth.values() {
            match auth {
                Auth::Jwt(jwt) => {
                    if let KeySource::Secret(secret) = &jwt.keys {
                        secrets.insert(secret);
                    }
                }
                Auth::Keys(keys) => secrets.extend(keys.keys.values()),
                Auth::Basic(basic) => secrets.extend(basic.users.values()),
            }
        }
        secrets
    }
}

/// What one route asks of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RouteGuard {
    /// Names of [`Guard::limits`].
    pub limits: Vec<String>,
    /// Name in [`Guard::auth`].
    pub auth: Option<String>,
    /// On top of those that the rule asks for.
    pub scopes: Vec<String>,
    pub cors: Option<Cors>,
    /// Empty: every address.
    pub allow: Vec<Cidr>,
    /// Counts more than `allow`.
    pub deny: Vec<Cidr>,
    pub request_headers: HeaderChanges,
    pub response_headers: HeaderChanges,
}

/// So many requests in so much time, and so many at once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RateLimit {
    pub count: u32,
    pub per: Duration,
    pub burst: u32,
    /// What has a count of its own: each combination of these.
    pub by: Vec<LimitBy>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitBy {
    /// The client's address; of IPv6 the network of 64 bits.
    Ip,
    /// Lower case.
    Header(String),
    /// The holder of an API key.
    Key,
    /// `sub` of a token, or the name in HTTP Basic.
    User,
    Route,
}

impl LimitBy {
    /// `ip`, `header:X-Shop`, `key`, `user`, `route`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ip" => Self::Ip,
            "key" => Self::Key,
            "user" => Self::User,
            "route" => Self::Route,
            _ => {
                let name = text.strip_prefix("header:")?;
                Self::Header(is_header_name(name).then(|| name.to_ascii_lowercase())?)
            }
        })
    }

    /// Only known once it is known who sent the request.
    pub fn needs_identity(&self) -> bool {
        matches!(self, Self::Key | Self::User)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    Jwt(Box<Jwt>),
    Keys(ApiKeys),
    Basic(Basic),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Jwt {
    pub issuer: Option<String>,
    /// One of these must be in `aud`; empty: it is not looked at.
    pub audience: Vec<String>,
    pub keys: KeySource,
    pub algorithms: BTreeSet<Algorithm>,
    pub leeway: Duration,
    /// Claims with the value that they must have, or hold.
    pub claims: BTreeMap<String, String>,
    pub scopes: Vec<String>,
    /// Where a token is looked for when there is no `Authorization`.
    pub cookie: Option<String>,
    /// Claim → header (lower case) by which the app learns it.
    pub forward: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// `/.well-known/openid-configuration` of the issuer says where.
    Discovery,
    Url(String),
    File(PathBuf),
    Service {
        service: ServiceName,
        path: String,
    },
    /// One that both sides know; only for HMAC.
    Secret(SecretName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Exactly as RFC 7518 spells it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// Whoever can check such a signature can also make one.
    pub fn is_shared_secret(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

/// Keys of programs: in `Authorization` (`Bearer` or `ApiKey`), or in a header of their own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ApiKeys {
    /// Lower case.
    pub header: Option<String>,
    /// By the name of who holds it.
    pub keys: BTreeMap<String, SecretName>,
    /// Header (lower case) by which the app learns the name.
    pub forward: Option<String>,
}

/// HTTP Basic, for internal pages.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Basic {
    pub users: BTreeMap<String, SecretName>,
    pub forward: Option<String>,
}

/// Which pages of other origins may read answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cors {
    /// `https://shop.example.org`, `https://*.example.org`, or `*` alone.
    pub origins: Vec<String>,
    /// Empty: what a form could send too, and what the route's own method is.
    pub methods: Vec<String>,
    /// Lower case; `*` for all.
    pub headers: Vec<String>,
    pub expose: Vec<String>,
    pub credentials: bool,
    pub max_age: Option<Duration>,
}

/// Added to every answer that does not have them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SecurityHeaders {
    pub nosniff: bool,
    pub referrer: Option<String>,
    pub frame: Option<String>,
    /// On TLS only.
    pub hsts: Option<Duration>,
    pub csp: Option<String>,
}

impl SecurityHeaders {
    pub fn strict() -> Self {
        Self {
            nosniff: true,
            referrer: Some("strict-origin-when-cross-origin".to_owned()),
            frame: Some("SAMEORIGIN".to_owned()),
            hsts: Some(Duration::from_secs(365 * 86_400)),
            csp: None,
        }
    }
}

/// What is done with programs that say by their `User-Agent` what they are.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bots {
    /// Refuse the tools of our own list.
    pub known: bool,
    /// Parts of a `User-Agent`, without case.
    pub deny: Vec<String>,
    /// Counts more than `deny` and the list.
    pub allow: Vec<String>,
    /// For each crawler that calls itself one; names of [`Guard::limits`] do not apply here.
    pub crawl: Option<RateLimit>,
    /// The text of `/robots.txt`, answered by us.
    pub robots: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct HeaderChanges {
    /// Names in lower case.
    pub set: BTreeMap<String, String>,
    pub remove: Vec<String>,
}

impl HeaderChanges {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AccessLog {
    /// Absolute.
    pub file: PathBuf,
    pub format: AccessFormat,
    /// The file and the one before it together.
    pub max: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    Json,
    /// As Apache and nginx write it.
    Combined,
}

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(into = "String")]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a network: {rule}")]
pub struct CidrError {
    pub text: String,
    pub rule: &'static str,
}

impl Cidr {
    /// # Errors
    /// [`CidrError`] with the rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let error = |rule| CidrError { text: text.to_owned(), rule };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr =
            address.parse().map_err(|_| error("an address, and after `/` how many bits count"))?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| error("more bits than the address has"))?,
            Some(_) => return Err(error("after `/` stands a number")),
        };
        let cidr = Self { network, prefix };
        if mask(network, prefix) != network {
            return Err(error(
                "it has bits below those that count; write the network's first address",
            ));
        }
        Ok(cidr)
    }

    /// `address` in its canonical form: IPv4, also when it came mapped into IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.network.is_ipv4() == address.is_ipv4() && mask(address, self.prefix) == self.network
    }
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

/// The characters of a `token` (RFC 9110, section 5.6.2).
pub fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let check = |network: &str, address: &str, expected: bool| {
            let network = Cidr::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "2001:db8::1", true);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
        for bad in
            ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10/8", "::/129", "a", "10.0.0.0/+8"]
        {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn algorithms_are_spelled_as_the_standard_does() {
        assert_eq!(Algorithm::parse("RS256"), Some(Algorithm::RS256));
        for bad in ["none", "None", "rs256", "", "HS1"] {
            assert_eq!(Algorithm::parse(bad), None, "{bad}");
        }
    }
}
