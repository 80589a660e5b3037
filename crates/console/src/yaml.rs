//! YAML as JSON, for contracts: bounded in depth and size, whatever is repeated in it by name.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use yaml_rust2::Yaml;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

const DEPTH_MAX: usize = 100;
const NODES_MAX: usize = 500_000;

/// The first document of `text`.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser::new_from_str(text);
    let mut building = Building::default();
    loop {
        let (event, at) = parser.next_token().map_err(|error| error.to_string())?;
        let line = at.line();
        match event {
            Event::StreamEnd | Event::DocumentEnd => return Ok(building.done),
            event => building.take(event).map_err(|why| format!("line {line}: {why}"))?,
        }
    }
}

#[derive(Default)]
struct Building {
    open: Vec<Open>,
    named: HashMap<usize, (Value, usize)>,
    nodes: usize,
    done: Value,
}

/// A list or a map that goes on.
struct Open {
    value: Value,
    key: Option<String>,
    anchor: usize,
    /// How many nodes there were before it.
    before: usize,
}

impl Building {
    fn take(&mut self, event: Event) -> Result<(), &'static str> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = match style {
                    TScalarStyle::Plain => plain(&Yaml::from_str(&text), text),
                    _ => Value::from(text),
                };
                self.put(value, anchor, 1)
            }
            Event::Alias(name) => {
                let (value, nodes) = self.named.get(&name).cloned().unwrap_or_default();
                self.put(value, 0, nodes.max(1))
            }
            Event::SequenceStart(anchor, _) => self.begin(Value::Array(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.begin(Value::Object(Map::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(ended) => {
                    let nodes = self.nodes - ended.before;
                    self.nodes = ended.before;
                    self.put(ended.value, ended.anchor, nodes + 1)
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, value: Value, anchor: usize) -> Result<(), &'static str> {
        if self.open.len() >= DEPTH_MAX {
            return Err("it is nested too deeply");
        }
        self.open.push(Open { value, key: None, anchor, before: self.nodes });
        Ok(())
    }

    fn put(&mut self, value: Value, anchor: usize, nodes: usize) -> Result<(), &'static str> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err("it is too large");
        }
        if anchor > 0 {
            self.named.insert(anchor, (value.clone(), nodes));
        }
        let Some(open) = self.open.last_mut() else {
            self.done = value;
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (Value::Object(map), Some(key)) => {
                // `<<: *base`: what stands here itself goes before.
                match (key.as_str(), value) {
                    ("<<", Value::Object(base)) => {
                        for (name, value) in base {
                            map.entry(name).or_insert(value);
                        }
                    }
                    (_, value) => drop(map.insert(key, value)),
                }
            }
            (Value::Object(_), None) => {
                open.key = Some(match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                });
            }
            (Value::Array(list), _) => list.push(value),
            _ => {}
        }
        Ok(())
    }
}

fn plain(read: &Yaml, text: String) -> Value {
    match read {
        Yaml::Null => Value::Null,
        Yaml::Boolean(value) => Value::Bool(*value),
        Yaml::Integer(value) => Value::from(*value),
        Yaml::Real(_) => read
            .as_f64()
            .and_then(Number::from_f64)
            .map_or_else(|| Value::from(text), Value::Number),
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_contract_is_read_as_it_would_be_in_json() {
        let text = "a: &a\n  - 1\n  - 2.5\n  - '3'\n  - true\n  - ~\nb: *a\n'200': { <<: {x: 1}, x: 2 }\nd: |\n  one\n  two\n";
        let list = json!([1, 2.5, "3", true, null]);
        let expected = json!({ "a": list, "b": list, "200": { "x": 2 }, "d": "one\ntwo\n" });
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Value::Null));
    }

    #[test]
    fn what_would_fill_the_memory_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let again = format!("*a{}, ", i - 1).repeat(10);
            bomb.push_str(&format!("a{i}: &a{i} [{again}]\n"));
        }
        assert!(parse(&bomb).is_err_and(|why| why.contains("too large")));
        assert!(parse(&"[".repeat(100_000)).is_err());
        for broken in ["a: [", "\t- x", "a: *b", "{", "a: \"", "? :"] {
            let _ = parse(broken);
        }
    }
}
