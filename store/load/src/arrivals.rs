//! When people arrive: a Poisson process, fixed before the first request is sent, so that a slow
//! shop cannot thin out the crowd that waits for it.

use std::time::Duration;

use crate::random::Random;

pub(crate) fn arrivals(rate: f64, lasts: Duration, seed: u64) -> Vec<Duration> {
    let mut random = Random::new(seed);
    let mut at = random.exponential(1.0 / rate);
    let mut all = Vec::new();
    while at < lasts.as_secs_f64() {
        all.push(Duration::from_secs_f64(at));
        at += random.exponential(1.0 / rate);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_brings_the_same_people() {
        let minute = Duration::from_secs(60);
        let (a, b) = (arrivals(5.0, minute, 7), arrivals(5.0, minute, 7));
        assert_eq!(a, b);
        assert!((200..400).contains(&a.len()), "{}", a.len());
        assert!(a.is_sorted() && a.iter().all(|at| *at < minute));
    }
}
