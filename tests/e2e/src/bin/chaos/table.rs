//! What people could still do, as a table.

use std::fmt::Write as _;

use crate::load::{ACTS, Tally};
use crate::round::Round;

pub(crate) fn markdown(rounds: &[Round], command: &str) -> String {
    let mut text = format!(
        "`{command}`: {} rounds. In each third of a round 2 people a second look around and one buys; \
         the fault lasts the middle third. Cells: share of what was tried while it lasted and worked (of how many), \
         and the 99th percentile of how long it took, from the moment of the click; a person waits 15 s. *Orders*: \
         promised in the round, and of those completed / undone as a whole when all had come to rest. *After*: share \
         that worked in the last third, healed.\n\n",
        rounds.len()
    );
    let names: Vec<&str> = ACTS.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(text, "| fault | {} | orders | after | audit |", names.join(" | "));
    let _ = writeln!(text, "|---{}|---:|---:|---|", "|---:".repeat(ACTS.len()));
    let mut sorted: Vec<&Round> = rounds.iter().collect();
    sorted.sort_by_key(|round| (round.name.contains(" + "), &round.name));
    for round in sorted {
        let cells: Vec<String> = round.seen.thirds[1].iter().map(cell).collect();
        let mut after = Tally::default();
        round.seen.thirds[2].iter().for_each(|tally| after.add(tally));
        let (name, cells, after) = (&round.name, cells.join(" | "), share(&after));
        let _ = writeln!(
            text,
            "| {name} | {cells} | {} | {after} | {} |",
            orders(round),
            verdict(round)
        );
    }
    let promised: usize = rounds.iter().map(|round| round.seen.promised.len()).sum();
    let (completed, undone) = rounds
        .iter()
        .fold((0, 0), |(done, undone), round| (done + round.completed, undone + round.undone));
    let violated = rounds.iter().filter(|round| !round.violations.is_empty()).count();
    let _ = writeln!(
        text,
        "\n{promised} orders were promised in all rounds together; {completed} were completed and \
         {undone} undone. {violated} audits found something."
    );
    text
}

pub(crate) fn line(round: &Round) -> String {
    let mut line = format!("{:>4} {:<44}", round.number, round.name);
    for ((name, _), tally) in ACTS.iter().zip(&round.seen.thirds[1]) {
        let _ = write!(line, "  {name} {}/{}", tally.tried - tally.failed, tally.tried);
    }
    let rest = round.rest.as_secs();
    let _ = write!(line, "  orders {}  rest {rest} s  {}", orders(round), verdict(round));
    for violation in &round.violations {
        let _ = write!(line, "\n    {violation}");
    }
    line
}

fn cell(tally: &Tally) -> String {
    match tally.p99() {
        None => "–".to_owned(),
        Some(p99) => format!("{} of {}, {:.1} s", share(tally), tally.tried, p99.as_secs_f64()),
    }
}

fn share(tally: &Tally) -> String {
    let worked = tally.tried - tally.failed;
    match (worked * 100).checked_div(tally.tried) {
        None => "–".to_owned(),
        Some(percent) => format!("{percent} %"),
    }
}

fn orders(round: &Round) -> String {
    format!("{}: {}/{}", round.seen.promised.len(), round.completed, round.undone)
}

fn verdict(round: &Round) -> &'static str {
    if round.violations.is_empty() { "clean" } else { "**VIOLATED**" }
}
