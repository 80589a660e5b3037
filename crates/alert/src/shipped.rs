//! The rules that are on without any settings: what goes wrong in every system.

use std::collections::{BTreeMap, VecDeque};

use archipel_model::{Severity, WatchName};

use crate::facts::{Facts, ServiceFact};
use crate::phase::Timing;
use crate::rule::{Class, Labels, Reading, Rule};
use crate::verdict::{bytes, percent, question_link};

const MINUTE_MS: u64 = 60_000;
/// Restarts within ten minutes that are no accident.
const RESTARTS: u32 = 3;
/// Events behind below which a queue may rise.
const LAG_MIN: u64 = 100;
/// Minutes that a queue must rise.
const RISING: usize = 10;
const NEARLY: f64 = 0.9;
const ERROR_SHARE: f64 = 0.05;
const ERRORS_MIN: u64 = 20;
/// Counters that are remembered; more services or queues than this are not compared over time.
const SERIES_MAX: usize = 20_000;

pub(crate) const CRASH_LOOP: &str = "crash-loop";
pub(crate) const UNHEALTHY: &str = "unhealthy";
pub(crate) const ERROR_RATE: &str = "error-rate";
pub(crate) const DEAD_LETTERS: &str = "dead-letters";
pub(crate) const QUEUE_RISING: &str = "queue-rising";
pub(crate) const WORKFLOW_PARKED: &str = "workflow-parked";
pub(crate) const DISK: &str = "disk";
pub(crate) const MEMORY: &str = "memory";
pub(crate) const CERTIFICATE: &str = "certificate";
pub(crate) const TELEMETRY_DROPPED: &str = "telemetry-dropped";
pub(crate) const CHECK_FAILING: &str = "check-failing";

/// All of them, by name.
pub fn rules() -> Vec<Rule> {
    use Severity::{Page, Ticket};
    let rule = |name: &str, class, severity, hold_ms, when: &str, about: &str| Rule {
        name: name.to_owned(),
        class,
        severity,
        timing: Timing { hold_ms, resolve_ms: 2 * MINUTE_MS },
        when: when.to_owned(),
        description: Some(about.to_owned()),
        notify: None,
        shipped: true,
    };
    vec![
        rule(
            CRASH_LOOP,
            Class::Crashing,
            Page,
            0,
            "3 restarts in 10m, or given up",
            "The service ends again and again. Its last lines say why.",
        ),
        rule(
            UNHEALTHY,
            Class::Down,
            Page,
            MINUTE_MS,
            "fewer instances are ready than wanted for 1m",
            "The service runs and does not answer its health check, or does not start.",
        ),
        rule(
            ERROR_RATE,
            Class::Symptom,
            Page,
            0,
            "error_rate > 5% over 5m, with 20 errors",
            "Requests to the service fail. The traces show where.",
        ),
        rule(
            DEAD_LETTERS,
            Class::Other,
            Page,
            0,
            "dead letters > 0",
            "Events could not be delivered and wait for a person: mend the cause, then replay or discard them.",
        ),
        rule(
            QUEUE_RISING,
            Class::Other,
            Ticket,
            0,
            "lag rises for 10m, to 100 or more",
            "The subscriber is slower than what is published.",
        ),
        rule(
            WORKFLOW_PARKED,
            Class::Other,
            Page,
            0,
            "parked workflows > 0",
            "Workflows were given up until a person raises an event, resumes or reruns them.",
        ),
        rule(
            DISK,
            Class::Other,
            Page,
            0,
            "disk > 90%",
            "The file system that holds the state is nearly full.",
        ),
        rule(
            MEMORY,
            Class::Other,
            Ticket,
            2 * MINUTE_MS,
            "memory > 90% of the limit for 2m",
            "The service is about to be ended for its memory.",
        ),
        rule(
            CERTIFICATE,
            Class::Other,
            Page,
            0,
            "certificate < 14d",
            "A certificate of the gateway ends soon and was not renewed.",
        ),
        rule(
            TELEMETRY_DROPPED,
            Class::Other,
            Ticket,
            0,
            "telemetry dropped in 5m",
            "Spans or log lines came faster than they could be stored; figures from them are too low.",
        ),
        rule(
            CHECK_FAILING,
            Class::Symptom,
            Page,
            0,
            "as often in a row as the check says",
            "What is asked from outside does not answer as it should.",
        ),
    ]
}

pub(crate) fn name(text: &str) -> Option<WatchName> {
    WatchName::new(text).ok()
}

/// What must be remembered of the past to judge the present.
#[derive(Debug, Default)]
pub(crate) struct Past {
    restarts: BTreeMap<String, VecDeque<(u64, u32)>>,
    /// Requests and failed ones, as they were counted in the last five minutes.
    answers: BTreeMap<String, VecDeque<(u64, u64, u64)>>,
    /// Lag at the end of each minute.
    lags: BTreeMap<(String, String), VecDeque<u64>>,
    dropped: VecDeque<(u64, u64)>,
    minute: u64,
}

impl Past {
    /// What these facts say, by rule.
    pub(crate) fn read(&mut self, facts: &Facts, now_ms: u64) -> Vec<(&'static str, Vec<Reading>)> {
        let whole_minute = now_ms / MINUTE_MS != self.minute;
        self.minute = now_ms / MINUTE_MS;
        vec![
            (CRASH_LOOP, self.crashing(facts, now_ms)),
            (ERROR_RATE, self.failing(facts, now_ms)),
            (UNHEALTHY, facts.services.iter().map(unhealthy).collect()),
            (DEAD_LETTERS, dead(facts)),
            (QUEUE_RISING, self.rising(facts, whole_minute)),
            (WORKFLOW_PARKED, parked(facts)),
            (DISK, disk(facts)),
            (MEMORY, facts.services.iter().filter_map(memory).collect()),
            (TELEMETRY_DROPPED, self.dropped(facts, now_ms)),
        ]
    }

    fn crashing(&mut self, facts: &Facts, now_ms: u64) -> Vec<Reading> {
        let known = |name: &String| facts.services.iter().any(|of| of.name == *name);
        self.restarts.retain(|name, _| known(name));
        let mut readings = Vec::new();
        for of in &facts.services {
            let seen = self.restarts.entry(of.name.clone()).or_default();
            // A service that is new, or newly described, counts from zero again.
            if seen.back().is_some_and(|(_, last)| *last > of.restarts) {
                seen.clear();
            }
            if seen.back().is_none_or(|(_, last)| *last != of.restarts) && seen.len() < 64 {
                seen.push_back((now_ms, of.restarts));
            }
            // The last value before the window is what is counted from.
            while seen.len() > 1 && seen[1].0 + 10 * MINUTE_MS < now_ms {
                seen.pop_front();
            }
            let more = of.restarts.saturating_sub(seen.front().map_or(0, |(_, first)| *first));
            let holds = of.hopeless || more >= RESTARTS && !of.settled;
            let why = of.reason.clone().unwrap_or_else(|| format!("{more} restarts in 10 minutes"));
            readings.push(of_service(of, holds, f64::from(more), why));
        }
        readings
    }

    /// From counters: exact, whatever happens to spans, and the same cost at any rate.
    fn failing(&mut self, facts: &Facts, now_ms: u64) -> Vec<Reading> {
        self.answers.retain(|name, _| facts.services.iter().any(|of| of.name == *name));
        let mut readings = Vec::new();
        for of in &facts.services {
            let seen = self.answers.entry(of.name.clone()).or_default();
            if seen.back().is_some_and(|(_, requests, _)| *requests > of.requests) {
                seen.clear();
            }
            seen.push_back((now_ms, of.requests, of.failed));
            while seen.len() > 1 && (seen[1].0 + 5 * MINUTE_MS < now_ms || seen.len() > 512) {
                seen.pop_front();
            }
            let (_, requests, failed) = seen.front().copied().unwrap_or_default();
            let (all, bad) = (of.requests - requests, of.failed.saturating_sub(failed));
            let share = if all > 0 { bad as f64 / all as f64 } else { 0.0 };
            let text = format!("{} of {all} requests failed in 5m ({bad})", percent(share));
            let mut reading = of_service(of, bad >= ERRORS_MIN && share > ERROR_SHARE, share, text);
            reading.link = question_link("traces", &format!("service:{} status:error", of.name));
            readings.push(reading);
        }
        readings
    }

    fn rising(&mut self, facts: &Facts, whole_minute: bool) -> Vec<Reading> {
        let mut readings = Vec::new();
        for of in &facts.subscriptions {
            let key = (of.topic.clone(), of.subscriber.clone());
            if self.lags.len() >= SERIES_MAX && !self.lags.contains_key(&key) {
                continue;
            }
            let seen = self.lags.entry(key).or_default();
            if whole_minute {
                seen.push_back(of.lag);
                if seen.len() > RISING + 1 {
                    seen.pop_front();
                }
            }
            let rises =
                seen.len() > RISING && seen.iter().zip(seen.iter().skip(1)).all(|(a, b)| b > a);
            let text = format!("{} events behind on {}", of.lag, of.topic);
            let link = format!("/events/{}", of.topic);
            let labels = queue(&of.topic, &of.subscriber);
            readings.push(Reading::new(
                labels,
                rises && of.lag >= LAG_MIN,
                of.lag as f64,
                text,
                link,
            ));
        }
        readings
    }

    fn dropped(&mut self, facts: &Facts, now_ms: u64) -> Vec<Reading> {
        self.dropped.push_back((now_ms, facts.dropped));
        while self.dropped.len() > 1
            && (self.dropped[1].0 + 5 * MINUTE_MS < now_ms || self.dropped.len() > 512)
        {
            self.dropped.pop_front();
        }
        let more =
            facts.dropped.saturating_sub(self.dropped.front().map_or(0, |(_, first)| *first));
        let text = format!("{more} spans and lines were dropped in 5 minutes");
        vec![Reading::new(Labels::new(), more > 0, more as f64, text, "/settings".to_owned())]
    }
}

fn of_service(of: &ServiceFact, holds: bool, value: f64, text: String) -> Reading {
    let labels = Labels::from([("service".to_owned(), of.name.clone())]);
    Reading::new(labels, holds, value, text, format!("/services/{}", of.name))
}

fn unhealthy(of: &ServiceFact) -> Reading {
    let missing = of.wanted.saturating_sub(of.ready);
    let holds = missing > 0 && !of.settled && !of.preparing;
    let mut text = format!("{} of {} instances are ready", of.ready, of.wanted);
    if let Some(reason) = &of.reason {
        text.push_str(&format!(": {reason}"));
    }
    of_service(of, holds, f64::from(missing), text)
}

fn queue(topic: &str, subscriber: &str) -> Labels {
    Labels::from([
        ("service".to_owned(), subscriber.to_owned()),
        ("topic".to_owned(), topic.to_owned()),
    ])
}

fn dead(facts: &Facts) -> Vec<Reading> {
    let each = facts.subscriptions.iter().map(|of| {
        let text = format!("{} events of {} could not be delivered", of.dead, of.topic);
        let link = format!("/events/dead?topic={}&subscriber={}", of.topic, of.subscriber);
        Reading::new(queue(&of.topic, &of.subscriber), of.dead > 0, of.dead as f64, text, link)
    });
    each.collect()
}

fn parked(facts: &Facts) -> Vec<Reading> {
    let each = facts.parked.iter().map(|(service, count)| {
        let labels = Labels::from([("service".to_owned(), service.clone())]);
        let text = format!("{count} workflows wait for a person");
        let link = format!("/workflows?service={service}&status=stalled");
        Reading::new(labels, *count > 0, *count as f64, text, link)
    });
    each.collect()
}

fn disk(facts: &Facts) -> Vec<Reading> {
    let Some((used, all)) = facts.disk.filter(|(_, all)| *all > 0) else { return Vec::new() };
    let share = used as f64 / all as f64;
    let text = format!("{} of {} are used, {}", bytes(used), bytes(all), percent(share));
    vec![Reading::new(Labels::new(), share > NEARLY, share, text, "/settings".to_owned())]
}

fn memory(of: &ServiceFact) -> Option<Reading> {
    let limit = of.memory_limit.filter(|limit| *limit > 0)?;
    let share = of.memory_bytes as f64 / limit as f64;
    let text = format!("{} of {}, {}", bytes(of.memory_bytes), bytes(limit), percent(share));
    Some(of_service(of, share > NEARLY, share, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::SubscriptionFact;

    fn holding(past: &mut Past, facts: &Facts, now_ms: u64) -> Vec<&'static str> {
        let read = past.read(facts, now_ms);
        let holds = |readings: &Vec<Reading>| readings.iter().any(|reading| reading.holds);
        read.into_iter().filter(|(_, readings)| holds(readings)).map(|(rule, _)| rule).collect()
    }

    fn service(change: impl Fn(&mut ServiceFact)) -> Facts {
        let mut of =
            ServiceFact { name: "web".into(), wanted: 2, ready: 2, ..ServiceFact::default() };
        of.settled = true;
        change(&mut of);
        Facts { services: vec![of], ..Facts::default() }
    }

    #[test]
    fn what_is_well_says_nothing() {
        let mut past = Past::default();
        assert_eq!(holding(&mut past, &service(|_| {}), MINUTE_MS), Vec::<&str>::new());
    }

    #[test]
    fn restarts_are_counted_within_ten_minutes() {
        let mut past = Past::default();
        let at = |restarts| service(move |s| (s.restarts, s.settled) = (restarts, false));
        assert_eq!(holding(&mut past, &at(5), 0), Vec::<&str>::new(), "before our time");
        assert_eq!(holding(&mut past, &at(7), MINUTE_MS), Vec::<&str>::new());
        assert_eq!(holding(&mut past, &at(8), 2 * MINUTE_MS), [CRASH_LOOP]);
        assert_eq!(holding(&mut past, &at(8), 20 * MINUTE_MS), Vec::<&str>::new(), "long ago");
    }

    #[test]
    fn failures_are_counted_within_five_minutes() {
        let mut past = Past::default();
        let at = |requests, failed| service(move |s| (s.requests, s.failed) = (requests, failed));
        assert!(holding(&mut past, &at(1_000, 900), 0).is_empty(), "before our time");
        assert!(holding(&mut past, &at(1_100, 919), 1_000).is_empty(), "few");
        assert_eq!(holding(&mut past, &at(1_399, 920), 2_000), [ERROR_RATE]);
        assert!(holding(&mut past, &at(1_400, 920), 3_000).is_empty(), "just 5%");
        assert_eq!(holding(&mut past, &at(1_450, 970), 4_000), [ERROR_RATE]);
        assert!(holding(&mut past, &at(2_450, 970), 6 * MINUTE_MS).is_empty(), "well since");
        assert!(holding(&mut past, &at(5, 0), 6 * MINUTE_MS + 1).is_empty(), "counted anew");
    }

    #[test]
    fn a_queue_that_rises_for_ten_minutes() {
        let mut past = Past::default();
        let at = |lag| Facts {
            subscriptions: vec![SubscriptionFact {
                topic: "a.b".into(),
                subscriber: "web".into(),
                lag,
                dead: 0,
            }],
            ..Facts::default()
        };
        let mut told = Vec::new();
        for minute in 1..=12u64 {
            if !holding(&mut past, &at(minute * 50), minute * MINUTE_MS).is_empty() {
                told.push(minute);
            }
        }
        assert_eq!(told, [11, 12]);
        assert_eq!(holding(&mut past, &at(600), 13 * MINUTE_MS), Vec::<&str>::new(), "it stands");
    }

    #[test]
    fn what_is_dropped_is_told_for_five_minutes() {
        let mut past = Past::default();
        let at = |dropped| Facts { dropped, ..Facts::default() };
        assert!(holding(&mut past, &at(7), 0).is_empty());
        assert_eq!(holding(&mut past, &at(8), 1_000), [TELEMETRY_DROPPED]);
        assert!(holding(&mut past, &at(8), 6 * MINUTE_MS + 2_000).is_empty());
    }
}
