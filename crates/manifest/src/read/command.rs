//! Commands: words, and warnings about what would go wrong when they run.

use archipel_model::Command;

use super::Reader;
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::Span;
use crate::tree::{Node, Value};
use crate::words::{SplitError, split};

/// What a command is for decides what it may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Lives long and is stopped by a signal: no shell in between, unless asked for.
    Service { shell: bool },
    /// Runs to its end: shell syntax brings a shell along.
    Step,
    /// Runs to its end, and must not depend on a shell being there.
    Direct,
}

impl Reader<'_> {
    pub(crate) fn command(&mut self, table: &Node, key: &str, usage: Use) -> Option<Command> {
        let node = table.get(key)?;
        match &node.value {
            Value::Text(text) if !text.is_empty() => self.split(key, text, node.span, usage),
            Value::List(items) => {
                let words = items.iter().map(|item| item.text().map(str::to_owned));
                let argv: Vec<String> = words.collect::<Option<_>>()?;
                if argv.is_empty() {
                    return None;
                }
                self.checked(key, Command { argv, shell: false }, node.span, usage)
            }
            _ => None,
        }
    }

    fn split(&mut self, key: &str, text: &str, span: Span, usage: Use) -> Option<Command> {
        let script = || Command { argv: vec![text.to_owned()], shell: true };
        if usage == (Use::Service { shell: true }) {
            return Some(script());
        }
        let found = match split(text) {
            Ok(found) => found,
            Err(error) => {
                let (reason, label) = match error {
                    SplitError::UnclosedQuote(quote) => {
                        (format!("a quote {quote} is not closed"), "unbalanced quotes")
                    }
                    SplitError::TrailingBackslash => {
                        ("it ends with a backslash".to_owned(), "nothing left to escape")
                    }
                };
                self.out
                    .report(Code::BadCommand, span, format!("`{}` cannot be split into words: {reason}", shown(key)))
                    .label(label)
                    .help("close the quote, or give the words as an array: [\"program\", \"argument\"]");
                return None;
            }
        };
        match (found.shell, usage) {
            (Some(_), Use::Step) => return Some(script()),
            (Some(syntax), usage) => {
                let help = match (syntax, usage) {
                    ("NAME=value", _) => "put the variable into `env`",
                    (_, Use::Service { .. }) => {
                        "put it into a script, or set `shell = true` (then the shell may swallow \
                         the stop signal)"
                    }
                    _ => "put it into a script, or write [\"sh\", \"-c\", \"…\"]",
                };
                self.out
                    .report(
                        Code::ShellSyntax,
                        span,
                        format!("`{}` uses `{syntax}`, and no shell reads it", shown(key)),
                    )
                    .label(format!("`{syntax}` would reach the program as an argument"))
                    .help(help);
                return None;
            }
            (None, _) => {}
        }
        self.checked(key, Command { argv: found.words, shell: false }, span, usage)
    }

    fn checked(&mut self, key: &str, command: Command, span: Span, usage: Use) -> Option<Command> {
        let nul = command.argv.iter().any(|word| word.contains('\0'));
        if command.argv.first().is_none_or(|program| program.trim().is_empty()) || nul {
            self.out
                .report(Code::BadCommand, span, format!("`{}` names no program", shown(key)))
                .label("the first word is the program");
            return None;
        }
        if let (Use::Service { .. }, Some(advice)) = (usage, wrapper(&command.argv)) {
            let said: Vec<&str> = command.argv.iter().take(2).map(String::as_str).collect();
            self.out
                .report(
                    Code::Wrapper,
                    span,
                    format!("`{}` stands between Archipel and the program", shown(&said.join(" "))),
                )
                .label("does not reliably pass on the stop signal")
                .help(advice);
        }
        Some(command)
    }
}

/// What to run instead of a wrapper that starts the real program as its child.
fn wrapper(argv: &[String]) -> Option<String> {
    let program = argv[0].rsplit('/').next().unwrap_or_default();
    let first = argv.get(1).map_or("", String::as_str);
    let second = argv.get(2).map_or("", String::as_str);
    let node = "run the program itself: `node server.js`, or `./node_modules/.bin/…`; `npm ci` belongs in `build`";
    let advice = match (program, first) {
        (
            "npm" | "pnpm" | "yarn" | "bun",
            "start" | "run" | "run-script" | "exec" | "dev" | "serve",
        ) => node,
        ("npx" | "bunx" | "nodemon", _) => node,
        ("uv" | "poetry" | "pipenv" | "pdm" | "hatch", "run") => {
            return Some(match second {
                "" => "run the interpreter of the environment: `.venv/bin/python -m …`".to_owned(),
                second => format!(
                    "run `.venv/bin/{}` directly; the environment is made in `build`",
                    shown(second)
                ),
            });
        }
        ("mvnw" | "mvn", _) => "package in `build` and run the result: `java -jar target/app.jar`",
        ("gradlew" | "gradle", _) => {
            "build in `build` and run the result: `java -jar build/libs/app.jar`"
        }
        ("go", "run") => "build in `build` (`go build -o bin/app .`) and run `./bin/app`",
        ("cargo", "run" | "watch") => {
            "build in `build` (`cargo build --release`) and run the file in `target/release`"
        }
        ("dotnet", "run" | "watch") => {
            "publish in `build` and run the result: `dotnet out/app.dll`"
        }
        ("make" | "just" | "task", _) => "run the command of the recipe itself",
        ("sh" | "bash" | "dash" | "zsh", "-c") => {
            "run the program itself, or begin the script with `exec`"
        }
        _ => return None,
    };
    // `sh -c 'exec program'` is the one shape in which the shell is gone once the program runs.
    if first == "-c" && execs(second) {
        return None;
    }
    Some(advice.to_owned())
}

/// Whether a script is `exec program`, perhaps after variables for it.
fn execs(script: &str) -> bool {
    let Ok(found) = split(script) else { return false };
    let is_variable = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| Format::Variable.accepts(name))
    };
    found.words.iter().find(|word| !is_variable(word)).is_some_and(|word| word == "exec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_that_gives_way_to_the_program_is_no_wrapper() {
        let advice = |script: &str| wrapper(&["sh".into(), "-c".into(), script.into()]);
        for gone in ["exec ./cart", "X=1 exec ./cart", "X='a b' Y=$Z exec ./cart"] {
            assert_eq!(advice(gone), None, "{gone}");
        }
        for stays in ["./cart", "X=1 ./cart", "1=2 exec ./cart", "executor", "'unclosed"] {
            assert!(advice(stays).is_some(), "{stays}");
        }
    }
}
