//! Metrics that services send: the latest state of every time series, and what of each arrival
//! becomes a value over time.
//!
//! ```text
//! OTLP → points → series (cumulative, for `/metrics`) → samples (for the metric store)
//! ```
//!
//! A counter becomes a rate, `name:rate`; a histogram its rate and quantiles, `name:p50`,
//! `name:p95`, `name:p99`; a gauge is its value. A colon cannot be in the name of an instrument.
//!
//! A service can make as many series as it likes by what it puts into attributes, so their number
//! is bounded for each and for all: what is over is refused, and the sender told so. One that is
//! silent for an hour makes room.
//!
//! A release may make another instrument of a metric. Then what was counted so far is no start for
//! the new, so its series begin anew. One service cannot do that to what another still sends.

mod buckets;
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};

use archipel_rt::clock;

use crate::MetricKey;
use crate::export::series as export;

pub(crate) use buckets::Buckets;

/// Of one service, so that a neighbour's flood is its own.
const OF_SERVICE_MAX: usize = 2_000;
/// Of all; each is a few kilobytes at most, and four values over time.
const SERIES_MAX: usize = 10_000;
const SILENT_MS_MAX: u64 = 3_600_000;
/// Of the latest values; a scraper would take them for new otherwise.
const STALE_MS: u64 = 300_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instrument {
    Gauge,
    Counter,
    UpDownCounter,
    Histogram,
    Summary,
}

impl Instrument {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// What is told of a metric besides its numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct About {
    pub(crate) instrument: Instrument,
    pub(crate) unit: String,
    pub(crate) description: String,
}

/// One data point.
pub(crate) struct Point {
    pub(crate) of: SeriesKey,
    pub(crate) value: Number,
    pub(crate) at_ms: u64,
    /// Since when it has been counted; 0: nobody says.
    pub(crate) start_ms: u64,
    /// It counts since the last one, not since the start.
    pub(crate) delta: bool,
}

/// What an arrival says over time, and of when.
pub(crate) type Told = (u64, Vec<(MetricKey, f64)>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesKey {
    pub(crate) metric: String,
    pub(crate) service: String,
    pub(crate) instance: String,
    /// By key; each once.
    pub(crate) labels: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    Plain(f64),
    Histogram(Buckets),
    Summary { count: u64, sum: f64, quantiles: Vec<(f64, f64)> },
}

struct Series {
    value: Number,
    at_ms: u64,
    start_ms: u64,
    /// By our clock.
    taken_ms: u64,
}

/// A metric as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMetric {
    pub metric: String,
    pub instrument: Instrument,
    pub unit: String,
    pub description: String,
    /// Each with how many series it has.
    pub services: BTreeMap<String, usize>,
    /// What it is asked by over time: the name, with an ending for what was worked out of it.
    pub lines: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Received {
    series: BTreeMap<SeriesKey, Series>,
    about: BTreeMap<String, About>,
    of_service: BTreeMap<String, usize>,
    swept_ms: u64,
    refused: u64,
    changed: u64,
    /// When a change was last told of.
    told_ms: u64,
}

/// Why a point was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    TooMany,
    OtherInstrument,
}

impl NotTaken {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::TooMany => "more time series than are kept: 2,000 of a service, 10,000 of all",
            Self::OtherInstrument => {
                "another service sends another kind of instrument by this name, or this is older"
            }
        }
    }
}

impl Received {
    /// Takes a point; what it says over time goes to `out`.
    pub(crate) fn take(
        &mut self,
        point: Point,
        about: &About,
        out: &mut Vec<(MetricKey, f64)>,
    ) -> Result<(), NotTaken> {
        let known = self.about.get(&point.of.metric);
        let other = known.is_some_and(|known| known.instrument != about.instrument);
        if other && !self.begin_anew(&point) {
            return self.refuse(NotTaken::OtherInstrument);
        }
        if let Some(known) = self.about.get_mut(&point.of.metric)
            && known != about
        {
            *known = about.clone();
        }
        let Some(series) = self.series.get_mut(&point.of) else {
            return self.begin(point, about, out);
        };
        // Out of order, or twice: the later one has been told.
        if point.at_ms < series.at_ms {
            return Ok(());
        }
        let seconds = (point.at_ms - series.at_ms) as f64 / 1_000.0;
        let restarted = point.start_ms > series.start_ms && point.start_ms >= series.at_ms;
        let since = match point.delta || restarted {
            true => None,
            false => Some(&series.value),
        };
        tell(&point.of, about.instrument, since, &point.value, seconds, out);
        if point.delta {
            series.value.add(point.value);
        } else {
            series.value = point.value;
            series.start_ms = series.start_ms.max(point.start_ms);
        }
        series.at_ms = point.at_ms;
        series.taken_ms = clock::wall_ms();
        Ok(())
    }

    fn begin(
        &mut self,
        point: Point,
        about: &About,
        out: &mut Vec<(MetricKey, f64)>,
    ) -> Result<(), NotTaken> {
        let full = |this: &Self| {
            let own = this.of_service.get(&point.of.service).copied().unwrap_or_default();
            own >= OF_SERVICE_MAX || this.series.len() >= SERIES_MAX
        };
        if full(self) {
            // Looking is dear, and a flood asks at every point.
            let now_ms = clock::wall_ms();
            if self.swept_ms + 60_000 <= now_ms {
                self.sweep(now_ms);
            }
            if full(self) {
                return self.refuse(NotTaken::TooMany);
            }
        }
        // Not of what was refused: names without end would be kept.
        self.about.entry(point.of.metric.clone()).or_insert_with(|| about.clone());
        *self.of_service.entry(point.of.service.clone()).or_default() += 1;
        // Without a start, a first sum says nothing of how fast it grew.
        let begun = if point.start_ms == 0 { point.at_ms } else { point.start_ms };
        let seconds = point.at_ms.saturating_sub(begun) as f64 / 1_000.0;
        tell(&point.of, about.instrument, None, &point.value, seconds, out);
        let Point { of, value, at_ms, start_ms, .. } = point;
        self.series.insert(of, Series { value, at_ms, start_ms, taken_ms: clock::wall_ms() });
        Ok(())
    }

    /// Forgets a metric that is of another kind now, unless a newer point or another service's
    /// says that it is not.
    fn begin_anew(&mut self, point: &Point) -> bool {
        let (now_ms, of) = (clock::wall_ms(), &point.of);
        let first = SeriesKey {
            metric: of.metric.clone(),
            service: String::new(),
            instance: String::new(),
            labels: Vec::new(),
        };
        let known = self.series.range(first..).take_while(|(key, _)| key.metric == of.metric);
        let stands = |(key, series): (&SeriesKey, &Series)| match key.service == of.service {
            true => series.at_ms > point.at_ms,
            false => series.taken_ms + STALE_MS > now_ms,
        };
        if known.clone().any(stands) {
            return false;
        }
        let old: Vec<SeriesKey> = known.map(|(key, _)| key.clone()).collect();
        for key in old {
            self.series.remove(&key);
            if let Some(count) = self.of_service.get_mut(&key.service) {
                *count = count.saturating_sub(1);
            }
        }
        self.about.remove(&of.metric);
        self.changed += 1;
        // Two kinds in every export would be told of without end; the count goes on.
        if self.told_ms + 60_000 <= now_ms {
            self.told_ms = now_ms;
            let (service, metric) = (&of.service, &of.metric);
            tracing::warn!(service, metric, "a metric is of another kind now; it begins anew");
        }
        true
    }

    fn refuse(&mut self, why: NotTaken) -> Result<(), NotTaken> {
        self.refused += 1;
        Err(why)
    }

    fn sweep(&mut self, now_ms: u64) {
        self.swept_ms = now_ms;
        self.series.retain(|_, series| series.at_ms + SILENT_MS_MAX > now_ms);
        self.of_service.clear();
        for key in self.series.keys() {
            *self.of_service.entry(key.service.clone()).or_default() += 1;
        }
        let live: BTreeSet<&str> = self.series.keys().map(|key| key.metric.as_str()).collect();
        self.about.retain(|metric, _| live.contains(metric.as_str()));
    }

    /// What has changed since then, as it is sent on.
    pub(crate) fn copied(&self, since_ms: u64) -> Vec<(Vec<u8>, u64)> {
        let newer = self.series.iter().filter(|(_, series)| series.taken_ms >= since_ms);
        export::received(newer.filter_map(|(of, series)| {
            let about = self.about.get(&of.metric)?;
            let Series { value, at_ms, start_ms, .. } = series;
            Some(export::Latest { of, about, value, start_ms: *start_ms, at_ms: *at_ms })
        }))
    }

    pub(crate) fn list(&self) -> Vec<ReceivedMetric> {
        let mut found: Vec<ReceivedMetric> = Vec::new();
        for key in self.series.keys() {
            if found.last().is_none_or(|last| last.metric != key.metric) {
                let Some(about) = self.about.get(&key.metric) else { continue };
                let lines = endings(about.instrument);
                found.push(ReceivedMetric {
                    metric: key.metric.clone(),
                    instrument: about.instrument,
                    unit: about.unit.clone(),
                    description: about.description.clone(),
                    services: BTreeMap::new(),
                    lines: lines.iter().map(|end| format!("{}{end}", key.metric)).collect(),
                });
            }
            if let Some(last) = found.last_mut() {
                *last.services.entry(key.service.clone()).or_default() += 1;
            }
        }
        found
    }

    /// Points that were not taken, since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// How often a metric was of another kind than before, since the start.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }
}

fn endings(instrument: Instrument) -> &'static [&'static str] {
    match instrument {
        Instrument::Gauge | Instrument::UpDownCounter => &[""],
        Instrument::Counter => &[":rate"],
        Instrument::Histogram | Instrument::Summary => &[":rate", ":p50", ":p95", ":p99"],
    }
}

/// What one arrival says over time. `since`: the sum that it goes on from.
fn tell(
    of: &SeriesKey,
    instrument: Instrument,
    since: Option<&Number>,
    value: &Number,
    seconds: f64,
    out: &mut Vec<(MetricKey, f64)>,
) {
    let mut put = |ending: &str, number: f64| {
        if number.is_finite() {
            out.push((over_time(of, ending), number));
        }
    };
    match (instrument, value) {
        (Instrument::Counter, Number::Plain(now)) => {
            let before = match since {
                // Less than before: it began anew.
                Some(Number::Plain(before)) if before <= now => *before,
                _ => 0.0,
            };
            if seconds > 0.0 {
                put(":rate", (now - before) / seconds);
            }
        }
        (_, Number::Plain(now)) => put("", *now),
        (_, Number::Histogram(now)) => {
            let before = match since {
                Some(Number::Histogram(before)) => Some(before),
                _ => None,
            };
            let step = now.since(before);
            if seconds > 0.0 {
                put(":rate", step.count as f64 / seconds);
            }
            for (ending, share) in [(":p50", 0.5), (":p95", 0.95), (":p99", 0.99)] {
                if let Some(quantile) = step.quantile(share) {
                    put(ending, quantile);
                }
            }
        }
        (_, Number::Summary { count, quantiles, .. }) => {
            let before = match since {
                Some(Number::Summary { count: before, .. }) if before <= count => *before,
                _ => 0,
            };
            if seconds > 0.0 {
                put(":rate", (count - before) as f64 / seconds);
            }
            for (share, quantile) in quantiles {
                // Those that are listed; any number can be called a quantile.
                let ending = format!(":p{}", share * 100.0);
                if endings(instrument).contains(&ending.as_str()) {
                    put(&ending, *quantile);
                }
            }
        }
    }
}

fn over_time(of: &SeriesKey, ending: &str) -> MetricKey {
    let labels: Vec<String> = of.labels.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
    MetricKey {
        metric: format!("{}{ending}", of.metric),
        service: of.service.clone(),
        instance: of.instance.clone(),
        labels: Some(labels.join(",")),
    }
}

impl Number {
    fn add(&mut self, more: Self) {
        match (self, more) {
            (Self::Plain(sum), Self::Plain(more)) => *sum += more,
            (Self::Histogram(sum), Self::Histogram(more)) => sum.add(&more),
            (
                Self::Summary { count, sum, quantiles },
                Self::Summary { count: more, sum: more_sum, quantiles: latest },
            ) => {
                *count = count.saturating_add(more);
                *sum += more_sum;
                *quantiles = latest;
            }
            // An instrument does not change its kind; `take` has made sure.
            (this, more) => *this = more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(into: &mut Received, name: String, value: Number) -> (Result<(), NotTaken>, usize) {
        let instrument = match value {
            Number::Summary { .. } => Instrument::Summary,
            _ => Instrument::Gauge,
        };
        let about = About { instrument, unit: String::new(), description: String::new() };
        let labels = vec![(String::new(), "x".to_owned())];
        let (service, instance) = ("orders".to_owned(), String::new());
        let of = SeriesKey { metric: name, service, instance, labels };
        let mut out = Vec::new();
        // Long ago, which is not when room was looked for.
        let point = Point { of, value, at_ms: 1, start_ms: 0, delta: false };
        (into.take(point, &about, &mut out), out.len())
    }

    #[test]
    fn nothing_is_kept_of_a_name_that_is_refused() {
        let mut into = Received { swept_ms: clock::wall_ms(), ..Received::default() };
        for n in 0..2 * OF_SERVICE_MAX {
            let (taken, _) = take(&mut into, format!("m{n}"), Number::Plain(1.0));
            assert_eq!(taken.is_ok(), n < OF_SERVICE_MAX);
        }
        assert_eq!(into.about.len(), OF_SERVICE_MAX);
        into.swept_ms = 0;
        assert_eq!(take(&mut into, "new".to_owned(), Number::Plain(1.0)).0, Ok(()));
    }

    #[test]
    fn quantiles_without_end_are_not_lines_without_end() {
        let quantiles = (0..100).map(|n| (f64::from(n) / 100.0, 1.0)).collect();
        let value = Number::Summary { count: 1, sum: 1.0, quantiles };
        assert_eq!(take(&mut Received::default(), "s".to_owned(), value), (Ok(()), 3));
    }

    #[test]
    fn a_label_without_a_name_does_not_spoil_the_page() {
        let mut into = Received::default();
        take(&mut into, "m".to_owned(), Number::Plain(1.0)).0.unwrap();
        let mut page = String::new();
        into.expose(1, &mut page);
        assert!(page.contains("m{service_name=\"orders\",_=\"x\"} 1"), "{page}");
    }
}
