//! `archipel ps`.

use std::io::IsTerminal;

use archipel_console::view::Status;

use super::{connect, print_json};
use crate::cli::{Global, Ps};
use crate::exit::Failure;
use crate::show::block::{Block, clip, size};
use crate::show::ps::{instances, services};
use crate::show::style::Style;

pub(crate) async fn run(global: &Global, ps: &Ps) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    if ps.follow {
        let mut block = Block::new();
        let show = |status: Status| show_again(global, ps, &status, &mut block).is_ok();
        client.stream("/v1/status?follow=1", show).await?;
    } else {
        let status: Status = client.get("/v1/status").await?;
        if global.json {
            print_json(&status)?;
        } else {
            let width = std::io::stdout().is_terminal().then(|| size(std::io::stdout()).0);
            for line in lines(global, ps, &status) {
                outln!("{}", width.map_or(line.clone(), |width| clip(&line, width)));
            }
        }
    }
    Ok(0)
}

/// On a terminal in place, elsewhere one listing or document after the other.
fn show_again(global: &Global, ps: &Ps, status: &Status, block: &mut Block) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    if global.json {
        outln!("{}", serde_json::to_string(status)?);
    } else if stdout.is_terminal() {
        block.replace(&mut stdout, "", lines(global, ps, status), "")?;
    } else {
        outln!("{}\n", lines(global, ps, status).join("\n"));
    }
    Ok(())
}

fn lines(global: &Global, ps: &Ps, status: &Status) -> Vec<String> {
    let style = Style::stdout(global.no_color);
    let mut lines = match (ps.quiet, ps.wide) {
        (true, _) => return status.services.iter().map(|service| service.name.clone()).collect(),
        (_, true) => instances(status, style),
        _ => services(status, style),
    };
    let gateway = status.gateway.iter().filter_map(|gateway| gateway.error.as_ref());
    lines.extend(status.problems.iter().chain(gateway).map(|problem| style.red(problem)));
    lines
}
