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

#[derive(Debug)]
pub(crate) struct Source {
    /// As shown to people: the main file as it was given, included ones beside it.
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
    /// Absolute; relative paths in the file start here.
    pub(crate) directory: PathBuf,
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: String, text: Arc<str>, directory: PathBuf) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { name, text, directory, line_starts }
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
