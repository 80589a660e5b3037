//! How programs of each language are built and started.
//!
//! Every proposal starts the program itself and no wrapper, so that stop signals arrive. Where
//! that cannot be told from the files, nothing is proposed and a note says why: a wrong command
//! costs more than a missing one.

use toml::de::{DeTable, DeValue};

use super::Candidate;
use super::detect::{Directory, Finding};

pub(super) const ALL: [fn(&Directory<'_>) -> Finding; 5] = [rust, go, java, node, python];

fn candidate(directory: &Directory<'_>, name: &str, because: &str, run: String) -> Candidate {
    Candidate {
        name: name.to_owned(),
        path: directory.path.clone(),
        build: None,
        run,
        shell: false,
        artifact: Vec::new(),
        because: because.to_owned(),
    }
}

fn unclear(directory: &Directory<'_>, file: &str, reason: &str) -> Finding {
    Finding::Unclear(format!("{}: {reason}", directory.shown(file)))
}

// ---- Rust

fn rust(directory: &Directory<'_>) -> Finding {
    let Some(text) = directory.has("Cargo.toml").then(|| directory.read("Cargo.toml")).flatten()
    else {
        return Finding::Nothing;
    };
    let (package, mut programs) = with_toml(&text, |manifest| {
        let package = table(manifest, "package").and_then(|package| string(package, "name"));
        let named = manifest.get("bin").and_then(|bin| bin.get_ref().as_array());
        let named = named.into_iter().flat_map(|bins| bins.iter());
        let names = named.filter_map(|bin| string(bin.get_ref().as_table()?, "name"));
        (package.map(str::to_owned), names.map(str::to_owned).collect::<Vec<_>>())
    });
    let Some(package) = package else {
        return Finding::Nothing; // the root of a workspace; its members follow
    };
    let has_main = directory.root.join(&directory.path).join("src/main.rs").is_file();
    if programs.is_empty() && has_main {
        programs.push(package);
    }
    programs.retain(|program| is_plain(program));
    if programs.is_empty() {
        return Finding::Nothing; // a library
    }
    let up = "../".repeat(levels_to_workspace(directory));
    let candidates = programs.into_iter().map(|program| {
        let file = format!("{up}target/release/{program}");
        let run = if up.is_empty() { format!("./{file}") } else { file.clone() };
        Candidate {
            build: Some(format!("cargo build --release --bin {program}")),
            artifact: vec![file],
            ..candidate(directory, &program, "Cargo.toml", run)
        }
    });
    Finding::Services(candidates.collect())
}

/// How far above the package the workspace lies, in which its programs are put.
fn levels_to_workspace(directory: &Directory<'_>) -> usize {
    let above = directory.path.ancestors().skip(1).enumerate();
    let found = above.filter(|(_, path)| {
        let manifest = std::fs::read_to_string(directory.root.join(path).join("Cargo.toml"));
        manifest.is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
    });
    found.last().map_or(0, |(at, _)| at + 1)
}

/// Reads a TOML file of another tool as far as it can be read.
fn with_toml<T>(text: &str, read: impl FnOnce(&DeTable<'_>) -> T) -> T {
    let (root, _) = DeTable::parse_recoverable(text);
    let result = read(root.get_ref());
    crate::tree::bury(root.into_inner());
    result
}

fn table<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
    table.get(key)?.get_ref().as_table()
}

fn string<'t>(table: &'t DeTable<'_>, key: &str) -> Option<&'t str> {
    match table.get(key)?.get_ref() {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

// ---- Go

fn go(directory: &Directory<'_>) -> Finding {
    let Some(text) = directory.has("go.mod").then(|| directory.read("go.mod")).flatten() else {
        return Finding::Nothing;
    };
    let on_disk = directory.root.join(&directory.path);
    let module = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let module = module.and_then(|module| module.trim().rsplit('/').next()).unwrap_or_default();
    let program = |name: &str, package: &str| {
        let file = format!("bin/{name}");
        Candidate {
            build: Some(format!("go build -o {file} {package}")),
            artifact: vec![file.clone()],
            ..candidate(directory, name, "go.mod", format!("./{file}"))
        }
    };
    if directory.has("main.go") {
        let own = if module.is_empty() { directory.name() } else { module.to_owned() };
        return Finding::Service(program(&super::label(&own), "."));
    }
    let mut commands: Vec<String> = std::fs::read_dir(on_disk.join("cmd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("main.go").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
        .collect();
    commands.sort();
    if commands.is_empty() {
        return unclear(
            directory,
            "go.mod",
            "no main.go here or in cmd/*, so it is taken for a library",
        );
    }
    Finding::Services(commands.iter().map(|name| program(name, &format!("./cmd/{name}"))).collect())
}

// ---- Java

fn java(directory: &Directory<'_>) -> Finding {
    let Some(text) = directory.has("pom.xml").then(|| directory.read("pom.xml")).flatten() else {
        return Finding::Nothing;
    };
    // The parent's coordinates come first and are not ours.
    let own = match (text.find("<parent>"), text.find("</parent>")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &text[..start], &text[end..]),
        _ => text.clone(),
    };
    if element(&own, "packaging") == Some("pom") {
        return Finding::Nothing; // collects modules
    }
    let file = element(&own, "finalName").filter(|name| !name.contains("${")).map(str::to_owned);
    let built = element(&own, "artifactId")
        .zip(element(&own, "version").or_else(|| element(&text, "version")));
    let file = file.or_else(|| built.map(|(artifact, version)| format!("{artifact}-{version}")));
    let Some(file) = file.filter(|file| is_plain(file)) else {
        return unclear(
            directory,
            "pom.xml",
            "the name of the jar cannot be told; write `run` by hand",
        );
    };
    let maven = if directory.has("mvnw") { "./mvnw" } else { "mvn" };
    let jar = format!("target/{file}.jar");
    // Spring does not read $PORT by itself.
    let port = if text.contains("spring-boot") { " --server.port=$PORT" } else { "" };
    let name = element(&own, "artifactId").map_or_else(|| directory.name(), str::to_owned);
    Finding::Service(Candidate {
        build: Some(format!("{maven} -q -DskipTests package")),
        artifact: vec![jar.clone()],
        ..candidate(directory, &name, "pom.xml", format!("java -jar {jar}{port}"))
    })
}

fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text.trim())
}

// ---- Node

fn node(directory: &Directory<'_>) -> Finding {
    let Some(text) =
        directory.has("package.json").then(|| directory.read("package.json")).flatten()
    else {
        return Finding::Nothing;
    };
    let Ok(package) = serde_json::from_str::<serde_json::Value>(&text) else {
        return unclear(directory, "package.json", "it is not valid JSON");
    };
    if !package["workspaces"].is_null() {
        return Finding::Nothing; // its members follow
    }
    let Some(run) = node_run(directory, &package) else {
        return unclear(
            directory,
            "package.json",
            "no `start` script, no `main`, no server.js or index.js",
        );
    };
    let name = package["name"].as_str().and_then(|name| name.rsplit('/').next());
    let name = name.filter(|name| !name.is_empty()).map_or_else(|| directory.name(), str::to_owned);
    let manager = [
        ("pnpm-lock.yaml", "pnpm install --frozen-lockfile", "pnpm"),
        ("yarn.lock", "yarn install --immutable", "yarn"),
    ];
    let manager = manager.into_iter().find(|(lock, ..)| directory.has(lock));
    let has_dependencies = ["dependencies", "devDependencies"]
        .iter()
        .any(|key| package[*key].as_object().is_some_and(|entries| !entries.is_empty()));
    let install = match manager {
        Some((_, install, _)) => Some(install),
        None if directory.has("package-lock.json") => Some("npm ci"),
        None => has_dependencies.then_some("npm install"),
    };
    let tool = manager.map_or("npm", |(.., tool)| tool);
    let compile = package["scripts"]["build"].is_string().then(|| format!("{tool} run build"));
    let build: Vec<String> = install.map(str::to_owned).into_iter().chain(compile).collect();
    Finding::Service(Candidate {
        build: (!build.is_empty()).then(|| build.join(" && ")),
        ..candidate(directory, &name, "package.json", run)
    })
}

/// The command behind `npm start`, without npm.
fn node_run(directory: &Directory<'_>, package: &serde_json::Value) -> Option<String> {
    if let Some(script) = package["scripts"]["start"].as_str().filter(is_printable) {
        let words = crate::words::split(script).ok().filter(|split| split.shell.is_none());
        if let Some(words) = words.map(|split| split.words).filter(|words| !words.is_empty()) {
            let on_path = ["node", "bun", "deno"].contains(&words[0].as_str());
            let is_file = words[0].contains('/');
            return Some(match on_path || is_file {
                true => script.to_owned(),
                false => format!("./node_modules/.bin/{script}"),
            });
        }
    }
    let main = package["main"].as_str().filter(|main| is_plain(main));
    let usual = ["server.js", "index.js", "app.js", "main.js", "server.mjs", "index.mjs"];
    let usual = usual.into_iter().find(|name| directory.has(name));
    let main_exists = main.filter(|main| directory.root.join(&directory.path).join(main).is_file());
    main_exists.or(usual).or(main).map(|file| format!("node {file}"))
}

fn is_printable(text: &&str) -> bool {
    !text.contains(char::is_control)
}

/// Needs no quotes.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

// ---- Python

fn python(directory: &Directory<'_>) -> Finding {
    let marker = ["pyproject.toml", "requirements.txt", "manage.py"];
    let Some(marker) = marker.into_iter().find(|name| directory.has(name)) else {
        return Finding::Nothing;
    };
    let build = if directory.has("uv.lock") {
        Some("uv sync --frozen")
    } else if directory.has("poetry.lock") {
        Some("POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction")
    } else if directory.has("requirements.txt") {
        Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt")
    } else if directory.has("pyproject.toml") {
        Some("python3 -m venv .venv && .venv/bin/pip install .")
    } else {
        None
    };
    let Some(run) = python_run(directory) else {
        return unclear(directory, marker, "no manage.py, main.py, app.py or server.py to start");
    };
    let own = directory.read("pyproject.toml").and_then(|text| {
        with_toml(&text, |project| {
            let project = table(project, "project")?;
            string(project, "name").map(str::to_owned)
        })
    });
    let name = own.unwrap_or_else(|| directory.name());
    Finding::Service(Candidate {
        build: build.map(str::to_owned),
        ..candidate(directory, &name, marker, run)
    })
}

fn python_run(directory: &Directory<'_>) -> Option<String> {
    let files = ["requirements.txt", "pyproject.toml"];
    let wanted: String = files.iter().filter_map(|name| directory.read(name)).collect();
    let wanted = wanted.to_ascii_lowercase();
    let has_environment = !wanted.is_empty();
    let python = if has_environment { ".venv/bin/python" } else { "python3" };
    if directory.has("manage.py") {
        return Some(format!("{python} manage.py runserver --noreload $HOST:$PORT"));
    }
    let file = ["main.py", "app.py", "server.py", "wsgi.py", "asgi.py"];
    let module = file.into_iter().find(|name| directory.has(name))?.trim_end_matches(".py");
    let source = directory.read(&format!("{module}.py")).unwrap_or_default();
    let makes = |class: &str| source.contains(&format!("app = {class}("));
    Some(if wanted.contains("uvicorn") || wanted.contains("fastapi") && makes("FastAPI") {
        format!(".venv/bin/uvicorn {module}:app --host $HOST --port $PORT")
    } else if wanted.contains("flask") && makes("Flask") {
        format!(".venv/bin/flask --app {module} run --host $HOST --port $PORT")
    } else {
        format!("{python} {module}.py")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jar_is_named_after_the_project_and_not_its_parent() {
        let pom = "<project><parent><artifactId>p</artifactId><version>9</version></parent><artifactId>pay</artifactId><version>1.2</version></project>";
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("pom.xml"), pom).unwrap();
        let directory = Directory {
            root: tree.path(),
            path: Default::default(),
            files: ["pom.xml".to_owned()].into(),
        };
        let Finding::Service(found) = java(&directory) else { panic!("no service") };
        assert_eq!(found.run, "java -jar target/pay-1.2.jar");
        assert_eq!(found.name, "pay");
    }
}
