use std::path::Path;

use archipel_manifest::{Options, Severity, count, find, load, load_every_profile};

use super::{HEAD, Tree, parse, places, problems};

#[test]
fn the_sample_application_loads_with_warnings_only() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-data/proposal/archipel.toml");
    for profile in [None, Some("dev"), Some("production")] {
        let options = Options { profile: profile.map(str::to_owned), ..Options::default() };
        let loaded = load(&path, &options).unwrap();
        assert_eq!(loaded.app.services.len(), 9);
        assert!(loaded.warnings.iter().all(|warning| warning.severity == Severity::Warning));
        assert_eq!(loaded.app.profile.as_ref().map(|p| p.as_str()), profile);
    }
}

#[test]
fn one_run_reports_problems_of_every_kind_and_part() {
    let text = format!(
        "{HEAD}[services.a]\nrun = \"./a\"\nreplcias = 2\ncalls = [\"c\"]\nstop = {{ grace = \"5\" }}\n\
         [services.b]\nreplicas = true\nsubscribes = [\"x.y\"]\nenv = {{ PORT = 1 }}\n\
         [[gateway.routes]]\nmatch = \"/**\"\nto = \"x\"\n[jobs.j]\nrun = \"a | b\"\n"
    );
    let found = problems(parse(&text));
    assert_eq!(
        places(&found),
        [
            "ARC0101 6:1",
            "ARC0104 7:10",
            "ARC0106 8:18",
            "ARC0103 9:1",
            "ARC0102 10:12",
            "ARC0301 11:15",
            "ARC0605 12:9",
            "ARC0405 15:6",
            "ARC0501 16:7",
            "ARC0116 17:7",
        ]
    );
    assert_eq!(count(&found), "10 errors");
}

#[test]
fn syntax_errors_are_reported_together_and_without_echoes() {
    let check = |body: &str, expected: &[usize]| {
        let found = problems(parse(&format!("{HEAD}{body}")));
        let syntax = |code: &str| ["ARC0004", "ARC0005"].contains(&code);
        assert!(found.iter().all(|p| syntax(p.code.as_str())), "{found:#?}");
        let lines: Vec<usize> = found.iter().map(|p| p.line - 3).collect();
        assert_eq!(lines, expected, "{body}\n{found:#?}");
    };
    // Lines are counted from the first of the body.
    check("[services.a]\nrun = ./a\nmemory: 5\n[services.b]\nrun =\n", &[2, 3, 5]);
    check("[services.a]\nenv = { A = 1\nrun = 5\nx = 1\n[services.b]\nrun = ./b\n", &[3, 6]);
    check("[services.a]\nrun = [\"a\", \"b\"\n[services.b]\nreplicas = 1\nreplicas = 2\n", &[3, 5]);
    check("[services.a]\nrun = \"x\nport = 1\n[services.b]\nrun = \"y\n", &[2, 5]);
    check("[services.a\nrun = 1\n[services.b]\nrun = ./b\n", &[1, 4]);
    check("[services.a]\nrun = \"\"\"x\nport = 1\n[services.b]\nrun = ./b\n", &[2]);
}

#[test]
fn a_key_given_twice_is_shown() {
    let text =
        format!("{HEAD}[services.a]\nrun = \"./a\"\nrun = \"./b\"\n[services.a]\nreplicas = 1\n");
    let found = problems(parse(&text));
    assert_eq!(places(&found), ["ARC0005 6:1", "ARC0005 7:11"]);
}

#[test]
fn files_that_are_no_manifests_are_refused_without_being_read_whole() {
    let tree = Tree::new([("dir/", "")]);
    let code = |tree: &Tree| problems(tree.load())[0].code.as_str();
    assert_eq!(code(&tree), "ARC0001");
    tree.write("archipel.toml", &vec![b' '; (1 << 20) + 1]);
    assert_eq!(code(&tree), "ARC0002");
    tree.write("archipel.toml", b"version = 1\nname = \"\xff\"\n");
    let found = problems(tree.load());
    assert_eq!(found[0].code.as_str(), "ARC0003");
    assert!(found[0].message.ends_with("see line 2"), "{}", found[0].message);
    let directory = problems(load(&tree.path("dir"), &Options::default()));
    assert_eq!(directory[0].code.as_str(), "ARC0001");
    let nothing = problems(load(Path::new(""), &Options::default()));
    assert_eq!(nothing[0].code.as_str(), "ARC0001");
}

#[test]
fn the_nearest_file_above_is_found() {
    let tree = Tree::new([("archipel.toml", ""), ("a/b/c/", ""), ("a/b/archipel.toml", "")]);
    assert_eq!(find(&tree.path("a/b/c")), Some(tree.path("a/b/archipel.toml")));
    assert_eq!(find(&tree.path("a")), Some(tree.path("archipel.toml")));
}

#[test]
fn a_missing_directory_is_one_problem_and_suggests_its_neighbour() {
    let text = format!(
        "{HEAD}[services.cart]\npath = \"services/crat\"\nrun = \"./cart\"\napi = \"openapi.yaml\"\n"
    );
    let tree = Tree::new([("archipel.toml", text.as_str()), ("services/cart/", "")]);
    let found = problems(tree.load());
    assert_eq!(places(&found), ["ARC0701 5:8"]);
    assert_eq!(found[0].help.as_deref(), Some("did you mean `cart`?"));
}

#[test]
fn an_unknown_profile_suggests_the_nearest() {
    let text =
        format!("{HEAD}[services.a]\nrun = \"./a\"\n[profiles.production]\n[profiles.dev]\n");
    let tree = Tree::new([("archipel.toml", text.as_str())]);
    let found = problems(tree.load_profile(Some("prod")));
    assert_eq!(found[0].code.as_str(), "ARC0801");
    assert_eq!(found[0].help.as_deref(), Some("known: dev, production"));
    let found = problems(tree.load_profile(Some("produktion")));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `production`?"));
}

#[test]
fn a_mistake_in_another_profile_is_found_and_named() {
    let text = format!(
        "{HEAD}[services.a]\nrun = \"npm start\"\ndatabase = {{ engine = \"sqlite\" }}\n\
         [profiles.production.services.a]\nreplicas = 4\n[profiles.dev.services.a]\nreplicas = 1\n"
    );
    let tree = Tree::new([("archipel.toml", text.as_str())]);
    tree.load().unwrap();
    let found = problems(load_every_profile(&tree.path("archipel.toml"), None));
    assert_eq!(places(&found), ["ARC0207 5:7", "ARC0204 8:12"]);
    assert_eq!(
        found[1].message,
        "4 replicas of `a` would share one SQLite file (with profile `production`)"
    );
}

#[test]
fn a_value_inherited_by_many_services_is_wrong_once() {
    let services: String = (0..50).map(|i| format!("[services.s{i}]\nrun = \"./s\"\n")).collect();
    let text = format!(
        "{HEAD}[defaults]\nrestart = {{ backoff = \"2s..1s\" }}\nenv = {{ HOST = \"x\" }}\n{services}"
    );
    assert_eq!(places(&problems(parse(&text))), ["ARC0108 5:23", "ARC0605 6:9"]);
}

#[test]
fn a_circle_of_dependencies_is_named_whole_and_once() {
    let service = |name: &str, needs: &str| {
        format!("[services.{name}]\nrun = \"./x\"\ndepends_on = [\"{needs}\"]\n")
    };
    let text = format!(
        "{HEAD}{}{}{}{}",
        service("c", "a"),
        service("a", "b"),
        service("b", "c"),
        service("d", "a")
    );
    let found = problems(parse(&text));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "services wait for each other: a → b → c → a");
    assert_eq!(found[0].also.len(), 2);
}

/// The limit is for a release build; a debug build on a busy machine is only kept from becoming
/// absurd. The figure is printed with `--nocapture`.
#[test]
fn a_thousand_services_load_quickly() {
    let mut text = HEAD.to_owned();
    for i in 0..1_000 {
        text += &format!(
            "[services.s{i}]\nrun = \"./server --port $PORT\"\nbuild = \"make\"\nmemory = \"128M\"\n\
             calls = [\"s{}\", \"s{}\"]\npublishes = [\"topic{i}.happened\"]\n\
             subscribes = {{ \"topic{}.happened\" = \"/events\" }}\nhealth = \"/up\"\n\
             env = {{ A = \"b\", C = 4 }}\n[[gateway.routes]]\nmatch = \"/s{i}/**\"\nto = \"s{i}\"\n",
            (i + 1) % 1_000,
            (i + 7) % 1_000,
            (i + 3) % 1_000,
        );
    }
    text += "[defaults]\nreplicas = 2\nlog = { keep = \"1d\" }\nhealth = { ready = { every = \"5s\" } }\n";
    let tree = Tree::new([("archipel.toml", text.as_str())]);
    #[expect(clippy::disallowed_methods, reason = "measures real time and decides nothing by it")]
    let start = std::time::Instant::now();
    let loaded = tree.load().unwrap();
    let took = start.elapsed();
    println!("1,000 services, {} KiB: {took:?}", text.len() / 1024);
    assert_eq!(loaded.app.services.len(), 1_000);
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn a_file_of_variables_is_read_and_its_values_are_hidden() {
    let text = format!(
        "{HEAD}[services.a]\nrun = \"./a\"\nenv_file = \".env\"\nenv = {{ LEVEL = \"info\" }}\n"
    );
    let tree = Tree::new([
        ("archipel.toml", text.as_str()),
        (".env", "# local\nPASSWORD='s3cret'\nLEVEL=debug\n"),
    ]);
    let app = tree.load().unwrap().app;
    let env = &app.services["a"].env;
    let archipel_model::EnvValue::Hidden(password) = &env["PASSWORD"] else { panic!("{env:?}") };
    assert_eq!(password.reveal(), "s3cret");
    assert_eq!(env["LEVEL"], archipel_model::EnvValue::Text("info".to_owned()), "counts more");
    let shown = format!("{app:?}{}", serde_json::to_string(&app).unwrap());
    assert!(!shown.contains("s3cret"));
}

#[test]
fn a_bad_file_of_variables_is_told_by_file_and_line_without_the_line() {
    let text = format!("{HEAD}[services.a]\nrun = \"./a\"\nenv_file = \".env\"\n");
    let check = |file: &str, code: &str, says: &str| {
        let tree = Tree::new([("archipel.toml", text.as_str()), (".env", file)]);
        let found = problems(tree.load());
        assert_eq!(places(&found), [format!("{code} 6:12")], "{found:#?}");
        let told = format!("{found:?}");
        assert!(told.contains(says) && !told.contains("s3cret"), "{told}");
    };
    check("A=1\nPASSWORD = s3cret\n", "ARC0608", "`.env`, line 2");
    check("PORT=80\n", "ARC0605", "`PORT`");
    let tree = Tree::new([("archipel.toml", text.as_str())]);
    assert_eq!(places(&problems(tree.load())), ["ARC0701 6:12"]);
}

#[test]
fn the_store_has_a_usable_schema_for_every_topic() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../store/archipel.toml");
    let app = load(&path, &Options::default()).unwrap().app;
    let topics = app.services.values().flat_map(|service| &service.publishes);
    let without: Vec<_> = topics
        .filter(|topic| app.events.get(*topic).is_none_or(|event| event.schema.is_none()))
        .collect();
    assert!(!app.events.is_empty() && without.is_empty(), "{without:?}");
}
