//! `archipel down`: by the running Archipel, or, when it was killed, by sweeping what it left.

use archipel_console::view::Accepted;
use serde_json::json;

use super::connect;
use crate::cli::{Down, Global};
use crate::exit::{self, Failure};

pub(crate) async fn run(global: &Global, down: &Down) -> Result<u8, Failure> {
    let (place, client) = connect(global).await?;
    if client.is_running().await {
        let _: Accepted = client.post("/v1/shutdown", &json!({ "leave": false })).await?;
        let gone = archipel_rt::clock::timeout(down.timeout, async {
            // The stream ends when the process does.
            let _ = client.stream("/v1/status?follow=1", |_: serde_json::Value| true).await;
            while client.is_running().await {
                archipel_rt::clock::sleep(std::time::Duration::from_millis(50)).await;
            }
        });
        if gone.await.is_err() {
            return Err(Failure::new(exit::TIMED_OUT, "not everything has stopped in time")
                .help("look with `archipel ps`"));
        }
    }
    // Also after a clean stop: a kill -9 in the middle of it may have left something.
    let swept = archipel_supervisor::sweep(place.state.root()).await?;
    if swept > 0 {
        eprintln!("stopped {swept} processes that a killed Archipel had left");
    }
    Ok(0)
}
