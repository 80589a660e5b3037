//! Topics: one publisher each, and no subscription that nothing can ever match.
//!
//! A subscription without a publisher is an error and not a warning: it is a typing error far
//! more often than a plan, and its only symptom at run time is silence. Topics that come from
//! outside are declared in `[events]`, which is a line, and documents them.

use std::collections::BTreeMap;

use archipel_model::{TopicName, TopicPattern};

use super::Names;
use crate::Code;
use crate::read::service::ServiceDraft;
use crate::sink::Sink;
use crate::source::Span;

/// Comparing every pattern with every topic is quadratic; beyond this many services with many
/// patterns each, only exact names are looked up.
const COMPARISONS_MAX: usize = 1_000_000;

pub(super) fn check(names: &Names<'_>, out: &mut Sink) {
    let publishers = publishers(names, out);
    let declared = names.draft.events.iter().map(|event| &event.topic);
    let topics: BTreeMap<&TopicName, ()> =
        publishers.keys().copied().chain(declared).map(|topic| (topic, ())).collect();
    let mut comparisons_left = COMPARISONS_MAX;
    for draft in names.services.values() {
        for pattern in &draft.subscribes {
            let matched = match pattern.value.exact() {
                Some(topic) => topics.contains_key(&topic),
                None => {
                    comparisons_left = comparisons_left.saturating_sub(topics.len());
                    comparisons_left == 0 || topics.keys().any(|topic| pattern.value.matches(topic))
                }
            };
            if !matched {
                report_no_publisher(draft, &pattern.value, pattern.span, &topics, out);
            }
        }
        check_overlap(draft, out);
        check_outbox(draft, out);
    }
    check_contracts(names, &publishers, out);
}

fn publishers<'a>(
    names: &Names<'a>,
    out: &mut Sink,
) -> BTreeMap<&'a TopicName, (&'a ServiceDraft, Span)> {
    let mut publishers: BTreeMap<&TopicName, (&ServiceDraft, Span)> = BTreeMap::new();
    for draft in names.services.values() {
        for topic in &draft.publishes {
            let Some((owner, first)) = publishers.get(&topic.value) else {
                publishers.insert(&topic.value, (draft, topic.span));
                continue;
            };
            // The same name twice in one list was reported already.
            if owner.service.name == draft.service.name {
                continue;
            }
            let message = format!(
                "`{}` is published by `{}` and by `{}`",
                topic.value, owner.service.name, draft.service.name
            );
            out.report(Code::TwoPublishers, topic.span, message)
                .label("the second publisher")
                .also(*first, "the first")
                .help("a topic has one owner; give the other's events a name of their own");
        }
    }
    publishers
}

fn report_no_publisher(
    draft: &ServiceDraft,
    pattern: &TopicPattern,
    span: Span,
    topics: &BTreeMap<&TopicName, ()>,
    out: &mut Sink,
) {
    let otherwise = match pattern.exact() {
        Some(topic) => {
            format!("when it comes from outside this application, declare it: [events.\"{topic}\"]")
        }
        None => "no topic fits; declare those that come from outside in [events]".to_owned(),
    };
    let known = topics.keys().map(|topic| topic.as_str());
    let help = out.hint(pattern.as_str(), known, otherwise);
    let message = format!(
        "service `{}` subscribes to `{pattern}`, which nobody publishes",
        draft.service.name
    );
    out.report(Code::NoPublisher, span, message).label("nothing would ever arrive").help(help);
}

fn check_overlap(draft: &ServiceDraft, out: &mut Sink) {
    for (at, pattern) in draft.subscribes.iter().enumerate() {
        // A service rarely has more than a few patterns with wildcards; a hostile file may.
        for other in draft.subscribes[..at].iter().take(200) {
            if overlap(&pattern.value, &other.value) {
                let message = format!(
                    "`{}` and `{}` of service `{}` overlap",
                    other.value, pattern.value, draft.service.name
                );
                out.report(Code::OverlappingPatterns, pattern.span, message)
                    .label("overlaps")
                    .also(other.span, "with this")
                    .help("an event that fits both is delivered twice, once for each");
                break;
            }
        }
    }
}

/// Whether some topic fits both.
fn overlap(a: &TopicPattern, b: &TopicPattern) -> bool {
    let (mut a, mut b) = (a.as_str().split('.'), b.as_str().split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some("**"), Some(_)) | (Some(_), Some("**")) => return true,
            (Some(x), Some(y)) if x == "*" || y == "*" || x == y => {}
            _ => return false,
        }
    }
}

fn check_outbox(draft: &ServiceDraft, out: &mut Sink) {
    if let (Some(at), true) = (draft.outbox_at, draft.publishes.is_empty()) {
        let message =
            format!("service `{}` has an outbox and publishes nothing", draft.service.name);
        out.report(Code::OutboxAlone, at, message)
            .label("nothing may come out of it")
            .help("list its topics: publishes = [\"order.placed\"]");
    }
}

fn check_contracts(
    names: &Names<'_>,
    publishers: &BTreeMap<&TopicName, (&ServiceDraft, Span)>,
    out: &mut Sink,
) {
    let mut exact = std::collections::BTreeSet::new();
    let mut wild = Vec::new();
    for pattern in names.draft.services.iter().flat_map(|draft| &draft.subscribes) {
        match pattern.value.exact() {
            Some(topic) => {
                exact.insert(topic);
            }
            None => wild.push(&pattern.value),
        }
    }
    let mut comparisons_left = COMPARISONS_MAX;
    for event in &names.draft.events {
        comparisons_left = comparisons_left.saturating_sub(wild.len());
        let used = publishers.contains_key(&event.topic)
            || exact.contains(&event.topic)
            || comparisons_left == 0
            || wild.iter().any(|pattern| pattern.matches(&event.topic));
        if used {
            continue;
        }
        let known = publishers.keys().map(|topic| topic.as_str());
        let help =
            out.hint(event.topic.as_str(), known, "remove it, or add the topic to `publishes`");
        let message = format!("nobody publishes or receives `{}`", event.topic);
        out.report(Code::UnusedContract, event.at, message).label("applies to nothing").help(help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_when_one_topic_fits_both() {
        let check = |a: &str, b: &str, expected: bool| {
            let pattern = |text| TopicPattern::new(text).unwrap();
            assert_eq!(overlap(&pattern(a), &pattern(b)), expected, "{a} {b}");
            assert_eq!(overlap(&pattern(b), &pattern(a)), expected, "{b} {a}");
        };
        check("order.*", "order.placed", true);
        check("order.*", "order.line.added", false);
        check("order.**", "order.line.added", true);
        check("order.**", "order.*", true);
        check("order.placed", "order.paid", false);
        check("a.*.c", "a.b.*", true);
        check("a.b", "a.b.**", false);
    }
}
