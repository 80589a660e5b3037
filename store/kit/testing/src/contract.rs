//! `openapi.yaml` and `events/*.schema.json` as something to hold a running service against.

use std::path::Path;

use serde_json::{Value, json};
use store_kit::{Call, Callee, Outcome};

/// The promises of one service.
pub struct Contract {
    openapi: Value,
    events: Vec<(String, jsonschema::Validator)>,
}

/// An answer that fits the contract.
#[derive(Debug, Clone)]
pub struct Checked {
    pub status: u16,
    pub body: Value,
    /// `Idempotency-Replayed: true` was there.
    pub replayed: bool,
}

impl Contract {
    /// Reads the files below a service's directory (`env!("CARGO_MANIFEST_DIR")`).
    pub fn load(service: &str) -> Self {
        let dir = Path::new(service);
        let text =
            std::fs::read_to_string(dir.join("openapi.yaml")).expect("openapi.yaml is there");
        let openapi: Value = serde_saphyr::from_str(&text).expect("openapi.yaml is YAML");
        assert!(
            openapi["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")),
            "openapi: 3.1.x"
        );
        let mut events = Vec::new();
        for entry in std::fs::read_dir(dir.join("events")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Some(topic) = name.strip_suffix(".schema.json") else { continue };
            let schema: Value =
                serde_json::from_slice(&std::fs::read(&path).unwrap()).expect("a schema is JSON");
            let validator =
                jsonschema::draft202012::new(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
            events.push((topic.to_owned(), validator));
        }
        Self { openapi, events }
    }

    /// Sends `call` for the route `template` (as `openapi.yaml` writes it) and holds the answer
    /// against what the file says of its status.
    pub async fn send(&self, method: &str, template: &str, call: Call) -> Checked {
        let (status, body, replayed) = match call.send::<Value>().await {
            Outcome::Ok(answer) => {
                let replayed =
                    answer.headers.get("idempotency-replayed").is_some_and(|v| v == "true");
                (answer.status, answer.body, replayed)
            }
            Outcome::Refused(refusal) => (refusal.status, refusal.body, false),
            Outcome::NoAnswer(silence) => panic!("{method} {template}: {silence}"),
        };
        self.check(method, template, status, &body);
        Checked { status, body, replayed }
    }

    /// Panics unless `body` is what the file promises for this status.
    pub fn check(&self, method: &str, template: &str, status: u16, body: &Value) {
        let place = format!("/paths/{}/{}", escape(template), method.to_ascii_lowercase());
        let operation = self.openapi.pointer(&place);
        let operation =
            operation.unwrap_or_else(|| panic!("openapi.yaml has no {method} {template}"));
        let response = &operation["responses"][status.to_string()];
        assert!(!response.is_null(), "{method} {template} may not answer {status}: {body}");
        let response = self.resolve(response);
        let kind = if status >= 400 { "application/problem+json" } else { "application/json" };
        let Some(schema) = response["content"][kind].get("schema") else {
            assert!(body.is_null(), "{method} {template} {status} should have no {kind}: {body}");
            return;
        };
        let validator = self.validator(schema);
        let errors: Vec<String> = validator
            .iter_errors(body)
            .map(|e| format!("{} at {}", e, e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{method} {template} {status}: {errors:?}\n{body:#}");
    }

    /// Panics unless the example request bodies of this call fit; for what a test sends.
    pub fn check_request(&self, method: &str, template: &str, body: &Value) {
        let place =
            format!("/paths/{}/{}/requestBody", escape(template), method.to_ascii_lowercase());
        let request = self
            .openapi
            .pointer(&place)
            .unwrap_or_else(|| panic!("no body at {method} {template}"));
        let schema = &self.resolve(request)["content"]["application/json"]["schema"];
        let errors: Vec<String> =
            self.validator(schema).iter_errors(body).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{method} {template}: {errors:?}\n{body:#}");
    }

    /// Reads the whole outbox and holds each row against the CloudEvents envelope and the schema
    /// of its topic. Returns `(topic, data)` in order.
    pub async fn outbox(&self, service: &Callee) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let page = service
                .get(format!("/_archipel/outbox?after={after}&limit=500"))
                .send::<Value>()
                .await;
            let page = page.ok().expect("the outbox answers");
            let rows = page["events"].as_array().expect("events").clone();
            if rows.is_empty() {
                return all;
            }
            for row in rows {
                self.check_event(&row);
                after = row["seq"].as_i64().expect("seq");
                all.push((row["topic"].as_str().unwrap().to_owned(), row["event"]["data"].clone()));
            }
        }
    }

    fn check_event(&self, row: &Value) {
        let (topic, event) = (row["topic"].as_str().expect("topic"), &row["event"]);
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], format!("store.{topic}.v1"));
        assert_eq!(event["datacontenttype"], "application/json");
        for member in ["id", "source", "subject", "time", "correlationid", "partitionkey"] {
            assert!(
                event[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member}: {event}"
            );
        }
        let schema = self.events.iter().find(|(name, _)| name == topic);
        let (_, schema) = schema.unwrap_or_else(|| panic!("events/{topic}.schema.json is missing"));
        let errors: Vec<String> =
            schema.iter_errors(&event["data"]).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{topic}: {errors:?}\n{event:#}");
    }

    /// The topics that have a schema.
    pub fn topics(&self) -> Vec<&str> {
        self.events.iter().map(|(topic, _)| topic.as_str()).collect()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let target = self.openapi.pointer(reference.trim_start_matches('#'));
                target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
            }
            None => value,
        }
    }

    /// A schema of the file may refer to others in it, so they come along.
    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let whole = json!({ "allOf": [schema], "components": self.openapi["components"] });
        jsonschema::draft202012::new(&whole).unwrap_or_else(|e| panic!("openapi.yaml: {e}"))
    }
}

fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}
