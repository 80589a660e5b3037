use super::{HEAD, Tree, places, problems};

#[test]
fn a_team_has_its_own_file_and_paths_in_it_start_there() {
    let main = format!(
        "include = [\"teams/orders/archipel.toml\"]\n{HEAD}[services.web]\npath = \"web\"\nrun = \"./web\"\ncalls = [\"orders\"]\n"
    );
    let tree = Tree::new([
        ("archipel.toml", main.as_str()),
        ("web/", ""),
        (
            "teams/orders/archipel.toml",
            "[services.orders]\npath = \"service\"\nrun = \"./orders\"\napi = \"openapi.yaml\"\npublishes = [\"order.placed\"]\n\
             [events.\"order.placed\"]\nschema = \"placed.json\"\n\
             [[gateway.routes]]\nmatch = \"/orders/**\"\nto = \"orders\"\n",
        ),
        ("teams/orders/service/openapi.yaml", ""),
        ("teams/orders/placed.json", "{}"),
    ]);
    let app = tree.load().unwrap().app;
    let orders = &app.services["orders"];
    assert_eq!(orders.path, tree.path("teams/orders/service"));
    assert_eq!(orders.api, Some(tree.path("teams/orders/service/openapi.yaml")));
    let schema = app.events["order.placed"].schema.as_ref().expect("it was read");
    assert_eq!(schema.file, tree.path("teams/orders/placed.json"));
    assert_eq!(schema.name(), "teams/orders/placed.json");
    assert_eq!(app.gateway.unwrap().routes[0].to.service().unwrap().as_str(), "orders");
    assert_eq!(app.root, tree.0.path());
    assert_eq!(app.files, [tree.path("archipel.toml"), tree.path("teams/orders/archipel.toml")]);
}

#[test]
fn a_problem_in_an_included_file_is_shown_there() {
    let main = format!("include = [\"teams/a.toml\"]\n{HEAD}");
    let tree = Tree::new([
        ("archipel.toml", main.as_str()),
        ("teams/a.toml", "[services.a]\nrun = \"./a\"\npath = \"nowhere\"\n"),
    ]);
    let problems = problems(tree.load());
    assert_eq!(places(&problems), ["ARC0701 3:8"]);
    assert_eq!(problems[0].file, tree.path("teams/a.toml").display().to_string());
}

#[test]
fn a_name_defined_in_two_files_shows_both_places() {
    let main = format!("include = [\"a.toml\"]\n{HEAD}[services.a]\nrun = \"./a\"\n");
    let tree =
        Tree::new([("archipel.toml", main.as_str()), ("a.toml", "[services.a]\nrun = \"./b\"\n")]);
    let problems = problems(tree.load());
    assert_eq!(places(&problems), ["ARC0010 1:11"]);
    let first = &problems[0].also[0];
    assert_eq!(
        (first.file.as_str(), first.line),
        (tree.path("archipel.toml").to_str().unwrap(), 5)
    );
}

#[test]
fn a_circle_of_includes_is_named_and_a_diamond_is_not_one() {
    let main = format!("include = [\"a.toml\", \"b.toml\"]\n{HEAD}");
    let tree = Tree::new([
        ("archipel.toml", main.as_str()),
        ("a.toml", "include = [\"common.toml\"]\n"),
        ("b.toml", "include = [\"common.toml\"]\n"),
        ("common.toml", "[services.a]\nrun = \"./a\"\n"),
    ]);
    tree.load().unwrap();
    tree.write("common.toml", b"include = [\"archipel.toml\"]\n[services.a]\nrun = \"./a\"\n");
    let problems = problems(tree.load());
    assert_eq!(places(&problems), ["ARC0008 1:12"]);
    assert!(problems[0].message.contains("common.toml → "), "{}", problems[0].message);
}

#[test]
fn a_missing_include_suggests_its_neighbour() {
    let main = format!("include = [\"payment.toml\"]\n{HEAD}");
    let tree = Tree::new([("archipel.toml", main.as_str()), ("payments.toml", "")]);
    let problems = problems(tree.load());
    assert_eq!(places(&problems), ["ARC0001 1:12"]);
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `payments.toml`?"));
}

#[test]
fn a_hundred_files_are_enough() {
    let names: Vec<String> = (0..102).map(|i| format!("{i}.toml")).collect();
    let list: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let main = format!("include = [{}]\n{HEAD}[services.a]\nrun = \"./a\"\n", list.join(", "));
    let tree = Tree::new([("archipel.toml", main.as_str())]);
    names.iter().for_each(|name| tree.write(name, b""));
    let problems = problems(tree.load());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code.as_str(), "ARC0009");
}

#[test]
fn an_included_file_keeps_to_its_own() {
    let main = format!("include = [\"a.toml\"]\n{HEAD}");
    let tree = Tree::new([
        ("archipel.toml", main.as_str()),
        (
            "a.toml",
            "[app]\nname = \"b\"\n[gateway]\nlisten = \"127.0.0.1:1\"\n[defaults]\nreplicas = 2\n",
        ),
    ]);
    assert_eq!(places(&problems(tree.load())), ["ARC0011 1:2", "ARC0101 4:1", "ARC0011 5:2"]);
}
