//! What an application file may hold, as data: the one source of truth for keys.
//!
//! The same tables check a file ([`check`]), merge defaults and profiles into it ([`merge`]) and
//! become the JSON Schema for editors (`schema.rs`). So a key cannot be known to one of them and
//! unknown to another, and its description is written once.
//!
//! A shape says only what can be told from one value by itself; whether a callee exists or two
//! routes collide is decided in `check/`, after everything was merged.

pub(crate) mod cache_keys;
pub(crate) mod check;
pub(crate) mod edge_keys;
pub(crate) mod format;
pub(crate) mod guard_keys;
pub(crate) mod merge;
pub(crate) mod process_keys;
pub(crate) mod route_keys;
pub(crate) mod safeguard_keys;
pub(crate) mod service_keys;
pub(crate) mod tables;
pub(crate) mod watch_keys;

use crate::Code;
use crate::shape::format::Format;
use crate::tree::Node;

#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Text(Format),
    /// Inclusive bounds.
    Integer(i64, i64),
    /// A positive number, whole or not.
    Number,
    Bool,
    /// A switch that can only be turned on: leaving it out is the other choice.
    True,
    /// The major version of the format, 1.
    Version,
    Choice(&'static Choice),
    List(&'static List),
    Keys(&'static Keys),
    Names(&'static Names),
    Either(&'static Either),
    /// A table whose content is not looked at.
    Free,
}

pub(crate) struct Choice {
    pub(crate) values: &'static [&'static str],
    /// Values that people try, each with a code and a hint of its own.
    pub(crate) refused: &'static [(&'static str, Code, &'static str)],
}

pub(crate) struct List {
    pub(crate) of: Shape,
    pub(crate) nonempty: bool,
    pub(crate) distinct: bool,
}

/// A table with known keys.
pub(crate) struct Keys {
    /// Name of its definition in the schema.
    pub(crate) id: &'static str,
    /// With an article, for messages: `a service`.
    pub(crate) what: &'static str,
    pub(crate) keys: &'static [Key],
    pub(crate) rules: &'static [Rule],
    /// What other tools call a key: (theirs, ours).
    pub(crate) synonyms: &'static [(&'static str, &'static str)],
}

/// A table whose keys the user chooses, with values of one shape.
pub(crate) struct Names {
    pub(crate) key: Format,
    pub(crate) of: Shape,
}

/// A short and a long form. The alternatives differ in TOML type, so that a wrong value can be
/// reported against the one that was meant.
pub(crate) struct Either {
    pub(crate) options: &'static [Shape],
    /// Turns the short form into the long one, so that the two merge.
    pub(crate) expand: Option<fn(&Node) -> Option<Node>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// For editors, on hover.
    pub(crate) doc: &'static str,
    pub(crate) required: bool,
    pub(crate) later: Option<Later>,
}

/// A key that is understood, and not acted on yet.
#[derive(Clone, Copy)]
pub(crate) struct Later {
    /// What happens in the meantime.
    pub(crate) meanwhile: &'static str,
    /// A value that asks for what is done anyway, and so needs no warning.
    pub(crate) unless: Inert,
}

#[derive(Clone, Copy)]
pub(crate) enum Inert {
    Nothing,
    Text(&'static str),
    Bool(bool),
}

#[derive(Clone, Copy)]
pub(crate) enum Rule {
    ExactlyOne(&'static [&'static str]),
    AtMostOne(&'static [&'static str]),
    AnyOf(&'static [&'static str]),
}

/// Whether required keys must be there. In `[defaults]` and `[profiles.*]` a table only adds to
/// another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Whole,
    Overlay,
}

/// Shapes that occur everywhere.
pub(crate) const ANY: Shape = Shape::Text(Format::Any);
pub(crate) const TEXT: Shape = Shape::Text(Format::NonEmpty);
pub(crate) const NAME: Shape = Shape::Text(Format::Name);
pub(crate) const URL_PATH: Shape = Shape::Text(Format::UrlPath);
pub(crate) const DURATION: Shape = Shape::Text(Format::Duration);
pub(crate) const SIZE_TEXT: Shape = Shape::Text(Format::Size);
pub(crate) const PERCENT: Shape = Shape::Text(Format::Percent);
pub(crate) const COUNT: Shape = Shape::Integer(1, 1_000_000);
pub(crate) static TEXTS: List = List { of: TEXT, nonempty: false, distinct: true };
pub(crate) static NAMES: List = List { of: NAME, nonempty: false, distinct: true };
static ARGV: List = List { of: ANY, nonempty: true, distinct: false };
static COMMAND_FORMS: Either = Either { options: &[TEXT, Shape::List(&ARGV)], expand: None };
pub(crate) const COMMAND: Shape = Shape::Either(&COMMAND_FORMS);

pub(crate) const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, doc, required: false, later: None }
}

impl Key {
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(crate) const fn later(self, meanwhile: &'static str) -> Self {
        Self { later: Some(Later { meanwhile, unless: Inert::Nothing }), ..self }
    }

    pub(crate) const fn later_unless(self, unless: Inert, meanwhile: &'static str) -> Self {
        Self { later: Some(Later { meanwhile, unless }), ..self }
    }
}

impl Keys {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Rule {
    /// The keys of which a later table's choice replaces an earlier table's.
    pub(crate) fn alternatives(self) -> &'static [&'static str] {
        match self {
            Self::ExactlyOne(keys) | Self::AtMostOne(keys) => keys,
            Self::AnyOf(_) => &[],
        }
    }
}

impl Choice {
    pub(crate) fn accepted(&self) -> String {
        let quoted: Vec<String> = self.values.iter().map(|value| format!("\"{value}\"")).collect();
        quoted.join(", ")
    }
}

impl Either {
    /// The alternative that fits the value's type.
    pub(crate) fn option_for(&self, node: &Node) -> Option<Shape> {
        self.options.iter().copied().find(|option| option.fits_type(node))
    }
}

impl Shape {
    pub(crate) fn fits_type(self, node: &Node) -> bool {
        use crate::tree::Value;
        match self {
            Self::Text(_) | Self::Choice(_) => matches!(node.value, Value::Text(_)),
            Self::Integer(..) | Self::Version => matches!(node.value, Value::Integer(_)),
            Self::Number => matches!(node.value, Value::Integer(_) | Value::Float(_)),
            Self::Bool | Self::True => matches!(node.value, Value::Bool(_)),
            Self::List(_) => matches!(node.value, Value::List(_)),
            Self::Keys(_) | Self::Names(_) | Self::Free => matches!(node.value, Value::Table(_)),
            Self::Either(either) => either.option_for(node).is_some(),
        }
    }

    /// With an article, for messages.
    pub(crate) fn what(self) -> String {
        match self {
            Self::Text(format) => format.what().to_owned(),
            Self::Integer(..) | Self::Version => "an integer".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::True => "`true`".to_owned(),
            Self::Choice(choice) => format!("one of {}", choice.accepted()),
            Self::List(list) => match list.of {
                Shape::Text(_) | Shape::Choice(_) => "an array of strings".to_owned(),
                _ => "an array".to_owned(),
            },
            Self::Keys(_) | Self::Names(_) | Self::Free => "a table".to_owned(),
            Self::Either(either) => {
                let options: Vec<String> = either.options.iter().map(|o| o.what()).collect();
                options.join(" or ")
            }
        }
    }
}
