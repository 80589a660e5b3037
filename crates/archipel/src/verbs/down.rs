//! `archipel down`: by the running Archipel, or, when it was killed, by sweeping what it left.

use std::path::PathBuf;
use std::time::Duration;

use archipel_console::view::{Accepted, Status};
use archipel_rt::clock;
use archipel_supervisor::StartError;
use serde_json::json;

use super::connect;
use crate::cli::{Down, Global};
use crate::exit::{self, Failure};

pub(crate) async fn run(global: &Global, down: &Down) -> Result<u8, Failure> {
    let (place, client) = connect(global).await?;
    let mut process = None;
    if client.is_running().await {
        let status: Result<Status, _> = client.get("/v1/status").await;
        process = status.ok().map(|status| PathBuf::from(format!("/proc/{}", status.pid)));
        let _: Accepted = client.post("/v1/shutdown", &json!({ "leave": false })).await?;
    }
    // The sweep needs the lock that a running Archipel holds: it waits for the end of that one,
    // and it finds what a kill -9 in the middle of stopping may have left.
    let swept = clock::timeout(down.timeout, async {
        // It gives the lock back before its last words: whoever starts the next one, or looks
        // for leftovers, wants it gone.
        while process.as_ref().is_some_and(|process| process.exists()) {
            clock::sleep(Duration::from_millis(20)).await;
        }
        loop {
            match archipel_supervisor::sweep(place.state.root()).await {
                Err(StartError::AlreadyRunning { .. }) => {
                    clock::sleep(Duration::from_millis(20)).await;
                }
                done => break done,
            }
        }
    });
    let Ok(swept) = swept.await else {
        return Err(Failure::new(exit::TIMED_OUT, "not everything has stopped in time")
            .help("a service may take longer to stop than that: `--timeout 5m` waits longer"));
    };
    let swept = swept?;
    if swept > 0 {
        let processes = if swept == 1 { "process" } else { "processes" };
        eprintln!("stopped {swept} {processes} that a killed Archipel had left");
    }
    Ok(0)
}
