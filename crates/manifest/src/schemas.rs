//! Reads the JSON Schemas of events and all that they refer to, and tries whether they can be
//! used: a schema that breaks at the first event would have been noticed too late.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use archipel_model::EventSchema;
use archipel_schema::{CompileError, Schema};

use crate::Code;
use crate::files::{FILE_BYTES_MAX, Files};
use crate::read::events::ContractDraft;
use crate::sink::{Sink, shown};
use crate::source::FileId;

/// Of one schema, itself included.
const DOCUMENTS_MAX: usize = 50;

pub(crate) fn load(contracts: &mut [ContractDraft], files: &dyn Files, out: &mut Sink) {
    let root = out.source(FileId(0)).directory.clone();
    for draft in contracts {
        let Some(file) = &draft.schema else { continue };
        match gather(&root, &file.value, files) {
            Ok(documents) => {
                let (file, root) = (file.value.clone(), root.clone());
                draft.contract.schema = Some(EventSchema { file, root, documents });
            }
            Err(Trouble::Missing) => {}
            Err(Trouble::Bad { reason, help }) => {
                let message = format!("the schema of event `{}` cannot be used", draft.topic);
                out.report(Code::BadSchema, file.span, message).label(reason).help(help);
            }
        }
    }
}

enum Trouble {
    /// Reported with all paths that must exist, or not looked up at all.
    Missing,
    Bad {
        reason: String,
        help: String,
    },
}

/// Compiles again and again, each time with one file more that was wanted.
fn gather(
    root: &Path,
    file: &Path,
    files: &dyn Files,
) -> Result<BTreeMap<PathBuf, String>, Trouble> {
    let bad = |reason: String, help: &str| Trouble::Bad { reason, help: help.to_owned() };
    let inside = "a schema and all that it refers to are files in the application's directory, \
                  so that every copy of the application has the same contract";
    if !file.starts_with(root) {
        return Err(bad("it lies outside of the application's directory".to_owned(), inside));
    }
    let mut documents = BTreeMap::new();
    loop {
        let error = match Schema::compile(root, file, &documents) {
            Ok(_) => return Ok(documents),
            Err(error) => error,
        };
        let name =
            |path: &Path| shown(&path.strip_prefix(root).unwrap_or(path).display().to_string());
        match error {
            CompileError::Wants { path } if documents.len() == DOCUMENTS_MAX => {
                let reason = format!("with `{}` it is over {DOCUMENTS_MAX} files", name(&path));
                return Err(bad(reason, "join some of the files it refers to"));
            }
            CompileError::Wants { path } => match read(&path, files) {
                Ok(text) => drop(documents.insert(path, text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && path == file => {
                    return Err(Trouble::Missing);
                }
                Err(error) => {
                    let reason = format!("`{}` cannot be read: {error}", name(&path));
                    return Err(bad(reason, "correct the `$ref`, or add the file"));
                }
            },
            CompileError::Json { path, reason } => {
                let reason = format!("`{}` is not JSON: {}", name(&path), shown(&reason));
                return Err(bad(
                    reason,
                    "a JSON Schema is written in JSON, also beside YAML files",
                ));
            }
            CompileError::Outside { uri } => {
                let reason = format!("`$ref` leads to `{}`", shown(&uri));
                return Err(bad(reason, inside));
            }
            CompileError::Schema { .. } => {
                let help = format!("correct `{}`; patterns have no look-around", name(file));
                return Err(bad(crate::sink::harmless_line(&error.to_string()), &help));
            }
        }
    }
}

fn read(path: &Path, files: &dyn Files) -> io::Result<String> {
    let bytes = files.read(path)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is over {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}
