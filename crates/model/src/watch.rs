//! What is watched, and who is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{EnvValue, SecretName, WatchName};

/// Everything about alerts in one application.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Watch {
    pub alerts: BTreeMap<WatchName, AlertRule>,
    pub slos: BTreeMap<WatchName, Slo>,
    pub checks: BTreeMap<WatchName, Synthetic>,
    pub channels: BTreeMap<WatchName, Channel>,
    pub pace: AlertPace,
    /// Rules that ship with Archipel and are not wanted.
    pub off: BTreeSet<WatchName>,
}

/// When messages go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct AlertPace {
    /// What begins or ends within this time goes into one message.
    pub group: Duration,
    /// What goes on is told again after this.
    pub repeat: Duration,
    /// So long after a start or a change of the manifest nothing new fires.
    pub grace: Duration,
}

impl Default for AlertPace {
    fn default() -> Self {
        Self {
            group: Duration::from_secs(30),
            repeat: Duration::from_secs(4 * 3600),
            grace: Duration::from_secs(60),
        }
    }
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody should look within days.
    Ticket,
    /// Somebody should look now.
    Page,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// A number with a fraction, in millionths, so that it can be compared: shares are parts of one,
/// times are seconds, sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Millionths(pub u64);

impl Millionths {
    pub fn of(value: f64) -> Self {
        // Beyond what 64 bits hold the cast stops at the ends, as wanted.
        Self((value * 1e6).round() as u64)
    }

    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// What is made of the events of a window.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    ErrorRate,
    /// Events per second.
    Rate,
    /// How long this many percent took at most, in seconds.
    Quantile(u8),
    Count,
    /// Nothing happened.
    Absent,
    /// The mean of a metric.
    Metric(String),
}

impl Aggregate {
    pub fn show(&self) -> String {
        match self {
            Self::ErrorRate => "error_rate".to_owned(),
            Self::Rate => "rate".to_owned(),
            Self::Quantile(percent) => format!("p{percent}"),
            Self::Count => "count".to_owned(),
            Self::Absent => "absent".to_owned(),
            Self::Metric(name) => format!("metric({name})"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Comparison {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
        }
    }
}

/// Which events; the text is in the language in which traces and logs are asked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Events {
    Spans(String),
    Logs(String),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AlertRule {
    pub events: Events,
    pub aggregate: Aggregate,
    pub comparison: Comparison,
    pub limit: Millionths,
    /// As it was written, for people.
    pub when: String,
    pub window: Duration,
    /// How long it must hold before it fires.
    pub hold: Duration,
    /// How long it must not hold before it is over.
    pub resolve_after: Duration,
    /// With fewer events in the window nothing is concluded. Of an error rate: with fewer errors.
    pub min_events: u64,
    pub severity: Severity,
    /// One alert for each combination of values of these keys.
    pub by: Vec<String>,
    /// `None`: every channel.
    pub notify: Option<BTreeSet<WatchName>>,
    pub description: Option<String>,
}

/// A promise about a share of requests over weeks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Slo {
    /// Which spans count.
    pub on: String,
    /// Which of them are good.
    pub good: String,
    /// Below one.
    pub target: Millionths,
    pub window: Duration,
    pub notify: Option<BTreeSet<WatchName>>,
    pub description: Option<String>,
}

/// A question that is asked again and again from outside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Synthetic {
    pub steps: Vec<SyntheticStep>,
    pub every: Duration,
    /// Of each step.
    pub timeout: Duration,
    /// Further tries before a run has failed.
    pub retries: u32,
    /// Runs that fail in a row before it is an alert.
    pub failures: u32,
    pub severity: Severity,
    pub notify: Option<BTreeSet<WatchName>>,
    pub description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyntheticStep {
    /// Whether somebody accepts connections there: `host:port`.
    Tcp(String),
    Http(Box<HttpStep>),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HttpStep {
    pub name: Option<String>,
    pub method: String,
    /// A path is one of the gateway. `{name}` stands for what an earlier step took out.
    pub url: String,
    pub headers: BTreeMap<String, EnvValue>,
    pub body: Option<String>,
    /// Empty: 200 to 399.
    pub status: Vec<u16>,
    pub contains: Option<String>,
    /// Path such as `$.items[0].id` → text or JSON that must be there.
    pub json: BTreeMap<String, String>,
    pub max_latency: Option<Duration>,
    /// The certificate must be good for so long.
    pub certificate: Option<Duration>,
    /// Name → `json:$.id`, `header:location` or `body:` and a regular expression with one group.
    pub extract: BTreeMap<String, String>,
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Channel {
    pub to: ChannelKind,
    /// The least severe that is sent.
    pub least: Severity,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    Webhook {
        url: EnvValue,
        /// Signs what is sent.
        key: Option<SecretName>,
    },
    /// Also what others offer as «Slack-compatible».
    Slack {
        url: EnvValue,
    },
    Mail(Box<Mail>),
}

impl ChannelKind {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Mail(_) => "mail",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mail {
    pub to: Vec<String>,
    pub from: String,
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub user: Option<String>,
    pub password: Option<SecretName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// From the first byte.
    Always,
    /// Asked for after a greeting; without it nothing is sent.
    Starttls,
    Off,
}

impl Watch {
    /// Every secret that a channel or a check needs.
    pub fn secrets(&self) -> BTreeSet<&SecretName> {
        let mut found = BTreeSet::new();
        for channel in self.channels.values() {
            match &channel.to {
                ChannelKind::Webhook { url, key } => {
                    found.extend(secret_of(url));
                    found.extend(key);
                }
                ChannelKind::Slack { url } => found.extend(secret_of(url)),
                ChannelKind::Mail(mail) => found.extend(&mail.password),
            }
        }
        let steps = self.checks.values().flat_map(|check| &check.steps);
        for step in steps {
            if let SyntheticStep::Http(step) = step {
                found.extend(step.headers.values().filter_map(secret_of));
            }
        }
        found
    }
}

fn secret_of(value: &EnvValue) -> Option<&SecretName> {
    match value {
        EnvValue::Secret(name) => Some(name),
        _ => None,
    }
}
