//! The operations of an OpenAPI document (2 and 3), as forms need them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::example::{example, inlined, kind, resolved};
use crate::view::{Operation, OperationBody, Parameter};

const OPERATIONS_MAX: usize = 1_000;
/// Of all operations as they are told: what is referred to stands in each of them.
const TOLD_BYTES_MAX: usize = 16 << 20;
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

pub(crate) struct Contract {
    pub(crate) title: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) operations: Vec<Operation>,
}

/// `None`: it is something else.
pub(crate) fn contract(root: &Value) -> Option<Contract> {
    root.get("openapi").or(root.get("swagger"))?;
    let info = |key: &str| root.pointer(&format!("/info/{key}")).map(shown);
    let base = base(root);
    let paths = root.get("paths").and_then(Value::as_object).into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let item = resolved(root, item);
        let each = METHODS.iter().filter_map(move |method| Some((*method, item.get(method)?)));
        let base = base.clone();
        each.map(move |(method, of)| operation(root, &format!("{base}{path}"), method, item, of))
    });
    let mut told = 0;
    let fits = |of: &Operation| {
        told += serde_json::to_string(of).map_or(0, |text| text.len());
        told <= TOLD_BYTES_MAX
    };
    Some(Contract {
        title: info("title"),
        version: info("version"),
        operations: operations.take(OPERATIONS_MAX).take_while(fits).collect(),
    })
}

/// What goes before every path: of the first server, without its host.
fn base(root: &Value) -> String {
    let server = root.pointer("/servers/0/url").and_then(Value::as_str);
    let path = match (server, root.get("basePath").and_then(Value::as_str)) {
        (Some(url), _) => match url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
            None => url,
        },
        (None, path) => path.unwrap_or_default(),
    };
    path.trim_end_matches('/').to_owned()
}

fn operation(root: &Value, path: &str, method: &str, item: &Value, of: &Value) -> Operation {
    let text = |key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let list = |at: &'_ Value| at.get("parameters").and_then(Value::as_array).cloned();
    // Those of the operation stand in place of the path's with the same name.
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut body = of.get("requestBody").and_then(|of| body(root, resolved(root, of)));
    for one in [list(item), list(of)].into_iter().flatten().flatten() {
        let one = resolved(root, &one);
        if one.get("in").and_then(Value::as_str) == Some("body") {
            body = Some(body_of_old(root, one));
            continue;
        }
        let one = parameter(root, one);
        parameters.retain(|known| (&known.name, &known.place) != (&one.name, &one.place));
        parameters.push(one);
    }
    let security = of.get("security").or(root.get("security")).and_then(Value::as_array);
    let answers = of.get("responses").and_then(Value::as_object).into_iter().flatten();
    let answers = answers.map(|(status, told)| {
        let told = resolved(root, told).get("description").and_then(Value::as_str);
        (status.clone(), told.unwrap_or_default().to_owned())
    });
    let tags = of.get("tags").and_then(Value::as_array).into_iter().flatten();
    Operation {
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        summary: text("summary").or_else(|| text("operationId")),
        description: text("description"),
        tags: tags.filter_map(Value::as_str).map(str::to_owned).collect(),
        deprecated: of.get("deprecated") == Some(&Value::Bool(true)),
        // `{}` among them: it may also be used without.
        secured: security.is_some_and(|all| {
            !all.is_empty() && !all.iter().any(|one| one.as_object().is_some_and(Map::is_empty))
        }),
        parameters,
        body,
        answers: answers.collect::<BTreeMap<_, _>>(),
    }
}

fn parameter(root: &Value, of: &Value) -> Parameter {
    let text = |key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    // In version 2 the schema's words stand beside the name.
    let schema = resolved(root, of.get("schema").unwrap_or(of));
    let given = [of.get("example"), of.pointer("/examples"), schema.get("example")];
    let given = given.into_iter().flatten().find_map(|given| match given {
        Value::Object(named) => named.values().next()?.get("value"),
        plain => Some(plain),
    });
    let choices = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let place = text("in").unwrap_or_else(|| "query".to_owned());
    Parameter {
        name: text("name").unwrap_or_default(),
        required: place == "path" || of.get("required") == Some(&Value::Bool(true)),
        description: text("description"),
        kind: words(schema),
        example: given.or(schema.get("default")).map(shown),
        choices: choices.map(shown).collect(),
        place,
    }
}

/// `integer, 1 to 100`, `string (uuid)`.
fn words(schema: &Value) -> String {
    let mut words = kind(schema).to_owned();
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        words.push_str(&format!(" ({format})"));
    }
    let bound = |low: &str, high: &str| (schema.get(low).map(shown), schema.get(high).map(shown));
    for (bounds, unit) in
        [(bound("minimum", "maximum"), ""), (bound("minLength", "maxLength"), " characters")]
    {
        match bounds {
            (Some(low), Some(high)) => words.push_str(&format!(", {low} to {high}{unit}")),
            (Some(low), None) => words.push_str(&format!(", at least {low}{unit}")),
            (None, Some(high)) => words.push_str(&format!(", at most {high}{unit}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        words.push_str(&format!(", like {pattern}"));
    }
    words
}

fn body(root: &Value, of: &Value) -> Option<OperationBody> {
    let content = of.get("content")?.as_object()?;
    let json = content.iter().find(|(media, _)| media.contains("json"));
    let (media, told) = json.or_else(|| content.iter().next())?;
    let named = told.get("examples").and_then(Value::as_object);
    let given = told.get("example").or_else(|| named?.values().next()?.get("value"));
    let schema = told.get("schema").unwrap_or(&Value::Null);
    Some(OperationBody {
        media_type: media.clone(),
        required: of.get("required") == Some(&Value::Bool(true)),
        example: given.cloned().unwrap_or_else(|| example(root, schema)),
        schema: inlined(root, schema),
    })
}

fn body_of_old(root: &Value, of: &Value) -> OperationBody {
    let schema = of.get("schema").unwrap_or(&Value::Null);
    OperationBody {
        media_type: "application/json".to_owned(),
        required: of.get("required") == Some(&Value::Bool(true)),
        example: example(root, schema),
        schema: inlined(root, schema),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service tells its contract itself.
    #[test]
    fn a_contract_that_multiplies_itself_is_told_in_part() {
        let long = "x".repeat(1 << 20);
        let many: Map<String, Value> = (0..1_000)
            .map(|i| (format!("f{i}"), serde_json::json!({ "$ref": "#/components/schemas/Long" })))
            .collect();
        let body = serde_json::json!({ "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Many" } } } });
        let item = serde_json::json!({ "post": { "requestBody": body, "description": long } });
        let again = serde_json::json!({ "$ref": "#/components/pathItems/One" });
        let paths: Map<String, Value> =
            (0..1_000).map(|i| (format!("/p{i}"), again.clone())).collect();
        let root = serde_json::json!({
            "openapi": "3.1.0",
            "components": {
                "pathItems": { "One": item },
                "schemas": {
                    "Many": { "type": "object", "properties": many },
                    "Long": { "type": "string", "description": long, "example": long },
                },
            },
            "paths": paths,
        });
        let told = contract(&root).expect("a contract").operations;
        let bytes = serde_json::to_string(&told).expect("JSON").len();
        assert!((1..=TOLD_BYTES_MAX + (1 << 20)).contains(&bytes), "{bytes}");
        let body = told[0].body.as_ref().expect("a body");
        assert!(
            body.schema.to_string().len() < 1 << 20 && body.example.to_string().len() < 1 << 20
        );
    }

    const SHOP: &str = "
openapi: 3.1.0
info: { title: orders, version: 1.0 }
servers: [{ url: 'https://shop.example/base/' }]
security: [{ bearer: [] }]
paths:
  /v1/orders/{id}:
    parameters: [{ $ref: '#/components/parameters/Id' }]
    get:
      summary: One order
      parameters:
        - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100, default: 20 } }
      responses: { '200': { description: It } }
    post:
      operationId: change
      security: []
      requestBody:
        required: true
        content: { application/json: { schema: { $ref: '#/components/schemas/Change' } } }
components:
  parameters: { Id: { name: id, in: path, schema: { type: string, minLength: 3 } } }
  schemas: { Change: { type: object, required: [to], properties: { to: { enum: [paid, sent] }, note: { type: string } } } }
";

    #[test]
    fn operations_come_with_their_parameters_and_an_example_of_their_body() {
        let root = crate::yaml::parse(SHOP).expect("YAML");
        let contract = contract(&root).expect("OpenAPI");
        assert_eq!(contract.version.as_deref(), Some("1.0"));
        let [get, post] = contract.operations.as_slice() else { panic!("two operations") };
        assert_eq!((&*get.method, &*get.path), ("GET", "/base/v1/orders/{id}"));
        assert!(get.secured && !post.secured);
        let told: Vec<_> =
            get.parameters.iter().map(|p| (&*p.name, &*p.place, p.required, &*p.kind)).collect();
        let id = ("id", "path", true, "string, at least 3 characters");
        assert_eq!(told, [id, ("limit", "query", false, "integer, 1 to 100")]);
        assert_eq!(get.parameters[1].example.as_deref(), Some("20"));
        assert_eq!(get.answers["200"], "It");
        let body = post.body.as_ref().expect("a body");
        assert_eq!((&body.example, body.required), (&serde_json::json!({ "to": "paid" }), true));
        assert_eq!(body.schema["properties"]["to"]["enum"][1], "sent");
        assert_eq!(post.summary.as_deref(), Some("change"));
    }

    #[test]
    fn what_is_no_contract_or_a_broken_one_is_no_harm() {
        for text in [
            "{}",
            "- 1",
            "openapi: 3",
            "openapi: 3\npaths: 7",
            "openapi: 3\npaths: { /a: { get: [] } }",
        ] {
            let _ = contract(&crate::yaml::parse(text).expect("YAML"));
        }
    }
}
