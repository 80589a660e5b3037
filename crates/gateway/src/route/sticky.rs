//! Knows a visitor again, so that the same share or instance answers.
//!
//! A visitor is a name: one that they send in a header, or one that we give them in a cookie. The
//! choice follows from a hash of the name under a key of this installation (SipHash), not from
//! anything written in the cookie: nobody can work out a name that leads to a certain instance,
//! and nothing has to be remembered here. Who throws the cookie away draws again, which no cookie
//! can prevent. The cookie identifies nobody anywhere else: it is good for nothing but this.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use archipel_model::Sticky;
use archipel_rt::random;
use http::{HeaderMap, HeaderValue, header};
use siphasher::sip::SipHasher13;

use crate::upstream::instance::Instance;

pub(crate) const COOKIE: &str = "archipel-visitor";
const NAME_DIGITS: usize = 32;

/// The secret under which visitors are hashed; drawn when nobody sets one.
#[derive(Default)]
pub(crate) struct Key(OnceLock<[u8; 16]>);

impl Key {
    /// The first one stays: a change would move every visitor.
    pub(crate) fn set(&self, secret: &str) {
        let half = |salt: u8| {
            let mut hasher = SipHasher13::new_with_key(&[salt; 16]);
            secret.hash(&mut hasher);
            hasher.finish().to_le_bytes()
        };
        let mut key = [0; 16];
        key[..8].copy_from_slice(&half(1));
        key[8..].copy_from_slice(&half(2));
        let _ = self.0.set(key);
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let drawn = || (u128::from(random::u64()) << 64 | u128::from(random::u64())).to_le_bytes();
        let mut hasher = SipHasher13::new_with_key(self.0.get_or_init(drawn));
        hasher.write(name);
        hasher.finish()
    }
}

/// Who sent a request, as far as choices depend on it.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    /// Even over all numbers; `None`: each request chooses anew.
    pub(crate) hash: Option<u64>,
    /// To be remembered by the visitor.
    pub(crate) cookie: Option<Box<HeaderValue>>,
}

impl Visitor {
    pub(crate) fn of(headers: &HeaderMap, sticky: &Sticky, key: &Key, secure: bool) -> Self {
        match sticky {
            Sticky::Header(name) => {
                let value = headers.get(name.as_str()).map(HeaderValue::as_bytes);
                let value = value.filter(|value| !value.is_empty());
                Self { hash: value.map(|value| key.hash(value)), cookie: None }
            }
            Sticky::Cookie => match name_in(headers) {
                Some(name) => Self { hash: Some(key.hash(name)), cookie: None },
                None => Self::new(key, secure),
            },
        }
    }

    fn new(key: &Key, secure: bool) -> Self {
        // Hashed, so that the name does not give away the generator.
        let draw = || key.hash(&random::u64().to_le_bytes());
        let name = format!("{:016x}{:016x}", draw(), draw());
        let secure = if secure { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={name}; Path=/; HttpOnly; SameSite=Lax{secure}");
        Self {
            hash: Some(key.hash(name.as_bytes())),
            cookie: HeaderValue::try_from(cookie).ok().map(Box::new),
        }
    }
}

/// The visitor's name, if it has the form of those that we give.
fn name_in(headers: &HeaderMap) -> Option<&[u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut crumbs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    crumbs.find_map(|crumb| {
        let value = crumb.trim_ascii_start().strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"=")?;
        let value = value.trim_ascii_end();
        let fits = value.len() == NAME_DIGITS && value.iter().all(u8::is_ascii_hexdigit);
        fits.then_some(value)
    })
}

/// The instance that a visitor belongs to: the one with the highest number drawn from both
/// (rendezvous hashing), so that one that leaves moves its own visitors only, and one that comes
/// takes an even share from all. Those that were tried, do not accept connections or are ejected stand back.
pub(crate) fn choose(
    instances: &[Arc<Instance>],
    tried: &[Arc<Instance>],
    now_ms: u64,
    visitor: u64,
) -> Option<Arc<Instance>> {
    let rank = |(place, instance): (usize, &Arc<Instance>)| {
        let number = instance.id.as_ref().map_or(place as u64, |id| u64::from(id.replica));
        let tried = tried.iter().any(|other| Arc::ptr_eq(other, instance));
        let fit = !instance.is_avoided(now_ms) && !instance.outlier.is_out(now_ms);
        (!tried, fit, mix(visitor ^ mix(number + 1)))
    };
    let best = instances.iter().enumerate().max_by_key(|pair| rank(*pair));
    best.map(|(_, instance)| Arc::clone(instance))
}

/// Spreads a number over all bits (the finish of SplitMix64).
pub(crate) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        headers
    }

    #[test]
    fn a_visitor_is_known_by_the_cookie_that_we_gave() {
        let key = Key::default();
        key.set("secret");
        let first = Visitor::of(&HeaderMap::new(), &Sticky::Cookie, &key, true);
        let cookie = first.cookie.unwrap().to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
        let sent = format!("a=1; {}; b=2", cookie.split(';').next().unwrap());
        let again = Visitor::of(&headers(&sent), &Sticky::Cookie, &key, true);
        assert_eq!((again.hash, again.cookie), (first.hash, None));
        for odd in ["archipel-visitor=1", "archipel-visitor=", "x=archipel-visitor", ""] {
            let new = Visitor::of(&headers(odd), &Sticky::Cookie, &key, false);
            assert!(new.cookie.is_some(), "{odd}: what we did not give is replaced");
        }
        let other = Key::default();
        other.set("another secret");
        let elsewhere = Visitor::of(&headers(&sent), &Sticky::Cookie, &other, true);
        assert_ne!(elsewhere.hash, first.hash, "the name alone does not say where it leads");
    }

    #[test]
    fn a_header_names_the_visitor_or_nobody_does() {
        let key = Key::default();
        let sticky = Sticky::Header("x-customer-id".to_owned());
        let of = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("x-customer-id", HeaderValue::from_static(value));
            }
            Visitor::of(&headers, &sticky, &key, false).hash
        };
        assert_eq!(of(Some("7")), of(Some("7")));
        assert_ne!(of(Some("7")), of(Some("8")));
        assert_eq!((of(None), of(Some(""))), (None, None));
    }
}
