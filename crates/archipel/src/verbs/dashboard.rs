//! `archipel dashboard`: the address, with the key that opens it.

use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{connect, print_json};
use crate::cli::{Dashboard, Global};
use crate::exit::{self, Failure};

#[derive(Serialize, Deserialize)]
struct Address {
    schema: String,
    url: Option<String>,
    error: Option<String>,
}

pub(crate) async fn run(global: &Global, dashboard: &Dashboard) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let address: Address = client.get("/v1/dashboard").await?;
    let Some(url) = &address.url else {
        let why = address.error.unwrap_or_else(|| "it is switched off".to_owned());
        return Err(Failure::new(exit::UNEXPECTED, format!("there is no dashboard: {why}")));
    };
    if global.json {
        print_json(&address)?;
    } else {
        outln!("{url}");
    }
    if !dashboard.no_open && !global.json && std::env::var_os("DISPLAY").is_some() {
        let mut open = Command::new("xdg-open");
        open.arg(url).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = open.spawn();
    }
    Ok(0)
}
