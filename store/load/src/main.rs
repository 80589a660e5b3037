//! `store-load`: people in the shop, arriving whether or not it keeps up.

mod arrivals;
mod browser;
mod html;
mod journey;
mod random;
mod report;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::run::Wish;

const HELP: &str = "\
Sends people into the shop at a given rate: an open loop, which does not slow down with the shop.

usage: store-load --url <shop> [options]

  --url <shop>        where the storefront is: http://127.0.0.1:8080
  --rate <n>          people who arrive in a second, on average. Default 5
  --for <seconds>     how long people arrive. Default 60
  --seed <n>          of arrivals and journeys. Default 1
  --buyers-only       everybody buys
  --no-think          nobody reads the pages
  --open-max <n>      people in the shop at once; further ones are counted as turned away. Default 400
  --accepted <file>   writes the ids of the orders that the shop promised, for store-audit
  --windows <s,s,…>   tells apart what happened before, between and after these seconds
  --json              for programs

exit: 0 the load was given (look at the figures), 2 it could not be";

fn main() -> ExitCode {
    let wish = match read(std::env::args().skip(1)) {
        Ok(Some(wish)) => wish,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => return failed(&format!("{why}\n\n{HELP}")),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let report = match runtime {
        Ok(runtime) => runtime.block_on(run::run(&wish)),
        Err(error) => return failed(&error.to_string()),
    };
    if let Some(path) = &wish.accepted
        && let Err(error) = std::fs::write(path, report.accepted_lines())
    {
        return failed(&format!("cannot write {}: {error}", path.display()));
    }
    if wish.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    ExitCode::SUCCESS
}

fn failed(why: &str) -> ExitCode {
    eprintln!("store-load: {why}");
    ExitCode::from(2)
}

/// `None`: help is wanted.
fn read(mut args: impl Iterator<Item = String>) -> Result<Option<Wish>, String> {
    let mut wish = Wish {
        url: String::new(),
        rate: 5.0,
        lasts: Duration::from_secs(60),
        seed: 1,
        buyers_only: false,
        think: true,
        open_max: 400,
        accepted: None,
        windows: Vec::new(),
        json: false,
    };
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or_else(|| format!("{arg} needs {what}"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--url" => wish.url = value("an address")?.trim_end_matches('/').to_owned(),
            "--rate" => wish.rate = positive(&arg, &value("a number")?)?,
            "--for" => {
                let seconds = positive(&arg, &value("seconds")?)?;
                wish.lasts = Duration::from_secs_f64(seconds.min(86_400.0));
            }
            "--seed" => wish.seed = whole(&arg, &value("a number")?)?,
            "--open-max" => {
                wish.open_max = whole(&arg, &value("a number")?)?.clamp(1, 100_000) as usize;
            }
            "--accepted" => wish.accepted = Some(PathBuf::from(value("a file")?)),
            "--windows" => {
                let text = value("seconds")?;
                let bounds: Result<Vec<f64>, _> =
                    text.split(',').map(|s| positive(&arg, s)).collect();
                wish.windows = bounds?;
                if !wish.windows.is_sorted() || wish.windows.len() > 100 {
                    return Err(format!("--windows {text}: expected at most 100 growing numbers"));
                }
            }
            "--buyers-only" => wish.buyers_only = true,
            "--no-think" => wish.think = false,
            "--json" => wish.json = true,
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    if !wish.url.starts_with("http://") {
        return Err(format!("--url `{}`: expected http://host:port", wish.url));
    }
    Ok(Some(wish))
}

fn positive(name: &str, text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("{name} `{text}`: expected a number above 0")),
    }
}

fn whole(name: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{name} `{text}`: expected a whole number"))
}
