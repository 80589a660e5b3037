//! Shares of one route's requests to several services.
//!
//! Each branch draws a number from the visitor and its own name, bent by its share, and the
//! highest wins (weighted rendezvous hashing): a share that rises takes visitors from the others
//! and no visitor moves between those. Without a visitor the draw is a new one for each request.

use std::sync::Arc;

use archipel_rt::random;

use crate::route::sticky::mix;
use crate::way::Way;

pub(crate) struct Fork {
    branches: Vec<Branch<Arc<Way>>>,
}

struct Branch<T> {
    share: f64,
    name: u64,
    target: T,
}

impl<T> Branch<T> {
    fn new(name: &str, share: u32, target: T) -> Self {
        // FNV-1a: all that is wanted is that names differ, and stay as they are.
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let name = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        Self { share: f64::from(share), name, target }
    }
}

impl Fork {
    /// Name, share and way of each; those without a share are left out.
    pub(crate) fn new(branches: impl Iterator<Item = (String, u32, Arc<Way>)>) -> Self {
        let branches = branches
            .filter(|(_, share, _)| *share > 0)
            .map(|(name, share, way)| Branch::new(&name, share, way))
            .collect();
        Self { branches }
    }

    pub(crate) fn choose(&self, visitor: Option<u64>) -> Option<&Arc<Way>> {
        pick(&self.branches, visitor.unwrap_or_else(random::u64))
    }
}

fn pick<T>(branches: &[Branch<T>], visitor: u64) -> Option<&T> {
    let score = |branch: &Branch<T>| {
        // Within (0, 1), so that its logarithm is negative and finite.
        let even = (mix(visitor ^ branch.name) >> 11) as f64 + 0.5;
        -branch.share / (even / (1_u64 << 53) as f64).ln()
    };
    let best = branches.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    best.map(|branch| &branch.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISITORS: u64 = 20_000;

    fn places(shares: &[(&'static str, u32)]) -> Vec<&'static str> {
        let branches: Vec<Branch<&str>> =
            shares.iter().map(|(name, share)| Branch::new(name, *share, *name)).collect();
        (0..VISITORS).map(|visitor| *pick(&branches, mix(visitor)).unwrap()).collect()
    }

    fn percent(places: &[&str], name: &str) -> f64 {
        places.iter().filter(|place| **place == name).count() as f64 * 100.0 / VISITORS as f64
    }

    #[test]
    fn every_branch_gets_its_share() {
        let places = places(&[("orders", 20), ("legacy", 70), ("other", 10)]);
        for (name, share) in [("orders", 20.0), ("legacy", 70.0), ("other", 10.0)] {
            let got = percent(&places, name);
            assert!((got - share).abs() < 1.5, "{name}: {got}");
        }
    }

    #[test]
    fn a_share_that_rises_moves_only_what_must_move() {
        let before = places(&[("orders", 20), ("legacy", 40), ("other", 40)]);
        let after = places(&[("orders", 50), ("legacy", 25), ("other", 25)]);
        let moves: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
        assert!(moves.iter().all(|(_, to)| **to == "orders"), "nobody moves but to `orders`");
        let moved = moves.len() as f64 * 100.0 / VISITORS as f64;
        assert!((moved - 30.0).abs() < 1.5, "{moved}");
        let all = places(&[("orders", 100)]);
        assert_eq!(percent(&all, "orders"), 100.0);
    }
}
