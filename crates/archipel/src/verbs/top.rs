//! `archipel top` and `archipel graph`.

use std::io::IsTerminal;
use std::time::Duration;

use archipel_console::view::{Graph, Status, Topics, Traffic};
use archipel_model::suggest;

use super::{Query, connect, print_json};
use crate::cli::{Global, GraphOf, Top};
use crate::client::Client;
use crate::exit::{self, Failure};
use crate::show::block::{Block, clip, size};
use crate::show::{style::Style, top};

/// As often as rates are counted anew.
const EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(global: &Global, of: &Top) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let style = Style::stdout(global.no_color);
    let mut stdout = std::io::stdout();
    if global.json {
        let (status, traffic) = look(&client).await?;
        let rows = top::rows(&status, &traffic);
        print_json(
            &serde_json::json!({ "schema": "archipel.top/1", "at_ms": traffic.at_ms, "services": rows }),
        )?;
        return Ok(0);
    }
    if of.once || !stdout.is_terminal() {
        let (status, traffic) = look(&client).await?;
        let width = stdout.is_terminal().then(|| size(&stdout).0);
        for line in lines(&status, &traffic, width.unwrap_or(120), style) {
            outln!("{}", width.map_or(line.clone(), |width| clip(&line, width)));
        }
        return Ok(0);
    }
    let mut block = Block::new();
    loop {
        let (status, traffic) = look(&client).await?;
        let lines = lines(&status, &traffic, size(&stdout).0, style);
        block.replace(&mut stdout, "", lines, &style.dim("every 2 s, Ctrl-C ends"))?;
        archipel_rt::clock::sleep(EVERY).await;
    }
}

async fn look(client: &Client) -> Result<(Status, Traffic), Failure> {
    Ok((client.get("/v1/status").await?, client.get("/v1/traffic").await?))
}

fn lines(status: &Status, traffic: &Traffic, width: usize, style: Style) -> Vec<String> {
    let mut lines = vec![top::summary(status, traffic, style)];
    lines.extend(top::table(&top::rows(status, traffic), width, style));
    lines
}

pub(crate) async fn graph(global: &Global, of: &GraphOf) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let graph: Graph = client.get("/v1/graph").await?;
    if let Some(only) = &of.service
        && !graph.services.iter().any(|service| service.name == *only)
    {
        let names = graph.services.iter().map(|service| service.name.as_str());
        let help = suggest::there_are(only, names);
        return Err(Failure::new(exit::USAGE, format!("there is no service `{only}`")).help(help));
    }
    if global.json {
        print_json(&graph)?;
        return Ok(0);
    }
    let topics: Topics = client.get(Query::new("/v1/events/topics").as_str()).await?;
    let traffic: Traffic = client.get("/v1/traffic").await?;
    let width = std::io::stdout().is_terminal().then(|| size(std::io::stdout()).0);
    let style = Style::stdout(global.no_color);
    for line in
        top::graph(&graph, &topics, &traffic, of.service.as_deref(), width.unwrap_or(120), style)
    {
        outln!("{}", width.map_or(line.clone(), |width| clip(&line, width)));
    }
    Ok(0)
}
