//! What people could still do, as a table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::load::Tally;
use crate::round::Round;

pub(crate) fn markdown(rounds: &[Round], seed: u64, third: Duration) -> String {
    let mut text = format!(
        "# What a customer can still do\n\n\
         `cargo xtask chaos --seed {seed} --third {}`: {} rounds. In each third of a round 2 people a second look \
         around and one buys; the fault lasts the middle third. Cells: requests answered while it lasts, of those made \
         (pages that came late but within 15 s count as answered). *After*: failed requests of the last third, \
         healed. *Rest*: until nothing moved any more, the audit of all databases included.\n\n\
         | fault | look | check out | submit | see the order | after | rest | audit |\n\
         |---|---:|---:|---:|---:|---:|---:|---|\n",
        third.as_secs(),
        rounds.len()
    );
    for round in rounds {
        let during = &round.seen.thirds[1];
        let after = &round.seen.thirds[2];
        let failed =
            after.browse.failed + after.checkout.failed + after.submit.failed + after.order.failed;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {failed} | {} s | {} |",
            round.name,
            cell(during.browse),
            cell(during.checkout),
            cell(during.submit),
            cell(during.order),
            round.rest.as_secs(),
            verdict(round)
        );
    }
    let promised: usize = rounds.iter().map(|round| round.seen.promised.len()).sum();
    let _ = writeln!(text, "\n{promised} orders were promised, in all rounds together.");
    text
}

pub(crate) fn line(round: &Round) -> String {
    let during = &round.seen.thirds[1];
    let mut line = format!(
        "{:<44} look {:>9}  check out {:>9}  submit {:>7}  order {:>9}  rest {:>3} s  {}",
        round.name,
        cell(during.browse),
        cell(during.checkout),
        cell(during.submit),
        cell(during.order),
        round.rest.as_secs(),
        verdict(round)
    );
    for violation in &round.violations {
        let _ = write!(line, "\n    {violation}");
    }
    line
}

fn cell(tally: Tally) -> String {
    format!("{}/{}", tally.tried - tally.failed, tally.tried)
}

fn verdict(round: &Round) -> &'static str {
    if round.violations.is_empty() { "clean" } else { "**VIOLATED**" }
}
