//! Which faults, in which order: from the seed alone.

use archipel_testkit::Rng;

use crate::fault::Fault;

/// After so many faults alone come two at once.
const ALONE: usize = 3;

pub(crate) struct Planned {
    pub(crate) number: usize,
    /// Of the people who come.
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
}

impl Planned {
    pub(crate) fn name(&self) -> String {
        let names: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        names.join(" + ")
    }
}

/// Every fault alone, and pairs of them in between and behind.
pub(crate) fn plan(faults: &[Fault], seed: u64, pairs: usize) -> Vec<Planned> {
    let mut rng = Rng::new(seed);
    let mut alone = faults.to_vec();
    for at in (1..alone.len()).rev() {
        let other = usize::try_from(rng.below(at as u64 + 1)).unwrap_or_default();
        alone.swap(at, other);
    }
    let pairs = if faults.len() > 1 { pairs } else { 0 };
    let mut two = (0..pairs).map(|_| {
        let one = rng.pick(faults).clone();
        let rest: Vec<Fault> = faults.iter().filter(|fault| **fault != one).cloned().collect();
        vec![one, rng.pick(&rest).clone()]
    });
    let mut rounds = Vec::new();
    for some in alone.chunks(ALONE) {
        rounds.extend(some.iter().map(|fault| vec![fault.clone()]));
        rounds.extend(two.next());
    }
    rounds.extend(two);
    let planned = |(number, faults)| {
        let seed = seed.wrapping_mul(1_000).wrapping_add(number as u64);
        Planned { number, seed, faults }
    };
    rounds.into_iter().enumerate().map(planned).collect()
}
