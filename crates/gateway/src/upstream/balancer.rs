//! Chooses an instance for one request.
//!
//! Takes two instances at random and keeps the one with less to do: nearly as even as scanning all
//! of them, without an order that sends every caller to the same idle instance (Mitzenmacher, "The
//! Power of Two Choices", 2001). What there is to do is the requests in flight times how long one
//! takes of late, so that a slow instance gets less than a quick one and not as much.
//!
//! Knows nothing of HTTP or sockets: it sees numbers, and two draws that the caller makes.

/// Added to every latency: what differs by less is noise.
const NOISE_MICROS: f32 = 20_000.0;
/// In a class.
const EJECTED: u8 = 2;

/// What the balancer may know of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) inflight: usize,
    pub(crate) micros: f32,
    /// This request failed there already.
    pub(crate) tried: bool,
    /// It refused connections a moment ago.
    pub(crate) avoided: bool,
    /// It failed too often, and is passed over for a while.
    pub(crate) ejected: bool,
    /// It is new, or back from being ejected, and this request is not of the share it gets.
    pub(crate) warming: bool,
}

impl Candidate {
    fn load(&self) -> f32 {
        (self.micros + NOISE_MICROS) * (self.inflight + 1) as f32
    }

    /// The better ones first.
    fn class(&self) -> u8 {
        let bit = |set: bool, bit: u8| u8::from(set) * bit;
        bit(self.tried, 8)
            | bit(self.avoided, 4)
            | bit(self.ejected, EJECTED)
            | bit(self.warming, 1)
    }

    /// A third more is a difference; below, the requests in flight decide, and then the draw.
    ///
    /// Where only latency speaks against one, it still gets a few: the less the slower it was. It
    /// may have been slow once, for a reason that is gone, and only an answer can tell.
    fn is_better_than(&self, other: &Self, draw: u64) -> bool {
        let (own, others) = (self.load(), other.load());
        let by_load =
            if own < others { own * 4.0 < others * 3.0 } else { others * 4.0 < own * 3.0 };
        if !by_load {
            return self.inflight < other.inflight;
        }
        let (better, worse) = if own < others { (self, other) } else { (other, self) };
        let ratio = (own / others).min(others / own).powi(2);
        let anyway = (draw as u32 as f32 / u32::MAX as f32) < ratio / (1.0 + ratio);
        (own < others) != (anyway && worse.inflight <= better.inflight)
    }
}

/// The index of the instance to use, or `None` without any.
///
/// Untried instances come before tried ones, and of those the ones that accept connections
/// before those that just refused: a class is used only when the better one is empty. When more
/// than half are out, those that were ejected are as good as the others: then the trouble is
/// elsewhere, and the rest alone would be crushed.
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
    // The common case is that everyone is fit: two draws settle it without a scan.
    let (i, j) = two(count, draws);
    let (a, b) = (at(i), at(j));
    match (a.class(), b.class()) {
        (0, 0) => return Some(if b.is_better_than(&a, draws.1) { j } else { i }),
        (0, class) if class & EJECTED == 0 => return Some(i),
        (class, 0) if class & EJECTED == 0 => return Some(j),
        _ => {}
    }
    let mut all: Vec<Candidate> = (0..count).map(at).collect();
    let out = all.iter().filter(|c| c.avoided || c.ejected).count();
    if out * 2 > count {
        all.iter_mut().for_each(|c| c.ejected = false);
    }
    let best = all.iter().map(Candidate::class).min()?;
    let fit: Vec<usize> = (0..count).filter(|i| all[*i].class() == best).collect();
    if fit.len() == 1 {
        return Some(fit[0]);
    }
    let (i, j) = two(fit.len(), draws);
    let (i, j) = (fit[i], fit[j]);
    Some(if all[j].is_better_than(&all[i], draws.1) { j } else { i })
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
        Candidate {
            inflight: 0,
            micros: 0.0,
            tried: false,
            avoided: false,
            ejected: false,
            warming: false,
        }
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

    #[test]
    fn a_slow_one_gets_less_and_not_nothing() {
        random::seed(7);
        let mut load = vec![idle(); 2];
        load[1].micros = 90_000.0;
        for _ in 0..1_100 {
            let i = draw(&load).unwrap();
            load[i].inflight += 1;
        }
        assert!((180..280).contains(&load[1].inflight), "{load:?}");
        // One at a time it gets a few, to see whether it still is.
        let idle_again = [idle(), Candidate { micros: 90_000.0, ..idle() }];
        let slow = (0..1_000).filter(|_| draw(&idle_again) == Some(1)).count();
        assert!((10..60).contains(&slow), "{slow}");
        // What may be noise changes nothing.
        let near = [Candidate { micros: 2_000.0, ..idle() }, idle()];
        let first = (0..1_000).filter(|_| draw(&near) == Some(0)).count();
        assert!((400..600).contains(&first), "{first}");
    }

    #[test]
    fn ejected_ones_rest_unless_too_many_are_out() {
        random::seed(7);
        let (fit, out) = (idle(), Candidate { ejected: true, ..idle() });
        let refusing = Candidate { avoided: true, ..idle() };
        assert!((0..200).all(|_| draw(&[out, fit]) == Some(1)));
        assert!((0..200).all(|_| draw(&[out, fit, out, fit]).unwrap() % 2 == 1));
        let crushed: Vec<_> = (0..200).map(|_| draw(&[out, refusing, fit]).unwrap()).collect();
        assert!(crushed.contains(&0) && crushed.contains(&2) && !crushed.contains(&1));
    }

    #[test]
    fn a_warming_one_gets_what_it_is_drawn_for() {
        random::seed(7);
        let warming = Candidate { warming: true, ..idle() };
        assert!((0..200).all(|_| draw(&[warming, idle(), idle()]) != Some(0)));
        assert!(draw(&[warming, warming]).is_some());
    }
}
