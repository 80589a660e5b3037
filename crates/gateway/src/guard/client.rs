//! Whose request it is, when it came through proxies of our own.
//!
//! A trusted proxy adds to `X-Forwarded-For` the address it was called from, so the list is read
//! from its end: the first address that is not a trusted proxy's is the client. What stands
//! before it was said by the client and means nothing.

use std::net::{IpAddr, SocketAddr};

use archipel_model::Cidr;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::message::headers::peer_value;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who is at the other end, as far as we can know.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) addr: IpAddr,
    pub(crate) value: HeaderValue,
    /// The client speaks TLS, to us or to a proxy that we trust.
    pub(crate) secure: bool,
}

impl Client {
    /// `peer` is the other end of the connection, and `secure` whether that is TLS.
    pub(crate) fn of(
        trusted: &[Cidr],
        peer: IpAddr,
        value: &HeaderValue,
        secure: bool,
        headers: &HeaderMap,
    ) -> Self {
        let direct = || Self { addr: peer, value: value.clone(), secure };
        if trusted.is_empty() || !is_trusted(trusted, peer) {
            return direct();
        }
        let proto = headers.get(FORWARDED_PROTO).map(|proto| proto.as_bytes() == b"https");
        let secure = proto.unwrap_or(secure);
        match behind(trusted, headers) {
            Some(addr) => Self { addr, value: peer_value(addr), secure },
            None => Self { secure, ..direct() },
        }
    }
}

pub(crate) fn is_trusted(trusted: &[Cidr], addr: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(addr))
}

fn behind(trusted: &[Cidr], headers: &HeaderMap) -> Option<IpAddr> {
    let mut nearest = None;
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        // What cannot be read was not written by a proxy of ours: from there on nothing counts.
        let Ok(line) = line.to_str() else { return nearest };
        for entry in line.rsplit(',') {
            let Some(addr) = address(entry.trim()) else { return nearest };
            nearest = Some(addr);
            if !is_trusted(trusted, addr) {
                return nearest;
            }
        }
    }
    nearest
}

/// Some proxies write the port too.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let addr = match bare.parse::<IpAddr>() {
        Ok(addr) => addr,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(addr.to_canonical())
}

/// What counts as one address: whoever has one IPv6 address has a network of 64 bits.
pub(crate) fn household(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_who_is_not_one_of_our_proxies() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|t| Cidr::parse(t).unwrap());
        let check = |peer: &str, lines: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            let peer: IpAddr = peer.parse().unwrap();
            let client = Client::of(&trusted, peer, &peer_value(peer), false, &headers);
            assert_eq!(client.addr.to_string(), expected, "{peer} {lines:?}");
            assert_eq!(client.value, expected);
        };
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1, 10.0.0.3, 10.0.0.2"], "1.1.1.1");
        check("10.0.0.1", &["10.0.0.4, 10.0.0.2"], "10.0.0.4");
        check("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        check("10.0.0.1", &["[2001:db9::7]:443"], "2001:db9::7");
        check("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.9, nonsense"], "10.0.0.1");
        check("10.0.0.1", &["nonsense, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &[], "10.0.0.1");
        // Not one of ours: what it says is not believed.
        check("198.51.100.1", &["203.0.113.9"], "198.51.100.1");
    }

    #[test]
    fn an_address_of_the_new_kind_stands_for_its_network() {
        let one = household("2001:db8:1:2:3:4:5:6".parse().unwrap());
        let other = household("2001:db8:1:2:ffff::1".parse().unwrap());
        assert_eq!(one, other);
        assert_ne!(one, household("2001:db8:1:3::1".parse().unwrap()));
    }
}
