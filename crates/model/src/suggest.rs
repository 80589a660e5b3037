//! "Did you mean": the known word nearest to a mistyped one.

/// The candidate that most likely was meant, or none when all are too far off: a wrong
/// suggestion costs more than no suggestion.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are never close to anything; without a bound a hostile key of a megabyte
    // would be compared letter by letter.
    if word.is_empty() || word.len() > 64 {
        return None;
    }
    let folded = word.to_ascii_lowercase();
    let length = folded.chars().count();
    let limit = length.div_ceil(3);
    candidates
        .into_iter()
        // Spares most comparisons: so many letters more or less are as many changes at least.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (distance(&folded, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// ``did you mean `catalog`?``
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|found| format!("did you mean `{found}`?"))
}

/// For one who named `word`, which is none of `known`: what there is, and which was meant.
pub fn there_are<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match (known.as_slice(), did_you_mean(word, known.iter().copied())) {
        ([], _) => "there are none".to_owned(),
        (known, None) => format!("there are: {}", known.join(", ")),
        (known, Some(meant)) => format!("{meant} there are: {}", known.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut rows = vec![0usize; (a.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    for i in 0..=a.len() {
        rows[at(i, 0)] = i;
    }
    for j in 0..=b.len() {
        rows[at(0, j)] = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[at(i - 1, j)] + 1)
                .min(rows[at(i, j - 1)] + 1)
                .min(rows[at(i - 1, j - 1)] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[at(i - 2, j - 2)] + 1);
            }
            rows[at(i, j)] = best;
        }
    }
    rows[at(a.len(), b.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_word() {
        let words = ["catalog", "cart", "checkout", "replicas", "memory"];
        for (typo, meant) in [
            ("catalgo", Some("catalog")),
            ("Replicas", Some("replicas")),
            ("memmory", Some("memory")),
            ("chekout", Some("checkout")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typo, words), meant, "{typo}");
        }
    }

    #[test]
    fn who_named_nothing_known_hears_what_there_is() {
        let text = "did you mean `cart`? there are: cart, catalog";
        assert_eq!(there_are("Cart", ["cart", "catalog"]), text);
        assert_eq!(there_are("xyz", ["cart", "catalog"]), "there are: cart, catalog");
        assert_eq!(there_are("xyz", []), "there are none");
    }
}
