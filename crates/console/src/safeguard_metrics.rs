//! The part of `/metrics` about what keeps trouble small: ejected instances, breakers, hedges,
//! shed requests, fallbacks.

use std::fmt::Write;

use archipel_gateway::{BreakerState, Counters, InstanceCount, SafeguardCount};

use crate::metrics::{escape, head, labels_of};

pub(crate) fn write(out: &mut String, counters: &Counters) {
    instances(out, counters);
    limits(out, counters);
    type Read = fn(&SafeguardCount) -> Option<u64>;
    let all: [(&str, &str, &str, Read); 5] = [
        ("archipel_breaker_state", "gauge", "0 closed, 1 half open, 2 open.", |of| {
            of.breaker.map(|(state, _)| match state {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            })
        }),
        ("archipel_breaker_opened_total", "counter", "How often it opened.", |of| {
            of.breaker.map(|(_, opened)| opened)
        }),
        ("archipel_hedges_total", "counter", "Second requests for the same.", |of| {
            of.hedges.map(|(sent, _)| sent)
        }),
        ("archipel_hedges_won_total", "counter", "Of these, the quicker ones.", |of| {
            of.hedges.map(|(_, won)| won)
        }),
        ("archipel_fallbacks_total", "counter", "Answers that stood in for others.", |of| {
            of.fallbacks
        }),
    ];
    for (name, kind, help, read) in all {
        let known: Vec<_> =
            counters.safeguards.iter().filter_map(|of| Some((of, read(of)?))).collect();
        if known.is_empty() {
            continue;
        }
        head(out, name, kind, help);
        for (of, value) in known {
            let _ = writeln!(out, "{name}{{{}}} {value}", labels_of(&of.key));
        }
    }
}

fn instances(out: &mut String, counters: &Counters) {
    type Read = fn(&InstanceCount) -> f64;
    let all: [(&str, &str, &str, Read); 3] = [
        ("archipel_instance_ejected", "gauge", "It fails and gets no requests.", |of| {
            f64::from(u8::from(of.ejected))
        }),
        ("archipel_instance_ejections_total", "counter", "How often that was so.", |of| {
            of.ejections as f64
        }),
        ("archipel_instance_latency_seconds", "gauge", "What the balancer believes.", |of| {
            of.latency.as_secs_f64()
        }),
    ];
    for (name, kind, help, read) in all {
        head(out, name, kind, help);
        for of in counters.services.iter().flat_map(|service| &service.instances) {
            let (service, id) = (of.instance.service.to_string(), of.instance.to_string());
            let labels = format!(
                "service_name=\"{}\",service_instance_id=\"{}\"",
                escape(&service),
                escape(&id)
            );
            let _ = writeln!(out, "{name}{{{labels}}} {}", read(of));
        }
    }
}

fn limits(out: &mut String, counters: &Counters) {
    type Read = fn((u32, u64)) -> u64;
    let all: [(&str, &str, &str, Read); 2] = [
        ("archipel_service_limit", "gauge", "Requests it can take at once.", |of| of.0.into()),
        ("archipel_requests_shed_total", "counter", "Refused as too many.", |of| of.1),
    ];
    for (name, kind, help, read) in all {
        let known: Vec<_> =
            counters.services.iter().filter_map(|of| Some((&of.service, of.limit?))).collect();
        if known.is_empty() {
            continue;
        }
        head(out, name, kind, help);
        for (service, limit) in known {
            let service = escape(service.as_str());
            let _ = writeln!(out, "{name}{{service_name=\"{service}\"}} {}", read(limit));
        }
    }
}
