//! What is wrong with an application file, with everything needed to show it.

use std::ops::Range;
use std::sync::Arc;

use crate::source::Source;
use crate::{Code, Severity};

/// One thing that is wrong (or doubtful), where it is, and what to do about it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Problem {
    pub code: Code,
    pub severity: Severity,
    /// One sentence that names what is concerned.
    pub message: String,
    /// The file as the user knows it: as given on the command line, or relative to that.
    pub file: String,
    /// Bytes in the file.
    pub span: Range<usize>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Stands beside the caret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Other places that belong to the same problem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Place>,
    #[serde(skip)]
    pub(crate) source: Option<Arc<Source>>,
}

#[derive(Debug, Clone, serde::Serialize)]
pub struct Place {
    pub file: String,
    pub span: Range<usize>,
    pub line: usize,
    pub column: usize,
    pub label: String,
    /// For the caret only when it stands in the same file as the problem itself.
    #[serde(skip)]
    pub(crate) same_file: bool,
}

/// Every problem of one run, by file and position; at least one is an error.
#[derive(Debug, Clone)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// `{"schema":"archipel.validate/1","ok":false,"problems":[…]}`
    pub fn to_json(&self) -> serde_json::Value {
        to_json(&self.0)
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&count(&self.0))
    }
}

impl std::error::Error for Problems {}

/// `2 errors and 1 warning`
pub fn count(problems: &[Problem]) -> String {
    let of = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (of(Severity::Error), of(Severity::Warning)) {
        (0, 0) => "no problems".to_owned(),
        (errors, 0) => plural(errors, "error"),
        (0, warnings) => plural(warnings, "warning"),
        (errors, warnings) => {
            format!("{} and {}", plural(errors, "error"), plural(warnings, "warning"))
        }
    }
}

/// The machine-readable form, for the outcome of a run whether it found errors or not.
///
/// Fields are only ever added under the same `schema`.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    #[derive(serde::Serialize)]
    struct Report<'a> {
        schema: &'static str,
        ok: bool,
        problems: &'a [Problem],
    }
    let ok = problems.iter().all(|problem| problem.severity != Severity::Error);
    serde_json::to_value(Report { schema: "archipel.validate/1", ok, problems })
        .expect("a report has string keys and no fallible parts")
}
