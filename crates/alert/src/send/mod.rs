//! Delivers one message to one channel, once.

mod mail;
mod sign;

use std::collections::BTreeMap;
use std::time::Duration;

use archipel_model::{Channel, ChannelKind, EnvValue, SecretName};
use bytes::Bytes;
use http::{Method, Uri};

use crate::client::{Ask, ask};
use crate::message::Message;

pub use sign::sign;

const TIMEOUT: Duration = Duration::from_secs(15);

/// The values of secrets; never shown.
#[derive(Clone, Default)]
pub struct Secrets(pub BTreeMap<SecretName, String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    pub(crate) fn value(&self, value: &EnvValue) -> Result<String, String> {
        match value {
            EnvValue::Text(text) => Ok(text.clone()),
            EnvValue::Secret(name) => self.get(name).map(str::to_owned),
            EnvValue::Hidden(_) | EnvValue::UrlOf(_) => Err("a value of another kind".to_owned()),
        }
    }

    pub(crate) fn get(&self, name: &SecretName) -> Result<&str, String> {
        let value = self.0.get(name).map(String::as_str);
        value.ok_or_else(|| format!("secret `{name}` has no value here"))
    }
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// Another try may do better, perhaps after so long.
    Later(String, Option<Duration>),
    /// It will never be taken.
    Refused(String),
}

/// Why nothing can be sent there as things are.
pub(crate) fn missing(channel: &Channel, secrets: &Secrets) -> Option<String> {
    let all = match &channel.to {
        ChannelKind::Webhook { url, key } => {
            secrets.value(url).and_then(|_| key.iter().try_for_each(|k| secrets.get(k).map(|_| ())))
        }
        ChannelKind::Slack { url } => secrets.value(url).map(|_| ()),
        ChannelKind::Mail(mail) => {
            mail.password.iter().try_for_each(|name| secrets.get(name).map(|_| ()))
        }
    };
    all.err()
}

pub(crate) async fn deliver(
    channel: &Channel,
    secrets: &Secrets,
    message: &Message,
    id: &str,
    now_ms: u64,
    console: Option<&str>,
) -> Outcome {
    match &channel.to {
        ChannelKind::Webhook { url, key } => {
            let body = message.webhook(id, console).to_string();
            let stamp = now_ms / 1_000;
            let mut headers = vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("webhook-id".to_owned(), id.to_owned()),
                ("webhook-timestamp".to_owned(), stamp.to_string()),
            ];
            if let Some(key) = key {
                match secrets.get(key) {
                    Ok(key) => {
                        let signature = sign(key, id, stamp, body.as_bytes());
                        headers.push(("webhook-signature".to_owned(), signature));
                    }
                    Err(why) => return Outcome::Later(why, None),
                }
            }
            post(url, secrets, headers, body).await
        }
        ChannelKind::Slack { url } => {
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            post(url, secrets, headers, message.slack(console).to_string()).await
        }
        ChannelKind::Mail(mail) => {
            let password = match mail.password.as_ref().map(|name| secrets.get(name)).transpose() {
                Ok(password) => password.map(str::to_owned),
                Err(why) => return Outcome::Later(why, None),
            };
            let text = message.plain(console);
            mail::send(mail, password.as_deref(), &message.title(), &text, id, now_ms).await
        }
    }
}

async fn post(
    url: &EnvValue,
    secrets: &Secrets,
    mut headers: Vec<(String, String)>,
    body: String,
) -> Outcome {
    let url = match secrets.value(url) {
        Ok(url) => url,
        Err(why) => return Outcome::Later(why, None),
    };
    // The address may be the secret: it stands in no error.
    let Ok(url) = url.trim().parse::<Uri>() else {
        return Outcome::Refused("its address is none".to_owned());
    };
    headers.push((
        "user-agent".to_owned(),
        concat!("archipel/", env!("CARGO_PKG_VERSION")).to_owned(),
    ));
    let asked = Ask {
        method: Method::POST,
        url,
        headers,
        body: Bytes::from(body),
        timeout: TIMEOUT,
        own_door: None,
    };
    match ask(&asked).await {
        Ok(answer) if (200..300).contains(&answer.status) => Outcome::Delivered,
        Ok(answer) => {
            let why = format!("it answered {}", answer.status);
            match answer.status {
                408 | 425 | 429 | 500.. => Outcome::Later(why, answer.retry_after()),
                _ => Outcome::Refused(why),
            }
        }
        Err(crate::client::ClientError::Address(_)) => {
            Outcome::Refused("its address is none that can be asked".to_owned())
        }
        Err(error) => Outcome::Later(error.to_string(), None),
    }
}
