//! Problems for people: the source line, a caret, and what to do.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use crate::Severity;
use crate::problem::{Problem, count};
use crate::sink::harmless_line;
use crate::source::Source;

/// Problems shown in full. The rest is counted: nobody reads them before fixing these, and
/// showing each costs a walk through its file.
const SHOWN_MAX: usize = 100;

/// How a terminal wants its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub color: bool,
    pub unicode: bool,
    pub width: usize,
}

impl Style {
    pub const PLAIN: Self = Self { color: false, unicode: false, width: 100 };

    /// Chooses by what the environment says: `NO_COLOR`, `TERM=dumb`, and whether the locale
    /// (`LC_ALL`, else `LC_CTYPE`, else `LANG`) is a UTF-8 one.
    pub fn from_env(
        is_terminal: bool,
        width: Option<usize>,
        var: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self {
            color: is_terminal && set("NO_COLOR").is_none() && !dumb,
            unicode: utf8 && !dumb,
            width: width.unwrap_or(100).clamp(40, 200),
        }
    }
}

/// All `problems`, one after the other, with a closing line that counts them.
pub fn render(problems: &[Problem], style: Style) -> String {
    let theme = match (style.unicode, style.color) {
        (true, true) => GraphicalTheme::unicode(),
        (true, false) => GraphicalTheme::unicode_nocolor(),
        (false, true) => GraphicalTheme {
            characters: miette::ThemeCharacters::ascii(),
            styles: miette::ThemeStyles::ansi(),
        },
        (false, false) => GraphicalTheme::none(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(style.width)
        .with_links(false)
        .with_context_lines(1);
    let mut out = String::new();
    for problem in problems.iter().take(SHOWN_MAX) {
        // Writing to a string cannot fail; a span that does not fit cannot occur, since spans
        // are clamped to the text. Should it, the message alone is better than nothing.
        if handler.render_report(&mut out, &Shown(problem)).is_err() {
            out.push_str(&format!("{} {}\n", problem.code, problem.message));
        }
        if problem.source.is_none() && !problem.file.is_empty() {
            out.push_str(&format!("  in {}\n", harmless_line(&problem.file)));
        }
        out.push('\n');
    }
    if problems.len() > SHOWN_MAX {
        out.push_str(&format!("… and {} more\n", problems.len() - SHOWN_MAX));
    }
    out.push_str(&count(problems));
    out.push('\n');
    if style.unicode { out } else { to_ascii(&out) }
}

/// Text of ours and of the user without what a plain terminal cannot show.
fn to_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '…' => out.push_str("..."),
            '→' => out.push_str("->"),
            c if c.is_ascii() => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}

struct Shown<'a>(&'a Problem);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.0.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let elsewhere = self.0.also.iter().filter(|place| !place.same_file);
        let mut lines: Vec<String> = self.0.help.iter().cloned().collect();
        lines.extend(
            elsewhere.map(|p| {
                format!("{} at {}:{}:{}", p.label, harmless_line(&p.file), p.line, p.column)
            }),
        );
        if lines.is_empty() {
            return None;
        }
        Some(Box::new(lines.join("\n")))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source.as_deref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.0.source.as_ref()?;
        let label = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let own = LabeledSpan::new_primary_with_span(label(&self.0.label), self.0.span.clone());
        let others =
            self.0.also.iter().filter(|place| place.same_file).map(move |place| {
                LabeledSpan::new_with_span(label(&place.label), place.span.clone())
            });
        Some(Box::new(std::iter::once(own).chain(others)))
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.harmless.read_span(span, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            harmless_line(&self.name),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}
