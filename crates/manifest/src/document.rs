//! From files to one document: the main file, what it includes, and the chosen profile.
//!
//! Each file is checked against its shape by itself, then sections are joined: a name belongs to
//! one file, so a second definition is a problem and not an override. A profile is then merged
//! into the joined document, as if the user had edited it. So `[profiles.x.defaults]` changes
//! defaults and never what a service says itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Code;
use crate::files::{FILE_BYTES_MAX, Files, resolve};
use crate::shape::merge::merge;
use crate::shape::tables::{PART, ROOT};
use crate::shape::{Shape, check};
use crate::sink::{Sink, shown};
use crate::source::{FileId, Sited, Source, Span};
use crate::tree::{self, Entry, Node, Table, Value};

const FILES_MAX: usize = 100;

/// Sections in which every name is defined once over all files.
const NAMED_SECTIONS: [&str; 9] =
    ["services", "externals", "events", "jobs", "workflows", "secrets", "alerts", "slos", "checks"];

pub(crate) struct Document {
    /// All files joined, without a profile.
    pub(crate) base: Node,
    /// With the chosen profile, when one was chosen.
    merged: Option<Node>,
    /// Absolute paths, the main file first.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) profile: Option<String>,
}

pub(crate) struct Main<'a> {
    /// Absolute.
    pub(crate) path: &'a Path,
    /// As the user gave it.
    pub(crate) shown: &'a Path,
}

impl Document {
    /// The same files with another profile.
    pub(crate) fn switch_to(&mut self, profile: &str, main: &Path, out: &mut Sink) {
        self.merged = Some(with_profile(&self.base, profile, main, out));
        self.profile = Some(profile.to_owned());
    }

    pub(crate) fn profiles(&self) -> Vec<String> {
        self.base.entries("profiles").map(|(name, _)| name.to_owned()).collect()
    }

    /// What the application is made of.
    pub(crate) fn effective(&self) -> &Node {
        self.merged.as_ref().unwrap_or(&self.base)
    }
}

/// Reads `main` and all it includes. `None` when the main file could not be read or when some
/// text was not TOML: checks that span sections would then report what is only unreadable.
pub(crate) fn read(
    main: &Main<'_>,
    profile: Option<&str>,
    files: &dyn Files,
    follow_includes: bool,
    out: &mut Sink,
) -> Option<Document> {
    let mut reading = Reading { files, out, read: BTreeMap::new(), paths: Vec::new() };
    let name = main.shown.display().to_string();
    let text = reading.text_of(main.path, &name, None)?;
    let mut base = reading.file(main.path, name, text);
    if follow_includes {
        let mut chain = vec![main.path.to_owned()];
        let includes = includes_of(&base);
        reading.includes(&includes, FileId(0), &mut chain, &mut base);
    }
    let paths = reading.paths;
    if out.has_syntax_errors() {
        return None;
    }
    let merged = profile.map(|profile| with_profile(&base, profile, main.shown, out));
    Some(Document { base, merged, files: paths, profile: profile.map(str::to_owned) })
}

struct Reading<'a> {
    files: &'a dyn Files,
    out: &'a mut Sink,
    read: BTreeMap<PathBuf, FileId>,
    paths: Vec<PathBuf>,
}

impl Reading<'_> {
    /// `at` is the entry of `include` that names the file.
    fn text_of(&mut self, path: &Path, name: &str, at: Option<Span>) -> Option<String> {
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
                    _ => error.to_string(),
                };
                let siblings = path.parent().map(|p| self.files.names_in(p)).unwrap_or_default();
                let wanted = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                let otherwise = match at {
                    Some(_) => "paths in a file start at that file's directory",
                    None => "`archipel init` writes a first one",
                };
                let siblings = siblings.iter().map(String::as_str);
                let help = self.out.hint(wanted, siblings, otherwise);
                let message = format!("cannot read `{}`: {reason}", shown(name));
                self.unreadable(Code::Unreadable, name, at, message).help(help);
                return None;
            }
        };
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let message = format!("`{}` is larger than 1 MiB", shown(name));
            self.unreadable(Code::TooLarge, name, at, message)
                .help("split it with `include`, one file per team");
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let before = &error.as_bytes()[..offset];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let message = format!("`{}` is not UTF-8 text: see line {line}", shown(name));
                self.unreadable(Code::NotUtf8, name, at, message)
                    .help("save the file with the encoding UTF-8");
                None
            }
        }
    }

    fn unreadable(
        &mut self,
        code: Code,
        name: &str,
        at: Option<Span>,
        message: String,
    ) -> &mut crate::sink::Note {
        match at {
            Some(span) => self.out.report(code, span, message).label("included here"),
            None => self.out.report_file(code, name, message),
        }
    }

    fn file(&mut self, path: &Path, name: String, text: String) -> Node {
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let text: Arc<str> = text.into();
        let id = self.out.add_source(Source::new(name, Arc::clone(&text), directory));
        self.read.insert(path.to_owned(), id);
        self.paths.push(path.to_owned());
        let errors_before = self.out.syntax_errors();
        let root = tree::parse(&text, id, self.out);
        // What the parser made up to recover is no basis for further reproach.
        if self.out.syntax_errors() == errors_before {
            check::check_file(if id == FileId(0) { &ROOT } else { &PART }, &root, self.out);
        }
        root
    }

    fn includes(
        &mut self,
        includes: &[Sited<String>],
        id: FileId,
        chain: &mut Vec<PathBuf>,
        base: &mut Node,
    ) {
        for entry in includes {
            let text = entry.value.as_str();
            let path = resolve(&self.out.source(id).directory.clone(), text);
            if let Some(from) = chain.iter().position(|open| *open == path) {
                self.report_cycle(entry.span, &chain[from..], &path);
                continue;
            }
            // Two teams may both include a third file: it is read once.
            if self.read.contains_key(&path) {
                continue;
            }
            if self.read.len() > FILES_MAX {
                self.out
                    .report(Code::IncludeTooMany, entry.span, "more than 100 files are included")
                    .label("from here on nothing is read")
                    .help("join some of them");
                return;
            }
            let name = self.shown_path(id, text);
            let Some(content) = self.text_of(&path, &name, Some(entry.span)) else { continue };
            let part = self.file(&path, name, content);
            let part_id = self.read[&path];
            join(base, &part, self.out);
            chain.push(path);
            self.includes(&includes_of(&part), part_id, chain, base);
            chain.pop();
        }
    }

    /// How people know an included file: beside the one that includes it.
    fn shown_path(&self, from: FileId, text: &str) -> String {
        let beside = Path::new(&self.out.source(from).name).parent().unwrap_or(Path::new(""));
        resolve(beside, text).display().to_string()
    }

    fn report_cycle(&mut self, at: Span, chain: &[PathBuf], path: &Path) {
        let short = |path: &Path| {
            let known = self.read.get(path).map(|id| self.out.source(*id).name.clone());
            known.unwrap_or_else(|| path.display().to_string())
        };
        let mut names: Vec<String> = chain.iter().map(|path| short(path)).collect();
        names.push(short(path));
        self.out
            .report(
                Code::IncludeCycle,
                at,
                format!("files include each other: {}", names.join(" → ")),
            )
            .label("leads back")
            .help("remove one of these includes");
    }
}

fn includes_of(file: &Node) -> Vec<Sited<String>> {
    let entries = file.get("include").and_then(Node::list).unwrap_or_default();
    let texts = entries
        .iter()
        .filter_map(|entry| Some(Sited { value: entry.text()?.to_owned(), span: entry.span }));
    texts.collect()
}

/// Adds the sections of an included file.
fn join(base: &mut Node, part: &Node, out: &mut Sink) {
    let Value::Table(base) = &mut base.value else { return };
    for section in NAMED_SECTIONS {
        add_names(base, part, section, out);
    }
    join_gateway(base, part, out);
    let Some(profiles) = part.entry("profiles") else { return };
    let Some(own) = child(base, "profiles", profiles) else { return };
    for (profile, entry) in part.entries("profiles") {
        let Some(target) = child(own, profile, entry) else { continue };
        for section in ["services", "externals"] {
            add_names(target, &entry.node, section, out);
        }
    }
}

fn join_gateway(base: &mut Table, part: &Node, out: &mut Sink) {
    let Some(gateway) = part.entry("gateway") else { return };
    let Some(target) = child(base, "gateway", gateway) else { return };
    for section in ["auth", "limits"] {
        add_names(target, &gateway.node, section, out);
    }
    let Some(routes) = gateway.node.entry("routes") else { return };
    let Some(more) = routes.node.list() else { return };
    let own = target.entry("routes".to_owned()).or_insert_with(|| Entry {
        key: routes.key,
        node: Node { value: Value::List(Vec::new()), span: routes.node.span },
    });
    if let Value::List(own) = &mut own.node.value {
        own.extend_from_slice(more);
    }
}

/// The table under `key`, made if there is none; `None` when something else stands there, which
/// was reported.
fn child<'a>(table: &'a mut Table, key: &str, like: &Entry) -> Option<&'a mut Table> {
    let empty = Node { value: Value::Table(Table::new()), span: like.node.span };
    let entry = table.entry(key.to_owned()).or_insert(Entry { key: like.key, node: empty });
    match &mut entry.node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

fn add_names(base: &mut Table, part: &Node, section: &str, out: &mut Sink) {
    let Some(entry) = part.entry(section) else { return };
    let Some(own) = child(base, section, entry) else { return };
    for (name, entry) in part.entries(section) {
        match own.get(name) {
            Some(first) => {
                let message = format!("`{}` of `{section}` is defined twice", shown(name));
                out.report(Code::DefinedTwice, entry.key, message)
                    .label("again here")
                    .also(first.key, "first")
                    .help("a name belongs to one file; rename or remove one of the two");
            }
            None => {
                own.insert(name.to_owned(), entry.clone());
            }
        }
    }
}

fn with_profile(base: &Node, profile: &str, main: &Path, out: &mut Sink) -> Node {
    let Some(overlay) = base.get("profiles").and_then(|profiles| profiles.get(profile)) else {
        let known: Vec<&str> = base.entries("profiles").map(|(name, _)| name).collect();
        let otherwise = match known.as_slice() {
            [] => "this application has no profiles; they stand in [profiles.<name>]".to_owned(),
            known => format!("known: {}", known.join(", ")),
        };
        let help = out.hint(profile, known.iter().copied(), otherwise);
        let message = format!("profile `{}` is not defined", shown(profile));
        out.report_file(Code::UnknownProfile, &main.display().to_string(), message).help(help);
        return base.clone();
    };
    let mut merged = base.clone();
    let Value::Table(table) = &mut merged.value else { return merged };
    for (section, entry) in overlay.table().into_iter().flatten() {
        let Some(key) = ROOT.key(section) else { continue };
        let over = match key.shape {
            // Names that the base does not have are reported elsewhere, for every profile.
            Shape::Names(_) => only_known(&entry.node, table.get(section)),
            _ => entry.node.clone(),
        };
        let node = match table.get(section) {
            Some(below) => merge(key.shape, &below.node, &over),
            None => over,
        };
        let key = table.get(section).map_or(entry.key, |below| below.key);
        table.insert(section.clone(), Entry { key, node });
    }
    merged
}

fn only_known(over: &Node, base: Option<&Entry>) -> Node {
    let Some(table) = over.table() else { return over.clone() };
    let known = table
        .iter()
        .filter(|(name, _)| base.is_some_and(|base| base.node.get(name).is_some()))
        .map(|(name, entry)| (name.clone(), entry.clone()));
    Node { value: Value::Table(known.collect()), span: over.span }
}
