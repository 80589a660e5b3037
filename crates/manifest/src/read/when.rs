//! The condition of an alert: `error_rate > 5%`, `p95 >= 300ms`, `metric(memory) > 1G`, `absent`.

use archipel_model::{Aggregate, Bytes, Comparison, Millionths};

pub(crate) const WHEN_HELP: &str = "error_rate, rate, p50 to p99, count or metric(name), then >, >=, < or <= and a value; or `absent`: \"error_rate > 5%\", \"p95 > 300ms\"";

/// Fewer errors are an accident.
const MIN_ERRORS: u64 = 5;
/// Of fewer values no quantile is told.
const MIN_VALUES: u64 = 20;

#[derive(Debug, PartialEq)]
pub(crate) struct When {
    pub(crate) aggregate: Aggregate,
    pub(crate) comparison: Comparison,
    pub(crate) limit: Millionths,
}

impl When {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "absent" {
            let (comparison, limit) = (Comparison::AtMost, Millionths(0));
            return Ok(Self { aggregate: Aggregate::Absent, comparison, limit });
        }
        let at = text.find(['<', '>']).ok_or("it compares nothing")?;
        let (what, rest) = text.split_at(at);
        let signs = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ];
        let found = signs.iter().find_map(|(sign, is)| Some((rest.strip_prefix(sign)?, *is)));
        let (value, comparison) = found.ok_or("it compares nothing")?;
        let aggregate = aggregate(what.trim())?;
        let value = value.trim();
        let limit = limit(&aggregate, value)
            .ok_or_else(|| format!("`{value}` is no value of {}", aggregate.show()))?;
        Ok(Self { aggregate, comparison, limit: Millionths::of(limit) })
    }

    pub(crate) fn fits_lines(&self) -> bool {
        matches!(self.aggregate, Aggregate::Count | Aggregate::Rate | Aggregate::Absent)
    }

    pub(crate) fn min_events_default(&self) -> u64 {
        match self.aggregate {
            Aggregate::ErrorRate => MIN_ERRORS,
            Aggregate::Quantile(_) => MIN_VALUES,
            _ => 0,
        }
    }
}

fn aggregate(word: &str) -> Result<Aggregate, String> {
    let metric = word.strip_prefix("metric(").and_then(|rest| rest.strip_suffix(')'));
    if let Some(name) = metric.map(str::trim) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        return match !name.is_empty() && name.chars().all(plain) {
            true => Ok(Aggregate::Metric(name.to_owned())),
            false => Err(format!("`{name}` is no name of a metric")),
        };
    }
    Ok(match word {
        "error_rate" => Aggregate::ErrorRate,
        "rate" => Aggregate::Rate,
        "count" => Aggregate::Count,
        _ => {
            let percent = word.strip_prefix('p').filter(|n| n.len() == 2 && !n.starts_with('0'));
            let percent = percent.and_then(|n| n.parse().ok());
            Aggregate::Quantile(percent.ok_or_else(|| format!("`{word}` is not known"))?)
        }
    })
}

fn limit(of: &Aggregate, text: &str) -> Option<f64> {
    let plain = || text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let seconds = || archipel_model::parse_duration(text).ok().map(|d| d.as_secs_f64());
    match of {
        Aggregate::ErrorRate => percent(text).filter(|share| *share <= 1.0),
        Aggregate::Quantile(_) => seconds(),
        Aggregate::Rate => text.strip_suffix("/s").map_or_else(plain, |n| n.trim().parse().ok()),
        Aggregate::Metric(_) => plain()
            .or_else(|| percent(text))
            .or_else(seconds)
            .or_else(|| Bytes::parse(text).ok().map(|bytes| bytes.0 as f64)),
        Aggregate::Count | Aggregate::Absent => plain(),
    }
}

/// `5%` → 0.05
pub(crate) fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, &'static str, f64) {
        let when = When::parse(text).unwrap();
        (when.aggregate.show(), when.comparison.sign(), when.limit.as_f64())
    }

    #[test]
    fn conditions_are_read() {
        assert_eq!(read("error_rate > 5%"), ("error_rate".to_owned(), ">", 0.05));
        assert_eq!(read("p95>=300ms"), ("p95".to_owned(), ">=", 0.3));
        assert_eq!(read("rate < 0.5/s"), ("rate".to_owned(), "<", 0.5));
        assert_eq!(read("count > 10"), ("count".to_owned(), ">", 10.0));
        assert_eq!(read("metric(memory) > 128M").2, 134_217_728.0);
        assert_eq!(read("absent"), ("absent".to_owned(), "<=", 0.0));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "error_rate",
            "error_rate > 5",
            "error_rate > 500%",
            "p95 > 5",
            "q > 1",
            "p100 > 1s",
            "count > -1",
            "count > nan",
            "metric() > 1",
            "error_rate = 5%",
        ] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
