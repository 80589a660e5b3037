//! `archipel routes`.

use archipel_console::view::Routes;

use super::{connect, print_json};
use crate::cli::{Global, RoutesOf};
use crate::exit::{self, Failure};
use crate::show::{routes, style::Style};

pub(crate) async fn run(global: &Global, of: &RoutesOf) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
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
