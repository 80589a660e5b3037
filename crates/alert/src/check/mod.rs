//! Checks from outside: walks through steps as a visitor would, and says where it failed.

mod judge;

use std::collections::BTreeMap;

use archipel_model::{HttpStep, Synthetic, SyntheticStep};
use archipel_rt::clock;
use bytes::Bytes;
use http::{Method, Uri};
use serde::{Deserialize, Serialize};

use crate::client::{self, Ask};
use crate::facts::Entrance;
use crate::send::Secrets;

const COOKIES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 8 << 10;

/// How one run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub at_ms: u64,
    pub ok: bool,
    pub took_ms: u64,
    /// What failed, with the name of the step.
    pub why: Option<String>,
    pub certificate_ends_ms: Option<u64>,
}

/// Runs a check, with its retries.
pub(crate) async fn run(of: &Synthetic, entrance: Option<&Entrance>, secrets: &Secrets) -> Run {
    let mut tries = 0;
    loop {
        let run = once(of, entrance, secrets).await;
        if run.ok || tries >= of.retries {
            return run;
        }
        tries += 1;
        clock::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn once(of: &Synthetic, entrance: Option<&Entrance>, secrets: &Secrets) -> Run {
    let (began, at_ms) = (clock::now(), clock::wall_ms());
    let mut walk = Walk {
        entrance,
        secrets,
        of,
        taken: BTreeMap::new(),
        cookies: BTreeMap::new(),
        ends: None,
    };
    let mut failed = None;
    for (number, step) in of.steps.iter().enumerate() {
        if let Err(why) = walk.step(step).await {
            failed = Some(match of.steps.len() {
                1 => why,
                _ => format!("{}: {why}", named(step, number)),
            });
            break;
        }
    }
    let took_ms = u64::try_from((clock::now() - began).as_millis()).unwrap_or(u64::MAX);
    Run { at_ms, ok: failed.is_none(), took_ms, why: failed, certificate_ends_ms: walk.ends }
}

fn named(step: &SyntheticStep, number: usize) -> String {
    match step {
        SyntheticStep::Http(step) => match &step.name {
            Some(name) => name.clone(),
            None => format!("step {} ({} {})", number + 1, step.method, step.url),
        },
        SyntheticStep::Tcp(_) => format!("step {}", number + 1),
    }
}

/// Until when the certificates of our own door are good: the earliest, and whose it is. Also
/// tells that nobody accepts connections there.
pub(crate) async fn door(entrance: &Entrance) -> Result<Option<(String, u64)>, String> {
    let timeout = std::time::Duration::from_secs(5);
    let mut earliest: Option<(String, u64)> = None;
    let names: Vec<&String> = entrance.hosts.iter().filter(|host| !host.starts_with('*')).collect();
    let connect = || async {
        let tcp = client::connect("", 0, Some(entrance.connect));
        let tcp = clock::timeout(timeout, tcp).await.map_err(|_| "nobody answers".to_owned())?;
        tcp.map_err(|error| error.to_string())
    };
    if !entrance.tls || names.is_empty() {
        return connect().await.map(|_| None);
    }
    for host in names {
        let tcp = connect().await?;
        let shaken = clock::timeout(timeout, client::handshake(tcp, host, true)).await;
        // A certificate that is not there yet is told elsewhere.
        if let Ok(Ok((_, Some(ends)))) = shaken
            && earliest.as_ref().is_none_or(|(_, known)| ends < *known)
        {
            earliest = Some((host.clone(), ends));
        }
    }
    Ok(earliest)
}

/// Our own door, or a host.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Door,
    Host(String),
}

impl Whose {
    fn of(ask: &Ask) -> Self {
        match ask.own_door {
            Some(_) => Self::Door,
            None => Self::Host(ask.url.host().unwrap_or_default().to_ascii_lowercase()),
        }
    }
}

struct Walk<'a> {
    entrance: Option<&'a Entrance>,
    secrets: &'a Secrets,
    of: &'a Synthetic,
    taken: BTreeMap<String, String>,
    /// By whose they are, and their names.
    cookies: BTreeMap<(Whose, String), String>,
    ends: Option<u64>,
}

impl Walk<'_> {
    async fn step(&mut self, step: &SyntheticStep) -> Result<(), String> {
        match step {
            SyntheticStep::Tcp(address) => {
                let (host, port) = address.rsplit_once(':').ok_or("it is no address")?;
                let port = port.parse().map_err(|_| "it has no port")?;
                let host = host.trim_matches(['[', ']']);
                let tcp = clock::timeout(self.of.timeout, client::connect(host, port, None)).await;
                tcp.map_err(|_| "no connection in time")?.map(|_| ()).map_err(|e| e.to_string())
            }
            SyntheticStep::Http(step) => self.http(step).await,
        }
    }

    async fn http(&mut self, step: &HttpStep) -> Result<(), String> {
        let ask = self.ask(step)?;
        let answer = client::ask(&ask).await.map_err(|error| error.to_string())?;
        for cookie in answer.headers.get_all(http::header::SET_COOKIE) {
            let pair =
                cookie.to_str().ok().and_then(|text| text.split(';').next()?.split_once('='));
            let Some((name, value)) = pair else { continue };
            let place = (Whose::of(&ask), name.trim().to_owned());
            if self.cookies.len() < COOKIES_MAX || self.cookies.contains_key(&place) {
                self.cookies.insert(place, value.trim().to_owned());
            }
        }
        if let Some(ends) = answer.certificate_ends_ms {
            self.ends = Some(self.ends.map_or(ends, |known| known.min(ends)));
        }
        judge::judge(step, &answer, clock::wall_ms())?;
        for (name, from) in &step.extract {
            let mut value = judge::extract(from, &answer)?;
            if value.len() > VALUE_BYTES_MAX {
                let end = (0..=VALUE_BYTES_MAX).rev().find(|at| value.is_char_boundary(*at));
                value.truncate(end.unwrap_or(0));
            }
            self.taken.insert(name.clone(), value);
        }
        Ok(())
    }

    fn ask(&self, step: &HttpStep) -> Result<Ask, String> {
        let url = fill(&step.url, &self.taken);
        let (url, own_door) = match (url.starts_with('/'), self.entrance) {
            (false, _) => (url, None),
            (true, None) => return Err("the gateway is not there yet".to_owned()),
            (true, Some(entrance)) => {
                let scheme = if entrance.tls { "https" } else { "http" };
                (format!("{scheme}://{}{url}", entrance.authority), Some(entrance.connect))
            }
        };
        let parsed: Uri = url.parse().map_err(|_| format!("`{url}` is no address"))?;
        let mut headers = vec![(
            "user-agent".to_owned(),
            concat!("archipel-check/", env!("CARGO_PKG_VERSION")).to_owned(),
        )];
        for (name, value) in &step.headers {
            let value = fill(&self.secrets.value(value)?, &self.taken);
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            headers.push((name.clone(), value));
        }
        let body = step.body.as_ref().map(|body| fill(body, &self.taken)).unwrap_or_default();
        let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !body.is_empty() && !typed {
            let kind = match body.trim_start().starts_with(['{', '[']) {
                true => "application/json",
                false => "application/x-www-form-urlencoded",
            };
            headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        let mut ask = Ask {
            method: Method::from_bytes(step.method.as_bytes()).map_err(|_| "it has no method")?,
            url: parsed,
            headers,
            body: Bytes::from(body),
            timeout: self.of.timeout,
            own_door,
        };
        // A cookie goes back only to whom it came from.
        let whose = Whose::of(&ask);
        let own = self.cookies.iter().filter(|((of, _), _)| *of == whose);
        let all: Vec<String> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        if !all.is_empty() {
            ask.headers.push(("cookie".to_owned(), all.join("; ")));
        }
        Ok(ask)
    }
}

/// Puts what was taken out into `{…}`; what is not known stays as it is.
fn fill(text: &str, taken: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let known = rest[at + 1..]
            .split_once('}')
            .and_then(|(name, after)| Some((taken.get(name)?, after)));
        match known {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
fn plain_step(url: &str) -> HttpStep {
    HttpStep {
        name: None,
        method: "GET".into(),
        url: url.into(),
        headers: BTreeMap::new(),
        body: None,
        status: Vec::new(),
        contains: None,
        json: BTreeMap::new(),
        max_latency: None,
        certificate: None,
        extract: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_back_to_whom_they_came_from_and_to_nobody_else() {
        let of = Synthetic {
            steps: Vec::new(),
            every: std::time::Duration::from_secs(1),
            timeout: std::time::Duration::from_secs(1),
            retries: 0,
            failures: 1,
            severity: archipel_model::Severity::Page,
            notify: None,
            description: None,
        };
        let entrance = Entrance {
            connect: ([127, 0, 0, 1], 1).into(),
            authority: "shop.test".into(),
            tls: true,
            hosts: Vec::new(),
        };
        let cookie = |whose, name: &str| ((whose, name.to_owned()), "1".to_owned());
        let walk = Walk {
            entrance: Some(&entrance),
            secrets: &Secrets::default(),
            of: &of,
            taken: BTreeMap::from([("next".to_owned(), "/cart".to_owned())]),
            cookies: BTreeMap::from([
                cookie(Whose::Door, "own"),
                cookie(Whose::Host("pay.test".into()), "pay"),
            ]),
            ends: None,
        };
        for (url, sent) in [
            ("/", Some("own=1")),
            ("{next}", Some("own=1")),
            ("https://PAY.test/x", Some("pay=1")),
            ("https://other.test/", None),
        ] {
            let ask = walk.ask(&plain_step(url)).expect("a request");
            let found = ask.headers.iter().find(|(name, _)| name == "cookie");
            assert_eq!(found.map(|(_, value)| value.as_str()), sent, "{url}");
        }
    }

    #[test]
    fn holes_are_filled_once_and_what_is_not_known_stays() {
        let taken = BTreeMap::from([("id".to_owned(), "{id}7".to_owned())]);
        assert_eq!(fill("/a/{id}/{no}?{", &taken), "/a/{id}7/{no}?{");
        assert_eq!(fill("{\"a\":\"{id}\"}", &taken), "{\"a\":\"{id}7\"}");
    }
}
