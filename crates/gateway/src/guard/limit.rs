//! One declared limit: what has a count of its own, and what the caller is told about it.
//!
//! Headers as the IETF draft has them (draft-ietf-httpapi-ratelimit-headers): `ratelimit-policy`
//! is the rule, `ratelimit` is where the caller stands.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use archipel_model::{LimitBy, RateLimit};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::guard::client::household;
use crate::guard::rate::{Moments, Pace, Standing};
use crate::refusal::{Problem, Refusal};

pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub(crate) struct Limit {
    name: String,
    pace: Pace,
    by: Vec<By>,
    /// Only known once the caller is.
    pub(crate) needs_identity: bool,
    /// Outlives changes of the limit: they must not give everybody a new burst.
    moments: Arc<Moments>,
}

enum By {
    Ip,
    Header(HeaderName),
    Key,
    User,
    Route,
}

/// What is known of a request that is counted.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) ip: IpAddr,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) consumer: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) route: &'a str,
}

/// The values by which a request is counted.
struct Key<'a>(&'a Limit, &'a Who<'a>);

impl Hash for Key<'_> {
    /// What is missing is replaced by the address: leaving out a header is no way around a limit.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self(limit, who) = self;
        for by in &limit.by {
            match by {
                By::Route => (0u8, who.route).hash(state),
                By::Header(name) => match who.headers.get(name) {
                    Some(value) => (1u8, value.as_bytes()).hash(state),
                    None => (2u8, household(who.ip)).hash(state),
                },
                By::Key => match who.consumer {
                    Some(consumer) => (3u8, consumer).hash(state),
                    None => (2u8, household(who.ip)).hash(state),
                },
                By::User => match who.user {
                    Some(user) => (4u8, user).hash(state),
                    None => (2u8, household(who.ip)).hash(state),
                },
                By::Ip => (2u8, household(who.ip)).hash(state),
            }
        }
    }
}

impl Limit {
    pub(crate) fn new(name: &str, rule: &RateLimit, moments: Arc<Moments>) -> Self {
        let by = |by: &LimitBy| match by {
            LimitBy::Ip => By::Ip,
            LimitBy::Key => By::Key,
            LimitBy::User => By::User,
            LimitBy::Route => By::Route,
            LimitBy::Header(name) => name.parse().map_or(By::Ip, By::Header),
        };
        Self {
            name: name.to_owned(),
            pace: Pace::new(rule.count, rule.per, rule.burst),
            by: rule.by.iter().map(by).collect(),
            needs_identity: rule.by.iter().any(LimitBy::needs_identity),
            moments,
        }
    }

    pub(crate) fn take(&self, who: &Who<'_>, now: u64) -> Standing {
        self.moments.take(&Key(self, who), &self.pace, now)
    }

    pub(crate) fn refusal(&self, standing: &Standing) -> Refusal {
        let seconds = whole_seconds(standing.retry).max(1);
        let detail = format!(
            "more requests than limit `{}` allows ({} at once, then one every {}); \
             try again in {seconds} s",
            self.name,
            self.pace.burst(),
            pause(self.pace.window() / self.pace.burst()),
        );
        let mut refusal =
            Refusal::new(Problem::RateLimited, format!("limit {}", self.name), detail);
        refusal.retry_after_s = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        refusal
    }
}

/// What the caller is told about the limits that its request was counted by.
#[derive(Default)]
pub(crate) struct Told {
    standing: String,
    policy: String,
}

impl Told {
    pub(crate) fn add(&mut self, limit: &Limit, standing: &Standing) {
        for text in [&mut self.standing, &mut self.policy] {
            if !text.is_empty() {
                text.push_str(", ");
            }
        }
        let (name, remaining) = (&limit.name, standing.remaining);
        // Writing to a string does not fail.
        let _ =
            write!(self.standing, "\"{name}\";r={remaining};t={}", whole_seconds(standing.reset));
        let window = whole_seconds(limit.pace.window()).max(1);
        let _ = write!(self.policy, "\"{name}\";q={};w={window}", limit.pace.burst());
    }

    pub(crate) fn put(self, headers: &mut HeaderMap) {
        if self.standing.is_empty() {
            return;
        }
        for (name, text) in [(RATELIMIT, self.standing), (RATELIMIT_POLICY, self.policy)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn pause(duration: Duration) -> String {
    match duration.as_millis() {
        0 => format!("{} us", duration.as_micros().max(1)),
        ms if ms < 10_000 => format!("{ms} ms"),
        _ => archipel_model::show_duration(duration),
    }
}
