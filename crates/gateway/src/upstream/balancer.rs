//! Chooses an instance for one request.
//!
//! Takes two instances at random and keeps the one with fewer requests in flight: nearly as even
//! as scanning all of them, without an order that sends every caller to the same idle instance
//! (Mitzenmacher, "The Power of Two Choices", 2001).
//!
//! Knows nothing of HTTP or sockets: it sees numbers, and two draws that the caller makes.

/// What the balancer may know of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) inflight: usize,
    /// This request failed there already.
    pub(crate) tried: bool,
    /// It refused connections a moment ago.
    pub(crate) avoided: bool,
}

/// The index of the instance to use, or `None` without any.
///
/// Untried instances come before tried ones, and of those the ones that accept connections
/// before those that just refused: a class is used only when the better one is empty.
pub(crate) fn choose(
    count: usize,
    at: impl Fn(usize) -> Candidate,
    draws: (u64, u64),
) -> Option<usize> {
    match count {
        0 => return None,
        1 => return Some(0),
        _ => {}
    }
    let class = |c: Candidate| (u8::from(c.tried) << 1) | u8::from(c.avoided);
    // The common case is that everyone is fit: two draws settle it without a scan.
    let (i, j) = two(count, draws);
    let (a, b) = (at(i), at(j));
    match (class(a), class(b)) {
        (0, 0) => return Some(if b.inflight < a.inflight { j } else { i }),
        (0, _) => return Some(i),
        (_, 0) => return Some(j),
        _ => {}
    }
    let best = (0..count).map(|i| class(at(i))).min()?;
    let fit: Vec<usize> = (0..count).filter(|i| class(at(*i)) == best).collect();
    if fit.len() == 1 {
        return Some(fit[0]);
    }
    let (i, j) = two(fit.len(), draws);
    let (i, j) = (fit[i], fit[j]);
    Some(if at(j).inflight < at(i).inflight { j } else { i })
}

/// Two different positions below `count`, which is at least 2.
fn two(count: usize, draws: (u64, u64)) -> (usize, usize) {
    let scale = |draw: u64, bound: usize| ((u128::from(draw) * bound as u128) >> 64) as usize;
    let i = scale(draws.0, count);
    let j = scale(draws.1, count - 1);
    (i, if j >= i { j + 1 } else { j })
}

#[cfg(test)]
mod tests {
    use super::*;
    use archipel_rt::random;

    fn idle() -> Candidate {
        Candidate { inflight: 0, tried: false, avoided: false }
    }

    fn draw(candidates: &[Candidate]) -> Option<usize> {
        choose(candidates.len(), |i| candidates[i], (random::u64(), random::u64()))
    }

    #[test]
    fn load_stays_even() {
        random::seed(7);
        let mut load = vec![idle(); 10];
        for _ in 0..10_000 {
            let i = draw(&load).unwrap();
            load[i].inflight += 1;
        }
        let most = load.iter().map(|c| c.inflight).max().unwrap();
        let least = load.iter().map(|c| c.inflight).min().unwrap();
        assert!(most - least < 10, "{load:?}");
    }

    #[test]
    fn the_busier_of_two_is_never_taken() {
        random::seed(7);
        let load = [Candidate { inflight: 3, ..idle() }, idle()];
        assert!((0..100).all(|_| draw(&load) == Some(1)));
    }

    #[test]
    fn worse_classes_only_when_the_better_are_empty() {
        random::seed(7);
        let tried = Candidate { tried: true, ..idle() };
        let avoided = Candidate { avoided: true, ..idle() };
        for _ in 0..200 {
            assert_eq!(draw(&[tried, idle(), avoided, tried]), Some(1));
            assert_eq!(draw(&[tried, avoided, tried]), Some(1));
            assert!(draw(&[tried, tried]).is_some());
        }
        assert_eq!(draw(&[avoided]), Some(0));
        assert_eq!(draw(&[]), None);
    }
}
