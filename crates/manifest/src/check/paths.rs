//! Paths that must exist.

use std::path::Path;

use crate::Code;
use crate::files::{Files, Kind};
use crate::read::{PathDraft, Want};
use crate::sink::{Sink, shown};

pub(super) fn check(paths: &[PathDraft], files: &dyn Files, out: &mut Sink) {
    let mut missing: Vec<&Path> = Vec::new();
    for draft in paths {
        // A missing directory is one problem, whatever else should be in it.
        if missing.iter().any(|above| draft.path != *above && draft.path.starts_with(above)) {
            continue;
        }
        let shown_path = shown(&draft.path.display().to_string());
        match (files.kind(&draft.path), draft.want) {
            (Kind::Missing, _) => {
                missing.push(&draft.path);
                report_missing(draft, files, out);
            }
            (Kind::File, Want::Directory) => {
                out.report(
                    Code::WrongKind,
                    draft.span,
                    format!("{} is not a directory", draft.what),
                )
                .label("a file")
                .help(format!("`{shown_path}` is a file; give the directory that holds it"));
            }
            (Kind::Directory, Want::File) => {
                out.report(Code::WrongKind, draft.span, format!("{} is not a file", draft.what))
                    .label("a directory")
                    .help(format!("`{shown_path}` is a directory; give a file in it"));
            }
            _ => {}
        }
    }
}

fn report_missing(draft: &PathDraft, files: &dyn Files, out: &mut Sink) {
    // The part that is wrong is the first that does not exist; its siblings are what was meant.
    let missing =
        draft.path.ancestors().take_while(|path| files.kind(path) == Kind::Missing).last();
    let missing = missing.unwrap_or(&draft.path);
    let siblings = missing.parent().map(|parent| files.names_in(parent)).unwrap_or_default();
    let wanted = missing.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let otherwise = format!("looked for `{}`", shown(&draft.path.display().to_string()));
    let help = out.hint(wanted, siblings.iter().map(String::as_str), otherwise);
    out.report(Code::NoSuchPath, draft.span, format!("{} does not exist", draft.what))
        .label("not found")
        .help(help);
}
