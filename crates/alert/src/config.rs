//! What the manifest wants, ready to be worked with.

use std::collections::{BTreeMap, BTreeSet};

use archipel_model::{AlertPace, Channel, Synthetic, Watch, WatchName};

use crate::rule::{Class, Declared, Objective, Rule, declared, objective};
use crate::send::{Secrets, missing};
use crate::shipped;

/// The check that is on without settings: whether the public door is open, and for how long its
/// certificates are good.
pub(crate) const DOOR: &str = "gateway";

#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) app: String,
    /// All of them, those that ship first.
    pub(crate) rules: Vec<Rule>,
    pub(crate) declared: Vec<Declared>,
    pub(crate) objectives: Vec<Objective>,
    pub(crate) checks: BTreeMap<String, Synthetic>,
    pub(crate) channels: BTreeMap<WatchName, Channel>,
    /// Why nothing can be sent there.
    pub(crate) missing: BTreeMap<WatchName, String>,
    pub(crate) pace: AlertPace,
    pub(crate) secrets: Secrets,
    by_name: BTreeMap<String, usize>,
}

impl Config {
    pub(crate) fn new(app: &str, watch: &Watch, secrets: Secrets) -> Self {
        let off: BTreeSet<&str> = watch.off.iter().map(WatchName::as_str).collect();
        // A declared rule takes the place of the one that ships under its name.
        let replaced = |name: &str| {
            off.contains(name) || shipped::name(name).is_some_and(|n| watch.alerts.contains_key(&n))
        };
        let mut rules: Vec<Rule> =
            shipped::rules().into_iter().filter(|rule| !replaced(&rule.name)).collect();
        let own = watch.alerts.iter().map(|(name, of)| declared(name, of));
        let own: Vec<Declared> = own.collect();
        rules.extend(own.iter().map(|of| of.rule.clone()));
        let objectives: Vec<Objective> =
            watch.slos.iter().map(|(name, of)| objective(name, of)).collect();
        rules.extend(objectives.iter().map(|of| of.rule.clone()));
        let by_name = rules.iter().enumerate().map(|(at, rule)| (rule.name.clone(), at)).collect();
        let missing = watch
            .channels
            .iter()
            .filter_map(|(name, channel)| Some((name.clone(), missing(channel, &secrets)?)));
        Self {
            app: app.to_owned(),
            declared: own,
            objectives,
            checks: watch.checks.iter().map(|(name, of)| (name.to_string(), of.clone())).collect(),
            missing: missing.collect(),
            channels: watch.channels.clone(),
            pace: watch.pace,
            secrets,
            rules,
            by_name,
        }
    }

    pub(crate) fn rule(&self, name: &str) -> Option<&Rule> {
        self.by_name.get(name).map(|at| &self.rules[*at])
    }

    /// Whom an alert of a rule is told: a failing check has channels of its own.
    pub(crate) fn notify(
        &self,
        rule: &str,
        labels: &crate::rule::Labels,
    ) -> Option<&BTreeSet<WatchName>> {
        if rule == shipped::CHECK_FAILING {
            let check = labels.get("check").and_then(|name| self.checks.get(name));
            return check.and_then(|check| check.notify.as_ref());
        }
        self.rule(rule).and_then(|rule| rule.notify.as_ref())
    }

    pub(crate) fn class(&self, rule: &str) -> Class {
        self.rule(rule).map_or(Class::Other, |rule| rule.class)
    }
}
