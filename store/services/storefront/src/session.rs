//! What the shop remembers about a browser: a cookie, signed, kept nowhere else.
//!
//! Any instance can serve any request, a restart forgets nothing, and there is no table of
//! sessions to clean. The cookie is readable to whoever holds it, so it has nothing in it that
//! its owner may not know; it cannot be changed, because it carries an HMAC-SHA256 over its
//! text. `HttpOnly` keeps scripts from it, `SameSite=Lax` keeps other sites from using it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store_kit::{CartId, CheckoutId, Clock, CustomerId, OrderId, Timestamp};

use crate::lang::Lang;

pub(crate) const COOKIE: &str = "shop";
const LIFETIME_S: i64 = 30 * 24 * 3600;
/// Browsers drop cookies above 4096 bytes with their name and attributes.
const COOKIE_BYTES_MAX: usize = 3800;
const SENT_MAX: usize = 6;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Random; form tokens are made from it.
    pub(crate) id: String,
    /// Seconds since 1970 after which the cookie is not accepted.
    pub(crate) until: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lang: Option<Lang>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cart: Option<CartId>,
    /// How many things were in the cart when we last saw it, for the number in the header.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) things: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<Member>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) guest: Option<Guest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkout: Option<Checkout>,
    /// The last orders sent from here, newest first: a checkout accepts an order a moment before
    /// orders knows it, and we must not say "no such order" in between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sent: Vec<Sent>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Somebody who signed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) id: CustomerId,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) refresh: String,
    /// Seconds since 1970 at which `token` ends.
    pub(crate) until: i64,
}

/// Somebody who gave an address without an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Guest {
    pub(crate) id: CustomerId,
    pub(crate) token: String,
    pub(crate) until: i64,
    /// Hash of name, mail and phone: when they change, it is another guest.
    pub(crate) contact: String,
}

/// The purchase in progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkout {
    pub(crate) id: CheckoutId,
    pub(crate) order: OrderId,
    pub(crate) cart: CartId,
    pub(crate) customer: CustomerId,
    /// A delivery option has been chosen.
    #[serde(default)]
    pub(crate) delivery: bool,
    /// The provider has given us a token for the card.
    #[serde(default)]
    pub(crate) card: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) order: OrderId,
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// What it was made of; opens again when the order is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cart: Option<CartId>,
}

impl Session {
    /// The customer that buys: the member, else the guest.
    pub(crate) fn customer(&self) -> Option<&CustomerId> {
        self.member.as_ref().map(|m| &m.id).or(self.guest.as_ref().map(|g| &g.id))
    }

    pub(crate) fn remember_sent(&mut self, order: OrderId, cart: Option<CartId>, now: Timestamp) {
        self.sent.retain(|s| s.order != order);
        self.sent.insert(0, Sent { order, at: now.millis() / 1000, cart });
        self.sent.truncate(SENT_MAX);
    }
}

/// Makes and checks cookies and form tokens.
#[derive(Clone)]
pub(crate) struct Seal {
    key: [u8; 32],
    clock: Clock,
}

impl Seal {
    pub(crate) fn new(key: &str, clock: Clock) -> Self {
        Self { key: Sha256::digest(key.as_bytes()).into(), clock }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn seconds(&self) -> i64 {
        self.now().millis() / 1000
    }

    /// A session for a browser that we do not know.
    pub(crate) fn fresh(&self) -> Session {
        Session { id: random(), until: self.seconds() + LIFETIME_S, ..Session::default() }
    }

    /// The session of a cookie's value; `None` when it is not ours, changed, or too old.
    pub(crate) fn open(&self, value: &str) -> Option<Session> {
        if value.len() > COOKIE_BYTES_MAX {
            return None;
        }
        let (body, signature) = value.split_once('.')?;
        let signature = B64.decode(signature).ok()?;
        self.mac("cookie", body).verify_slice(&signature).ok()?;
        let session: Session = serde_json::from_slice(&B64.decode(body).ok()?).ok()?;
        (session.until > self.seconds()).then_some(session)
    }

    /// The value of a cookie. What makes it too long is left out, least needed first.
    pub(crate) fn close(&self, session: &Session) -> String {
        let mut session = session.clone();
        session.until = self.seconds() + LIFETIME_S;
        let mut value = self.sign(&session);
        if value.len() > COOKIE_BYTES_MAX {
            session.sent.truncate(1);
            value = self.sign(&session);
        }
        if value.len() > COOKIE_BYTES_MAX {
            session.guest = None;
            value = self.sign(&session);
        }
        value
    }

    fn sign(&self, session: &Session) -> String {
        // A struct of strings and numbers can always be written.
        let body = B64.encode(serde_json::to_vec(session).unwrap_or_default());
        let signature = B64.encode(self.mac("cookie", &body).finalize().into_bytes());
        format!("{body}.{signature}")
    }

    /// The token that a form for `purpose` carries.
    pub(crate) fn token(&self, session: &Session, purpose: &str) -> String {
        let mac = self.mac(purpose, &session.id).finalize().into_bytes();
        B64.encode(&mac[..18])
    }

    pub(crate) fn token_fits(&self, session: &Session, purpose: &str, token: &str) -> bool {
        let Ok(given) = B64.decode(token) else { return false };
        given.len() == 18 && self.mac(purpose, &session.id).verify_truncated_left(&given).is_ok()
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac
    }
}

/// Sixteen unguessable bytes as text.
pub(crate) fn random() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    B64.encode(bytes)
}

/// A short name for a text that must not be stored itself.
pub(crate) fn digest(text: &str) -> String {
    B64.encode(&Sha256::digest(text.as_bytes())[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: &str) -> Seal {
        Seal::new(key, Clock::default())
    }

    #[test]
    fn a_cookie_comes_back_as_it_went() {
        let seal = seal("k");
        let mut session = seal.fresh();
        session.lang = Some(Lang::Fr);
        session.cart = Some(CartId::new());
        session.remember_sent(OrderId::new(), Some(CartId::new()), seal.now());
        let value = seal.close(&session);
        let back = seal.open(&value).unwrap();
        assert_eq!(
            (back.id, back.cart, back.sent, back.lang),
            (session.id, session.cart, session.sent, session.lang)
        );
    }

    #[test]
    fn a_cookie_of_another_key_or_with_another_letter_is_nobodys() {
        let value = seal("k").close(&seal("k").fresh());
        assert!(seal("other").open(&value).is_none());
        for i in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last letters of base64 may stand for the same bytes; then nothing was changed.
            let same = changed == value || seal("k").open(&changed) == seal("k").open(&value);
            assert!(
                seal("k").open(&changed).is_none() || (same && i + 1 == value.len()),
                "letter {i}"
            );
        }
        for bad in ["", ".", "a.b", "💡.💡", &"x".repeat(9000)] {
            assert!(seal("k").open(bad).is_none());
        }
    }

    #[test]
    fn an_old_cookie_is_not_accepted() {
        let seal = seal("k");
        let mut session = seal.fresh();
        session.until = 1;
        assert!(seal.open(&seal.sign(&session)).is_none());
    }

    #[test]
    fn a_form_token_is_for_one_session_and_one_purpose() {
        let seal = seal("k");
        let (a, b) = (seal.fresh(), seal.fresh());
        let token = seal.token(&a, "form");
        assert!(seal.token_fits(&a, "form", &token));
        assert!(!seal.token_fits(&b, "form", &token));
        assert!(!seal.token_fits(&a, "card", &token));
        assert!(!seal.token_fits(&a, "form", "") && !seal.token_fits(&a, "form", "AAAA"));
    }

    #[test]
    fn a_cookie_never_grows_too_long_for_a_browser() {
        let seal = seal("k");
        let mut session = seal.fresh();
        let token = "t".repeat(900);
        session.guest = Some(Guest {
            id: CustomerId::new(),
            token: token.clone(),
            until: 1,
            contact: "x".into(),
        });
        session.member = Some(Member {
            id: CustomerId::new(),
            name: "n".repeat(100),
            token,
            refresh: "r".repeat(600),
            until: 1,
        });
        for _ in 0..20 {
            session.remember_sent(OrderId::new(), Some(CartId::new()), seal.now());
        }
        let value = seal.close(&session);
        assert!(
            value.len() <= COOKIE_BYTES_MAX && seal.open(&value).unwrap().member.is_some(),
            "{}",
            value.len()
        );
    }
}
