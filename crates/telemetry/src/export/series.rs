//! Metrics as they are sent on: the latest of each series, counted since its start.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1 as wire;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use serde_json::Map;

use super::encode::{resource, scope, text};
use crate::MetricKey;
use crate::received::{About, Instrument, Number, SeriesKey};

const CUMULATIVE: i32 = 2;

/// One series at one moment.
pub(crate) struct Latest<'a> {
    pub(crate) of: &'a SeriesKey,
    pub(crate) about: &'a About,
    pub(crate) value: &'a Number,
    pub(crate) start_ms: u64,
    pub(crate) at_ms: u64,
}

/// Requests of one resource each, with how many data points they have.
pub(crate) fn received<'a>(all: impl Iterator<Item = Latest<'a>>) -> Vec<(Vec<u8>, u64)> {
    let mut owners: BTreeMap<(&str, &str), (Vec<wire::Metric>, u64)> = BTreeMap::new();
    for series in all {
        let owner = (series.of.service.as_str(), series.of.instance.as_str());
        let (metrics, count) = owners.entry(owner).or_default();
        // Series of one metric follow each other.
        if metrics.last().is_none_or(|last| last.name != series.of.metric) {
            metrics.push(wire::Metric {
                name: series.of.metric.clone(),
                description: series.about.description.clone(),
                unit: series.about.unit.clone(),
                data: Some(nothing(series.about.instrument)),
                ..wire::Metric::default()
            });
        }
        if let Some(data) = metrics.last_mut().and_then(|last| last.data.as_mut()) {
            add(data, &series);
            *count += 1;
        }
    }
    let whole =
        |((service, instance), (metrics, count))| (request(service, instance, metrics), count);
    owners.into_iter().map(whole).collect()
}

/// Our own, whose kind nobody has said: gauges.
pub(crate) fn own(all: Vec<(MetricKey, u64, f32)>) -> Vec<(Vec<u8>, u64)> {
    let mut owners: BTreeMap<(String, String), Vec<wire::Metric>> = BTreeMap::new();
    for (key, at_ms, value) in all {
        let point = wire::NumberDataPoint {
            time_unix_nano: at_ms.saturating_mul(1_000_000),
            value: Some(wire::number_data_point::Value::AsDouble(value.into())),
            ..wire::NumberDataPoint::default()
        };
        owners.entry((key.service, key.instance)).or_default().push(wire::Metric {
            name: format!("archipel.{}", key.metric),
            data: Some(Data::Gauge(wire::Gauge { data_points: vec![point] })),
            ..wire::Metric::default()
        });
    }
    let whole = |((service, instance), metrics): ((String, String), Vec<wire::Metric>)| {
        let count = metrics.len() as u64;
        let service = if service.is_empty() { "archipel" } else { &service };
        (request(service, &instance, metrics), count)
    };
    owners.into_iter().map(whole).collect()
}

fn request(service: &str, instance: &str, metrics: Vec<wire::Metric>) -> Vec<u8> {
    let group = wire::ResourceMetrics {
        resource: Some(resource(service, instance, &Map::new())),
        scope_metrics: vec![wire::ScopeMetrics {
            scope: Some(scope()),
            metrics,
            ..wire::ScopeMetrics::default()
        }],
        ..wire::ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }.encode_to_vec()
}

fn nothing(instrument: Instrument) -> Data {
    let sum = |is_monotonic| {
        Data::Sum(wire::Sum {
            data_points: Vec::new(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic,
        })
    };
    match instrument {
        Instrument::Gauge => Data::Gauge(wire::Gauge::default()),
        Instrument::Counter => sum(true),
        Instrument::UpDownCounter => sum(false),
        Instrument::Histogram => Data::Histogram(wire::Histogram {
            data_points: Vec::new(),
            aggregation_temporality: CUMULATIVE,
        }),
        Instrument::Summary => Data::Summary(wire::Summary::default()),
    }
}

fn add(data: &mut Data, series: &Latest<'_>) {
    let attributes: Vec<_> =
        series.of.labels.iter().map(|(key, value)| text(key, value.clone())).collect();
    let (start, at) = (series.start_ms, series.at_ms);
    let (start, at) = (start.saturating_mul(1_000_000), at.saturating_mul(1_000_000));
    let plain = |value: f64| wire::NumberDataPoint {
        attributes: attributes.clone(),
        start_time_unix_nano: start,
        time_unix_nano: at,
        value: Some(wire::number_data_point::Value::AsDouble(value)),
        ..wire::NumberDataPoint::default()
    };
    match (data, series.value) {
        (Data::Gauge(of), Number::Plain(value)) => of.data_points.push(plain(*value)),
        (Data::Sum(of), Number::Plain(value)) => of.data_points.push(plain(*value)),
        (Data::Histogram(of), Number::Histogram(value)) => {
            let mut bucket_counts = value.counts.clone();
            let within: u64 = bucket_counts.iter().sum();
            bucket_counts.push(value.count.saturating_sub(within));
            of.data_points.push(wire::HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: at,
                count: value.count,
                sum: Some(value.sum),
                bucket_counts,
                explicit_bounds: value.bounds.clone(),
                ..wire::HistogramDataPoint::default()
            });
        }
        (Data::Summary(of), Number::Summary { count, sum, quantiles }) => {
            let quantile = |(quantile, value): &(f64, f64)| {
                wire::summary_data_point::ValueAtQuantile { quantile: *quantile, value: *value }
            };
            of.data_points.push(wire::SummaryDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: at,
                count: *count,
                sum: *sum,
                quantile_values: quantiles.iter().map(quantile).collect(),
                ..wire::SummaryDataPoint::default()
            });
        }
        // A series has the kind of its metric.
        _ => {}
    }
}
