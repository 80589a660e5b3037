//! Topics: subscriptions and contracts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use archipel_model::{EventContract, Subscription, TopicName, TopicPattern};

use super::{Reader, Want, count, text, texts};
use crate::Code;
use crate::shape::format::Format;
use crate::source::{Sited, Span};
use crate::tree::Node;

/// Where events are posted when nothing is said.
const EVENTS_PATH: &str = "/_archipel/events";

pub(crate) struct ContractDraft {
    pub(crate) topic: TopicName,
    pub(crate) at: Span,
    pub(crate) schema: Option<Sited<PathBuf>>,
    /// Without its schema until that was read: see `schemas`.
    pub(crate) contract: EventContract,
}

impl Reader<'_> {
    pub(crate) fn contracts(&mut self, document: &Node) -> Vec<ContractDraft> {
        let mut contracts = Vec::new();
        for (name, entry) in document.entries("events") {
            if !Format::Topic.accepts(name) {
                continue;
            }
            let Some(topic) = self.topic(&Sited { value: name, span: entry.key }) else { continue };
            let topic = topic.value;
            let node = &entry.node;
            let schema = text(node, "schema", Format::NonEmpty);
            let schema = schema.map(|path| {
                let what = format!("`schema` of event `{topic}`");
                Sited { value: self.path_beside_file(&path, Want::File, what), span: path.span }
            });
            let contract = EventContract {
                schema: None,
                retain: self.period(node, "retain"),
                description: text(node, "description", Format::Any).map(|t| t.value.to_owned()),
            };
            contracts.push(ContractDraft { topic, at: entry.key, schema, contract });
        }
        contracts
    }

    /// The shape checks the form; the length is checked here.
    pub(crate) fn topic(&mut self, text: &Sited<&str>) -> Option<Sited<TopicName>> {
        match TopicName::new(text.value) {
            Ok(value) => Some(Sited { value, span: text.span }),
            Err(_) => self.too_long(text.span),
        }
    }

    fn pattern(&mut self, text: &Sited<&str>) -> Option<Sited<TopicPattern>> {
        match TopicPattern::new(text.value) {
            Ok(value) => Some(Sited { value, span: text.span }),
            Err(_) => self.too_long(text.span),
        }
    }

    fn too_long<T>(&mut self, span: Span) -> Option<T> {
        self.out
            .report(Code::BadName, span, "the name of a topic has at most 200 characters")
            .label("too long");
        None
    }

    pub(crate) fn subscribes(
        &mut self,
        node: &Node,
    ) -> (BTreeMap<TopicPattern, Subscription>, Vec<Sited<TopicPattern>>) {
        let (mut subscriptions, mut sites) = (BTreeMap::new(), Vec::new());
        for text in texts(node, "subscribes", Format::TopicPattern) {
            let Some(pattern) = self.pattern(&text) else { continue };
            subscriptions.insert(pattern.value.clone(), Subscription::new(EVENTS_PATH.to_owned()));
            sites.push(pattern);
        }
        for (name, entry) in node.entries("subscribes") {
            if !Format::TopicPattern.accepts(name) {
                continue;
            }
            let Some(pattern) = self.pattern(&Sited { value: name, span: entry.key }) else {
                continue;
            };
            let subscription = self.subscription(&entry.node);
            subscriptions.insert(pattern.value.clone(), subscription);
            sites.push(pattern);
        }
        (subscriptions, sites)
    }

    fn subscription(&mut self, node: &Node) -> Subscription {
        if let Some(path) = node.text() {
            return Subscription::new(path.to_owned());
        }
        let path = text(node, "path", Format::UrlPath).map_or(EVENTS_PATH, |path| path.value);
        let mut subscription = Subscription::new(path.to_owned());
        subscription.ordered_by =
            text(node, "ordered_by", Format::NonEmpty).map(|t| t.value.to_owned());
        if let Some(concurrency) = count(node, "concurrency") {
            subscription.concurrency = concurrency;
        }
        if let Some(backoff) = self.range(node, "retry") {
            subscription.backoff = backoff;
        }
        if let Some(attempts) = count(node, "max_attempts") {
            subscription.attempts_max = attempts;
        }
        if let Some(letters) = count(node, "max_dead_letters") {
            subscription.dead_letters_max = letters;
        }
        subscription
    }
}
