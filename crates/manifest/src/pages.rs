//! Tests over `docs/errors/`: what the pages show is what the parser does.
//!
//! In a page, blocks marked `toml bad` are a file that gives the code, `toml fixed` one that does
//! not and has no errors at all. A word more in the mark is the name of a further file;
//! `profile=x` chooses a profile; a block `text files` lists the only paths that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::shape::tables::{PART, ROOT};
use crate::shape::{Keys, Shape};
use crate::{Code, Files, Kind, Memory, Options, Problem, Severity};

#[derive(Default)]
struct Example {
    files: BTreeMap<PathBuf, String>,
    profile: Option<String>,
}

#[derive(Default)]
struct Page {
    bad: Option<Example>,
    fixed: Option<Example>,
    existing: Option<BTreeSet<String>>,
}

fn read(page: &str) -> Page {
    let mut result = Page::default();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(mark) = line.strip_prefix("```") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let mut words = mark.split_whitespace().skip(1);
        let example = match words.next() {
            Some("bad") => result.bad.get_or_insert_default(),
            Some("fixed") => result.fixed.get_or_insert_default(),
            Some("files") => {
                result.existing = Some(body.iter().map(|line| (*line).to_owned()).collect());
                continue;
            }
            _ => continue,
        };
        let mut name = "archipel.toml";
        for word in words {
            match word.strip_prefix("profile=") {
                Some(profile) => example.profile = Some(profile.to_owned()),
                None => name = word,
            }
        }
        example.files.insert(Path::new("/app").join(name), body.join("\n"));
    }
    result
}

/// Files in memory, of which the paths that exist are known.
struct Listed(Memory, Option<BTreeSet<String>>);

impl Files for Listed {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }

    fn kind(&self, path: &Path) -> Kind {
        let Some(existing) = &self.1 else { return self.0.kind(path) };
        let Ok(path) = path.strip_prefix("/app") else { return Kind::Directory };
        let path = path.display().to_string();
        if existing.contains(&path) {
            Kind::File
        } else if path.is_empty() || existing.contains(&format!("{path}/")) {
            Kind::Directory
        } else {
            Kind::Missing
        }
    }

    fn names_in(&self, directory: &Path) -> Vec<String> {
        self.0.names_in(directory)
    }
}

/// Stands for the language of questions, which is not known in this crate.
fn not_soon(question: &str) -> Result<(), String> {
    match question.contains(">soon") {
        true => Err("`>` compares with a number or a duration".to_owned()),
        false => Ok(()),
    }
}

fn run(example: Example, existing: Option<BTreeSet<String>>) -> Vec<Problem> {
    let files = Listed(Memory(example.files), existing);
    let options = Options { profile: example.profile, question: Some(not_soon) };
    match crate::load_from(&files, Path::new("/app/archipel.toml"), &options) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.0,
    }
}

#[test]
fn the_examples_of_every_page_do_what_they_say() {
    // These are about whole files, or not about the file, and have tests of their own.
    let without_example = [Code::TooLarge, Code::NotUtf8, Code::IncludeTooMany, Code::SharedStore];
    for code in Code::ALL {
        let page = read(code.page());
        match page.bad {
            Some(bad) => {
                let problems = run(bad, page.existing.clone());
                let found = problems.iter().any(|problem| problem.code == *code);
                assert!(found, "the bad example of {code} gives {problems:#?}");
                assert!(
                    problems.iter().all(|p| p.code == *code || p.severity == Severity::Warning),
                    "the bad example of {code} has other errors too: {problems:#?}"
                );
            }
            None => assert!(without_example.contains(code), "{code} has no bad example"),
        }
        if let Some(fixed) = page.fixed {
            let problems = run(fixed, page.existing);
            let clean = problems
                .iter()
                .all(|problem| problem.code != *code && problem.severity == Severity::Warning);
            assert!(clean, "the fixed example of {code} gives {problems:#?}");
        } else {
            assert!(without_example.contains(code), "{code} has no fixed example");
        }
    }
}

#[test]
fn every_page_belongs_to_a_code_and_has_its_title() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    let pages: BTreeSet<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<String> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
    assert_eq!(pages, expected);
    for code in Code::ALL {
        let first = code.page().lines().next().unwrap();
        assert_eq!(first, format!("# {code}: {}", code.title()));
        assert!(code.page().contains("\n## What to do\n"), "{code}");
    }
}

#[test]
fn a_page_is_found_by_what_people_type() {
    for typed in ["ARC0104", "arc0104", "104", " arc104 "] {
        assert_eq!(crate::explain(typed), Some(Code::UnknownCallee.page()), "{typed}");
    }
    for typed in ["", "ARC", "ARC9999", "x", "1040000", "ARCé"] {
        assert_eq!(crate::explain(typed), None, "{typed}");
    }
}

/// For each table, the keys that are for later.
fn later_keys() -> BTreeMap<&'static str, Vec<&'static str>> {
    fn walk(shape: Shape, found: &mut BTreeMap<&'static str, Vec<&'static str>>) {
        match shape {
            Shape::Keys(keys) => table(keys, found),
            Shape::Names(names) => walk(names.of, found),
            Shape::List(list) => walk(list.of, found),
            Shape::Either(either) => either.options.iter().for_each(|option| walk(*option, found)),
            _ => {}
        }
    }
    fn table(keys: &'static Keys, found: &mut BTreeMap<&'static str, Vec<&'static str>>) {
        let later = keys.keys.iter().filter(|key| key.later.is_some()).map(|key| key.name);
        found.insert(keys.what, later.collect());
        // What stands within a key that is for later is covered by it.
        keys.keys.iter().filter(|key| key.later.is_none()).for_each(|key| walk(key.shape, found));
    }
    let mut found = BTreeMap::new();
    table(&ROOT, &mut found);
    table(&PART, &mut found);
    found.retain(|_, keys| !keys.is_empty());
    found
}

#[test]
fn the_page_about_later_keys_lists_them_all() {
    let listed: Vec<String> = later_keys()
        .into_iter()
        .map(|(table, keys)| format!("- {table}: `{}`", keys.join("`, `")))
        .collect();
    let listed = listed.join("\n");
    assert!(Code::Later.page().contains(&listed), "the page should have:\n{listed}");
}
