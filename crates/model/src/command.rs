//! A program and its arguments, as the manifest gives them.

/// What to execute. `$NAME` and `${NAME}` in an argument are filled from the environment the
/// process will get; there is no shell in between unless `shell` says so, because a shell would
/// swallow the stop signal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Command {
    /// The words after splitting, before variables are filled in; with `shell`, one script.
    pub argv: Vec<String>,
    pub shell: bool,
}

impl Command {
    /// The arguments with variables filled in from `lookup`; an unknown variable becomes empty,
    /// as in a shell. `$$` stands for one dollar sign.
    pub fn expand(&self, lookup: impl Fn(&str) -> Option<String>) -> Vec<String> {
        if self.shell {
            let script = self.argv.join(" ");
            // `exec` makes a lone program take the shell's place, so that it gets the signals.
            // It would change the meaning of anything longer than one command.
            let lone =
                !script.contains(['&', '|', ';', '<', '>', '(', ')', '{', '}', '`', '\n', '=']);
            let script = if lone { format!("exec {script}") } else { script };
            return vec!["/bin/sh".into(), "-c".into(), script];
        }
        self.argv.iter().map(|word| expand_word(word, &lookup)).collect()
    }

    /// The command as a person would type it.
    pub fn show(&self) -> String {
        if self.shell {
            return self.argv.join(" ");
        }
        let quoted = self.argv.iter().map(|word| {
            let plain = !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-./:=@%+,$~{}*".contains(&b));
            if plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}

fn expand_word(word: &str, lookup: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            out.push_str(&lookup(name).unwrap_or_default());
            rest = after;
        } else {
            let end =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            match end {
                0 => out.push('$'),
                _ => out.push_str(&lookup(&rest[..end]).unwrap_or_default()),
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_without_a_shell() {
        let command = Command {
            argv: ["serve", "--port=$PORT", "${HOST}:x", "$", "$$5", "$NONE"]
                .map(String::from)
                .to_vec(),
            shell: false,
        };
        let lookup = |name: &str| match name {
            "PORT" => Some("8080".to_owned()),
            "HOST" => Some("127.0.0.1".to_owned()),
            _ => None,
        };
        assert_eq!(command.expand(lookup), ["serve", "--port=8080", "127.0.0.1:x", "$", "$5", ""]);
    }
}
