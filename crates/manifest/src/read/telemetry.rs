//! How much telemetry is kept, what stays when there is no room for all, and who gets a copy.

use std::collections::BTreeMap;

use archipel_model::{Export, ExportProtocol, Sampling, TelemetryPolicy};

use super::watch::{WatchDraft, value};
use super::{Reader, Want, text};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::tree::Node;

impl Reader<'_> {
    pub(crate) fn telemetry(&mut self, document: &Node) -> TelemetryPolicy {
        let mut policy = TelemetryPolicy::default();
        let Some(table) = document.get("telemetry") else { return policy };
        policy.max = self.size(table, "max").unwrap_or(policy.max);
        if let Some(keep) = table.get("keep") {
            policy.traces = self.period(keep, "traces").unwrap_or(policy.traces);
            policy.metrics = self.period(keep, "metrics").unwrap_or(policy.metrics);
            policy.logs = self.period(keep, "logs");
        }
        if let Some(node) = table.get("sample") {
            policy.sample = self.sampling(node);
        }
        policy
    }

    fn sampling(&mut self, node: &Node) -> Sampling {
        let default = Sampling::default();
        let per_million = |percent: f64| (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32;
        let rest = text(node, "rest", Format::Percent);
        let rest = rest.and_then(|text| text.value.strip_suffix('%')?.parse::<f64>().ok());
        let slow = text(node, "slow", Format::NonEmpty);
        let slow = slow.and_then(|said| {
            let percent = said.value.strip_prefix('p').and_then(|n| n.parse::<f64>().ok());
            match percent.filter(|percent| (50.0..100.0).contains(percent)) {
                Some(percent) => Some(per_million(percent)),
                None => {
                    let message =
                        format!("`slow` is `{}`, which is no quantile", shown(said.value));
                    self.out
                        .report(Code::BadText, said.span, message)
                        .label("from p50 up")
                        .help("for example `slow = \"p99\"`: the slowest hundredth stays");
                    None
                }
            }
        });
        Sampling {
            keep_errors: node.get("keep_errors").and_then(Node::bool).unwrap_or(true),
            slow: slow.unwrap_or(default.slow),
            rest: rest.map_or(default.rest, per_million),
        }
    }

    pub(crate) fn export(&mut self, document: &Node, draft: &mut WatchDraft) -> Option<Export> {
        let node = document.get("telemetry")?.get("export")?;
        let otlp = node.get("otlp")?;
        // Empty: nowhere.
        if otlp.text().is_some_and(str::is_empty) {
            return None;
        }
        if let Some(url) = otlp.text()
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            let message = format!("`{}` is no address of a collector", shown(url));
            self.out
                .report(Code::BadUrl, otlp.span, message)
                .label("begins neither with http:// nor with https://")
                .help("for example \"http://collector:4318\", or port 4317 for gRPC");
        }
        let url = value(otlp, draft)?;
        let protocol = match node.get("protocol").and_then(Node::text) {
            Some("http") => ExportProtocol::Http,
            Some("grpc") => ExportProtocol::Grpc,
            _ => ExportProtocol::Auto,
        };
        let mut headers = BTreeMap::new();
        for (name, entry) in node.entries("headers") {
            if !archipel_model::is_header_name(name) {
                let message = format!("`{}` is no name of a header", shown(name));
                self.out
                    .report(Code::BadText, entry.key, message)
                    .label("letters, digits and hyphens")
                    .help("for example `headers = { x-api-key = { secret = \"collector\" } }`");
            } else if let Some(value) = value(&entry.node, draft) {
                headers.insert(name.to_owned(), value);
            }
        }
        let ca = text(node, "ca", Format::NonEmpty);
        let ca =
            ca.map(|ca| self.path_beside_file(&ca, Want::File, "`ca` of the collector".to_owned()));
        Some(Export { url, protocol, headers, ca })
    }
}
