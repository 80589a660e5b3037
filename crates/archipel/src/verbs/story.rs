//! `archipel errors` and `archipel find`.

use archipel_console::view::{ErrorGroup, Errors, Found};

use super::{Query, connect, instant, print_json};
use crate::cli::{ErrorsOf, FindOf, Global};
use crate::exit::Failure;
use crate::show::{story, style::Style};

pub(crate) async fn errors(global: &Global, of: &ErrorsOf) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let style = Style::stdout(global.no_color);
    if let Some(id) = &of.id {
        let query = Query::new(&format!("/v1/errors/{}", id.trim()));
        let found: ErrorGroup = client.get(query.as_str()).await?;
        if global.json {
            print_json(&found)?;
        } else {
            story::error(&found, style).iter().for_each(|line| outln!("{line}"));
        }
        return Ok(0);
    }
    let query = Query::new("/v1/errors")
        .add("since_ms", instant(&of.since)?)
        .maybe("service", of.service.as_deref());
    let found: Errors = client.get(query.as_str()).await?;
    if global.json {
        print_json(&found)?;
    } else if found.errors.is_empty() {
        eprintln!("no error since {}", of.since);
    } else {
        story::errors(&found.errors, style).print();
    }
    Ok(0)
}

pub(crate) async fn find(global: &Global, of: &FindOf) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let query = Query::new("/v1/find")
        .add("key", &of.key)
        .maybe("since_ms", of.since.as_deref().map(instant).transpose()?);
    let found: Found = client.get(query.as_str()).await?;
    if global.json {
        print_json(&found)?;
        return Ok(0);
    }
    let lines = story::found(&found, Style::stdout(global.no_color));
    if lines.is_empty() {
        eprintln!("nothing names {}", of.key);
    }
    lines.iter().for_each(|line| outln!("{line}"));
    if found.cut {
        eprintln!("there is more than was looked at");
    }
    Ok(0)
}
