use archipel_manifest::{Style, render};

use super::{HEAD, parse, problems};

const UNICODE: Style = Style { color: false, unicode: true, width: 80 };

fn typo() -> Vec<archipel_manifest::Problem> {
    problems(parse(&format!(
        "{HEAD}[services.cart]\nrun = \"./cart\"\ncalls = [\"catalgo\"]\n[services.catalog]\nrun = \"./x\"\n"
    )))
}

#[test]
fn a_problem_shows_its_line_and_what_to_do() {
    let expected = "\
ARC0104

  × service `cart` calls `catalgo`, which is not defined
   ╭─[archipel.toml:6:10]
 5 │ run = \"./cart\"
 6 │ calls = [\"catalgo\"]
   ·          ────┬────
   ·              ╰── no such service
 7 │ [services.catalog]
   ╰────
  help: did you mean `catalog`?

1 error
";
    let shown = render(&typo(), UNICODE);
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn a_plain_terminal_gets_plain_text() {
    let shown = render(&typo(), Style::PLAIN);
    assert!(shown.is_ascii(), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(shown.contains("calls = [\"catalgo\"]"), "{shown}");
    let text = format!("{HEAD}[services.cart]\nrun = \"./cart\"\ngrüße = \"日本\"\n");
    let shown = render(&problems(parse(&text)), Style::PLAIN);
    assert!(shown.is_ascii(), "{shown}");
}

#[test]
fn the_environment_decides_about_colour_and_characters() {
    let style = |is_terminal: bool, vars: &[(&str, &str)]| {
        Style::from_env(is_terminal, None, |name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let utf8 = ("LANG", "en_GB.UTF-8");
    assert_eq!((style(true, &[utf8]).color, style(true, &[utf8]).unicode), (true, true));
    assert!(!style(true, &[utf8, ("NO_COLOR", "1")]).color);
    assert!(style(true, &[utf8, ("NO_COLOR", "")]).color, "an empty NO_COLOR means nothing");
    assert!(!style(false, &[utf8]).color);
    assert!(!style(true, &[("LC_ALL", "C"), utf8]).unicode);
    assert!(!style(true, &[]).unicode);
    let dumb = style(true, &[utf8, ("TERM", "dumb")]);
    assert_eq!((dumb.color, dumb.unicode), (false, false));
}

#[test]
fn text_of_a_file_cannot_steer_the_terminal() {
    let text = format!(
        "{HEAD}[services.cart]\nrun = \"./cart\"\n\"a\\u001B[31mb\" = 1\n\x1b]0;title\x07 = 2\n"
    );
    for style in [UNICODE, Style::PLAIN] {
        let shown = render(&problems(parse(&text)), style);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
    }
    let text = format!("{HEAD}[services.cart]\nrun = \"./cart\"\n\"a\\u001B[31mb\" = 1\n");
    let found = problems(parse(&text));
    assert!(!found[0].message.contains('\u{1b}'), "{:?}", found[0].message);
}

#[test]
fn a_place_in_another_file_is_named() {
    let tree = super::Tree::new([
        (
            "archipel.toml",
            "version = 1\ninclude = [\"a.toml\"]\napp = { name = \"x\" }\n[services.a]\nrun = \"x\"\n",
        ),
        ("a.toml", "[services.a]\nrun = \"x\"\n"),
    ]);
    let shown = render(&problems(tree.load()), UNICODE);
    assert!(shown.contains("a.toml:1:11"), "{shown}");
    assert!(shown.contains("archipel.toml:4:11"), "{shown}");
}

#[test]
fn the_machine_readable_form_is_stable() {
    let expected = serde_json::json!({
        "schema": "archipel.validate/1",
        "ok": false,
        "problems": [{
            "code": "ARC0104",
            "severity": "error",
            "message": "service `cart` calls `catalgo`, which is not defined",
            "file": "archipel.toml",
            "span": {"start": 72, "end": 81},
            "line": 6,
            "column": 10,
            "label": "no such service",
            "help": "did you mean `catalog`?",
        }],
    });
    assert_eq!(archipel_manifest::to_json(&typo()), expected);
    let ok = archipel_manifest::to_json(&[]);
    assert_eq!(
        ok,
        serde_json::json!({"schema": "archipel.validate/1", "ok": true, "problems": []})
    );
}

#[test]
fn thousands_of_problems_are_counted_and_not_all_shown() {
    let keys: String = (0..3_000).map(|i| format!("key{i} = 1\n")).collect();
    let found = problems(parse(&format!("{keys}{HEAD}")));
    assert_eq!(found.len(), 3_001);
    let shown = render(&found, UNICODE);
    assert!(shown.ends_with("… and 2901 more\n3001 errors\n"), "{}", &shown[shown.len() - 200..]);
}
