use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use crate::mismatch::{Mismatch, mismatch};

/// What has a meaning of its own in the path of a URI.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Add this file's text to the documents and compile again.
    #[error("the text of `{}` is not among the documents", .path.display())]
    Wants { path: PathBuf },
    #[error("`{}` is not JSON: {reason}", .path.display())]
    Json { path: PathBuf, reason: String },
    #[error("`$ref` leads to {uri}, which is not in the application's directory")]
    Outside { uri: String },
    #[error("{reason}{}", if .at.is_empty() { String::new() } else { format!(" (at `{at}`)") })]
    Schema { at: String, reason: String },
}

/// One compiled schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
}

impl Schema {
    /// Compiles the schema in `file`. `documents` holds its text and those of the files it refers
    /// to, all below `root`; every path is absolute.
    ///
    /// # Errors
    /// [`CompileError::Wants`] names a document that is missing; the others say what is wrong.
    pub fn compile(
        root: &Path,
        file: &Path,
        documents: &BTreeMap<PathBuf, String>,
    ) -> Result<Self, CompileError> {
        let text =
            documents.get(file).ok_or_else(|| CompileError::Wants { path: file.to_owned() })?;
        let schema = json(file, text)?;
        let refused: Arc<Mutex<Option<CompileError>>> = Arc::default();
        let documents = Documents {
            root: root.to_owned(),
            texts: documents.clone(),
            refused: Arc::clone(&refused),
        };
        let built = jsonschema::options()
            .with_base_uri(uri_of(file))
            .with_retriever(documents)
            // Patterns meet whatever an app sends: an engine that cannot be made to backtrack.
            .with_pattern_options(PatternOptions::regex())
            .build(&schema);
        match built {
            Ok(validator) => Ok(Self { validator }),
            Err(error) => {
                let refused = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(refused.unwrap_or_else(|| CompileError::Schema {
                    at: error.instance_path().to_string(),
                    reason: crate::mismatch::short(&error.to_string()),
                }))
            }
        }
    }

    /// Holds the JSON text of an event's `data` against the schema.
    ///
    /// # Errors
    /// [`Mismatch`] with the first few places that do not fit.
    pub fn check(&self, data: &str) -> Result<(), Mismatch> {
        // Nested over 128 levels it is not read.
        let data: Value =
            serde_json::from_str(data).map_err(|error| Mismatch::unread(&error.to_string()))?;
        if self.validator.is_valid(&data) {
            return Ok(());
        }
        Err(mismatch(self.validator.iter_errors(&data)))
    }
}

fn json(path: &Path, text: &str) -> Result<Value, CompileError> {
    serde_json::from_str(text)
        .map_err(|error| CompileError::Json { path: path.to_owned(), reason: error.to_string() })
}

fn uri_of(path: &Path) -> String {
    format!("file://{}", utf8_percent_encode(&path.to_string_lossy(), RESERVED))
}

struct Documents {
    root: PathBuf,
    texts: BTreeMap<PathBuf, String>,
    refused: Arc<Mutex<Option<CompileError>>>,
}

impl Documents {
    fn find(&self, uri: &Uri<String>) -> Result<Value, CompileError> {
        let outside = || CompileError::Outside { uri: crate::mismatch::short(uri.as_str()) };
        let local = uri.scheme().as_str() == "file"
            && uri.authority().is_none_or(|authority| authority.as_str().is_empty());
        if !local {
            return Err(outside());
        }
        let path = percent_decode_str(uri.path().as_str()).decode_utf8().map_err(|_| outside())?;
        let path = PathBuf::from(path.as_ref());
        let plain = path.components().all(|part| part != std::path::Component::ParentDir);
        if !plain || !path.starts_with(&self.root) {
            return Err(outside());
        }
        match self.texts.get(&path) {
            Some(text) => json(&path, text),
            None => Err(CompileError::Wants { path }),
        }
    }
}

impl Retrieve for Documents {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        self.find(uri).map_err(|error| {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert_with(|| error.clone());
            error.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(documents: &[(&str, &str)]) -> Result<Schema, CompileError> {
        let texts = documents.iter().map(|(path, text)| (path.into(), (*text).to_owned()));
        Schema::compile(Path::new("/app"), Path::new(documents[0].0), &texts.collect())
    }

    #[test]
    fn data_that_does_not_fit_is_told_with_its_place() {
        let schema = compile(&[(
            "/app/s.json",
            r#"{"type":"object","required":["id"],"properties":{
                "id":{"pattern":"^ord_[0-9]+$"},"lines":{"items":{"properties":{"qty":{"minimum":1}}}}}}"#,
        )])
        .unwrap();
        assert_eq!(schema.check(r#"{"id":"ord_1","lines":[{"qty":2}]}"#), Ok(()));
        let faults = schema.check(r#"{"id":"secret","lines":[{"qty":2},{"qty":0}]}"#).unwrap_err();
        let faults: Vec<_> = faults.faults.iter().map(|f| (f.at.as_str(), &*f.expected)).collect();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert_eq!(faults[0].0, "/id");
        assert!(faults[0].1.contains("^ord_[0-9]+$"), "{faults:?}");
        assert!(!faults[0].1.contains("secret"), "what an event holds is not repeated: {faults:?}");
        assert_eq!(faults[1].0, "/lines/1/qty");
        assert!(faults[1].1.contains('1'), "{faults:?}");
        let whole = schema.check("7").unwrap_err().to_string();
        assert!(whole.contains("`data` itself") && whole.contains("object"), "{whole}");
    }

    #[test]
    fn what_a_schema_refers_to_is_wanted_and_then_used() {
        let main = r##"{"properties":{"total":{"$ref":"../shared/a%20money.json#/$defs/money"}}}"##;
        let money = r#"{"$defs":{"money":{"type":"integer"}}}"#;
        let wants = compile(&[("/app/c/s.json", main)]).unwrap_err();
        let path = PathBuf::from("/app/shared/a money.json");
        assert_eq!(wants, CompileError::Wants { path });
        let schema =
            compile(&[("/app/c/s.json", main), ("/app/shared/a money.json", money)]).unwrap();
        assert!(schema.check(r#"{"total":"x"}"#).is_err());
        assert!(schema.check(r#"{"total":1}"#).is_ok());
    }

    #[test]
    fn nothing_outside_of_the_application_is_read() {
        for uri in [
            "https://example.org/s.json",
            "http://127.0.0.1:1/s.json",
            "../outside.json",
            "/etc/passwd",
            "file:///etc/passwd",
            "file://host/app/s.json",
            "%2e%2e/outside.json",
            "..%2foutside.json",
            "/app-too/s.json",
        ] {
            let main = format!(r#"{{"$ref":"{uri}"}}"#);
            let error = compile(&[("/app/s.json", &main)]).unwrap_err();
            assert!(matches!(error, CompileError::Outside { .. }), "{uri}: {error:?}");
        }
    }

    #[test]
    fn a_schema_that_is_none_says_where() {
        let bad = |text: &str| compile(&[("/app/s.json", text)]).unwrap_err().to_string();
        assert!(bad("{").contains("not JSON"));
        let error = bad(r#"{"properties":{"n":{"type":"intger"}}}"#);
        assert!(error.contains("/properties/n/type"), "{error}");
        assert!(!bad(r#"{"pattern":"("}"#).is_empty());
        assert!(!bad(r#"{"pattern":"(?=a)b"}"#).is_empty(), "no look-around: it backtracks");
        assert!(!bad(r##"{"$ref":"#/$defs/none"}"##).is_empty());
        assert!(!bad("7").is_empty());
        assert!(!bad(r#"{"$schema":"https://example.org/mine"}"#).is_empty());
    }

    #[test]
    fn a_pattern_takes_no_longer_for_hostile_text() {
        let schema = compile(&[("/app/s.json", r#"{"pattern":"^(a+)+$"}"#)]).unwrap();
        let text = format!("\"{}b\"", "a".repeat(200_000));
        assert!(schema.check(&text).is_err());
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let text = r##"{"properties":{"next":{"$ref":"#"}},"type":"object"}"##;
        let schema = compile(&[("/app/s.json", text)]).unwrap();
        let deep = format!("{}{{}}{}", r#"{"next":"#.repeat(100), "}".repeat(100));
        assert!(schema.check(&deep).is_ok());
        let deeper = format!("{}{{}}{}", r#"{"next":"#.repeat(5_000), "}".repeat(5_000));
        assert!(schema.check(&deeper).unwrap_err().to_string().contains("recursion"));
    }
}
