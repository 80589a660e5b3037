//! From the metrics of OTLP to points of time series, within limits.

use archipel_model::ServiceName;
use archipel_rt::clock;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as wire;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde_json::Value as Json;

use super::convert::{Rejected, attributes, cut, resource_of};
use crate::received::{About, Buckets, Instrument, Number, Point, Received, SeriesKey, Told};

const LABELS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 256;
const DESCRIPTION_BYTES_MAX: usize = 512;
const QUANTILES_MAX: usize = 16;
/// There is no number in it: the series has ended.
const NO_VALUE: u32 = 1;
const DELTA: i32 = 1;

/// What a request says over time, and what of it was refused.
pub(super) fn take(
    request: ExportMetricsServiceRequest,
    sender: &ServiceName,
    into: &mut Received,
) -> (Vec<Told>, Rejected) {
    let mut rejected = Rejected::default();
    let mut out = Vec::new();
    let now = clock::wall_ms();
    for group in request.resource_metrics {
        let resource = resource_of(group.resource, sender);
        let mut whose = Vec::new();
        // A name of the instance that is not ours still tells two of them apart.
        if resource.instance.is_empty()
            && let Some(Json::String(id)) = resource.attributes.get("service.instance.id")
        {
            let id = cut(id.clone(), LABEL_BYTES_MAX);
            whose.push(("otel.service.instance.id".to_owned(), id));
        }
        let of = Owner { service: sender.as_str(), instance: &resource.instance, whose };
        for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            one(metric, &of, now, into, &mut out, &mut rejected);
        }
    }
    (out, rejected)
}

struct Owner<'a> {
    service: &'a str,
    instance: &'a str,
    whose: Vec<(String, String)>,
}

/// What all kinds of points have.
struct Head {
    attributes: Vec<KeyValue>,
    start_ns: u64,
    at_ns: u64,
    flags: u32,
}

macro_rules! head {
    ($point:ident) => {
        Head {
            attributes: $point.attributes,
            start_ns: $point.start_time_unix_nano,
            at_ns: $point.time_unix_nano,
            flags: $point.flags,
        }
    };
}

fn one(
    metric: wire::Metric,
    of: &Owner<'_>,
    now: u64,
    into: &mut Received,
    out: &mut Vec<Told>,
    rejected: &mut Rejected,
) {
    let wire::Metric { name, description, unit, data, .. } = metric;
    let Some(data) = data else { return };
    let valid = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(['{', ':']);
    let (instrument, delta, points) = points(data);
    if !valid {
        points.iter().for_each(|_| rejected.add("a metric whose name is none"));
        return;
    }
    let description = cut(description, DESCRIPTION_BYTES_MAX);
    let about = About { instrument, unit: cut(unit, 63), description };
    for (head, value) in points {
        if head.flags & NO_VALUE != 0 {
            continue;
        }
        let Some(value) = value else {
            rejected.add("a data point whose buckets do not fit its bounds");
            continue;
        };
        let at_ms = match head.at_ns / 1_000_000 {
            0 => now,
            // One from tomorrow would be the newest for a day.
            at => at.min(now.saturating_add(60_000)),
        };
        let mut labels = of.whose.clone();
        for (key, value) in attributes(head.attributes).into_iter().take(LABELS_MAX) {
            let text = match value.to_json() {
                Json::String(text) => text,
                other => other.to_string(),
            };
            labels.push((key.into_owned(), cut(text, LABEL_BYTES_MAX)));
        }
        labels.sort();
        labels.dedup_by(|a, b| a.0 == b.0);
        let key = SeriesKey {
            metric: name.clone(),
            service: of.service.to_owned(),
            instance: of.instance.to_owned(),
            labels,
        };
        let start_ms = head.start_ns / 1_000_000;
        let point = Point { of: key, value, at_ms, start_ms, delta };
        let mut told = Vec::new();
        match into.take(point, &about, &mut told) {
            Ok(()) => out.push((at_ms, told)),
            Err(why) => rejected.add(why.reason()),
        }
    }
}

type Points = Vec<(Head, Option<Number>)>;

/// The kind, whether points count since the last one, and they.
fn points(data: Data) -> (Instrument, bool, Points) {
    match data {
        Data::Gauge(of) => (Instrument::Gauge, false, plain(of.data_points)),
        Data::Sum(of) => {
            let kind =
                if of.is_monotonic { Instrument::Counter } else { Instrument::UpDownCounter };
            (kind, of.aggregation_temporality == DELTA, plain(of.data_points))
        }
        Data::Histogram(of) => {
            let delta = of.aggregation_temporality == DELTA;
            let points = of.data_points.into_iter().map(|point| {
                let bounds = point.explicit_bounds;
                let found = Buckets::explicit(bounds, point.bucket_counts, point.count);
                (head!(point), summed(found, point.sum))
            });
            (Instrument::Histogram, delta, points.collect())
        }
        Data::ExponentialHistogram(of) => {
            let delta = of.aggregation_temporality == DELTA;
            let points = of.data_points.into_iter().map(|point| {
                let negative = point.negative.map_or(0, |of| {
                    of.bucket_counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count))
                });
                let below = point.zero_count.saturating_add(negative);
                let positive = point.positive.unwrap_or_default();
                let found = Buckets::exponential(
                    point.scale,
                    positive.offset,
                    &positive.bucket_counts,
                    below,
                    point.count,
                );
                (head!(point), summed(found, point.sum))
            });
            (Instrument::Histogram, delta, points.collect())
        }
        Data::Summary(of) => {
            let points = of.data_points.into_iter().map(|point| {
                let given = point.quantile_values.into_iter().take(QUANTILES_MAX);
                let quantiles = given.map(|of| (of.quantile, of.value)).collect();
                let value = Number::Summary { count: point.count, sum: point.sum, quantiles };
                (head!(point), Some(value))
            });
            (Instrument::Summary, false, points.collect())
        }
    }
}

fn plain(points: Vec<wire::NumberDataPoint>) -> Points {
    let number = |point: wire::NumberDataPoint| {
        let value = match point.value {
            Some(wire::number_data_point::Value::AsDouble(value)) => value,
            Some(wire::number_data_point::Value::AsInt(value)) => value as f64,
            None => 0.0,
        };
        (head!(point), Some(Number::Plain(value)))
    };
    points.into_iter().map(number).collect()
}

fn summed(found: Option<Buckets>, sum: Option<f64>) -> Option<Number> {
    found.map(|of| Number::Histogram(Buckets { sum: sum.unwrap_or_default(), ..of }))
}
