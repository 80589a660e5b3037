//! Splits a command into words like a shell would, without being one.

/// What a command text holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// A dollar sign that must stay one (in single quotes, after a backslash) is doubled, as
    /// `Command::expand` expects.
    pub(crate) words: Vec<String>,
    /// The first thing that only a shell understands.
    pub(crate) shell: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SplitError {
    UnclosedQuote(char),
    TrailingBackslash,
}

pub(crate) fn split(text: &str) -> Result<Split, SplitError> {
    let mut splitter = Splitter { words: Vec::new(), word: None, shell: None };
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let rest = &text[at..];
        match c {
            ' ' | '\t' | '\n' | '\r' => splitter.end_word(),
            '\'' => splitter.single_quoted(&mut chars)?,
            '"' => splitter.double_quoted(text, &mut chars)?,
            '\\' => match chars.next() {
                // A backslash before a line break joins the two lines.
                Some((_, '\n')) => {}
                Some((_, escaped)) => splitter.literal(escaped),
                None => return Err(SplitError::TrailingBackslash),
            },
            _ => {
                splitter.note_shell(rest, false);
                splitter.push(c);
                // `$$` is one dollar sign; both are taken so that the second is not looked at.
                if rest.starts_with("$$") {
                    chars.next();
                    splitter.push('$');
                }
            }
        }
    }
    splitter.end_word();
    Ok(splitter.finish())
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

struct Splitter {
    words: Vec<String>,
    word: Option<String>,
    shell: Option<&'static str>,
}

impl Splitter {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn literal(&mut self, c: char) {
        self.push(c);
        if c == '$' {
            self.push(c);
        }
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn single_quoted(&mut self, chars: &mut Chars<'_>) -> Result<(), SplitError> {
        self.word.get_or_insert_default();
        for (_, c) in chars.by_ref() {
            match c {
                '\'' => return Ok(()),
                c => self.literal(c),
            }
        }
        Err(SplitError::UnclosedQuote('\''))
    }

    fn double_quoted(&mut self, text: &str, chars: &mut Chars<'_>) -> Result<(), SplitError> {
        self.word.get_or_insert_default();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Ok(()),
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\' | '$' | '`'))) => self.literal(escaped),
                    Some((_, '\n')) => {}
                    Some((_, other)) => {
                        self.push('\\');
                        self.push(other);
                    }
                    None => break,
                },
                c => {
                    self.note_shell(&text[at..], true);
                    self.push(c);
                }
            }
        }
        Err(SplitError::UnclosedQuote('"'))
    }

    /// `rest` starts with the character at hand.
    fn note_shell(&mut self, rest: &str, quoted: bool) {
        if self.shell.is_some() {
            return;
        }
        const OPERATORS: [&str; 7] = ["&&", "||", "|", ";", ">", "<", "&"];
        const SUBSTITUTIONS: [&str; 2] = ["$(", "`"];
        let found = OPERATORS.iter().filter(|_| !quoted).chain(&SUBSTITUTIONS);
        self.shell = found.copied().find(|operator| rest.starts_with(operator)).or_else(|| {
            let name = rest.strip_prefix("${")?.split_once('}').map_or("", |(name, _)| name);
            let plain = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            (!plain).then_some("${…}")
        });
    }

    fn finish(self) -> Split {
        let assignment = self
            .words
            .first()
            .and_then(|word| word.split_once('='))
            .is_some_and(|(name, _)| crate::shape::format::Format::Variable.accepts(name));
        let shell = self.shell.or(assignment.then_some("NAME=value"));
        Split { words: self.words, shell }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, words: &[&str], shell: Option<&str>) {
        let split = split(text).unwrap();
        assert_eq!(split.words, words, "{text}");
        assert_eq!(split.shell, shell, "{text}");
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        check("node server.js", &["node", "server.js"], None);
        check("  a\tb  ", &["a", "b"], None);
        check(r#"a "b c" 'd e' f\ g"#, &["a", "b c", "d e", "f g"], None);
        check(r#"a "" ''"#, &["a", "", ""], None);
        check(r#"a"b"'c'"#, &["abc"], None);
        check(r#""a\"b" 'a\b'"#, &["a\"b", r"a\b"], None);
        check("serve --port $PORT ${HOST}", &["serve", "--port", "$PORT", "${HOST}"], None);
        check(r"echo '$PORT' \$PORT $$", &["echo", "$$PORT", "$$PORT", "$$"], None);
        check("", &[], None);
    }

    #[test]
    fn shell_syntax_is_noticed() {
        for (text, operator) in [
            ("npm ci && npm run build", "&&"),
            ("a | b", "|"),
            ("a; b", ";"),
            ("a > log", ">"),
            ("a $(b)", "$("),
            ("a \"`b`\"", "`"),
            ("a ${B:-c}", "${…}"),
            ("A=b c", "NAME=value"),
        ] {
            assert_eq!(split(text).unwrap().shell, Some(operator), "{text}");
        }
        for text in ["a '&&'", "a \"x | y\"", r"a \; b", "a --x=y"] {
            assert_eq!(split(text).unwrap().shell, None, "{text}");
        }
    }

    #[test]
    fn quotes_must_be_closed() {
        assert_eq!(split("a 'b"), Err(SplitError::UnclosedQuote('\'')));
        assert_eq!(split("a \"b"), Err(SplitError::UnclosedQuote('"')));
        assert_eq!(split("a \\"), Err(SplitError::TrailingBackslash));
    }
}
