//! Accounts, guests, and tokens that stay fresh.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use store_kit::{Callee, CustomerId, NoAnswer, Outcome, Refusal};
use tokio::sync::OnceCell;

use super::ACTION;
use super::buying::Address;
use crate::lang::Lang;

/// A password is hashed slowly on purpose, and hashes queue.
const PASSWORD: Duration = Duration::from_secs(6);
const RENEWED_KEPT: Duration = Duration::from_secs(120);
const RENEWED_MAX: usize = 4096;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) customer_id: CustomerId,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
    /// Seconds.
    pub(crate) expires_in: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct GuestToken {
    pub(crate) customer_id: CustomerId,
    pub(crate) token: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Me {
    pub(crate) name: String,
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) phone: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KeptAddress {
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) address: Address,
}

#[derive(Clone, Debug, Deserialize)]
struct KeptAddresses {
    items: Vec<KeptAddress>,
}

/// Why a token could not be renewed.
#[derive(Clone, Debug)]
pub(crate) enum NotRenewed {
    /// The sign-in is over.
    Ended,
    /// Nobody answered; it may still be good.
    Away,
}

type Renewal = Arc<OnceCell<Tokens>>;

pub(crate) struct Customers {
    callee: Callee,
    /// A refresh token works once, and a browser sends several requests at a time with the same
    /// cookie. The first renews; the others, and those that come with the old cookie a moment
    /// later, get what it got.
    renewals: Mutex<HashMap<String, (Instant, Renewal)>>,
}

impl Customers {
    pub(crate) fn new(callee: Callee) -> Self {
        Self { callee, renewals: Mutex::default() }
    }

    pub(crate) async fn register(&self, key: &str, who: &Value) -> Outcome<Value> {
        self.callee.post("/v1/customers").key(key).timeout(PASSWORD).json(who).send().await
    }

    pub(crate) async fn guest(&self, key: &str, who: &Value) -> Outcome<GuestToken> {
        self.callee.post("/v1/guests").key(key).timeout(ACTION).json(who).send().await
    }

    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Outcome<Tokens> {
        let body = json!({"email": email, "password": password});
        self.callee.post("/v1/sessions").timeout(PASSWORD).json(&body).send().await
    }

    pub(crate) async fn sign_out(&self, token: &str) -> Outcome<Value> {
        self.callee.delete("/v1/sessions/current").bearer(token).send().await
    }

    pub(crate) async fn me(&self, token: &str) -> Outcome<Me> {
        self.callee.get("/v1/me").bearer(token).send().await
    }

    /// Tells customers the language for messages; nobody waits for a good answer.
    pub(crate) async fn set_locale(&self, token: &str, lang: Lang) -> Outcome<Value> {
        self.callee
            .patch("/v1/me")
            .bearer(token)
            .json(&json!({ "locale": lang.tag() }))
            .send()
            .await
    }

    pub(crate) async fn addresses(&self, token: &str) -> Option<Vec<KeptAddress>> {
        let outcome =
            self.callee.get("/v1/me/addresses").bearer(token).send::<KeptAddresses>().await;
        outcome.ok().map(|kept| kept.items)
    }

    pub(crate) async fn add_address(&self, token: &str, address: &Address) -> Outcome<Value> {
        self.callee
            .post("/v1/me/addresses")
            .bearer(token)
            .timeout(ACTION)
            .json(address)
            .send()
            .await
    }

    pub(crate) async fn remove_address(&self, token: &str, id: &str) -> Outcome<Value> {
        self.callee
            .delete(format!("/v1/me/addresses/{id}"))
            .bearer(token)
            .timeout(ACTION)
            .send()
            .await
    }

    /// New tokens for a refresh token, once for all who ask with the same.
    pub(crate) async fn renew(&self, refresh: &str) -> Result<Tokens, NotRenewed> {
        let renewal = self.renewal(refresh);
        let asked = renewal.get_or_try_init(|| async {
            let call = self.callee.post("/v1/sessions/refresh");
            match call.json(&json!({ "refresh_token": refresh })).send::<Tokens>().await {
                Outcome::Ok(answer) => Ok(answer.body),
                Outcome::Refused(Refusal { status, detail, .. }) => {
                    tracing::info!(status, detail, "a sign-in has ended");
                    Err(NotRenewed::Ended)
                }
                Outcome::NoAnswer(NoAnswer { why, .. }) => {
                    tracing::warn!(
                        why,
                        "customers does not answer; going on with the token at hand"
                    );
                    Err(NotRenewed::Away)
                }
            }
        });
        asked.await.cloned()
    }

    fn renewal(&self, refresh: &str) -> Renewal {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        if renewals.len() >= RENEWED_MAX {
            renewals.retain(|_, (at, _)| at.elapsed() < RENEWED_KEPT);
            if renewals.len() >= RENEWED_MAX {
                renewals.clear();
            }
        }
        let (_, renewal) = renewals
            .entry(refresh.to_owned())
            .or_insert_with(|| (Instant::now(), Renewal::default()));
        Arc::clone(renewal)
    }
}
