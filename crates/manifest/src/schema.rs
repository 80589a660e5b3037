//! The JSON Schema for editors, made from the same tables that check a file.
//!
//! Draft 4 is what the TOML language servers understand: newer keywords (`const`, `$defs`,
//! `if`) they skip in silence. A twin in draft 2020-12 is there for everything else. Both say
//! what a shape says and no more: whether a callee exists is beyond any schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::shape::format::Format;
use crate::shape::tables::{PART, ROOT, is_overlay};
use crate::shape::{Key, Keys, Part, Rule, Shape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draft {
    Four,
    TwentyTwenty,
}

/// The schema of an application file, draft 4.
pub fn schema() -> Value {
    build(&ROOT, Draft::Four)
}

/// The same in draft 2020-12.
pub fn schema_2020() -> Value {
    build(&ROOT, Draft::TwentyTwenty)
}

/// The schema of an included file, draft 4: it has no `app` and no defaults.
pub fn schema_of_included() -> Value {
    build(&PART, Draft::Four)
}

fn build(root: &'static Keys, draft: Draft) -> Value {
    let mut builder = Builder { draft, definitions: BTreeMap::new() };
    let body = builder.table(root, Part::Whole, true);
    let mut schema = Map::new();
    let dialect = match draft {
        Draft::Four => "http://json-schema.org/draft-04/schema#",
        Draft::TwentyTwenty => "https://json-schema.org/draft/2020-12/schema",
    };
    let id = if draft == Draft::Four { "id" } else { "$id" };
    schema.insert("$schema".into(), dialect.into());
    schema.insert(id.into(), format!("urn:archipel:{}:1", root.id).into());
    schema.insert("title".into(), "archipel.toml".into());
    schema.insert("description".into(), format!("{}, version 1 of the format", root.what).into());
    if let Value::Object(body) = body {
        schema.extend(body);
    }
    let definitions = builder.definitions.into_iter().collect::<Map<_, _>>();
    schema.insert(builder.draft.definitions().into(), Value::Object(definitions));
    Value::Object(schema)
}

impl Draft {
    fn definitions(self) -> &'static str {
        match self {
            Self::Four => "definitions",
            Self::TwentyTwenty => "$defs",
        }
    }
}

struct Builder {
    draft: Draft,
    definitions: BTreeMap<String, Value>,
}

impl Builder {
    fn shape(&mut self, shape: Shape, part: Part) -> Value {
        match shape {
            Shape::Text(format) => text(format),
            Shape::Integer(i64::MIN, i64::MAX) => json!({"type": "integer"}),
            Shape::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
            Shape::Number => match self.draft {
                Draft::Four => json!({"type": "number", "minimum": 0, "exclusiveMinimum": true}),
                Draft::TwentyTwenty => json!({"type": "number", "exclusiveMinimum": 0}),
            },
            Shape::Bool => json!({"type": "boolean"}),
            Shape::True => json!({"enum": [true]}),
            Shape::Version => json!({"enum": [1]}),
            Shape::Choice(choice) => json!({"enum": choice.values}),
            Shape::List(list) => {
                // Arrays are replaced and not merged, so what stands in one is always whole.
                let items = self.shape(list.of, Part::Whole);
                let mut schema = json!({"type": "array", "items": items});
                if list.nonempty {
                    schema["minItems"] = 1.into();
                }
                if list.distinct {
                    schema["uniqueItems"] = true.into();
                }
                schema
            }
            Shape::Keys(keys) => self.reference(keys, part),
            Shape::Names(names) => {
                let of = self.shape(names.of, part);
                match names.key.regex() {
                    Some(regex) => json!({
                        "type": "object",
                        "patternProperties": {regex: of},
                        "additionalProperties": false,
                    }),
                    None => json!({"type": "object", "additionalProperties": of}),
                }
            }
            Shape::Either(either) => {
                let options: Vec<Value> =
                    either.options.iter().map(|option| self.shape(*option, part)).collect();
                json!({"oneOf": options})
            }
            Shape::Free => json!({"type": "object"}),
        }
    }

    /// One definition for each table, and a second one without required keys when it is used as
    /// an overlay and has any.
    fn reference(&mut self, keys: &'static Keys, part: Part) -> Value {
        let overlay = part == Part::Overlay && has_required(keys);
        let (name, part) = if overlay {
            (format!("{}Overlay", keys.id), Part::Overlay)
        } else {
            (keys.id.to_owned(), Part::Whole)
        };
        if !self.definitions.contains_key(&name) {
            // Holds the place, so that a table inside itself would end here.
            self.definitions.insert(name.clone(), Value::Null);
            let schema = self.table(keys, part, false);
            self.definitions.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/{}/{name}", self.draft.definitions())})
    }

    fn table(&mut self, keys: &'static Keys, part: Part, top: bool) -> Value {
        let mut properties = Map::new();
        for key in keys.keys {
            let part = if top && is_overlay(key.name) { Part::Overlay } else { part };
            let schema = self.shape(key.shape, part);
            properties.insert(key.name.to_owned(), self.described(schema, key));
        }
        let mut schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        });
        let required: Vec<&str> = keys.keys.iter().filter(|k| k.required).map(|k| k.name).collect();
        if part == Part::Whole && !required.is_empty() {
            schema["required"] = required.into();
        }
        let rules: Vec<Value> =
            keys.rules.iter().filter_map(|rule| rule_schema(*rule, part)).collect();
        if !rules.is_empty() {
            schema["allOf"] = rules.into();
        }
        schema
    }

    fn described(&self, schema: Value, key: &Key) -> Value {
        let mut doc = key.doc.to_owned();
        if let Some(later) = key.later {
            doc.push_str(&format!(
                " (Understood, and not acted on yet in this version: {}.)",
                later.meanwhile
            ));
        }
        // Draft 4 ignores everything beside `$ref`.
        let mut schema = match (&schema["$ref"], self.draft) {
            (Value::String(_), Draft::Four) => json!({"allOf": [schema]}),
            _ => schema,
        };
        schema["description"] = doc.into();
        schema
    }
}

fn text(format: Format) -> Value {
    match format.regex() {
        Some(regex) => json!({"type": "string", "pattern": regex}),
        None => json!({"type": "string"}),
    }
}

fn rule_schema(rule: Rule, part: Part) -> Option<Value> {
    let each = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"required": [name]})).collect()
    };
    match rule {
        Rule::ExactlyOne(names) => Some(json!({"oneOf": each(names)})),
        Rule::AnyOf(names) if part == Part::Whole => Some(json!({"anyOf": each(names)})),
        Rule::AnyOf(_) => None,
        Rule::AtMostOne(names) => {
            let pairs = names.iter().enumerate().flat_map(|(at, first)| {
                names[at + 1..].iter().map(move |second| json!({"required": [first, second]}))
            });
            Some(json!({"not": {"anyOf": pairs.collect::<Vec<_>>()}}))
        }
    }
}

/// Whether an overlay of this table is laxer than the table itself.
fn has_required(keys: &Keys) -> bool {
    let by_rule = keys.rules.iter().any(|rule| matches!(rule, Rule::AnyOf(_)));
    by_rule || keys.keys.iter().any(|key| key.required || shape_has_required(key.shape))
}

fn shape_has_required(shape: Shape) -> bool {
    match shape {
        Shape::Keys(keys) => has_required(keys),
        Shape::Names(names) => shape_has_required(names.of),
        Shape::Either(either) => either.options.iter().any(|option| shape_has_required(*option)),
        _ => false,
    }
}
