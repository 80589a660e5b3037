//! `cargo xtask chaos`: the store under load, broken in every way we know, healed, and audited.
//!
//! ```text
//! a round:  people arrive ───────────────────────────────────────────→ wait for rest → audit
//!           │ as always   │ the fault, or two of them  │ healed       │
//! ```
//!
//! Which faults, and in which order, follows from the seed alone.

mod fault;
mod journal;
mod load;
mod memory;
mod plan;
mod round;
mod stage;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::fault::Fault;
use crate::journal::Journal;
use crate::plan::{Planned, plan};
use crate::stage::Stage;

const HELP: &str = "\
usage: cargo xtask chaos [options]

  --seed <n>       of the order and the pairs of faults. Default 1
  --pairs <n>      rounds with two faults at once, among those for each fault. Default 10; with
                   --minutes as many as there is time for
  --minutes <n>    begins no round after this time
  --third <secs>   length of each third of a round: before, during, after. Default 20
  --only <word>    only faults whose name has this in it
  --round <n>      only this one, of the rounds that the seed gives
  --list           the rounds, and nothing else
  --journal <file> goes on where this file ends, and writes each round to it.
                   Default target/chaos/<seed>.jsonl; no other options may have changed
  --fresh          forgets what the journal says
  --report <file>  writes the table there as well

exit: 0 every audit was clean, 1 an invariant was violated or an order lost";

struct Wish {
    seed: u64,
    pairs: Option<usize>,
    minutes: Option<u64>,
    third: Duration,
    only: String,
    round: Option<usize>,
    list: bool,
    journal: Option<PathBuf>,
    fresh: bool,
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    let wish = match read(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("chaos: {why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&wish) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False when something was violated.
#[expect(clippy::disallowed_methods, reason = "a run is bounded by real time")]
fn run(wish: &Wish) -> Result<bool> {
    let begin = Instant::now();
    let faults: Vec<Fault> =
        fault::all().into_iter().filter(|fault| fault.to_string().contains(&wish.only)).collect();
    let pairs = wish.pairs.unwrap_or(if wish.minutes.is_some() { 10_000 } else { 10 });
    let chosen = |planned: &Planned| wish.round.is_none_or(|only| only == planned.number);
    let rounds = plan(&faults, wish.seed, pairs).into_iter().filter(chosen);
    if wish.list {
        rounds.for_each(|planned| println!("{:>4}  {}", planned.number, planned.name()));
        return Ok(true);
    }
    let path = wish.journal.clone().unwrap_or_else(|| home().join(format!("{}.jsonl", wish.seed)));
    if wish.fresh || wish.round.is_some() {
        let _ = std::fs::remove_file(&path);
    }
    let mut journal = Journal::open(&path)?;
    let mut stage = None;
    for planned in rounds {
        let over = |minutes| begin.elapsed() >= Duration::from_secs(60 * minutes);
        if wish.minutes.is_some_and(over) {
            break;
        }
        if journal.has(planned.number) {
            continue;
        }
        let round = stage.get_or_insert_with(|| Stage::open(&faults)).round(&planned, wish.third);
        eprintln!("{}", table::line(&round));
        if !round.violations.is_empty() {
            eprintln!("    repeat with: {}", repeat(wish, planned.number));
            // The next round must not be blamed for it.
            if let Some(violated) = stage.take() {
                violated.keep(&home().join(format!("violated-{}-{}", wish.seed, planned.number)));
            }
        }
        journal.add(round)?;
    }
    let text = table::markdown(&journal.rounds, &repeat_all(wish));
    println!("{text}");
    if let Some(path) = &wish.report {
        std::fs::write(path, &text)?;
    }
    let violated = journal.rounds.iter().filter(|round| !round.violations.is_empty());
    let violated: Vec<String> = violated.map(|round| repeat(wish, round.number)).collect();
    for command in &violated {
        eprintln!("chaos: violated; repeat with: {command}");
    }
    Ok(violated.is_empty())
}

/// The round alone, on a fresh store. What others did before may be needed for it too.
fn repeat(wish: &Wish, number: usize) -> String {
    format!("{} --round {number}", repeat_all(wish))
}

fn repeat_all(wish: &Wish) -> String {
    let mut command =
        format!("cargo xtask chaos --seed {} --third {}", wish.seed, wish.third.as_secs());
    for (name, value) in [("pairs", wish.pairs.map(|n| n as u64)), ("minutes", wish.minutes)] {
        if let Some(value) = value {
            command.push_str(&format!(" --{name} {value}"));
        }
    }
    if !wish.only.is_empty() {
        command.push_str(&format!(" --only '{}'", wish.only));
    }
    command
}

/// Where journals and the remains of violated stores are.
fn home() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into());
    Path::new(&here).join("../../target/chaos")
}

fn read(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish {
        seed: 1,
        pairs: None,
        minutes: None,
        third: Duration::from_secs(20),
        only: String::new(),
        round: None,
        list: false,
        journal: None,
        fresh: false,
        report: None,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number = |text: String| {
            text.parse::<u64>().map_err(|_| format!("`{text}`: expected a whole number"))
        };
        let count = |text| number(text).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        match arg.as_str() {
            "--seed" => wish.seed = number(value()?)?,
            "--pairs" => wish.pairs = Some(count(value()?)?.min(10_000)),
            "--minutes" => wish.minutes = Some(number(value()?)?.min(10_000)),
            "--third" => wish.third = Duration::from_secs(number(value()?)?.clamp(5, 3_600)),
            "--only" => wish.only = value()?,
            "--round" => wish.round = Some(count(value()?)?),
            "--list" => wish.list = true,
            "--journal" => wish.journal = Some(value()?.into()),
            "--fresh" => wish.fresh = true,
            "--report" => wish.report = Some(value()?.into()),
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    Ok(wish)
}
