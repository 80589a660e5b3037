//! OTLP, the protocol of OpenTelemetry: spans, log records and metrics as SDKs send them.
//!
//! [`Otlp::receive`] takes one request, whichever way it came (HTTP with protobuf or JSON, or
//! gRPC), and says what to answer. It knows nothing of sockets. Who sent it is known from the
//! port it came to: whatever the request says of its service is kept as an attribute and never
//! believed.
//!
//! A record that breaks a limit is refused alone (partial success); a request that cannot be read
//! is refused whole, for good; a store that has no room asks for another try.

mod convert;
mod keys;
mod metrics;
mod walk;
mod wire;

use archipel_model::ServiceName;

use crate::{LogStore, MetricStore, SpanStore};

pub use wire::{Encoding, Reply};

/// As it came, possibly compressed.
pub const BODY_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// Where it is posted.
    pub fn path(self, grpc: bool) -> &'static str {
        match (self, grpc) {
            (Self::Traces, false) => "/v1/traces",
            (Self::Logs, false) => "/v1/logs",
            (Self::Metrics, false) => "/v1/metrics",
            (Self::Traces, true) => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            (Self::Logs, true) => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            (Self::Metrics, true) => {
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            }
        }
    }

    /// What a path asks for, and whether by way of gRPC.
    pub fn of_path(path: &str) -> Option<(Self, bool)> {
        let all = [Self::Traces, Self::Logs, Self::Metrics].into_iter();
        let mut all = all.flat_map(|signal| [(signal, false), (signal, true)]);
        all.find(|(signal, grpc)| signal.path(*grpc) == path)
    }
}

/// Where received telemetry goes. Cheap to clone.
#[derive(Clone)]
pub struct Otlp {
    spans: SpanStore,
    logs: LogStore,
    metrics: MetricStore,
}

/// Why a request was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The same again will not help.
    Bad(String),
    TooLarge(String),
    /// There is no room just now.
    Later,
}

impl Otlp {
    pub fn new(spans: SpanStore, logs: LogStore, metrics: MetricStore) -> Self {
        Self { spans, logs, metrics }
    }

    /// Takes the body of one request from `sender`.
    pub fn receive(
        &self,
        signal: Signal,
        encoding: Encoding,
        gzip: bool,
        body: &[u8],
        sender: &ServiceName,
    ) -> Reply {
        let done = wire::message(encoding, gzip, body).and_then(|message| match signal {
            Signal::Traces => {
                let converted = match encoding {
                    Encoding::Json => convert::spans(wire::decode(encoding, &message)?, sender),
                    Encoding::Protobuf | Encoding::Grpc => walk::spans(&message, sender)?,
                };
                if self.spans.take(converted.taken) {
                    Ok(wire::traces_done(encoding, converted.rejected))
                } else {
                    Err(Refused::Later)
                }
            }
            Signal::Logs => {
                let request = wire::decode(encoding, &message)?;
                let converted = convert::logs(request, sender);
                for record in converted.taken {
                    // A full store drops it and tells the gap, as with printed lines.
                    self.logs.take_record(record);
                }
                Ok(wire::logs_done(encoding, converted.rejected))
            }
            Signal::Metrics => {
                let request = wire::decode(encoding, &message)?;
                let rejected = self.metrics.receive(|into| metrics::take(request, sender, into));
                Ok(wire::metrics_done(encoding, rejected))
            }
        });
        done.unwrap_or_else(|refused| wire::refusal(encoding, &refused))
    }
}
