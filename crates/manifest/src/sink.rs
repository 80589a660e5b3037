//! Collects the problems of one run, and the texts they point into.

use std::cell::Cell;
use std::sync::Arc;

use archipel_model::suggest;

use crate::problem::{Place, Problem};
use crate::source::{FileId, Source, Span, turns_text};
use crate::{Code, Severity};

/// Comparisons spent on "did you mean" in one run. A file of a megabyte in which every name is
/// wrong would otherwise take minutes; nobody reads the ten-thousandth suggestion.
const SUGGESTIONS_MAX: usize = 50_000;

pub(crate) struct Sink {
    sources: Vec<Arc<Source>>,
    notes: Vec<Note>,
    suggestions_left: Cell<usize>,
    /// The profile that is being looked at, when it is one of several.
    profile: Option<String>,
}

/// A problem before its span is turned into line and column.
pub(crate) struct Note {
    code: Code,
    span: Option<Span>,
    file: Option<String>,
    message: String,
    label: String,
    help: Option<String>,
    also: Vec<(Span, String)>,
    profile: Option<String>,
}

impl Note {
    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = label.into();
        self
    }

    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn also(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.also.push((span, label.into()));
        self
    }
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self {
            sources: Vec::new(),
            notes: Vec::new(),
            suggestions_left: Cell::new(SUGGESTIONS_MAX),
            profile: None,
        }
    }

    /// What is reported from here on is true with this profile; what is true without one too was
    /// reported before.
    pub(crate) fn with_profile(&mut self, profile: &str) {
        self.profile = Some(profile.to_owned());
    }

    pub(crate) fn add_source(&mut self, source: Source) -> FileId {
        let id = u16::try_from(self.sources.len()).expect("the number of files is limited");
        self.sources.push(Arc::new(source));
        FileId(id)
    }

    pub(crate) fn source(&self, file: FileId) -> &Source {
        &self.sources[usize::from(file.0)]
    }

    pub(crate) fn report(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Note {
        self.push(code, Some(span), None, message.into())
    }

    /// A problem with a file of which no text is at hand.
    pub(crate) fn report_file(
        &mut self,
        code: Code,
        file: &str,
        message: impl Into<String>,
    ) -> &mut Note {
        self.push(code, None, Some(file.to_owned()), message.into())
    }

    fn push(
        &mut self,
        code: Code,
        span: Option<Span>,
        file: Option<String>,
        message: String,
    ) -> &mut Note {
        self.notes.push(Note {
            code,
            span,
            file,
            message,
            label: String::new(),
            help: None,
            also: Vec::new(),
            profile: self.profile.clone(),
        });
        self.notes.last_mut().expect("one was pushed just now")
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.notes.iter().any(|note| note.code.severity() == Severity::Error)
    }

    pub(crate) fn syntax_errors(&self) -> usize {
        let syntax = [Code::Syntax, Code::KeyTwice, Code::TooDeep];
        self.notes.iter().filter(|note| syntax.contains(&note.code)).count()
    }

    pub(crate) fn has_syntax_errors(&self) -> bool {
        self.syntax_errors() > 0
    }

    /// ``did you mean `x`?``, or `otherwise`.
    pub(crate) fn hint<'a>(
        &self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
        otherwise: impl Into<String>,
    ) -> String {
        let left = &self.suggestions_left;
        let within_budget = candidates.into_iter().take_while(|_| {
            left.set(left.get().saturating_sub(1));
            left.get() > 0
        });
        suggest::did_you_mean(word, within_budget).unwrap_or_else(|| otherwise.into())
    }

    /// All problems by file and position, each once: a value inherited by fifty services is
    /// wrong in one place only.
    pub(crate) fn finish(self) -> Vec<Problem> {
        let Self { sources, mut notes, .. } = self;
        notes.sort_by(|a, b| {
            (&a.file, a.span, a.code, &a.message).cmp(&(&b.file, b.span, b.code, &b.message))
        });
        notes.dedup_by(|a, b| {
            (&a.file, a.span, a.code, &a.message) == (&b.file, b.span, b.code, &b.message)
        });
        notes.into_iter().map(|note| resolve(&sources, note)).collect()
    }
}

fn resolve(sources: &[Arc<Source>], note: Note) -> Problem {
    let severity = note.code.severity();
    let Note { code, span, file, mut message, label, help, also, profile } = note;
    if let Some(profile) = profile {
        message = format!("{message} (with profile `{}`)", shown(&profile));
    }
    let Some(span) = span else {
        return Problem {
            code,
            severity,
            message,
            file: file.unwrap_or_default(),
            span: 0..0,
            line: 1,
            column: 1,
            label,
            help,
            also: Vec::new(),
            source: None,
        };
    };
    let source = &sources[usize::from(span.file.0)];
    let range = source.clamp(span.range());
    let (line, column) = source.position(range.start);
    let also = also
        .into_iter()
        .map(|(place, label)| {
            let source = &sources[usize::from(place.file.0)];
            let range = source.clamp(place.range());
            let (line, column) = source.position(range.start);
            let same_file = place.file == span.file;
            Place { file: source.name.clone(), span: range, line, column, label, same_file }
        })
        .collect();
    Problem {
        code,
        severity,
        message,
        file: source.name.clone(),
        span: range,
        line,
        column,
        label,
        help,
        also,
        source: Some(Arc::clone(source)),
    }
}

/// A piece of the user's text for a message: on one line, without characters that could steer a
/// terminal, and not endless.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => harmless_line(&text[..end]) + "…",
        None => harmless_line(text),
    }
}

/// As [`shown`], in full: for names of files.
pub(crate) fn harmless_line(text: &str) -> String {
    let harmless = |c: char| {
        if c.is_control() || turns_text(c) { char::REPLACEMENT_CHARACTER } else { c }
    };
    text.chars().map(harmless).collect()
}
