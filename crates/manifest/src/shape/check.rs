//! Checks one file against the shapes, and warns about keys that are for later.
//!
//! Reports everything that is wrong with a value once, here. Whoever reads the tree afterwards
//! takes what fits and skips the rest in silence.

use super::format::Format;
use super::{Choice, Either, Inert, Key, Keys, List, Names, Part, Rule, Shape};
use crate::Code;
use crate::sink::{Sink, shown};
use crate::source::Span;
use crate::tree::{Entry, Node, Table, Value};

/// Checks a whole file; `keys` is the table of a main or of an included file.
pub(crate) fn check_file(keys: &'static Keys, root: &Node, out: &mut Sink) {
    let Some(table) = root.table() else { return };
    let mut checker = Checker { out };
    checker.keys_of(keys, table, root.span);
    for (name, entry) in table {
        match keys.key(name) {
            Some(key) => {
                checker.warn_if_later(key, entry);
                let overlay = super::tables::is_overlay(name);
                let part = if overlay { Part::Overlay } else { Part::Whole };
                checker.shape(key.shape, name, &entry.node, part);
            }
            None if super::tables::ROOT.key(name).is_some() => {
                checker
                    .out
                    .report(
                        Code::NotInPart,
                        entry.key,
                        format!("`{name}` cannot stand in an included file"),
                    )
                    .label("belongs in the main file")
                    .help(format!("move `{name}` to the file that includes this one"));
            }
            None => checker.unknown_key(keys, name, entry.key),
        }
    }
    checker.rules(keys, table, root.span, Part::Whole);
}

struct Checker<'a> {
    out: &'a mut Sink,
}

impl Checker<'_> {
    fn shape(&mut self, shape: Shape, name: &str, node: &Node, part: Part) {
        if matches!(node.value, Value::Broken) {
            return;
        }
        if !shape.fits_type(node) {
            return self.wrong_type(shape, name, node);
        }
        match shape {
            Shape::Text(format) => self.text(format, name, node),
            Shape::Integer(min, max) => self.integer(min, max, name, node),
            Shape::Number => self.number(name, node),
            Shape::True => self.only_true(name, node),
            Shape::Version => self.version(node),
            Shape::Choice(choice) => self.choice(choice, name, node),
            Shape::List(list) => self.list(list, name, node),
            Shape::Keys(keys) => self.keys(keys, node, part),
            Shape::Names(names) => self.names(names, name, node, part),
            Shape::Either(either) => self.either(either, name, node, part),
            Shape::Bool | Shape::Free => {}
        }
    }

    fn wrong_type(&mut self, shape: Shape, name: &str, node: &Node) {
        let (want, found) = (shape.what(), node.kind());
        let help = type_hint(shape, node);
        let note = self
            .out
            .report(
                Code::WrongType,
                node.span,
                format!("`{}` must be {want}, not {found}", shown(name)),
            )
            .label(format!("this is {found}"));
        if let Some(help) = help {
            note.help(help);
        }
    }

    fn text(&mut self, format: Format, name: &str, node: &Node) {
        let text = node.text().unwrap_or_default();
        if format.accepts(text) {
            return;
        }
        let message = if text.is_empty() {
            format!("`{}` is empty", shown(name))
        } else {
            format!("`{}` is not {}", shown(text), format.what())
        };
        let help = format!("{} is {}", shown(name), format.rule());
        self.out
            .report(format.code(), node.span, message)
            .label(format!("not {}", format.what()))
            .help(help);
    }

    fn integer(&mut self, min: i64, max: i64, name: &str, node: &Node) {
        let Some(number) = node.integer().filter(|n| !(min..=max).contains(n)) else { return };
        self.out
            .report(Code::OutOfBounds, node.span, format!("`{}` cannot be {number}", shown(name)))
            .label("out of bounds")
            .help(format!("a number from {min} to {max}"));
    }

    fn number(&mut self, name: &str, node: &Node) {
        let positive = match node.value {
            Value::Integer(number) => number > 0,
            Value::Float(number) => number.is_finite() && number > 0.0,
            _ => return,
        };
        if !positive {
            self.out
                .report(
                    Code::OutOfBounds,
                    node.span,
                    format!("`{}` must be above zero", shown(name)),
                )
                .label("out of bounds");
        }
    }

    fn only_true(&mut self, name: &str, node: &Node) {
        if node.bool() == Some(false) {
            self.out
                .report(
                    Code::NotAChoice,
                    node.span,
                    format!("`{}` can only be `true`", shown(name)),
                )
                .label("leave it out instead");
        }
    }

    fn version(&mut self, node: &Node) {
        let Some(number) = node.integer().filter(|n| *n != 1) else { return };
        self.out
            .report(
                Code::Version,
                node.span,
                format!("version {number} of the file format is not known"),
            )
            .label("this binary reads version 1")
            .help("write `version = 1`, or use the release of archipel that the file was made for");
    }

    fn choice(&mut self, choice: &Choice, name: &str, node: &Node) {
        let text = node.text().unwrap_or_default();
        if choice.values.contains(&text) {
            return;
        }
        let refused = choice.refused.iter().find(|(value, ..)| *value == text);
        let accepted = choice.accepted();
        let (code, help) = match refused {
            Some((_, code, hint)) => (*code, (*hint).to_owned()),
            None => {
                let help = self.out.hint(text, choice.values.iter().copied(), String::new());
                let accepted = format!("accepted: {accepted}");
                let help = if help.is_empty() { accepted } else { format!("{help} {accepted}") };
                (Code::NotAChoice, help)
            }
        };
        self.out
            .report(code, node.span, format!("`{}` cannot be \"{}\"", shown(name), shown(text)))
            .label("not accepted here")
            .help(help);
    }

    fn list(&mut self, list: &List, name: &str, node: &Node) {
        let items = node.list().unwrap_or_default();
        if list.nonempty && items.is_empty() {
            self.out
                .report(Code::Empty, node.span, format!("`{}` is empty", shown(name)))
                .label("at least one entry")
                .help("fill it, or leave the key out");
        }
        // Arrays are replaced and not merged, so what stands in one is always whole.
        for item in items {
            self.shape(list.of, name, item, Part::Whole);
        }
        if !list.distinct {
            return;
        }
        let mut seen = std::collections::BTreeMap::new();
        for item in items {
            let Some(text) = item.text() else { continue };
            if let Some(first) = seen.insert(text, item.span) {
                self.out
                    .report(Code::Repeated, item.span, format!("`{}` is listed twice", shown(text)))
                    .label("again here")
                    .also(first, "first here")
                    .help("remove one of the two");
            }
        }
    }

    fn keys(&mut self, keys: &'static Keys, node: &Node, part: Part) {
        let Some(table) = node.table() else { return };
        if part == Part::Whole {
            self.keys_of(keys, table, node.span);
        }
        for (name, entry) in table {
            match keys.key(name) {
                Some(key) => {
                    self.warn_if_later(key, entry);
                    self.shape(key.shape, name, &entry.node, part);
                }
                None => self.unknown_key(keys, name, entry.key),
            }
        }
        self.rules(keys, table, node.span, part);
    }

    fn keys_of(&mut self, keys: &Keys, table: &Table, at: Span) {
        for key in keys.keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            self.out
                .report(Code::MissingKey, at, format!("{} needs `{}`", keys.what, key.name))
                .label(format!("`{}` is missing", key.name))
                .help(key.doc);
        }
    }

    fn unknown_key(&mut self, keys: &Keys, name: &str, at: Span) {
        let synonym = keys.synonyms.iter().find(|(theirs, _)| *theirs == name);
        let known = keys.keys.iter().map(|key| key.name);
        let help = match synonym {
            Some((_, ours)) => format!("it is called `{ours}` here"),
            None => {
                let all: Vec<String> =
                    keys.keys.iter().map(|key| format!("`{}`", key.name)).collect();
                self.out.hint(name, known, format!("known: {}", all.join(", ")))
            }
        };
        self.out
            .report(
                Code::UnknownKey,
                at,
                format!("`{}` is not a key of {}", shown(name), keys.what),
            )
            .label("unknown key")
            .help(help);
    }

    fn rules(&mut self, keys: &Keys, table: &Table, at: Span, part: Part) {
        for rule in keys.rules {
            let (names, at_most_one, at_least_one) = match *rule {
                Rule::ExactlyOne(names) => (names, true, true),
                Rule::AtMostOne(names) => (names, true, false),
                Rule::AnyOf(names) => (names, false, part == Part::Whole),
            };
            let given: Vec<(&str, &Entry)> =
                names.iter().filter_map(|name| Some((*name, table.get(*name)?))).collect();
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            if at_least_one && given.is_empty() {
                self.out
                    .report(
                        Code::MissingKey,
                        at,
                        format!("{} needs {}", keys.what, quoted.join(" or ")),
                    )
                    .label(format!("{} is missing", quoted.join(" or ")));
            }
            if at_most_one && given.len() > 1 {
                let (first, second) = (given[0], given[1]);
                self.out
                    .report(
                        Code::Exclusive,
                        second.1.key,
                        format!("{} has both `{}` and `{}`", keys.what, first.0, second.0),
                    )
                    .label("excludes the other")
                    .also(first.1.key, "given here")
                    .help(format!("keep one of {}", quoted.join(", ")));
            }
        }
    }

    fn names(&mut self, names: &Names, section: &str, node: &Node, part: Part) {
        for (name, entry) in node.table().into_iter().flatten() {
            if !names.key.accepts(name) {
                let message = format!(
                    "`{}` in `{}` is not {}",
                    shown(name),
                    shown(section),
                    names.key.what()
                );
                self.out
                    .report(names.key.code(), entry.key, message)
                    .label(format!("not {}", names.key.what()))
                    .help(names.key.rule());
            }
            self.shape(names.of, name, &entry.node, part);
        }
    }

    fn either(&mut self, either: &Either, name: &str, node: &Node, part: Part) {
        if let Some(option) = either.option_for(node) {
            self.shape(option, name, node, part);
        }
    }

    fn warn_if_later(&mut self, key: &Key, entry: &Entry) {
        let Some(later) = key.later else { return };
        let inert = match later.unless {
            Inert::Nothing => false,
            Inert::Text(text) => entry.node.text() == Some(text),
            Inert::Bool(value) => entry.node.bool() == Some(value),
        };
        if inert {
            return;
        }
        let message = format!("`{}` is understood, and not acted on yet in this version", key.name);
        self.out
            .report(Code::Later, entry.key, message)
            .label("for later")
            .help(format!("until then: {}", later.meanwhile));
    }
}

/// What to write instead, when it can be told from the value.
fn type_hint(shape: Shape, node: &Node) -> Option<String> {
    let options: &[Shape] = match &shape {
        Shape::Either(either) => either.options,
        shape => std::slice::from_ref(shape),
    };
    options.iter().find_map(|option| match (option, &node.value) {
        (Shape::Text(Format::Duration), Value::Integer(n)) => {
            Some(format!("a duration has a unit: \"{n}s\" or \"{n}ms\""))
        }
        (Shape::Text(Format::Size), Value::Integer(n)) => {
            Some(format!("a size has a unit: \"{n}M\""))
        }
        (Shape::Text(_), Value::Integer(n)) => Some(format!("write it in quotes: \"{n}\"")),
        (Shape::Text(_), Value::Bool(b)) => Some(format!("write it in quotes: \"{b}\"")),
        (Shape::Integer(..) | Shape::Version | Shape::Number, Value::Text(text)) => {
            text.parse::<i64>().ok().map(|n| format!("write it without quotes: {n}"))
        }
        (Shape::Bool | Shape::True, Value::Text(text)) => {
            text.parse::<bool>().ok().map(|b| format!("write it without quotes: {b}"))
        }
        (Shape::List(_), Value::Text(text)) => {
            Some(format!("write it as an array: [\"{}\"]", shown(text)))
        }
        _ => None,
    })
}
