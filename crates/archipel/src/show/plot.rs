//! Numbers as a line of a terminal: the small plots of `top` and `graph`.

use archipel_console::view::TrafficPoint;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The newest `width` places, each as high as the busiest of its steps; a step without anything
/// is a blank, so that silence and little are told apart.
pub(crate) fn spark(values: &[u64], width: usize) -> String {
    if width == 0 || values.is_empty() {
        return String::new();
    }
    let per_place = values.len().div_ceil(width);
    // Whole places from the newest end: a plot must not jump when one step is added.
    let places: Vec<u64> = values
        .rchunks(per_place)
        .take(width)
        .map(|steps| steps.iter().copied().max().unwrap_or(0))
        .collect();
    let top = places.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| match value {
        0 => ' ',
        value => {
            BARS[usize::try_from((value * 8).div_ceil(top)).map_or(7, |at| at.clamp(1, 8) - 1)]
        }
    };
    places.iter().rev().map(bar).collect()
}

/// Requests of each step, several series added up at their newest end.
pub(crate) fn requests<'a>(histories: impl Iterator<Item = &'a [TrafficPoint]>) -> Vec<u64> {
    let mut sum: Vec<u64> = Vec::new();
    for history in histories {
        if history.len() > sum.len() {
            let missing = history.len() - sum.len();
            sum.splice(0..0, std::iter::repeat_n(0, missing));
        }
        let start = sum.len() - history.len();
        for (total, point) in sum[start..].iter_mut().zip(history) {
            *total += point.0;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_the_newest_and_tells_silence_from_little() {
        assert_eq!(spark(&[0, 1, 4, 8], 4), " ▁▄█");
        assert_eq!(spark(&[9, 9, 0, 1, 100], 3), "▁▁█");
        assert_eq!(spark(&[1, 2, 3, 4, 8], 2), "▂█");
        assert_eq!((spark(&[], 5), spark(&[1], 0)), (String::new(), String::new()));
        assert_eq!(spark(&[0, 0], 2), "  ");
    }

    #[test]
    fn histories_meet_at_their_newest_end() {
        let long = [TrafficPoint(1, 0, 0), TrafficPoint(2, 0, 0)];
        let short = [TrafficPoint(10, 0, 0)];
        assert_eq!(requests([&short[..], &long[..]].into_iter()), [1, 12]);
        assert_eq!(requests([&long[..], &short[..]].into_iter()), [1, 12]);
    }
}
