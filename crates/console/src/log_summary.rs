//! How many lines there are, when, how bad and of whom: what a log page shows beside the lines.

use std::collections::BTreeMap;

use archipel_telemetry::{Level, LogRecord};

use crate::view;

/// Lines that are counted at most, the newest first.
pub(crate) const COUNTED_MAX: usize = 50_000;

pub(crate) fn summary(
    records: &[LogRecord],
    since_ms: Option<u64>,
    until_ms: u64,
    buckets: usize,
) -> view::LogSummary {
    let truncated = records.len() >= COUNTED_MAX;
    let oldest = records.first().map_or(until_ms, |record| record.at_ms);
    // What was not counted would look like silence.
    let from_ms = since_ms.filter(|_| !truncated).unwrap_or(oldest).min(until_ms);
    let buckets = buckets.clamp(1, 400);
    let bucket_ms = ((until_ms - from_ms) / buckets as u64 + 1).max(1);
    let mut counts = vec![view::LogBucket::default(); buckets];
    let mut services: BTreeMap<String, u64> = BTreeMap::new();
    let mut instances: BTreeMap<String, u64> = BTreeMap::new();
    let mut levels: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        let at = (record.at_ms.saturating_sub(from_ms) / bucket_ms) as usize;
        let bucket = &mut counts[at.min(buckets - 1)];
        match record.level {
            Some(Level::Error) => bucket.error += 1,
            Some(Level::Warn) => bucket.warn += 1,
            _ => bucket.other += 1,
        }
        let level = record.level.map_or("none", Level::as_str);
        *levels.entry(level.to_owned()).or_default() += 1;
        *instances.entry(record.instance.to_string()).or_default() += 1;
        *services.entry(record.instance.service.to_string()).or_default() += 1;
    }
    view::LogSummary {
        schema: view::LogSummary::SCHEMA.to_owned(),
        from_ms,
        bucket_ms,
        total: records.len() as u64,
        truncated,
        buckets: counts,
        services,
        instances,
        levels,
    }
}

#[cfg(test)]
mod tests {
    use archipel_telemetry::Stream;

    use super::*;

    fn record(at_ms: u64, level: Option<Level>) -> LogRecord {
        LogRecord {
            at_ms,
            instance: "orders-0".parse().expect("an instance"),
            stream: Stream::Stdout,
            level,
            message: String::new(),
            trace_id: None,
            span_id: None,
            fields: serde_json::Map::new(),
        }
    }

    #[test]
    fn every_line_is_counted_once_whatever_the_span() {
        let records =
            [record(0, None), record(999, Some(Level::Error)), record(1000, Some(Level::Warn))];
        for buckets in [0, 1, 7, 1000] {
            let summary = summary(&records, Some(0), 1000, buckets);
            let all: u64 = summary.buckets.iter().map(|b| b.error + b.warn + b.other).sum();
            assert_eq!((all, summary.total), (3, 3), "{buckets}");
            assert_eq!(summary.levels["error"], 1);
        }
        assert_eq!(summary(&[], None, 5, 10).total, 0);
    }
}
