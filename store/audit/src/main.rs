//! `store-audit`: is the store right as a whole?

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use store_audit::{Question, audit, audit_at_rest, find_files};

const HELP: &str = "\
Asks the databases of all services whether the store is right as a whole.

usage: store-audit --data <dir> [--at-rest] [--json] [--accepted <file>] [--db <service>=<file>]...

  --data <dir>             where the databases are: <dir>/<service>/<service>.db
  --db <service>=<file>    the database of one service, wherever it is
  --at-rest                wait until nothing moves (at most 2 minutes), and ask everything
  --accepted <file>        ids of orders that somebody was promised, one in a line
  --json                   for programs

exit: 0 nothing wrong, 1 an invariant is violated, 2 something could not be read or asked";

const REST_MAX: Duration = Duration::from_secs(120);

struct Wish {
    question: Question,
    json: bool,
}

fn main() -> ExitCode {
    let wish = match read(std::env::args().skip(1)) {
        Ok(Some(wish)) => wish,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("store-audit: {why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let question = &wish.question;
    let outcome =
        if question.at_rest { audit_at_rest(question, REST_MAX) } else { audit(question) };
    match outcome {
        Ok(report) => {
            if wish.json {
                println!("{}", report.to_json());
            } else {
                print!("{report}");
            }
            ExitCode::from(report.exit_code())
        }
        Err(error) => {
            eprintln!("store-audit: {error}");
            ExitCode::from(2)
        }
    }
}

/// `None`: help is wanted.
fn read(mut args: impl Iterator<Item = String>) -> Result<Option<Wish>, String> {
    let (mut question, mut json) = (Question::default(), false);
    let mut named = Vec::new();
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or_else(|| format!("{arg} needs {what}"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--json" => json = true,
            "--at-rest" => question.at_rest = true,
            "--accepted" => question.accepted = Some(PathBuf::from(value("a file")?)),
            "--data" => {
                let dir = PathBuf::from(value("a directory")?);
                if !dir.is_dir() {
                    return Err(format!("there is no directory {}", dir.display()));
                }
                question.files = find_files(&dir);
            }
            "--db" => {
                let pair = value("<service>=<file>")?;
                let (service, path) = pair
                    .split_once('=')
                    .ok_or_else(|| format!("--db {pair}: expected <service>=<file>"))?;
                if !store_audit::SERVICES.contains(&service) {
                    return Err(format!(
                        "--db {pair}: the services are {}",
                        store_audit::SERVICES.join(", ")
                    ));
                }
                named.push((service.to_owned(), PathBuf::from(path)));
            }
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    // A file that is named counts, wherever it stands among the arguments.
    question.files.extend(named);
    if question.files.is_empty() {
        return Err("no database found; say where with --data or --db".to_owned());
    }
    Ok(Some(Wish { question, json }))
}
