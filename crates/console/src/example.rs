//! An example of a value, made after its JSON Schema: something to begin a form with.

use serde_json::{Map, Value, json};

/// A schema may refer to itself.
const DEPTH_MAX: usize = 8;
/// Nodes of one schema or example.
const NODES_MAX: usize = 2_000;

/// A long text, which may be referred to many times, weighs as much as many nodes.
const NODE_BYTES: usize = 256;

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / NODE_BYTES,
        Value::Array(of) => 1 + of.iter().map(weight).sum::<usize>(),
        Value::Object(of) => {
            1 + of.iter().map(|(k, v)| k.len() / NODE_BYTES + weight(v)).sum::<usize>()
        }
        _ => 1,
    }
}

/// What `schema` stands for, taken from `root` where it refers to it.
pub(crate) fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut now = schema;
    for _ in 0..DEPTH_MAX {
        let Some(to) = now.get("$ref").and_then(Value::as_str) else { return now };
        let Some(found) = to.strip_prefix('#').and_then(|path| root.pointer(path)) else {
            return now;
        };
        now = found;
    }
    now
}

pub(crate) fn example(root: &Value, schema: &Value) -> Value {
    Maker { root, left: NODES_MAX }.value(schema, 0)
}

/// `schema` with what it refers to in place.
pub(crate) fn inlined(root: &Value, schema: &Value) -> Value {
    let mut left = NODES_MAX;
    inline(root, schema, 0, &mut left)
}

fn inline(root: &Value, value: &Value, depth: usize, left: &mut usize) -> Value {
    *left = left.saturating_sub(1);
    if depth > DEPTH_MAX * 2 || *left == 0 {
        return value.get("$ref").map_or(json!({}), |to| json!({ "$ref": to }));
    }
    match resolved(root, value) {
        Value::Object(of) => {
            let inner = of.iter().map(|(k, v)| (k.clone(), inline(root, v, depth + 1, left)));
            Value::Object(inner.collect())
        }
        Value::Array(of) => {
            Value::Array(of.iter().map(|v| inline(root, v, depth + 1, left)).collect())
        }
        plain => {
            let weight = weight(plain);
            if weight > *left {
                *left = 0;
                return json!({});
            }
            *left -= weight - 1;
            plain.clone()
        }
    }
}

struct Maker<'a> {
    root: &'a Value,
    left: usize,
}

impl<'a> Maker<'a> {
    fn value(&mut self, schema: &'a Value, depth: usize) -> Value {
        self.left = self.left.saturating_sub(1);
        if depth > DEPTH_MAX || self.left == 0 {
            return Value::Null;
        }
        let schema = resolved(self.root, schema);
        let first = |key: &str| schema.get(key).and_then(|all| all.get(0));
        let given = schema.get("example").or_else(|| first("examples"));
        let given = given.or_else(|| schema.get("default")).or_else(|| schema.get("const"));
        if let Some(given) = given.or_else(|| first("enum")) {
            let weight = weight(given);
            if weight > self.left {
                self.left = 0;
                return Value::Null;
            }
            self.left -= weight - 1;
            return given.clone();
        }
        if let Some(choice) = first("oneOf").or(first("anyOf")) {
            return self.value(choice, depth + 1);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => {
                let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1);
                match schema.get("items").filter(|_| least > 0) {
                    Some(items) => json!([self.value(items, depth + 1)]),
                    None => json!([]),
                }
            }
            "integer" | "number" => {
                schema.get("minimum").cloned().unwrap_or_else(|| Value::from(0))
            }
            "boolean" => Value::Bool(false),
            "string" => Value::from(text(schema)),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let mut made = Map::new();
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            if let Value::Object(more) = self.value(part, depth + 1) {
                made.extend(more);
            }
        }
        let required = |name: &str| {
            let all = schema.get("required").and_then(Value::as_array);
            all.is_some_and(|all| all.iter().any(|one| one == name))
        };
        let some_required = schema.get("required").is_some();
        for (name, of) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            // What may be left out is left out where the schema says what may not.
            if required(name) || !some_required {
                made.insert(name.clone(), self.value(of, depth + 1));
            }
        }
        Value::Object(made)
    }
}

pub(crate) fn kind(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).find(|t| *t != "null"),
        other => other.and_then(Value::as_str),
    };
    named.unwrap_or({
        if schema.get("properties").is_some() || schema.get("allOf").is_some() {
            "object"
        } else {
            "any"
        }
    })
}

fn text(schema: &Value) -> String {
    let format = schema.get("format").and_then(Value::as_str);
    match format.unwrap_or_default() {
        "uuid" => "00000000-0000-4000-8000-000000000000".to_owned(),
        "date-time" => "2026-01-31T12:00:00Z".to_owned(),
        "date" => "2026-01-31".to_owned(),
        "email" => "someone@example.org".to_owned(),
        "uri" | "url" => "https://example.org/".to_owned(),
        _ => {
            let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
            "x".repeat(usize::try_from(least.min(64)).unwrap_or(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_has_what_its_schema_requires() {
        let root = json!({ "defs": { "line": {
            "type": "object", "required": ["sku", "n"],
            "properties": { "sku": { "type": "string", "minLength": 3 },
                "n": { "type": "integer", "minimum": 1 }, "note": { "type": "string" } },
        }, "tree": { "type": "object", "properties": { "of": { "$ref": "#/defs/tree" } } } } });
        let schema = json!({ "type": "object", "properties": {
            "lines": { "type": "array", "items": { "$ref": "#/defs/line" } },
            "how": { "enum": ["fast", "slow"] }, "who": { "type": ["null", "string"],
            "format": "email" }, "tree": { "$ref": "#/defs/tree" },
        } });
        let made = example(&root, &schema);
        assert_eq!(made["lines"], json!([{ "sku": "xxx", "n": 1 }]));
        assert_eq!((&made["how"], &made["who"]), (&json!("fast"), &json!("someone@example.org")));
        assert!(made["tree"].to_string().len() < 200, "a schema that holds itself ends");
        let inner = inlined(&root, &schema);
        assert_eq!(inner["properties"]["lines"]["items"]["type"], "object");
        assert!(inlined(&root, &root["defs"]["tree"]).to_string().len() < 1_000);
    }
}
