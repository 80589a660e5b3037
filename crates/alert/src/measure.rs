//! Asks the stores what a rule wants to know.

use std::collections::BTreeMap;
use std::io;

use archipel_model::{Aggregate, Events};
use archipel_telemetry::{
    Expr, Filter, LogStore, MetricQuery, MetricStore, Op, SpanQuery, SpanStore,
};

use crate::burn::{Ledger, Spent};
use crate::rule::{Declared, INSTANCES_MAX, Labels, Objective, Reading};
use crate::verdict::{Counts, question_link, reading};

const MINUTE_MS: u64 = 60_000;
/// Spans are told when they end: a minute is counted when it is over by so much.
const LATE_MS: u64 = 15_000;
/// What an objective looks back at most when it is new, or was not looked at for long.
const BACK_MS: u64 = 6 * 3_600_000;

/// Where everything can be asked.
#[derive(Clone)]
pub struct Stores {
    pub spans: SpanStore,
    pub logs: LogStore,
    pub metrics: MetricStore,
}

impl Stores {
    /// What holds for each instance of a rule, and how many there were beyond the most.
    pub(crate) async fn read(
        &self,
        of: &Declared,
        now_ms: u64,
    ) -> io::Result<(Vec<Reading>, usize)> {
        let window_ms = u64::try_from(of.of.window.as_millis()).unwrap_or(u64::MAX);
        let since_ms = now_ms.saturating_sub(window_ms);
        let mut counted = match (&of.of.aggregate, &of.of.events) {
            (Aggregate::Metric(name), _) => self.metric(of, name, since_ms, now_ms).await?,
            (_, Events::Spans(_)) => self.spans(of, since_ms, now_ms).await?,
            (_, Events::Logs(_)) => self.lines(of, since_ms, now_ms).await?,
        };
        if counted.is_empty() && of.of.by.is_empty() {
            counted.push((Labels::new(), Counts::default()));
        }
        let left_out = counted.len().saturating_sub(INSTANCES_MAX);
        counted.truncate(INSTANCES_MAX);
        let readings = counted.into_iter().map(|(labels, counts)| reading(of, labels, counts));
        Ok((readings.collect(), left_out))
    }

    async fn spans(
        &self,
        of: &Declared,
        since_ms: u64,
        until_ms: u64,
    ) -> io::Result<Vec<(Labels, Counts)>> {
        let query = SpanQuery {
            expr: of.expr.clone(),
            since_ns: Some(since_ms.saturating_mul(1_000_000)),
            until_ns: Some(until_ms.saturating_mul(1_000_000)),
        };
        let keys = &of.of.by;
        let found = self.spans.tally(query, keys.clone()).await?.found;
        let quantile = match of.of.aggregate {
            Aggregate::Quantile(percent) => Some(f64::from(percent) / 100.0),
            _ => None,
        };
        let each = found.into_iter().map(|tally| {
            let labels = keys.iter().cloned().zip(tally.values).filter(|(_, v)| !v.is_empty());
            let counts = Counts {
                events: tally.count,
                errors: tally.errors,
                quantile: quantile.map(|q| tally.durations.quantile(q) as f64 / 1e9),
                metric: None,
            };
            (labels.collect(), counts)
        });
        Ok(each.collect())
    }

    async fn lines(
        &self,
        of: &Declared,
        since_ms: u64,
        until_ms: u64,
    ) -> io::Result<Vec<(Labels, Counts)>> {
        let filter = Filter {
            since_ms: Some(since_ms),
            until_ms: Some(until_ms),
            expr: of.expr.clone(),
            ..Filter::default()
        };
        let found = self.logs.count(&filter).await?;
        let counts = |events| Counts { events, ..Counts::default() };
        if of.of.by.is_empty() {
            return Ok(vec![(Labels::new(), counts(found.total))]);
        }
        let mut by_service: BTreeMap<String, u64> = BTreeMap::new();
        for (instance, count) in found.instances {
            *by_service.entry(instance.service.to_string()).or_default() += count;
        }
        let label = |service| Labels::from([("service".to_owned(), service)]);
        Ok(by_service.into_iter().map(|(name, count)| (label(name), counts(count))).collect())
    }

    async fn metric(
        &self,
        of: &Declared,
        name: &str,
        since_ms: u64,
        until_ms: u64,
    ) -> io::Result<Vec<(Labels, Counts)>> {
        let query = MetricQuery {
            metrics: vec![name.to_owned()],
            service: None,
            since_ms,
            until_ms,
            points: 240,
        };
        let mut highest: BTreeMap<Labels, f64> = BTreeMap::new();
        for (key, values) in self.metrics.lines(query).await?.lines {
            if !is_of(&of.expr, &key.service, &key.instance) {
                continue;
            }
            let known: Vec<f64> = values.into_iter().flatten().map(f64::from).collect();
            if known.is_empty() {
                continue;
            }
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            let mut labels = Labels::new();
            for by in &of.of.by {
                let value = match by.as_str() {
                    "service" => &key.service,
                    "instance" => &key.instance,
                    _ => continue,
                };
                if !value.is_empty() {
                    labels.insert(by.clone(), value.clone());
                }
            }
            let at = highest.entry(labels).or_insert(mean);
            *at = at.max(mean);
        }
        let counts = |value| Counts { metric: Some(value), ..Counts::default() };
        Ok(highest.into_iter().map(|(labels, value)| (labels, counts(value))).collect())
    }

    /// Counts the minutes that are over into the ledger. `true`: it has changed.
    pub(crate) async fn count(
        &self,
        of: &Objective,
        ledger: &mut Ledger,
        now_ms: u64,
    ) -> io::Result<bool> {
        let until_ms = now_ms.saturating_sub(LATE_MS) / MINUTE_MS * MINUTE_MS;
        let since_ms = ledger.counted_ms.max(until_ms.saturating_sub(BACK_MS));
        if since_ms >= until_ms {
            return Ok(false);
        }
        let query = |expr: &Expr| SpanQuery {
            expr: expr.clone(),
            since_ns: Some(since_ms.saturating_mul(1_000_000)),
            until_ns: Some(until_ms.saturating_mul(1_000_000) - 1),
        };
        let step_ns = MINUTE_MS * 1_000_000;
        let all = self.spans.histogram(query(&of.all), step_ns).await?.found;
        let good = self.spans.histogram(query(&of.good), step_ns).await?.found;
        let good: BTreeMap<u64, u64> = good.into_iter().map(|b| (b.start_ns, b.count)).collect();
        for bucket in all {
            let bad = bucket.count.saturating_sub(good.get(&bucket.start_ns).copied().unwrap_or(0));
            ledger.put(bucket.start_ns / 1_000_000, Spent { all: bucket.count, bad });
        }
        ledger.counted(until_ms);
        Ok(true)
    }
}

pub(crate) fn burn_readings(of: &Objective, ledger: &Ledger) -> Vec<Reading> {
    let target = of.of.target.as_f64();
    let window_ms = u64::try_from(of.of.window.as_millis()).unwrap_or(u64::MAX);
    let each = ledger.burning(target, window_ms).into_iter().map(|burning| {
        let mut labels = Labels::from([("burn".to_owned(), burning.word.to_owned())]);
        labels.extend(of.service.as_ref().map(|name| ("service".to_owned(), name.clone())));
        let text = format!(
            "{} of {} were bad in {} h: {:.1} times what {}% allows; {:.0}% of the budget is left",
            burning.spent.bad,
            burning.spent.all,
            burning.long_ms / 3_600_000,
            burning.burn,
            target * 100.0,
            ledger.left(target, window_ms) * 100.0,
        );
        let link = question_link("traces", &format!("{} -({})", of.of.on, of.of.good));
        let mut reading = Reading::new(labels, burning.holds, burning.burn, text, link);
        reading.severity = Some(burning.severity);
        reading
    });
    each.collect()
}

/// Whether a question takes a metric; only whose it is can be asked.
fn is_of(expr: &Expr, service: &str, instance: &str) -> bool {
    match expr {
        Expr::And(all) => all.iter().all(|term| is_of(term, service, instance)),
        Expr::Or(all) => all.iter().any(|term| is_of(term, service, instance)),
        Expr::Not(inner) => !is_of(inner, service, instance),
        Expr::Text(_) => true,
        Expr::Compare { key, op, operand } => {
            let value = match key.as_str() {
                "service" => service,
                "instance" => instance,
                _ => return true,
            };
            let lower = value.to_lowercase();
            let is = match operand.prefix {
                true => lower.starts_with(&operand.text),
                false => lower == operand.text,
            };
            match op {
                Op::IsNot => !is,
                _ => is,
            }
        }
    }
}
