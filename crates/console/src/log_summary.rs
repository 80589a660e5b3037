//! How many lines there are, when, how bad and of whom: what a log page shows beside the lines.

use std::collections::BTreeMap;

use archipel_telemetry::LogCounts;

use crate::view;

/// `since_ms`: where what was asked for begins; without, where the first line is.
pub(crate) fn summary(
    counts: LogCounts,
    since_ms: Option<u64>,
    until_ms: u64,
    buckets: usize,
) -> view::LogSummary {
    let first = counts.seconds.first_key_value().map_or(until_ms, |(second, _)| second * 1000);
    // What was not counted would look like silence.
    let from_ms = counts.complete_from_ms.or(since_ms).unwrap_or(first).min(until_ms);
    let buckets = buckets.clamp(1, 400);
    let bucket_ms = ((until_ms - from_ms) / buckets as u64 + 1).max(1);
    let mut shown = vec![view::LogBucket::default(); buckets];
    for (second, [error, warn, other]) in counts.seconds {
        let at = (second * 1000).saturating_sub(from_ms) / bucket_ms;
        let bucket = &mut shown[usize::try_from(at).unwrap_or(usize::MAX).min(buckets - 1)];
        bucket.error += error;
        bucket.warn += warn;
        bucket.other += other;
    }
    let mut services: BTreeMap<String, u64> = BTreeMap::new();
    for (instance, count) in &counts.instances {
        *services.entry(instance.service.to_string()).or_default() += count;
    }
    let levels = counts.levels.iter().map(|(level, count)| (level.as_str().to_owned(), *count));
    let mut levels: BTreeMap<String, u64> = levels.collect();
    let without = counts.total - levels.values().sum::<u64>();
    if without > 0 {
        levels.insert("none".to_owned(), without);
    }
    view::LogSummary {
        schema: view::LogSummary::SCHEMA.to_owned(),
        from_ms,
        bucket_ms,
        total: counts.total,
        truncated: counts.complete_from_ms.is_some(),
        buckets: shown,
        services,
        instances: counts.instances.iter().map(|(id, count)| (id.to_string(), *count)).collect(),
        levels,
    }
}

#[cfg(test)]
mod tests {
    use archipel_telemetry::Level;

    use super::*;

    #[test]
    fn every_line_is_counted_once_whatever_the_span() {
        let counts = LogCounts {
            seconds: BTreeMap::from([(0, [1, 0, 1]), (1, [0, 1, 0])]),
            instances: BTreeMap::from([("orders-0".parse().expect("an instance"), 3)]),
            levels: BTreeMap::from([(Level::Error, 1), (Level::Warn, 1)]),
            total: 3,
            complete_from_ms: None,
        };
        for buckets in [0, 1, 7, 1000] {
            let summary = summary(counts.clone(), Some(0), 1000, buckets);
            let all: u64 = summary.buckets.iter().map(|b| b.error + b.warn + b.other).sum();
            assert_eq!((all, summary.total), (3, 3), "{buckets}");
            assert_eq!((summary.levels["error"], summary.levels["none"]), (1, 1));
            assert_eq!(summary.services["orders"], 3);
        }
        assert_eq!(summary(LogCounts::default(), None, 5, 10).total, 0);
    }
}
