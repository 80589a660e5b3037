//! Alerts, objectives, checks and channels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use archipel_model::{
    AlertPace, AlertRule, Channel, ChannelKind, EnvValue, Events, HttpStep, Mail, MailTls,
    Millionths, SecretName, Severity, Slo, Synthetic, SyntheticStep, Watch, WatchName,
};

use super::when::{WHEN_HELP, When};
use super::{Reader, count, text, texts};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::{Sited, Span};
use crate::tree::{Entry, Node};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Longer windows are what objectives are for: they are counted as they pass.
const WINDOW_MAX: Duration = HOUR;
const SLO_WINDOW_MAX: Duration = Duration::from_secs(31 * 86_400);
const BY_MAX: usize = 3;

/// What was read, and what has to be looked at with the rest at hand.
#[derive(Default)]
pub(crate) struct WatchDraft {
    pub(crate) watch: Watch,
    pub(crate) secrets: Vec<Sited<SecretName>>,
    /// Channels by who names them.
    pub(crate) notify: Vec<Sited<WatchName>>,
    /// Questions in the language of traces and logs.
    pub(crate) questions: Vec<Sited<String>>,
    /// Checks that ask the gateway.
    pub(crate) of_gateway: Vec<Span>,
}

impl Reader<'_> {
    pub(crate) fn watch(&mut self, document: &Node) -> WatchDraft {
        let mut draft = WatchDraft::default();
        for (name, entry) in named(document, "alerts") {
            if let Some(rule) = self.alert(&name, entry, &mut draft) {
                draft.watch.alerts.insert(name, rule);
            }
        }
        for (name, entry) in named(document, "slos") {
            if let Some(slo) = self.slo(&name, entry, &mut draft) {
                draft.watch.slos.insert(name, slo);
            }
        }
        for (name, entry) in named(document, "checks") {
            if let Some(check) = self.check(&name, entry, &mut draft) {
                draft.watch.checks.insert(name, check);
            }
        }
        for (name, entry) in named(document, "notify") {
            if let Some(channel) = self.channel(&name, entry, &mut draft) {
                draft.watch.channels.insert(name, channel);
            }
        }
        if let Some(node) = document.get("telemetry").and_then(|table| table.get("alerts")) {
            let default = AlertPace::default();
            draft.watch.pace = AlertPace {
                group: self.duration(node, "group").unwrap_or(default.group),
                repeat: self.period(node, "repeat").unwrap_or(default.repeat),
                grace: self.duration(node, "grace").unwrap_or(default.grace),
            };
            let off = texts(node, "off", Format::Name);
            draft.watch.off = off.iter().filter_map(|n| WatchName::new(n.value).ok()).collect();
        }
        draft
    }

    fn alert(
        &mut self,
        name: &WatchName,
        entry: &Entry,
        draft: &mut WatchDraft,
    ) -> Option<AlertRule> {
        let node = &entry.node;
        let when = text(node, "when", Format::NonEmpty)?;
        let read = match When::parse(when.value) {
            Ok(read) => read,
            Err(why) => {
                let message = format!("`when` of alert `{name}` cannot be read: {why}");
                self.out
                    .report(Code::BadAlert, when.span, message)
                    .label("not a condition")
                    .help(WHEN_HELP);
                return None;
            }
        };
        let events = match text(node, "logs", Format::NonEmpty) {
            Some(logs) => {
                draft.questions.push(Sited { value: logs.value.to_owned(), span: logs.span });
                Events::Logs(logs.value.to_owned())
            }
            None => Events::Spans(question(node, "on", draft).unwrap_or_default()),
        };
        if matches!(events, Events::Logs(_)) && !read.fits_lines() {
            let message = format!(
                "alert `{name}` asks log lines for `{}`, which they do not have",
                read.aggregate.show()
            );
            self.bad_alert(when.span, message, "of lines: count, rate or absent");
        }
        let window = self.period(node, "window").unwrap_or(5 * MINUTE);
        if window > WINDOW_MAX {
            let span = node.get("window").map_or(entry.key, |node| node.span);
            let message = format!("alert `{name}` looks at more than an hour at once");
            self.bad_alert(span, message, "at most 1h; for longer there is [slos]");
        }
        let by = texts(node, "by", Format::NonEmpty);
        if let Some(more) = by.get(BY_MAX) {
            let message = format!("alert `{name}` is divided by more than {BY_MAX} keys");
            self.bad_alert(more.span, message, "each combination of values is an alert of its own");
        }
        let per_line = matches!(events, Events::Logs(_));
        if let Some(key) = by.iter().find(|key| per_line && key.value != "service") {
            let message = format!("alert `{name}` divides lines by `{}`", shown(key.value));
            self.bad_alert(key.span, message, "lines are divided by service, or not at all");
        }
        let min_events = node.get("min_events").and_then(Node::integer);
        Some(AlertRule {
            events,
            limit: read.limit,
            comparison: read.comparison,
            when: when.value.split_whitespace().collect::<Vec<_>>().join(" "),
            window,
            hold: self.duration(node, "for").unwrap_or_default(),
            resolve_after: self.duration(node, "resolve_after").unwrap_or(2 * MINUTE),
            min_events: min_events
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(read.min_events_default()),
            aggregate: read.aggregate,
            severity: severity(node, "severity").unwrap_or(Severity::Page),
            by: by.into_iter().take(BY_MAX).map(|key| key.value.to_owned()).collect(),
            notify: told(node, draft),
            description: own(node, "description"),
        })
    }

    fn bad_alert(&mut self, span: Span, message: String, help: &str) {
        self.out.report(Code::BadAlert, span, message).label("cannot work").help(help);
    }

    fn slo(&mut self, name: &WatchName, entry: &Entry, draft: &mut WatchDraft) -> Option<Slo> {
        let node = &entry.node;
        let (on, good) = (question(node, "on", draft)?, question(node, "good", draft)?);
        let target = text(node, "target", Format::Percent)?;
        let share = super::when::percent(target.value)?;
        if !(0.5..1.0).contains(&share) {
            let message = format!("objective `{name}` cannot be {}", shown(target.value));
            self.out
                .report(Code::BadAlert, target.span, message)
                .label("from 50% to below 100%")
                .help("100% leaves no failure to spend, and so no moment to tell");
            return None;
        }
        let window = self.period(node, "window").unwrap_or(30 * DAY);
        if !(HOUR..=SLO_WINDOW_MAX).contains(&window) {
            let span = node.get("window").map_or(entry.key, |node| node.span);
            self.bad_alert(
                span,
                format!("the window of objective `{name}` does not fit"),
                "from 1h to 31d",
            );
        }
        Some(Slo {
            on,
            good,
            target: Millionths::of(share),
            window,
            notify: told(node, draft),
            description: own(node, "description"),
        })
    }

    fn check(
        &mut self,
        name: &WatchName,
        entry: &Entry,
        draft: &mut WatchDraft,
    ) -> Option<Synthetic> {
        let node = &entry.node;
        let steps = if let Some(tcp) = text(node, "tcp", Format::NonEmpty) {
            let port = tcp
                .value
                .rsplit_once(':')
                .and_then(|(host, port)| (!host.is_empty()).then_some(port.parse::<u16>().ok()?));
            if port.is_none_or(|port| port == 0) {
                let message = format!("`{}` is no address to connect to", shown(tcp.value));
                self.bad_check(tcp.span, message, "host and port: \"127.0.0.1:5432\"");
            }
            vec![SyntheticStep::Tcp(tcp.value.to_owned())]
        } else if let Some(steps) = node.get("steps").and_then(Node::list) {
            let mut known = BTreeSet::new();
            let mut read = Vec::new();
            for step in steps {
                read.extend(self.http_step(name, step, &mut known, draft));
            }
            read
        } else {
            self.http_step(name, node, &mut BTreeSet::new(), draft).into_iter().collect()
        };
        let every = self.period(node, "every").unwrap_or(Duration::from_secs(30));
        if every < Duration::from_secs(1) {
            let span = node.get("every").map_or(entry.key, |node| node.span);
            self.bad_check(span, format!("check `{name}` asks too often"), "at least 1s");
        }
        Some(Synthetic {
            steps,
            every,
            timeout: self.period(node, "timeout").unwrap_or(Duration::from_secs(5)),
            retries: count(node, "retries").unwrap_or(1),
            failures: count(node, "failures").unwrap_or(3),
            severity: severity(node, "severity").unwrap_or(Severity::Page),
            notify: told(node, draft),
            description: own(node, "description"),
        })
    }

    fn bad_check(&mut self, span: Span, message: String, help: &str) {
        self.out.report(Code::BadCheck, span, message).label("cannot work").help(help);
    }

    fn http_step(
        &mut self,
        check: &WatchName,
        node: &Node,
        known: &mut BTreeSet<String>,
        draft: &mut WatchDraft,
    ) -> Option<SyntheticStep> {
        let url = text(node, "url", Format::NonEmpty)?;
        let whole = Format::HttpUrl.accepts(url.value) && !url.value.contains('#');
        match url.value.starts_with('/') {
            true => draft.of_gateway.push(url.span),
            false if whole || url.value.starts_with('{') => {}
            false => {
                let message = format!("check `{check}` cannot ask `{}`", shown(url.value));
                let help =
                    "a path of the gateway such as \"/\", or http:// or https:// and the rest";
                self.bad_check(url.span, message, help);
            }
        }
        for name in holes(url.value) {
            if !known.contains(name) {
                let message = format!("no step before takes out `{}`", shown(name));
                self.bad_check(url.span, message, "give it in `extract` of an earlier step");
            }
        }
        let mut headers = BTreeMap::new();
        for (name, entry) in node.entries("headers") {
            if !archipel_model::is_header_name(name) {
                let message = format!("`{}` is no name of a header", shown(name));
                self.bad_check(entry.key, message, "letters, digits and hyphens");
                continue;
            }
            headers.extend(value(&entry.node, draft).map(|value| (name.to_owned(), value)));
        }
        let mut extract = BTreeMap::new();
        for (name, entry) in node.entries("extract") {
            let Some(from) = entry.node.text() else { continue };
            if let Err(help) = is_extract(from) {
                let message = format!("`{}` says not what to take out", shown(from));
                self.bad_check(entry.node.span, message, help);
            }
            known.insert(name.to_owned());
            extract.insert(name.to_owned(), from.to_owned());
        }
        let mut json = BTreeMap::new();
        for (path, entry) in node.entries("json") {
            if !path.starts_with('$') {
                let message = format!("`{}` is no path into JSON", shown(path));
                self.bad_check(entry.key, message, "it begins with `$`: \"$.items[0].id\"");
            }
            json.extend(entry.node.text().map(|want| (path.to_owned(), want.to_owned())));
        }
        let body = own(node, "body");
        let method = text(node, "method", Format::NonEmpty).map(|m| m.value.to_ascii_uppercase());
        let number = |node: &Node| node.integer().and_then(|n| u16::try_from(n).ok());
        Some(SyntheticStep::Http(Box::new(HttpStep {
            name: own(node, "name"),
            method: method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.into()),
            url: url.value.to_owned(),
            headers,
            body,
            status: match node.get("status") {
                Some(status) => match status.list() {
                    Some(list) => list.iter().filter_map(number).collect(),
                    None => number(status).into_iter().collect(),
                },
                None => Vec::new(),
            },
            contains: own(node, "contains"),
            json,
            max_latency: self.period(node, "max_latency"),
            certificate: self.period(node, "certificate"),
            extract,
        })))
    }

    fn channel(
        &mut self,
        name: &WatchName,
        entry: &Entry,
        draft: &mut WatchDraft,
    ) -> Option<Channel> {
        let node = &entry.node;
        let key = node.get("key").and_then(|node| secret(node, draft));
        if let (Some(at), true) = (node.entry("key"), node.get("webhook").is_none()) {
            let message = format!("channel `{name}` has a key, and only webhooks are signed");
            self.out
                .report(Code::BadChannel, at.key, message)
                .label("signs nothing")
                .help("remove it");
        }
        let to = if let Some(url) = node.get("webhook") {
            ChannelKind::Webhook { url: value(url, draft)?, key }
        } else if let Some(url) = node.get("slack") {
            ChannelKind::Slack { url: value(url, draft)? }
        } else {
            ChannelKind::Mail(Box::new(self.mail(name, entry, draft)?))
        };
        let least = severity(node, "only").unwrap_or(Severity::Ticket);
        Some(Channel { to, least })
    }

    fn mail(&mut self, name: &WatchName, entry: &Entry, draft: &mut WatchDraft) -> Option<Mail> {
        let node = &entry.node;
        let said = node.get("mail")?;
        let to: Vec<Sited<&str>> = match said.text() {
            Some(one) => vec![Sited { value: one, span: said.span }],
            None => texts(node, "mail", Format::NonEmpty),
        };
        let Some(smtp) = node.get("smtp") else {
            self.out
                .report(Code::BadChannel, entry.key, format!("channel `{name}` has no mail server"))
                .label("`smtp` is missing")
                .help("smtp = { host = \"mail.example.org\", user = \"ops\", password = { secret = \"smtp\" } }");
            return None;
        };
        let host = text(smtp, "host", Format::NonEmpty)?.value.to_owned();
        let tls = match smtp.get("tls").and_then(Node::text) {
            Some("always") => MailTls::Always,
            Some("off") => MailTls::Off,
            _ => MailTls::Starttls,
        };
        let from = text(smtp, "from", Format::NonEmpty);
        for address in to.iter().chain(&from) {
            if !is_address(address.value) {
                let message = format!("`{}` is no mail address", shown(address.value));
                self.out
                    .report(Code::BadChannel, address.span, message)
                    .label("cannot be sent to")
                    .help("for example ops@example.org, without a name around it");
            }
        }
        let password = smtp.get("password").and_then(|node| secret(node, draft));
        let user = own(smtp, "user");
        if let (Some(at), None) = (smtp.entry("password"), &user) {
            let message = format!("channel `{name}` has a password and no user");
            self.out
                .report(Code::BadChannel, at.key, message)
                .label("of whom?")
                .help("give `user`");
        }
        if let (Some(at), MailTls::Off) = (smtp.entry("password"), tls) {
            let message = format!("channel `{name}` would send its password for all to read");
            self.out
                .report(Code::BadChannel, at.key, message)
                .label("not over a connection without TLS")
                .help("leave out `tls = \"off\"`, or the password if the server wants none");
        }
        Some(Mail {
            to: to.into_iter().map(|to| to.value.to_owned()).collect(),
            from: from.map_or_else(|| format!("archipel@{host}"), |from| from.value.to_owned()),
            port: count(smtp, "port")
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(if tls == MailTls::Always { 465 } else { 587 }),
            host,
            tls,
            user,
            password,
        })
    }
}

/// `None`: said nothing, so everybody; `[]` is nobody.
fn told(node: &Node, draft: &mut WatchDraft) -> Option<BTreeSet<WatchName>> {
    node.get("notify")?;
    let mut names = BTreeSet::new();
    for said in texts(node, "notify", Format::Name) {
        let Ok(name) = WatchName::new(said.value) else { continue };
        draft.notify.push(Sited { value: name.clone(), span: said.span });
        names.insert(name);
    }
    Some(names)
}

fn named<'n>(document: &'n Node, section: &str) -> Vec<(WatchName, &'n Entry)> {
    let entries = document.entries(section);
    entries.filter_map(|(name, entry)| Some((WatchName::new(name).ok()?, entry))).collect()
}

fn own(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::text).map(str::to_owned)
}

fn severity(node: &Node, key: &str) -> Option<Severity> {
    match node.get(key)?.text()? {
        "page" => Some(Severity::Page),
        "ticket" => Some(Severity::Ticket),
        _ => None,
    }
}

fn question(node: &Node, key: &str, draft: &mut WatchDraft) -> Option<String> {
    let said = text(node, key, Format::Any)?;
    draft.questions.push(Sited { value: said.value.to_owned(), span: said.span });
    Some(said.value.to_owned())
}

fn secret(node: &Node, draft: &mut WatchDraft) -> Option<SecretName> {
    let named = node.get("secret")?;
    let name = SecretName::new(named.text()?).ok()?;
    draft.secrets.push(Sited { value: name.clone(), span: named.span });
    Some(name)
}

pub(crate) fn value(node: &Node, draft: &mut WatchDraft) -> Option<EnvValue> {
    match node.text() {
        Some(text) => Some(EnvValue::Text(text.to_owned())),
        None => secret(node, draft).map(EnvValue::Secret),
    }
}

/// The names in `{…}`.
fn holes(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

fn is_extract(from: &str) -> Result<(), &'static str> {
    const HELP: &str = "\"json:$.id\", \"header:location\", or \"body:\" and a regular expression";
    match from.split_once(':') {
        Some(("json", path)) if path.starts_with('$') => Ok(()),
        Some(("header", name)) if archipel_model::is_header_name(name) => Ok(()),
        Some(("body", pattern)) => match regex::Regex::new(pattern) {
            Ok(found) if found.captures_len() == 2 => Ok(()),
            Ok(_) => Err("one group in parentheses says which part is taken"),
            Err(_) => Err("the regular expression cannot be read"),
        },
        _ => Err(HELP),
    }
}

/// What could end a line of SMTP early, or is a name with an address in brackets.
fn is_address(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>(),;:\"\\".contains(&b))
        || text.ends_with("@localhost") && !text.contains(['<', '>', ' ', '\r', '\n'])
}
