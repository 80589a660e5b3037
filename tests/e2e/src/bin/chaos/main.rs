//! `cargo xtask chaos`: the store under load, broken in every way we know, healed, and audited.
//!
//! ```text
//! a round:  people arrive ───────────────────────────────────────────→ wait for rest → audit
//!           │ as always   │ the fault, or two of them  │ healed       │
//! ```
//!
//! Which faults, and in which order, follows from the seed alone.

mod fault;
mod load;
mod round;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use archipel_testkit::Rng;

use crate::fault::Fault;
use crate::round::{Round, Stage};

const HELP: &str = "\
usage: cargo xtask chaos [options]

  --seed <n>       of the order and the pairs of faults. Default 1
  --pairs <n>      rounds with two faults at once, after one round for each fault. Default 10
  --third <secs>   length of each third of a round: before, during, after. Default 20
  --only <word>    only faults whose name has this in it
  --list           names of the faults, and nothing else
  --report <file>  writes the table there as well

exit: 0 every audit was clean, 1 an invariant was violated or an order lost";

struct Wish {
    seed: u64,
    pairs: usize,
    third: Duration,
    only: String,
    list: bool,
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
    let faults: Vec<Fault> =
        fault::all().into_iter().filter(|fault| fault.to_string().contains(&wish.only)).collect();
    if wish.list {
        faults.iter().for_each(|fault| println!("{fault}"));
        return ExitCode::SUCCESS;
    }
    let mut stage = Stage::open(&faults);
    let mut rounds: Vec<Round> = Vec::new();
    for (number, faults) in plan(&faults, &wish).into_iter().enumerate() {
        let seed = wish.seed.wrapping_mul(1_000).wrapping_add(number as u64);
        let round = stage.round(&faults, wish.third, seed);
        eprintln!("{}", table::line(&round));
        rounds.push(round);
    }
    let text = table::markdown(&rounds, wish.seed, wish.third);
    println!("{text}");
    if let Some(path) = &wish.report
        && let Err(error) = std::fs::write(path, &text)
    {
        eprintln!("chaos: cannot write {}: {error}", path.display());
        return ExitCode::from(2);
    }
    if rounds.iter().all(|round| round.violations.is_empty()) {
        ExitCode::SUCCESS
    } else {
        eprintln!("chaos: repeat with --seed {}", wish.seed);
        ExitCode::FAILURE
    }
}

/// Each fault alone, in an order of the seed, and then pairs.
fn plan(faults: &[Fault], wish: &Wish) -> Vec<Vec<Fault>> {
    let mut rng = Rng::new(wish.seed);
    let mut alone = faults.to_vec();
    for at in (1..alone.len()).rev() {
        let other = usize::try_from(rng.below(at as u64 + 1)).unwrap_or_default();
        alone.swap(at, other);
    }
    let mut rounds: Vec<Vec<Fault>> = alone.into_iter().map(|fault| vec![fault]).collect();
    if faults.len() > 1 {
        for _ in 0..wish.pairs {
            let one = rng.pick(faults).clone();
            let rest: Vec<Fault> = faults.iter().filter(|f| **f != one).cloned().collect();
            rounds.push(vec![one, rng.pick(&rest).clone()]);
        }
    }
    rounds
}

fn read(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish {
        seed: 1,
        pairs: 10,
        third: Duration::from_secs(20),
        only: String::new(),
        list: false,
        report: None,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number = |text: String| {
            text.parse::<u64>().map_err(|_| format!("`{text}`: expected a whole number"))
        };
        match arg.as_str() {
            "--seed" => wish.seed = number(value()?)?,
            "--pairs" => wish.pairs = usize::try_from(number(value()?)?).unwrap_or(usize::MAX),
            "--third" => wish.third = Duration::from_secs(number(value()?)?.clamp(5, 3_600)),
            "--only" => wish.only = value()?,
            "--list" => wish.list = true,
            "--report" => wish.report = Some(value()?.into()),
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    Ok(wish)
}
