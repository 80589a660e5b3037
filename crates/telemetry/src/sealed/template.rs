//! Messages of one statement differ in numbers and ids: what stays is kept once.

/// Stands in a template where something varies.
const HOLE: char = '\u{1}';

/// The template of a message, and what fills its holes, in order.
pub(super) fn split(message: &str) -> (String, Vec<&str>) {
    if message.contains(HOLE) {
        return (HOLE.to_string(), vec![message]);
    }
    let mut template = String::with_capacity(message.len());
    let mut holes = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.find(ends_word).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.bytes().any(|byte| byte.is_ascii_digit()) {
            template.push(HOLE);
            holes.push(word);
        } else {
            template.push_str(word);
        }
        let sign = after.chars().next().map_or(0, char::len_utf8);
        template.push_str(&after[..sign]);
        rest = &after[sign..];
    }
    (template, holes)
}

fn ends_word(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '=' | ','
                | ';'
                | '"'
                | '\''
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '<'
                | '>'
                | '|'
                | '/'
                | '?'
                | '&'
        )
}

pub(super) fn holes(template: &str) -> usize {
    template.matches(HOLE).count()
}

pub(super) fn join(template: &str, holes: &[&str]) -> String {
    let mut out = String::with_capacity(template.len() + 16 * holes.len());
    let mut holes = holes.iter();
    for part in template.split_inclusive(HOLE) {
        match part.strip_suffix(HOLE) {
            Some(before) => {
                out.push_str(before);
                out.push_str(holes.next().copied().unwrap_or_default());
            }
            None => out.push_str(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn statements_are_told_from_what_varies() {
        let (a, _) = split("GET /orders/ord_17 took 5ms");
        let (b, holes) = split("GET /orders/ord_2 took 1234ms");
        assert_eq!(a, b);
        assert_eq!(holes, ["ord_2", "1234ms"]);
    }

    proptest! {
        #[test]
        fn a_message_is_put_together_again(message in "[a-z0-9 =/\u{1}é\n]{0,40}") {
            let (template, filling) = split(&message);
            prop_assert_eq!(holes(&template), filling.len());
            prop_assert_eq!(join(&template, &filling), message);
        }
    }
}
