//! `archipel routes`.

use archipel_console::view::{self, Purged, Routes};

use super::{connect, print_json};
use crate::cli::{Global, Purge, RoutesOf, RoutesVerb};
use crate::client::Client;
use crate::exit::{self, Failure};
use crate::show::{routes, style::Style};

pub(crate) async fn run(global: &Global, of: &RoutesOf) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    if let Some(RoutesVerb::Purge(what)) = &of.verb {
        return purge(global, &client, what).await;
    }
    let all: Routes = client.get("/v1/routes").await?;
    let style = Style::stdout(global.no_color);
    let Some(wanted) = &of.diff else {
        if global.json {
            print_json(&all)?;
        } else if all.routes.is_empty() {
            eprintln!("this application has no public routes");
        } else {
            routes::list(&all, style).print();
            outln!("{}", routes::still_external(&all));
        }
        return Ok(0);
    };
    let found = all.routes.iter().find(|route| route.route == *wanted);
    let compare = found.and_then(|route| route.compare.as_ref());
    let Some(compare) = compare else {
        let what = match found {
            Some(_) => format!("the route `{wanted}` is not compared with another system"),
            None => format!("there is no route `{wanted}`"),
        };
        let compared = all.routes.iter().filter(|route| route.compare.is_some());
        let names: Vec<String> = compared.map(|route| format!("`{}`", route.route)).collect();
        let help = match names.is_empty() {
            true => "compare = { to = \"legacy\" } in a route compares it".to_owned(),
            false => format!("compared are {}", names.join(", ")),
        };
        return Err(Failure::new(exit::USAGE, what).help(help));
    };
    if global.json {
        print_json(compare)?;
    } else {
        for line in routes::differences(wanted, compare, style) {
            outln!("{line}");
        }
    }
    Ok(0)
}

async fn purge(global: &Global, client: &Client, what: &Purge) -> Result<u8, Failure> {
    let (host, path) = match what.at.as_deref().map(|at| at.split_at(at.find('/').unwrap_or(0))) {
        None => (None, None),
        Some((host, path)) => ((!host.is_empty()).then(|| host.to_owned()), Some(path.to_owned())),
    };
    let (route, tag) = (what.route.clone(), what.tag.clone());
    let asked = serde_json::to_value(view::Purge { route, host, path, tag })?;
    let purged: Purged = client.post("/v1/cache/purge", &asked).await?;
    if global.json {
        print_json(&purged)?;
    } else {
        match purged.answers {
            0 => outln!("nothing of that was stored"),
            1 => outln!("1 stored answer forgotten"),
            count => outln!("{count} stored answers forgotten"),
        }
    }
    Ok(0)
}
