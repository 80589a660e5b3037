//! What a message says, in the form of each kind of channel.

use std::collections::BTreeMap;

use archipel_model::Severity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rule::Labels;

/// Alerts that one message tells in full.
const TOLD_MAX: usize = 50;

/// An alert as a message tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub rule: String,
    pub labels: Labels,
    pub severity: Severity,
    /// `firing` or `resolved`.
    pub state: String,
    pub since_ms: u64,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The filtered page of the console that shows the cause.
    pub link: String,
}

impl Told {
    pub fn title(&self) -> String {
        let labels: Vec<String> =
            self.labels.iter().map(|(key, value)| format!("{key} {value}")).collect();
        match labels.is_empty() {
            true => self.rule.clone(),
            false => format!("{} ({})", self.rule, labels.join(", ")),
        }
    }
}

/// All that one channel is told at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub app: String,
    pub at_ms: u64,
    pub alerts: Vec<Told>,
    /// How many more there were.
    #[serde(default)]
    pub left_out: usize,
}

impl Message {
    pub(crate) fn new(app: &str, at_ms: u64, mut alerts: Vec<Told>) -> Self {
        let left_out = alerts.len().saturating_sub(TOLD_MAX);
        alerts.truncate(TOLD_MAX);
        Self { app: app.to_owned(), at_ms, alerts, left_out }
    }

    fn state(&self) -> &'static str {
        match self.alerts.iter().any(|alert| alert.state == "firing") {
            true => "firing",
            false => "resolved",
        }
    }

    pub fn title(&self) -> String {
        let count = |state| self.alerts.iter().filter(|alert| alert.state == state).count();
        let (firing, resolved) = (count("firing"), count("resolved"));
        let first = self.alerts.first().map(Told::title).unwrap_or_default();
        match (firing, resolved) {
            (1, 0) => format!("[{}] firing: {first}", self.app),
            (0, 1) => format!("[{}] resolved: {first}", self.app),
            (0, n) => format!("[{}] {} resolved", self.app, n + self.left_out),
            (n, 0) => format!("[{}] {} firing", self.app, n + self.left_out),
            (n, m) => format!("[{}] {} firing, {m} resolved", self.app, n + self.left_out),
        }
    }

    /// The JSON of a webhook.
    pub(crate) fn webhook(&self, id: &str, console: Option<&str>) -> Value {
        let alerts: Vec<Value> = self
            .alerts
            .iter()
            .map(|alert| {
                json!({
                    "rule": alert.rule,
                    "labels": alert.labels,
                    "severity": alert.severity,
                    "state": alert.state,
                    "since": rfc3339(alert.since_ms),
                    "summary": alert.summary,
                    "description": alert.description,
                    "link": absolute(console, &alert.link),
                })
            })
            .collect();
        json!({
            "type": format!("alerts.{}", self.state()),
            "timestamp": rfc3339(self.at_ms),
            "data": {
                "id": id,
                "app": self.app,
                "state": self.state(),
                "title": self.title(),
                "alerts": alerts,
                "left_out": self.left_out,
            },
        })
    }

    pub(crate) fn slack(&self, console: Option<&str>) -> Value {
        let mut blocks = vec![json!({
            "type": "header",
            "text": { "type": "plain_text", "text": cut(&self.title(), 150) },
        })];
        // Slack takes fifty blocks.
        for alert in self.alerts.iter().take(40) {
            let mark = if alert.state == "firing" { "🔴" } else { "🟢" };
            let mut text =
                format!("{mark} *{}*\n{}", mrkdwn(&alert.title()), mrkdwn(&alert.summary));
            if let Some(link) = absolute(console, &alert.link) {
                text.push_str(&format!("\n<{link}|show>"));
            }
            blocks.push(json!({
                "type": "section",
                "text": { "type": "mrkdwn", "text": cut(&text, 2_900) },
            }));
        }
        json!({ "text": self.title(), "blocks": blocks })
    }

    pub(crate) fn plain(&self, console: Option<&str>) -> String {
        let mut text = String::new();
        for alert in &self.alerts {
            text.push_str(&format!(
                "{}: {} [{}]\n  {}\n  since {}\n",
                alert.state,
                alert.title(),
                alert.severity.as_str(),
                alert.summary,
                rfc3339(alert.since_ms),
            ));
            if let Some(description) = &alert.description {
                text.push_str(&format!("  {description}\n"));
            }
            if let Some(link) = absolute(console, &alert.link) {
                text.push_str(&format!("  {link}\n"));
            }
            text.push('\n');
        }
        if self.left_out > 0 {
            text.push_str(&format!("and {} more\n", self.left_out));
        }
        text
    }
}

fn absolute(console: Option<&str>, link: &str) -> Option<String> {
    console.map(|console| format!("{}{link}", console.trim_end_matches('/')))
}

/// What Slack would take for its own signs.
fn mrkdwn(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

pub(crate) fn rfc3339(at_ms: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    let format = &time::format_description::well_known::Rfc3339;
    at.ok().and_then(|at| at.format(format).ok()).unwrap_or_default()
}

/// What a test of a channel says.
pub(crate) fn test(app: &str, at_ms: u64) -> Message {
    let alert = Told {
        rule: "test".to_owned(),
        labels: BTreeMap::new(),
        severity: Severity::Page,
        state: "firing".to_owned(),
        since_ms: at_ms,
        summary: "a test: messages of this application arrive here".to_owned(),
        description: None,
        link: "/alerts".to_owned(),
    };
    Message::new(app, at_ms, vec![alert])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rule: &str, state: &str) -> Told {
        Told {
            rule: rule.into(),
            labels: BTreeMap::from([("service".into(), "orders".into())]),
            severity: Severity::Page,
            state: state.into(),
            since_ms: 1_700_000_000_000,
            summary: "7% <failed>".into(),
            description: None,
            link: "/traces?q=a".into(),
        }
    }

    #[test]
    fn a_message_says_what_and_where_in_every_form() {
        let message = Message::new("shop", 1_700_000_001_000, vec![told("error-rate", "firing")]);
        assert_eq!(message.title(), "[shop] firing: error-rate (service orders)");
        let hook = message.webhook("msg_1", Some("http://127.0.0.1:9000"));
        assert_eq!(hook["type"], "alerts.firing");
        assert_eq!(hook["timestamp"], "2023-11-14T22:13:21Z");
        assert_eq!(hook["data"]["alerts"][0]["link"], "http://127.0.0.1:9000/traces?q=a");
        let slack = message.slack(None).to_string();
        assert!(slack.contains("7% &lt;failed&gt;") && slack.contains("mrkdwn"), "{slack}");
        assert!(message.plain(None).contains("since 2023-11-14T22:13:20Z"));
    }

    #[test]
    fn a_flood_is_told_in_part_and_counted() {
        let flood = Message::new("shop", 0, vec![told("a", "firing"); 120]);
        assert_eq!(flood.alerts.len(), TOLD_MAX);
        assert_eq!(flood.title(), "[shop] 120 firing");
        let over = Message::new("shop", 0, vec![told("a", "resolved"); 120]);
        assert_eq!(over.title(), "[shop] 120 resolved");
        assert_eq!(
            Message::new("shop", 0, vec![told("a", "resolved")]).webhook("", None)["type"],
            "alerts.resolved"
        );
    }
}
