//! Words of a search, and what to make of misspelt ones.
//!
//! A word that occurs nowhere is compared with the words that do. Candidates share pieces of
//! three letters with it (an FTS5 trigram index over the few thousand words of the titles, with
//! the word's ends marked so that even "mgu" shares a piece with "mug"); the nearest by edit
//! distance is taken, the more frequent one of two as near.

use rusqlite::{Connection, OptionalExtension};
use store_kit::{Problem, Tx};

pub(crate) const WORDS_MAX: usize = 8;
const WORD_LETTERS_MAX: usize = 40;

/// The words of a text as the index sees them: lower case, without accents.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut word = String::new();
    for letter in text.chars().flat_map(plain).chain([' ']) {
        if letter.is_alphanumeric() {
            word.push(letter);
        } else if !word.is_empty() {
            let whole = std::mem::take(&mut word);
            if !all.contains(&whole) {
                all.push(whole);
            }
        }
    }
    all
}

/// A letter without its accent, in lower case. Covers the letters of the shop's languages, as
/// the index's own folding does.
fn plain(letter: char) -> impl Iterator<Item = char> {
    let bare: &str = match letter {
        'à' | 'á' | 'â' | 'ä' | 'ã' | 'å' | 'À' | 'Á' | 'Â' | 'Ä' | 'Å' => "a",
        'è' | 'é' | 'ê' | 'ë' | 'È' | 'É' | 'Ê' | 'Ë' => "e",
        'ì' | 'í' | 'î' | 'ï' | 'Î' | 'Ï' => "i",
        'ò' | 'ó' | 'ô' | 'ö' | 'õ' | 'ø' | 'Ô' | 'Ö' => "o",
        'ù' | 'ú' | 'û' | 'ü' | 'Ù' | 'Û' | 'Ü' => "u",
        'ç' | 'Ç' => "c",
        'ÿ' | 'Ÿ' => "y",
        'ñ' => "n",
        'œ' | 'Œ' => "oe",
        'æ' | 'Æ' => "ae",
        _ => "",
    };
    let own = bare.is_empty().then_some(letter);
    bare.chars().chain(own.into_iter().flat_map(char::to_lowercase))
}

/// The words of what somebody typed, at most [`WORDS_MAX`].
pub(crate) fn of_query(text: &str) -> Vec<String> {
    let mut all: Vec<String> =
        words(text).into_iter().map(|w| w.chars().take(WORD_LETTERS_MAX).collect()).collect();
    all.truncate(WORDS_MAX);
    all
}

/// Adds a word to those that a misspelt one can be taken for.
pub(crate) fn learn(tx: &Tx<'_>, word: &str) -> Result<(), Problem> {
    if word.chars().count() < 3 || word.bytes().any(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    let new = tx
        .prepare_cached("INSERT INTO term(word) VALUES(?) ON CONFLICT DO NOTHING")?
        .execute([word])?;
    if new == 1 {
        tx.prepare_cached("INSERT INTO term_piece(word) VALUES(?)")?.execute([marked(word)])?;
    }
    Ok(())
}

/// The forms to look for: the word itself and, for a plural, its singular.
pub(crate) fn forms(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned()];
    for ending in ["s", "x", "es"] {
        if let Some(stem) = word.strip_suffix(ending)
            && stem.len() >= 3
        {
            forms.push(stem.to_owned());
        }
    }
    forms
}

/// Whether any product has a word that begins like this one, or like its singular.
pub(crate) fn occurs(conn: &Connection, word: &str) -> Result<bool, Problem> {
    let expression = expression(word);
    let found = conn
        .prepare_cached("SELECT 1 FROM words WHERE words MATCH ? LIMIT 1")?
        .query_row([expression], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// The condition of one word in FTS5's language. A word is letters and digits only, so the
/// quotes cannot be left.
pub(crate) fn expression(word: &str) -> String {
    let forms: Vec<String> = forms(word).iter().map(|form| format!("\"{form}\"*")).collect();
    format!("({})", forms.join(" OR "))
}

/// The known word that was probably meant: one that contains it ("wool" is in "lambswool"), else
/// the nearest in letters.
pub(crate) fn correct(conn: &Connection, word: &str) -> Result<Option<String>, Problem> {
    if word.chars().count() >= 4 {
        let longer = conn
            .prepare_cached(
                "SELECT trim(word, '_') AS w FROM term_piece WHERE word MATCH ? ORDER BY length(w), w LIMIT 1",
            )?
            .query_row([format!("\"{word}\"")], |row| row.get(0))
            .optional()?;
        if longer.is_some() {
            return Ok(longer);
        }
    }
    nearest(conn, word)
}

fn nearest(conn: &Connection, word: &str) -> Result<Option<String>, Problem> {
    let letters: Vec<char> = marked(word).chars().collect();
    let pieces: Vec<String> =
        letters.windows(3).map(|w| format!("\"{}\"", w.iter().collect::<String>())).collect();
    if pieces.is_empty() {
        return Ok(None);
    }
    let allowed = match word.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let mut query = conn.prepare_cached(
        "SELECT trim(p.word, '_'), coalesce(v.doc, 0) FROM term_piece p
         LEFT JOIN vocabulary v ON v.term = trim(p.word, '_') WHERE p.word MATCH ? ORDER BY p.rank LIMIT 200",
    )?;
    let rows = query.query_map([pieces.join(" OR ")], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    })?;
    let mut best: Option<(usize, i64, String)> = None;
    for row in rows {
        let (candidate, products) = row?;
        let distance = distance(word, &candidate, allowed);
        let Some(distance) = distance.filter(|d| *d > 0) else { continue };
        let better = best.as_ref().is_none_or(|(d, n, w)| {
            (distance, -products, candidate.as_str()) < (*d, -*n, w.as_str())
        });
        if better {
            best = Some((distance, products, candidate));
        }
    }
    Ok(best.map(|(_, _, word)| word))
}

fn marked(word: &str) -> String {
    format!("__{word}_")
}

/// How many letters must be added, dropped, changed or swapped with their neighbour; `None`
/// when more than `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    Some(above[b.len()]).filter(|d| *d <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bare_and_unique() {
        assert_eq!(words("Théière ronde, THÉIÈRE — œuf!"), ["theiere", "ronde", "oeuf"]);
        assert_eq!(words("\"x\" OR NEAR(y)*"), ["x", "or", "near", "y"]);
        assert!(words(" ,;—").is_empty());
        assert_eq!(of_query(&"a b c d e f g h i j k".repeat(3)).len(), WORDS_MAX);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_step() {
        for (a, b, expected) in [
            ("mgu", "mug", Some(1)),
            ("lantren", "lantern", Some(1)),
            ("kettel", "kettle", Some(1)),
            ("cat", "cat", Some(0)),
            ("teapot", "carpet", None),
        ] {
            assert_eq!(distance(a, b, 2), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_plural_is_also_looked_for_as_its_singular() {
        assert_eq!(forms("lanterns"), ["lanterns", "lantern"]);
        assert_eq!(forms("couteaux"), ["couteaux", "couteau"]);
        assert_eq!(forms("bus"), ["bus"]);
    }
}
