//! Tests over `test-data/`: parser and schema must not drift apart.
//!
//! `good/` is accepted by both, `bad/` refused by both, `semantic/` is well-formed and refused by
//! the parser alone. The first line of a refused file names the errors it must give, all of them
//! and no others. On top of the files, random changes to the good ones are judged by both.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;

use crate::shape::check::check_file;
use crate::shape::format::Format;
use crate::shape::tables::ROOT;
use crate::sink::Sink;
use crate::source::Source;
use crate::tree::{self, Node, Value};
use crate::{Options, Problem, Severity};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test-data")
}

fn files(kind: &str) -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = std::fs::read_dir(data().join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn errors(problems: &[Problem]) -> BTreeSet<&'static str> {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(|problem| problem.code.as_str()).collect()
}

/// Everything reported for a text, and whether it was accepted.
fn parse(path: &Path, text: &str) -> (bool, Vec<Problem>) {
    match crate::parse(text, path, &Options::default()) {
        Ok(loaded) => (true, loaded.warnings),
        Err(problems) => (false, problems.0),
    }
}

/// What the shapes alone say, and the document as JSON for the schema.
fn structure(text: &str) -> Option<(bool, serde_json::Value)> {
    let mut out = Sink::new();
    let file = out.add_source(Source::new("t".into(), text.into(), PathBuf::from("/")));
    let root = tree::parse(text, file, &mut out);
    if out.has_errors() {
        return None;
    }
    let json = to_json(&root)?;
    check_file(&ROOT, &root, &mut out);
    Some((!out.has_errors(), json))
}

fn to_json(node: &Node) -> Option<serde_json::Value> {
    Some(match &node.value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        // JSON cannot tell 1.0 from 1 and has no infinity; the schema is not asked about those.
        Value::Float(number) if number.fract() == 0.0 || !number.is_finite() => return None,
        Value::Float(number) => json!(number),
        Value::Bool(value) => json!(value),
        // Whatever TOML has and JSON has not is no type that any key takes.
        Value::Time => json!(null),
        Value::List(items) => json!(items.iter().map(to_json).collect::<Option<Vec<_>>>()?),
        Value::Table(table) => {
            let entries =
                table.iter().map(|(key, entry)| Some((key.clone(), to_json(&entry.node)?)));
            serde_json::Value::Object(entries.collect::<Option<_>>()?)
        }
        Value::Broken => return None,
    })
}

struct Schemas(Vec<jsonschema::Validator>);

impl Schemas {
    fn new() -> Self {
        let compile = |schema| jsonschema::validator_for(&schema).unwrap();
        Self(vec![compile(crate::schema()), compile(crate::schema_2020())])
    }

    fn verdict(&self, json: &serde_json::Value) -> bool {
        let verdicts: BTreeSet<bool> = self.0.iter().map(|schema| schema.is_valid(json)).collect();
        assert_eq!(verdicts.len(), 1, "the two drafts disagree on {json}");
        verdicts.contains(&true)
    }
}

#[test]
fn good_files_are_accepted_by_parser_and_schema() {
    let schemas = Schemas::new();
    let files = files("good");
    assert!(files.len() >= 25, "{}", files.len());
    for (path, text) in files {
        // The joined document of an application without services of its own is in its parts.
        let (accepted, problems) = parse(&path, &text);
        assert!(accepted, "{}: {problems:#?}", path.display());
        let (accepted, json) = structure(&text).unwrap();
        assert!(accepted, "{}", path.display());
        assert!(schemas.verdict(&json), "the schema refuses {}", path.display());
    }
}

fn expected(text: &str) -> BTreeSet<&str> {
    let first = text.lines().next().unwrap();
    first.strip_prefix("# expect: ").unwrap().split_whitespace().collect()
}

#[test]
fn bad_files_are_refused_by_parser_and_schema() {
    let schemas = Schemas::new();
    let files = files("bad");
    assert!(files.len() >= 60, "{}", files.len());
    for (path, text) in files {
        let (_, problems) = parse(&path, &text);
        // Broken parts may well have consequences elsewhere, so more than these may be found.
        let found = errors(&problems);
        assert!(expected(&text).is_subset(&found), "{}: {problems:#?}", path.display());
        let (accepted, json) = structure(&text).unwrap();
        assert!(!accepted, "{}", path.display());
        assert!(!schemas.verdict(&json), "the schema accepts {}", path.display());
    }
}

#[test]
fn semantic_files_are_refused_by_the_parser_alone() {
    let schemas = Schemas::new();
    for (path, text) in files("semantic") {
        let (_, problems) = parse(&path, &text);
        assert_eq!(errors(&problems), expected(&text), "{}: {problems:#?}", path.display());
        // Numbers beyond 64 bits have no place in JSON.
        if let Some((accepted, json)) = structure(&text) {
            assert!(accepted, "{}: {problems:#?}", path.display());
            assert!(schemas.verdict(&json), "the schema refuses {}", path.display());
        }
    }
}

#[test]
fn every_key_of_the_schema_has_a_description() {
    fn walk(schema: &serde_json::Value, at: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.len() > 3, "{at}.{name} has no description");
        }
        for (name, child) in schema.as_object().into_iter().flatten() {
            walk(child, &format!("{at}.{name}"));
        }
    }
    walk(&crate::schema(), "");
    walk(&crate::schema_of_included(), "");
}

/// One random change to a document: what people do when they mistype, and a little worse.
fn changed(root: &serde_json::Value, seed: u64) -> serde_json::Value {
    let mut random = seed;
    let mut next = move |below: usize| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below.max(1)
    };
    let mut root = root.clone();
    for _ in 0..=next(3) {
        let mut node = &mut root;
        loop {
            let children = match node {
                serde_json::Value::Object(map) => map.len(),
                serde_json::Value::Array(items) => items.len(),
                _ => 0,
            };
            if children == 0 || next(5) == 0 {
                break;
            }
            let at = next(children);
            node = match node {
                serde_json::Value::Object(map) => map.values_mut().nth(at).unwrap(),
                serde_json::Value::Array(items) => &mut items[at],
                _ => unreachable!(),
            };
        }
        let keys =
            ["path", "run", "secret", "to", "tcp", "engine", "x", "split", "B", "a.b", "calls"];
        match (next(4), &mut *node) {
            (0, serde_json::Value::Object(map)) => {
                let at = next(map.len());
                if let Some(key) = map.keys().nth(at).cloned() {
                    map.remove(&key);
                }
            }
            (1, serde_json::Value::Object(map)) => {
                map.insert(keys[next(keys.len())].to_owned(), value(next(14)));
            }
            (1, serde_json::Value::Array(items)) => items.push(value(next(14))),
            _ => *node = value(next(14)),
        }
    }
    root
}

fn value(which: usize) -> serde_json::Value {
    match which {
        0 => json!(0),
        1 => json!(-1),
        2 => json!(1),
        3 => json!(0.5),
        4 => json!(true),
        5 => json!(false),
        6 => json!(""),
        7 => json!("20s"),
        8 => json!("/x"),
        9 => json!("order.placed"),
        10 => json!([]),
        11 => json!(["a", "a"]),
        12 => json!({}),
        _ => json!({"secret": "a"}),
    }
}

/// TOML for a JSON document, all inline.
fn to_toml(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Object(map) => {
            let entries = map.iter().map(|(k, v)| format!("{} = {}", quoted(k), to_toml(v)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(to_toml).collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn document_of(json: &serde_json::Value) -> Option<String> {
    let map = json.as_object()?;
    let lines = map.iter().map(|(key, value)| format!("{} = {}\n", quoted(key), to_toml(value)));
    Some(lines.collect())
}

#[test]
fn parser_and_schema_agree_on_changed_files() {
    let schemas = Schemas::new();
    let good: Vec<serde_json::Value> =
        files("good").iter().map(|(_, text)| structure(text).unwrap().1).collect();
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..4_000u64 {
        let json = changed(&good[usize::try_from(seed).unwrap() % good.len()], seed * 7 + 1);
        let Some(text) = document_of(&json) else { continue };
        let Some((parser, json)) = structure(&text) else { continue };
        assert_eq!(parser, schemas.verdict(&json), "seed {seed}:\n{text}");
        if parser { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted > 100 && refused > 1_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn forms_and_their_regular_expressions_agree() {
    let pieces = [
        "",
        "a",
        "B",
        "7",
        "-",
        "_",
        ".",
        "*",
        "**",
        "/",
        " ",
        "ms",
        "s",
        "m",
        "d",
        "..",
        "K",
        "Mi",
        "B",
        "%",
        "random:",
        "http://",
        "é",
        "\n",
        "\0",
        "1.5",
        "order",
        "999999999",
        "0000000000",
    ];
    let validators: Vec<(Format, jsonschema::Validator)> = Format::ALL
        .into_iter()
        .filter_map(|format| {
            let schema = json!({"type": "string", "pattern": format.regex()?});
            Some((format, jsonschema::validator_for(&schema).unwrap()))
        })
        .collect();
    let text = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..6);
    let config = ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() };
    proptest!(config, |(words in text)| {
        let text = words.concat();
        for (format, validator) in &validators {
            prop_assert_eq!(format.accepts(&text), validator.is_valid(&json!(text)), "{:?} {:?}", format, text);
        }
    });
}
