//! What stays of old traces, and who gets a copy.

use archipel_model::{EnvValue, ExportProtocol, Sampling};

use super::{HEAD, parse, problems};

const SERVICE: &str = "[services.a]\nrun = \"./a\"\n";

#[test]
fn a_collector_with_a_secret_is_read() {
    let text = format!(
        "{HEAD}{SERVICE}[secrets]\nkey = {{ required = true }}\n[telemetry.export]\n\
         otlp = \"https://c.test:4317\"\nheaders = {{ x-key = {{ secret = \"key\" }}, x-of = \"shop\" }}\n"
    );
    let export = parse(&text).unwrap().app.export.unwrap();
    assert_eq!(export.url, EnvValue::Text("https://c.test:4317".into()));
    assert_eq!(export.protocol, ExportProtocol::Auto);
    assert!(matches!(&export.headers["x-key"], EnvValue::Secret(name) if name.as_str() == "key"));
    assert_eq!(export.headers["x-of"], EnvValue::Text("shop".into()));
    let off = parse(&format!("{HEAD}{SERVICE}[telemetry.export]\notlp = \"\"\n")).unwrap();
    assert!(off.app.export.is_none());
}

#[test]
fn what_stays_of_old_traces_is_read() {
    let sample = |text: &str| {
        parse(&format!("{HEAD}{SERVICE}[telemetry]\nsample = {text}\n"))
            .unwrap()
            .app
            .telemetry
            .sample
    };
    assert_eq!(sample("{}"), Sampling::default());
    let all = sample("{ keep_errors = false, slow = \"p99.9\", rest = \"2.5%\" }");
    assert_eq!(all, Sampling { keep_errors: false, slow: 999_000, rest: 25_000 });
    assert_eq!(sample("{ rest = \"100%\" }").rest, 1_000_000);
}

#[test]
fn what_cannot_be_sent_to_is_refused_where_it_stands() {
    let found = |text: &str| {
        let found = problems(parse(&format!("{HEAD}{SERVICE}[telemetry]\n{text}\n")));
        found.iter().map(|problem| problem.code.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(found("export = { otlp = \"collector:4317\" }"), ["ARC0216"]);
    assert_eq!(found("export = { otlp = \"http://c\", protocol = \"tcp\" }"), ["ARC0105"]);
    assert_eq!(
        found("export = { otlp = \"http://c\", headers = { \"a b\" = \"x\" } }"),
        ["ARC0111"]
    );
    let unknown = "export = { otlp = \"http://c\", headers = { a = { secret = \"none\" } } }";
    assert_eq!(found(unknown).len(), 1, "the secret is not declared");
    assert_eq!(found("sample = { slow = \"fast\" }"), ["ARC0111"]);
}
