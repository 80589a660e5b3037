//! `archipel secret`: names and origins are shown, values never.

use std::io::{IsTerminal, Read};

use archipel_control::SecretStore;
use archipel_model::SecretName;
use serde_json::json;

use super::print_json;
use crate::cli::{Global, SecretVerb};
use crate::exit::{self, Failure};
use crate::find::Place;
use crate::show::table::Table;

pub(crate) fn run(global: &Global, verb: &SecretVerb) -> Result<u8, Failure> {
    let place = Place::find(global)?;
    let app = place.load(global)?.app;
    place.create_state()?;
    let store = SecretStore::new(&place.state);
    match verb {
        SecretVerb::List => {
            let origins = store.origins(&app)?;
            if global.json {
                let secrets: Vec<_> = origins
                    .iter()
                    .map(|(name, origin)| json!({ "name": name, "origin": origin }))
                    .collect();
                print_json(&json!({ "schema": "archipel.secrets/1", "secrets": secrets }))?;
            } else if origins.is_empty() {
                eprintln!("there are no secrets; declare them in the table [secrets]");
            } else {
                let mut table = Table::new(&["SECRET", "VALUE FROM"]);
                for (name, origin) in origins {
                    table.row(vec![name.as_str().into(), origin.into()]);
                }
                table.print();
            }
        }
        SecretVerb::Set { name } => {
            let name = declared(&app, name)?;
            if std::io::stdin().is_terminal() {
                eprintln!("value of {name} (it will be seen as you type; end with Enter, Ctrl-D):");
            }
            let mut value = String::new();
            std::io::stdin().read_to_string(&mut value)?;
            let value = value.strip_suffix('\n').unwrap_or(&value);
            let value = value.strip_suffix('\r').unwrap_or(value);
            if value.is_empty() {
                return Err(Failure::new(exit::USAGE, "there was no value on standard input"));
            }
            store.set(&name, value.to_owned())?;
            eprintln!("stored; `archipel up` gives it to the services that use it");
        }
        SecretVerb::Rm { name } => {
            let name = declared(&app, name)?;
            if !store.remove(&name)? {
                eprintln!("{name} had no stored value");
            }
        }
    }
    Ok(0)
}

fn declared(app: &archipel_model::App, name: &str) -> Result<SecretName, Failure> {
    let known = SecretName::new(name).ok().filter(|name| app.secrets.contains_key(name));
    known.ok_or_else(|| {
        let names: Vec<&str> = app.secrets.keys().map(SecretName::as_str).collect();
        let failure = Failure::new(exit::USAGE, format!("the manifest has no secret `{name}`"));
        match names.as_slice() {
            [] => failure.help("declare it first, in the table [secrets]"),
            names => failure.help(format!("it has: {}", names.join(", "))),
        }
    })
}
