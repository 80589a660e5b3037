//! What is not worth a message because something else explains it, or because a person said so.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::rule::{Class, Labels};

/// A person wants no messages of some alerts for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    /// `None`: every rule.
    pub rule: Option<String>,
    /// All of these must be among the labels of an alert.
    pub labels: Labels,
    pub from_ms: u64,
    pub until_ms: u64,
    pub reason: String,
}

impl Silence {
    pub fn covers(&self, rule: &str, labels: &Labels, now_ms: u64) -> bool {
        now_ms < self.until_ms
            && self.rule.as_deref().is_none_or(|named| named == rule)
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// The services that are down, and who calls whom.
#[derive(Debug, Default)]
pub(crate) struct Explains {
    pub(crate) crashing: BTreeSet<String>,
    pub(crate) down: BTreeSet<String>,
    pub(crate) calls: BTreeMap<String, BTreeSet<String>>,
}

impl Explains {
    /// Why an alert is explained by another: in one sentence.
    pub(crate) fn why(&self, class: Class, labels: &Labels) -> Option<String> {
        let service = labels.get("service")?;
        match class {
            Class::Down if self.crashing.contains(service) => {
                Some(format!("{service} keeps crashing"))
            }
            Class::Symptom => {
                let down = self.reaches_down(service)?;
                Some(match down == service {
                    true => format!("{service} is down"),
                    false => format!("{down}, which it calls, is down"),
                })
            }
            _ => None,
        }
    }

    /// The service itself or one that it leads to, whoever is down.
    fn reaches_down<'a>(&'a self, service: &'a str) -> Option<&'a str> {
        let is_down = |name: &str| self.down.contains(name) || self.crashing.contains(name);
        let mut seen = BTreeSet::from([service]);
        let mut next = vec![service];
        while let Some(name) = next.pop() {
            if is_down(name) {
                return Some(name);
            }
            for callee in self.calls.get(name).into_iter().flatten() {
                if seen.insert(callee) {
                    next.push(callee);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(service: &str) -> Labels {
        Labels::from([("service".to_owned(), service.to_owned())])
    }

    fn shop() -> Explains {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        Explains {
            crashing: BTreeSet::new(),
            down: set(&["payments"]),
            calls: BTreeMap::from([
                ("web".to_owned(), set(&["checkout", "catalog"])),
                ("checkout".to_owned(), set(&["payments", "web"])),
                ("catalog".to_owned(), set(&[])),
            ]),
        }
    }

    #[test]
    fn who_is_down_explains_its_own_failures_and_those_of_its_callers() {
        let shop = shop();
        assert_eq!(shop.why(Class::Symptom, &of("payments")).as_deref(), Some("payments is down"));
        let through = Some("payments, which it calls, is down");
        assert_eq!(shop.why(Class::Symptom, &of("checkout")).as_deref(), through);
        assert_eq!(shop.why(Class::Symptom, &of("web")).as_deref(), through);
        assert_eq!(shop.why(Class::Symptom, &of("catalog")), None);
        assert_eq!(shop.why(Class::Down, &of("payments")), None, "the cause itself is told");
        assert_eq!(shop.why(Class::Symptom, &Labels::new()), None);
    }

    #[test]
    fn a_silence_ends_and_covers_what_it_names() {
        let silence = Silence {
            id: "s".into(),
            rule: Some("error-rate".into()),
            labels: of("web"),
            from_ms: 0,
            until_ms: 100,
            reason: String::new(),
        };
        assert!(silence.covers("error-rate", &of("web"), 99));
        assert!(!silence.covers("error-rate", &of("web"), 100));
        assert!(!silence.covers("error-rate", &of("cart"), 9));
        assert!(!silence.covers("other", &of("web"), 9));
        let all = Silence { rule: None, labels: Labels::new(), ..silence };
        assert!(all.covers("anything", &Labels::new(), 9));
    }
}
