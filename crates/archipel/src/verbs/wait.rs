//! `archipel wait`.

use archipel_console::view::Status;

use super::connect;
use crate::cli::{Global, Wait};
use crate::exit::{self, Failure};
use crate::show::live::all_well;

pub(crate) async fn run(global: &Global, wait: &Wait) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let first: Status = client.get("/v1/status").await?;
    for name in &wait.services {
        if !first.services.iter().any(|service| service.name == *name) {
            return Err(unknown(name, &first));
        }
    }
    let mut last = first;
    let follow = client.stream("/v1/status?follow=1", |status: Status| {
        last = only(status, &wait.services);
        !all_well(&last)
    });
    match archipel_rt::clock::timeout(wait.timeout, follow).await {
        Ok(result) => result.map(|()| 0),
        Err(_) => Err(Failure::new(exit::TIMED_OUT, not_ready(&last))),
    }
}

fn only(mut status: Status, names: &[String]) -> Status {
    if !names.is_empty() {
        status.services.retain(|service| names.contains(&service.name));
    }
    status
}

/// Names the services that are not ready, each with its reason.
pub(crate) fn not_ready(status: &Status) -> String {
    let waiting = status.services.iter().filter(|service| !service.settled);
    let sentences: Vec<String> = waiting
        .map(|service| {
            let reason = service.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{} is {}{reason}", service.name, service.state)
        })
        .collect();
    format!("not ready in time: {}", sentences.join("; "))
}

pub(crate) fn unknown(name: &str, status: &Status) -> Failure {
    let known = status.services.iter().map(|service| service.name.as_str());
    Failure::new(exit::USAGE, format!("there is no service `{name}`"))
        .help(archipel_model::suggest::there_are(name, known))
}
