//! The one language in which traces and logs are asked for:
//! `service:orders status>=500 duration>200ms -path:/healthz* "card declined"`.
//!
//! Terms side by side must all hold; `OR` and parentheses group, `-` negates. A term compares a
//! key (`:` `=` `!=` `<` `<=` `>` `>=`), or is a word or a quoted phrase to be found in any text.
//! Words are whole words whatever their case; `declin*` takes every word that begins so.

use std::fmt;

use crate::span::bloom::words;

/// Longer questions are no questions of people.
const BYTES_MAX: usize = 4096;
/// Parentheses within parentheses; each is a call of the parser.
const DEPTH_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// All of them; of nothing: everything.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare {
        key: String,
        op: Op,
        operand: Operand,
    },
    Text(Operand),
}

impl Default for Expr {
    fn default() -> Self {
        Self::And(Vec::new())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Is,
    IsNot,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    /// Longest first, so that `>=` is not `>`.
    const SIGNS: [(&str, Self); 7] = [
        ("!=", Self::IsNot),
        (">=", Self::GreaterOrEqual),
        ("<=", Self::LessOrEqual),
        (":", Self::Is),
        ("=", Self::Is),
        (">", Self::Greater),
        ("<", Self::Less),
    ];

    pub fn is_order(self) -> bool {
        !matches!(self, Self::Is | Self::IsNot)
    }

    pub(crate) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Is => ordering.is_eq(),
            Self::IsNot => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// In lower case.
    pub text: String,
    /// It ended with `*`.
    pub prefix: bool,
    /// A number, or a duration in nanoseconds.
    pub number: Option<f64>,
}

impl Operand {
    fn new(text: &str, quoted: bool) -> Self {
        let prefix = !quoted && text.ends_with('*');
        let text = if prefix { &text[..text.len() - 1] } else { text };
        let number = if quoted { None } else { number(text) };
        Self { text: lower(text), prefix, number }
    }

    /// These words, one after the other, and nothing of them is a sign.
    pub fn phrase(text: &str) -> Self {
        Self::new(text, true)
    }

    /// Whether a whole value is this.
    pub(crate) fn is(&self, value: &str) -> bool {
        let mut lower = value.chars().flat_map(char::to_lowercase);
        let begins = self.text.chars().all(|c| lower.next() == Some(c));
        begins && (self.prefix || lower.next().is_none())
    }

    pub(crate) fn is_number(&self, op: Op, value: f64) -> bool {
        match self.number.and_then(|number| value.partial_cmp(&number)) {
            Some(ordering) => op.holds(ordering),
            None => op == Op::IsNot,
        }
    }

    /// Whether the words stand in `text`, one after the other.
    pub(crate) fn is_within(&self, text: &str) -> bool {
        let text = lower(text);
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let begins = word(self.text.chars().next());
        let ends = word(self.text.chars().next_back()) && !self.prefix;
        text.match_indices(self.text.as_str()).any(|(at, found)| {
            let longer_before = begins && word(text[..at].chars().next_back());
            let longer_after = ends && word(text[at + found.len()..].chars().next());
            !longer_before && !longer_after
        })
    }

    /// The words of it that are whole: the last one may be the beginning of a longer one.
    fn whole_words(&self) -> Vec<String> {
        let mut found: Vec<String> = words(&self.text).map(str::to_owned).collect();
        if self.prefix && self.text.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            found.pop();
        }
        found
    }

    /// `key:*`: any value.
    pub(crate) fn is_any(&self) -> bool {
        self.prefix && self.text.is_empty()
    }
}

/// Letter by letter, so that a part of a text is lowered as the whole is.
pub(crate) fn lower(text: &str) -> String {
    match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => text.chars().flat_map(char::to_lowercase).collect(),
    }
}

/// `200ms`, `1.5s`, `500`.
fn number(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    };
    digits.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number * factor)
}

/// What is wrong with a question, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ExprError {
    pub question: String,
    /// In characters.
    pub at: usize,
    pub message: String,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        writeln!(f, "  {}", self.question)?;
        write!(f, "  {}^", " ".repeat(self.at))
    }
}

impl Expr {
    /// # Errors
    /// [`ExprError`] with the place.
    pub fn parse(question: &str) -> Result<Self, ExprError> {
        let mut parser = Parser { question, at: 0, depth: 0 };
        if question.len() > BYTES_MAX {
            return Err(parser.wrong(0, format!("a question has at most {BYTES_MAX} bytes")));
        }
        let expr = parser.either()?;
        match parser.peek() {
            None => Ok(expr),
            Some(_) => Err(parser.wrong(parser.at, "this `)` closes nothing")),
        }
    }

    /// Whether more of a log line than time, level and who said it decides.
    pub(crate) fn needs_content(&self) -> bool {
        match self {
            Self::And(terms) | Self::Or(terms) => terms.iter().any(Self::needs_content),
            Self::Not(inner) => inner.needs_content(),
            Self::Text(_) => true,
            Self::Compare { key, .. } => {
                !matches!(key.as_str(), "service" | "instance" | "stream" | "level")
            }
        }
    }

    /// Words that every matching log line holds, and the trace it belongs to, if that is told.
    pub(crate) fn log_words(&self) -> (Vec<String>, Option<&str>) {
        let (mut words, mut trace) = (Vec::new(), None);
        for term in self.conjuncts() {
            match term {
                Self::Text(operand) => words.extend(operand.whole_words()),
                Self::Compare { key, op: Op::Is, operand } => match key.as_str() {
                    "service" | "instance" | "stream" | "level" | "span" => {}
                    "trace" if !operand.prefix => trace = Some(operand.text.as_str()),
                    "trace" => {}
                    // Numbers are compared as such, whatever their digits.
                    _ if operand.number.is_some() => {}
                    _ => words.extend(operand.whole_words()),
                },
                _ => {}
            }
        }
        (words, trace)
    }

    /// Terms that every match holds.
    pub(crate) fn conjuncts(&self) -> impl Iterator<Item = &Expr> {
        match self {
            Self::And(all) => all.iter().collect::<Vec<_>>(),
            one => vec![one],
        }
        .into_iter()
    }
}

struct Parser<'a> {
    question: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn wrong(&self, at: usize, message: impl Into<String>) -> ExprError {
        let question: String = self.question.chars().take(200).collect();
        let at = self.question[..at].chars().count().min(200);
        // What moves the cursor of a terminal would move the caret away.
        let question = question.replace(char::is_control, " ");
        ExprError { question, at, message: message.into() }
    }

    fn rest(&self) -> &'a str {
        &self.question[self.at..]
    }

    fn peek(&mut self) -> Option<char> {
        let trimmed = self.rest().trim_start();
        self.at = self.question.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn either(&mut self) -> Result<Expr, ExprError> {
        let mut ways = vec![self.all()?];
        while self.keyword("OR") {
            ways.push(self.all()?);
        }
        if ways.len() > 1 && ways.contains(&Expr::default()) {
            return Err(self.wrong(self.at, "`OR` needs something on both sides"));
        }
        Ok(if ways.len() == 1 { ways.remove(0) } else { Expr::Or(ways) })
    }

    fn keyword(&mut self, word: &str) -> bool {
        self.peek();
        let Some(after) = self.rest().strip_prefix(word) else { return false };
        let found = after.chars().next().is_none_or(|c| c.is_whitespace() || c == '(' || c == ')');
        if found {
            self.at += word.len();
        }
        found
    }

    fn all(&mut self) -> Result<Expr, ExprError> {
        let mut terms = Vec::new();
        loop {
            if self.keyword("AND") {
                continue;
            }
            match self.peek() {
                None | Some(')') => break,
                Some(_) => {
                    let before = self.at;
                    if self.keyword("OR") {
                        self.at = before;
                        break;
                    }
                    terms.push(self.term()?);
                }
            }
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expr::And(terms) })
    }

    fn term(&mut self) -> Result<Expr, ExprError> {
        let started = self.at;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(started, "this is nested too deeply"));
        }
        let term = match self.rest().chars().next() {
            Some('-') => {
                self.at += 1;
                match self.rest().chars().next() {
                    Some(c) if !c.is_whitespace() && c != ')' => Expr::Not(Box::new(self.term()?)),
                    _ => return Err(self.wrong(started, "`-` negates what follows it directly")),
                }
            }
            Some('(') => {
                self.at += 1;
                let inner = self.either()?;
                if self.peek() != Some(')') {
                    return Err(self.wrong(started, "this `(` is never closed"));
                }
                self.at += 1;
                inner
            }
            Some('"') => Expr::Text(self.quoted()?),
            _ => self.comparison()?,
        };
        self.depth -= 1;
        Ok(term)
    }

    fn quoted(&mut self) -> Result<Operand, ExprError> {
        let started = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(Operand::new(&text, true));
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err(self.wrong(started, "this quote is never closed"))
    }

    fn bare(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || c == ')' || ends(c));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn comparison(&mut self) -> Result<Expr, ExprError> {
        let started = self.at;
        let key = self.bare(|c| matches!(c, ':' | '=' | '<' | '>' | '!' | '"' | '('));
        let sign = Op::SIGNS.iter().find(|(sign, _)| self.rest().starts_with(sign));
        let Some((sign, op)) = sign else {
            // Not a comparison: the whole of it is a word to look for.
            self.at = started;
            let word = self.bare(|c| matches!(c, '"' | '('));
            if word.is_empty() {
                return Err(self.wrong(started, "a word or `key:value` was expected here"));
            }
            return Ok(Expr::Text(Operand::new(word, false)));
        };
        if key.is_empty() {
            return Err(self.wrong(started, format!("`{sign}` needs a key before it")));
        }
        self.at += sign.len();
        let value_at = self.at;
        let operand = match self.rest().chars().next() {
            Some('"') => self.quoted()?,
            _ => Operand::new(self.bare(|c| c == '"'), false),
        };
        if operand.text.is_empty() && !operand.prefix && self.at == value_at {
            return Err(self.wrong(value_at, format!("`{key}{sign}` needs a value")));
        }
        if op.is_order() && operand.number.is_none() && key != "level" {
            let message = format!(
                "`{sign}` compares with a number or a duration (`500`, `200ms`), not `{}`",
                operand.text
            );
            return Err(self.wrong(value_at, message));
        }
        Ok(Expr::Compare { key: key.to_owned(), op: *op, operand })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrong(question: &str) -> String {
        Expr::parse(question).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_question() {
        let expr = Expr::parse(
            r#"service:orders status>=500 duration>200ms -path:/healthz* "card declined""#,
        );
        let Expr::And(terms) = expr.unwrap() else { panic!() };
        assert_eq!(terms.len(), 5);
        let Expr::Compare { key, op, operand } = &terms[2] else { panic!() };
        assert_eq!((key.as_str(), *op, operand.number), ("duration", Op::Greater, Some(200e6)));
        assert!(matches!(&terms[3], Expr::Not(_)));
        assert!(matches!(&terms[4], Expr::Text(operand) if operand.text == "card declined"));
        assert_eq!(Expr::parse("  ").unwrap(), Expr::default());
        assert!(matches!(Expr::parse("(a OR b) c").unwrap(), Expr::And(all) if all.len() == 2));
        assert!(matches!(Expr::parse("a b OR c").unwrap(), Expr::Or(all) if all.len() == 2));
        assert!(matches!(Expr::parse("ORDER").unwrap(), Expr::Text(_)));
    }

    #[test]
    fn errors_show_the_place() {
        assert_eq!(wrong("service: x"), "`service:` needs a value\n  service: x\n          ^");
        assert_eq!(wrong("a (b"), "this `(` is never closed\n  a (b\n    ^");
        assert_eq!(wrong("a)"), "this `)` closes nothing\n  a)\n   ^");
        assert_eq!(wrong("ä \"b"), "this quote is never closed\n  ä \"b\n    ^");
        assert!(wrong("duration>slow").contains("`200ms`"));
        assert!(wrong("a OR").contains("both sides"));
        assert!(wrong("- a").contains("negates"));
        assert!(wrong(&"(".repeat(100)).contains("deeply"));
    }

    #[test]
    fn words_are_whole_words() {
        let within = |question: &str, text: &str| match Expr::parse(question).unwrap() {
            Expr::Text(operand) => operand.is_within(text),
            other => panic!("{other:?}"),
        };
        assert!(within("declined", "Card DECLINED."));
        assert!(!within("decline", "card declined"));
        assert!(within("declin*", "card declined"));
        assert!(within("\"card declined\"", "the card declined: 51"));
        assert!(!within("\"card declined\"", "card was declined"));
        assert!(within("ord_17", "GET /orders/ord_17/items"));
        assert!(!within("ord_1", "GET /orders/ord_17"));
    }

    proptest! {
        #[test]
        fn no_question_panics(question in "[a-z:=<>!\"() \\\\*ORä0-9-]{0,40}", text: String) {
            if let Ok(expr) = Expr::parse(&question) {
                for term in expr.conjuncts() {
                    if let Expr::Text(operand) = term {
                        operand.is_within(&text);
                    }
                }
            }
        }
    }
}
