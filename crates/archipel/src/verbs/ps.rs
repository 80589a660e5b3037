//! `archipel ps`.

use archipel_console::view::Status;

use super::{connect, print_json};
use crate::cli::{Global, Ps};
use crate::exit::Failure;
use crate::show::ps::{instances, services};
use crate::show::style::Style;

pub(crate) async fn run(global: &Global, ps: &Ps) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    if ps.follow {
        let show = |status: Status| show(global, ps, &status, true).is_ok();
        client.stream("/v1/status?follow=1", show).await?;
    } else {
        let status: Status = client.get("/v1/status").await?;
        show(global, ps, &status, false)?;
    }
    Ok(0)
}

fn show(global: &Global, ps: &Ps, status: &Status, following: bool) -> Result<(), Failure> {
    let style = Style::stdout(global.no_color);
    if global.json && following {
        println!("{}", serde_json::to_string(status)?);
        return Ok(());
    }
    if global.json {
        return print_json(status);
    }
    let lines = match (ps.quiet, ps.wide) {
        (true, _) => status.services.iter().map(|service| service.name.clone()).collect(),
        (_, true) => instances(status, style),
        _ => services(status, style),
    };
    for line in lines {
        println!("{line}");
    }
    if !ps.quiet {
        notes(status, style);
    }
    if following {
        println!();
    }
    Ok(())
}

fn notes(status: &Status, style: Style) {
    for problem in &status.problems {
        println!("{}", style.red(problem));
    }
    if let Some(gateway) = &status.gateway
        && let Some(error) = &gateway.error
    {
        println!("{}", style.red(error));
    }
}
