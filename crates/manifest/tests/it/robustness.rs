//! No input makes this crate panic, hang or contradict itself.

use std::path::Path;

use proptest::prelude::*;

use archipel_manifest::exercise;

fn corpus() -> Vec<String> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-data");
    let mut paths: Vec<_> = ["good", "bad", "semantic", "proposal"]
        .iter()
        .flat_map(|kind| std::fs::read_dir(data.join(kind)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_sample_file_survives() {
    for text in corpus() {
        exercise(text.as_bytes());
    }
}

/// One change to a text: cut, repeat, swap or insert.
#[derive(Debug, Clone)]
struct Change {
    at: prop::sample::Index,
    length: usize,
    insert: String,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let pieces = vec![
        "",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "[[",
        "]]",
        "*",
        "**",
        "/",
        "0",
        "-1",
        "9999999999999999999",
        "1e400",
        "nan",
        "true",
        "\"\"",
        "\"\"\"",
        "\\",
        "\\u0000",
        "é",
        "😀",
        "[services.a]\n",
        "[profiles.dev]\n",
        "run = \"./a\"\n",
        "\"a.b\"",
        "0s",
        "../../..",
        "\0",
        "a = { secret = \"x\" }",
        "$(x)",
        "\r",
        "\t",
        "2026-01-01",
    ];
    let change = (any::<prop::sample::Index>(), 0..40usize, prop::sample::select(pieces))
        .prop_map(|(at, length, insert)| Change { at, length, insert: insert.to_owned() });
    prop::collection::vec(change, 1..6)
}

fn apply(text: &str, changes: &[Change]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for change in changes {
        let at = change.at.index(bytes.len() + 1);
        let end = (at + change.length).min(bytes.len());
        bytes.splice(at..end, change.insert.bytes());
    }
    bytes
}

#[test]
fn changed_files_never_make_it_panic() {
    let corpus = corpus();
    let config = ProptestConfig { cases: 800, failure_persistence: None, ..Default::default() };
    proptest!(config, |(which in any::<prop::sample::Index>(), changes in changes())| {
        exercise(&apply(&corpus[which.index(corpus.len())], &changes));
    });
}

#[test]
fn random_bytes_never_make_it_panic() {
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() };
    proptest!(config, |(bytes in prop::collection::vec(any::<u8>(), 0..300))| {
        exercise(&bytes);
    });
}

/// Each within the stack of a test thread (2 MiB) and in reasonable time.
#[test]
fn hostile_files_are_refused_calmly() {
    let dotted = vec!["k"; 79].join(".");
    let inline = format!("{} 1 {}", format!("{{ {dotted} = ").repeat(79), "}".repeat(79));
    let many = |line: &dyn Fn(usize) -> String, bytes: usize| {
        let mut text = "version = 1\napp.name = \"x\"\n".to_owned();
        let mut i = 0;
        while text.len() < bytes {
            text += &line(i);
            i += 1;
        }
        text
    };
    let files = [
        format!("[{dotted}]\n{dotted} = {inline}\n"),
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}{}", "[".repeat(70), "]".repeat(70)),
        "a.".repeat(400_000),
        "[".repeat(200_000),
        "[x]\n".repeat(100_000),
        "x = = 1\n[y]\n".repeat(2_000),
        "\u{feff}version = 1".to_owned(),
        many(&|i| format!("[services.s{i}]\nrun = \"./a\"\ncalls = [\"t{i}\"]\n"), 200_000),
        many(
            &|i| {
                format!(
                    "[services.s{i}]\nrun = \"./a\"\nsubscribes = [\"t{i}.*\"]\npublishes = [\"p.q{i}\"]\n"
                )
            },
            500_000,
        ),
        many(
            &|i| format!("[services.s{i}]\nrun = \"./a\"\ndepends_on = [\"s{}\"]\n", i + 1),
            500_000,
        ),
        many(&|i| format!("[[gateway.routes]]\nmatch = \"/*/a{i}\"\nto = \"x\"\n"), 150_000),
        many(&|i| format!("unknown{i} = 1\n"), 150_000),
    ];
    for text in files {
        exercise(text.as_bytes());
    }
}
