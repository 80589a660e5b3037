//! `archipel db`: a shell on the database of one service, with that service's own rights.

use std::os::unix::process::CommandExt;
use std::process::Command;

use archipel_console::view::{Environment, Status};

use super::{connect, print_json, sql_shell};
use crate::cli::{DbVerb, Global};
use crate::exit::{self, Failure};
use crate::show::table::Table;

pub(crate) async fn run(global: &Global, verb: &DbVerb) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    match verb {
        DbVerb::List => {
            let status: Status = client.get("/v1/status").await?;
            let owners = status.services.iter().filter_map(|s| Some((s, s.database.as_ref()?)));
            let owners: Vec<_> = owners.map(|(s, engine)| (&s.name, engine)).collect();
            if global.json {
                let databases: Vec<_> = owners
                    .iter()
                    .map(|(name, engine)| serde_json::json!({ "service": name, "engine": engine }))
                    .collect();
                let schema = "archipel.databases/1";
                print_json(&serde_json::json!({ "schema": schema, "databases": databases }))?;
            } else {
                let mut table = Table::new(&["SERVICE", "ENGINE"]);
                for (name, engine) in owners {
                    table.row(vec![name.as_str().into(), engine.as_str().into()]);
                }
                table.print();
            }
            Ok(0)
        }
        DbVerb::Shell { service, command } => {
            let environment: Environment =
                client.get(&format!("/v1/services/{service}/env")).await?;
            open(service, command.as_deref(), &environment)
        }
    }
}

fn open(service: &str, command: Option<&str>, environment: &Environment) -> Result<u8, Failure> {
    let Some(url) = environment.env.get("DATABASE_URL") else {
        return Err(Failure::new(exit::USAGE, format!("`{service}` has no database"))
            .help("`archipel db list` shows which services have one"));
    };
    let mut shell = match environment.env.get("DATABASE_PATH") {
        Some(path) => {
            if !on_path("sqlite3") {
                return sql_shell::run(std::path::Path::new(path), command);
            }
            let mut shell = Command::new("sqlite3");
            if command.is_none() {
                shell.args(["-header", "-column"]);
            }
            shell.arg(path);
            shell.args(command);
            shell
        }
        None => {
            let mut shell = Command::new("psql");
            // By the environment, so that the password is not in the process list.
            let names = ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"];
            for name in names {
                if let Some(value) = environment.env.get(name) {
                    shell.env(name, value);
                }
            }
            if !environment.env.contains_key("PGHOST") {
                shell.arg(url);
            }
            if let Some(command) = command {
                shell.args(["-c", command]);
            }
            shell
        }
    };
    let program = shell.get_program().to_string_lossy().into_owned();
    let error = shell.exec();
    Err(Failure::new(127, format!("could not run `{program}`: {error}"))
        .help(format!("install it, or connect yourself: archipel exec {service} -- env")))
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
