//! What other tools' files tell: names and commands from a Procfile, names from a compose file.
//!
//! Both are read by line and by indentation, which is enough for names. A compose file written
//! in another style of YAML yields nothing, and nothing is lost by that.

use std::path::PathBuf;

use super::detect::Directory;
use super::{Backing, Candidate};
use crate::words::split;

#[derive(Default)]
pub(super) struct Compose {
    /// Services built from a directory, relative to the root.
    pub(super) built: Vec<(String, PathBuf)>,
    pub(super) backing: Vec<Backing>,
}

pub(super) fn procfile(directory: &Directory<'_>, notes: &mut Vec<String>) -> Vec<Candidate> {
    let Some(text) = directory.has("Procfile").then(|| directory.read("Procfile")).flatten() else {
        return Vec::new();
    };
    let mut candidates = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((name, command)) = line.split_once(':') else { continue };
        let (name, command) = (name.trim(), command.trim());
        if command.is_empty() || command.contains(char::is_control) {
            continue;
        }
        if name == "release" {
            notes.push(format!(
                "Procfile: `release` runs before a release, like `migrate` of a database: {command}"
            ));
            continue;
        }
        match split(command) {
            Ok(words) => candidates.push(Candidate {
                name: name.to_owned(),
                path: PathBuf::new(),
                build: None,
                run: command.to_owned(),
                shell: words.shell.is_some(),
                artifact: Vec::new(),
                because: "Procfile".to_owned(),
            }),
            Err(_) => notes.push(format!("Procfile: the quotes of `{name}` do not match")),
        }
    }
    candidates
}

pub(super) fn compose(directory: &Directory<'_>) -> Compose {
    let names = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
    let text =
        names.iter().filter(|name| directory.has(name)).find_map(|name| directory.read(name));
    text.map(|text| read_compose(&text)).unwrap_or_default()
}

fn read_compose(text: &str) -> Compose {
    let mut compose = Compose::default();
    let mut in_services = false;
    let mut name_indent = None;
    let mut name = String::new();
    for line in text.lines() {
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let indent = line.len() - body.len();
        let Some((key, value)) = body.split_once(':') else { continue };
        let (key, value) = (unquoted(key), unquoted(value.split(" #").next().unwrap_or_default()));
        if indent == 0 {
            in_services = key == "services";
            name_indent = None;
        } else if in_services && *name_indent.get_or_insert(indent) == indent {
            name = key.to_owned();
        } else if in_services {
            match key {
                "build" | "context" if !value.is_empty() => {
                    let path = value.trim_start_matches("./").trim_end_matches('/');
                    let path = if path == "." { "" } else { path };
                    compose.built.push((name.clone(), PathBuf::from(path)));
                }
                "image" if !value.is_empty() => {
                    compose.backing.push(Backing { name: name.clone(), image: value.to_owned() });
                }
                _ => {}
            }
        }
    }
    // Something that is built may have an image too: the name of the result.
    compose.backing.retain(|backing| compose.built.iter().all(|(name, _)| *name != backing.name));
    compose
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_compose_file() {
        let compose = read_compose(
            "version: '3'\nservices:\n  # ours\n  shop:\n    build: ./services/web\n    depends_on:\n      - db\n  api:\n    build:\n      context: api/\n    image: registry/api:1\n  db:\n    image: \"postgres:16\" # data\nvolumes:\n  data:\n    image: no\n",
        );
        let built: Vec<(&str, &str)> =
            compose.built.iter().map(|(n, p)| (n.as_str(), p.to_str().unwrap())).collect();
        assert_eq!(built, [("shop", "services/web"), ("api", "api")]);
        let backing = Backing { name: "db".into(), image: "postgres:16".into() };
        assert_eq!(compose.backing, [backing]);
    }
}
