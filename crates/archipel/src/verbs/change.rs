//! `archipel restart`, `stop`, `start`.

use archipel_console::view::{Accepted, Status};
use archipel_model::InstanceState;
use serde_json::json;

use super::{Versioned, connect, print_json};
use crate::cli::{Global, Names};
use crate::exit::{self, Failure};

pub(crate) async fn run(global: &Global, what: &str, names: &Names) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let before: Status = client.get("/v1/status").await?;
    let body = json!({ "names": names.names });
    let accepted: Accepted = client.post(&format!("/v1/{what}"), &body).await?;
    if !names.no_wait {
        let settled = wait(&client, what, &accepted.targets, &before, names).await?;
        if !settled {
            return Err(Failure::new(
                exit::TIMED_OUT,
                format!("{} not done within the time given", accepted.targets.join(", ")),
            )
            .help("look with `archipel ps` and `archipel logs`"));
        }
    }
    if global.json {
        print_json(&Versioned::new("archipel.accepted/1", &accepted))?;
    }
    Ok(0)
}

/// Waits until every target is stopped, or ready again; `false`: not in time.
async fn wait(
    client: &crate::client::Client,
    what: &str,
    targets: &[String],
    before: &Status,
    names: &Names,
) -> Result<bool, Failure> {
    let process = |status: &Status, id: &str| {
        let mut instances = status.services.iter().flat_map(|service| &service.instances);
        instances.find(|instance| instance.id == id).map(|i| (i.state, i.pid))
    };
    let wanted = |status: &Status| {
        targets.iter().all(|id| match (what, process(status, id)) {
            (_, None) => what == "stop",
            ("stop", Some((state, _))) => {
                use InstanceState::{Completed, Failed, Stopped};
                matches!(state, Stopped | Completed | Failed)
            }
            ("restart", Some((state, pid))) => {
                let old = process(before, id).and_then(|(_, pid)| pid);
                state == InstanceState::Ready && pid != old
            }
            (_, Some((state, _))) => state == InstanceState::Ready,
        })
    };
    let mut done = false;
    let follow = client.stream("/v1/status?follow=1", |status: Status| {
        done = wanted(&status);
        !done
    });
    match archipel_rt::clock::timeout(names.timeout, follow).await {
        Ok(result) => result.map(|()| done),
        Err(_) => Ok(false),
    }
}
