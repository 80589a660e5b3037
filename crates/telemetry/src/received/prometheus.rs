//! Received metrics for Prometheus, by the rules of OpenTelemetry's compatibility document.
//!
//! Names: what Prometheus does not take becomes `_`, the unit is appended as a word, counters end
//! in `_total`. Exponential histograms come with bounds, since the text format knows no others.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Instrument, Number, Received, STALE_MS, Series, SeriesKey};

impl Received {
    pub(crate) fn expose(&self, now_ms: u64, out: &mut String) {
        // Two names may become one; its series must stand together.
        let mut families: BTreeMap<(String, &str), Vec<(&SeriesKey, &Series)>> = BTreeMap::new();
        let mut help: BTreeMap<String, &str> = BTreeMap::new();
        for (key, series) in &self.series {
            let Some(about) = self.about.get(&key.metric) else { continue };
            if series.at_ms + STALE_MS < now_ms {
                continue;
            }
            let name = name_of(&key.metric, &about.unit, about.instrument);
            help.entry(name.clone()).or_insert(&about.description);
            let kind = match about.instrument {
                Instrument::Gauge | Instrument::UpDownCounter => "gauge",
                Instrument::Counter => "counter",
                Instrument::Histogram => "histogram",
                Instrument::Summary => "summary",
            };
            families.entry((name, kind)).or_default().push((key, series));
        }
        let mut told = "";
        for ((name, kind), all) in &families {
            // Of two kinds under one name the second would make all unreadable.
            if told == name {
                continue;
            }
            told = name;
            let text = help.get(name).copied().unwrap_or_default();
            let text = text.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(out, "# HELP {name} {text}\n# TYPE {name} {kind}");
            for (key, series) in all {
                one(out, name, &labels_of(key), &series.value);
            }
        }
    }
}

fn one(out: &mut String, name: &str, labels: &str, value: &Number) {
    match value {
        Number::Plain(value) => _ = writeln!(out, "{name}{{{labels}}} {}", number(*value)),
        Number::Histogram(of) => {
            let mut below = 0;
            for (bound, count) in of.bounds.iter().zip(&of.counts) {
                below = count.saturating_add(below);
                let bound = number(*bound);
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", of.count);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", number(of.sum));
            let _ = writeln!(out, "{name}_count{{{labels}}} {}", of.count);
        }
        Number::Summary { count, sum, quantiles } => {
            for (share, value) in quantiles {
                let (share, value) = (number(*share), number(*value));
                let _ = writeln!(out, "{name}{{{labels},quantile=\"{share}\"}} {value}");
            }
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", number(*sum));
            let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
        }
    }
}

fn number(value: f64) -> String {
    match value {
        _ if value == f64::INFINITY => "+Inf".to_owned(),
        _ if value == f64::NEG_INFINITY => "-Inf".to_owned(),
        _ if value.is_nan() => "NaN".to_owned(),
        _ => value.to_string(),
    }
}

/// Whose it is first, in the words that our own metrics have.
fn labels_of(key: &SeriesKey) -> String {
    let mut named: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (label, value) in &key.labels {
        let mut label = letters(label, false);
        if label.is_empty() {
            label.push('_');
        }
        // These say who, below; `le` and `quantile` are the format's own.
        if matches!(&*label, "service_name" | "service_instance_id" | "le" | "quantile") {
            label.insert_str(0, "otel_");
        }
        named.entry(label).or_default().push(value);
    }
    let mut out = format!("service_name=\"{}\"", escape(&key.service));
    if !key.instance.is_empty() {
        let _ = write!(out, ",service_instance_id=\"{}\"", escape(&key.instance));
    }
    for (label, values) in named {
        // Several keys that became one: in the order of the keys.
        let _ = write!(out, ",{label}=\"{}\"", escape(&values.join(";")));
    }
    out
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn name_of(metric: &str, unit: &str, instrument: Instrument) -> String {
    let mut name = letters(metric, true);
    if instrument == Instrument::Counter
        && let Some(bare) = name.strip_suffix("_total")
    {
        name = bare.to_owned();
    }
    let (of, per) = match unit.split_once('/') {
        Some((of, per)) => (of, Some(per)),
        None => (unit, None),
    };
    let mut suffix = letters(unit_word(of, instrument), true);
    if let Some(per) = per.map(per_word).filter(|per| !per.is_empty()) {
        let per = letters(per, true);
        suffix =
            if suffix.is_empty() { format!("per_{per}") } else { format!("{suffix}_per_{per}") };
    }
    if !suffix.is_empty() && name != suffix && !name.ends_with(&format!("_{suffix}")) {
        name = format!("{name}_{suffix}");
    }
    if instrument == Instrument::Counter {
        name.push_str("_total");
    }
    name
}

/// Of UCUM; what stands in braces is for people.
fn unit_word(unit: &str, instrument: Instrument) -> &str {
    match unit.trim() {
        "1" if instrument == Instrument::Gauge => "ratio",
        "1" | "" => "",
        braces if braces.starts_with('{') => "",
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        other => other,
    }
}

fn per_word(unit: &str) -> &str {
    match unit.trim() {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        braces if braces.starts_with('{') => "",
        other => other,
    }
}

/// What a name may be made of; underscores do not stand in a row.
fn letters(text: &str, colons: bool) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        let fits = letter.is_ascii_alphanumeric() || (colons && letter == ':');
        if fits {
            out.push(letter);
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    if out.starts_with(|first: char| first.is_ascii_digit()) {
        out.insert(0, '_');
    }
    let end = out.trim_end_matches('_').len();
    out.truncate(end.max(usize::from(!out.is_empty() && end == 0)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let check = |metric: &str, unit: &str, of: Instrument, name: &str| {
            assert_eq!(name_of(metric, unit, of), name);
        };
        use Instrument::{Counter, Gauge, Histogram, UpDownCounter};
        check(
            "http.server.request.duration",
            "s",
            Histogram,
            "http_server_request_duration_seconds",
        );
        check("orders.placed", "{order}", Counter, "orders_placed_total");
        check("orders_total", "1", Counter, "orders_total");
        check("disk.io", "By", Counter, "disk_io_bytes_total");
        check("cache.hit", "1", Gauge, "cache_hit_ratio");
        check("queue.size", "1", UpDownCounter, "queue_size");
        check("process.cpu.seconds", "s", Gauge, "process_cpu_seconds");
        check("throughput", "By/s", Gauge, "throughput_bytes_per_second");
        check("3d.points", "", Gauge, "_3d_points");
        check("a--b..c", "", Gauge, "a_b_c");
    }
}
