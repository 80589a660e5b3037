//! The text of the files that were read, and places in them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Which of the files of one run; 0 is the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct FileId(pub(crate) u16);

/// A range of bytes in one file. 32 bits are enough: files are at most 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Span {
    pub(crate) file: FileId,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(file: FileId, range: Range<usize>) -> Self {
        let clip = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { file, start: clip(range.start), end: clip(range.end) }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Sited<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

pub(crate) struct Source {
    /// As shown to people: the main file as it was given, included ones beside it.
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
    /// The same, byte for byte as long, without what could steer a terminal.
    pub(crate) harmless: Arc<str>,
    /// Absolute; relative paths in the file start here.
    pub(crate) directory: PathBuf,
    line_starts: Vec<usize>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({:?}, {} bytes)", self.name, self.text.len())
    }
}

impl Source {
    pub(crate) fn new(name: String, text: Arc<str>, directory: PathBuf) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        let harmless = harmless(&text);
        Self { name, text, harmless, directory, line_starts }
    }

    /// Line and column, both from 1; the column counts characters, as editors do.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The range moved inwards to the text and to character boundaries, so that nothing that
    /// slices by it can fail.
    pub(crate) fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let floor = |at: usize| {
            let at = at.min(self.text.len());
            (0..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
        };
        let start = floor(range.start);
        start..floor(range.end).max(start)
    }
}

/// Control characters, and those that turn the direction of text, give way to others of the same
/// number of bytes, so that spans still fit.
fn harmless(text: &Arc<str>) -> Arc<str> {
    let is_harmful = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns_text(c);
    if !text.contains(is_harmful) {
        return Arc::clone(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match (is_harmful(c), c.len_utf8()) {
            (false, _) => out.push(c),
            (true, 3) => out.push(char::REPLACEMENT_CHARACTER),
            (true, bytes) => out.extend(std::iter::repeat_n('?', bytes)),
        }
    }
    out.into()
}

/// Makes a line read otherwise than it is.
pub(crate) fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
