//! Colours, where the reader wants them and the terminal has them.

use std::io::IsTerminal;

use archipel_model::InstanceState;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) colour: bool,
}

impl Style {
    /// For standard output.
    pub(crate) fn stdout(no_color: bool) -> Self {
        Self { colour: wanted(no_color) && std::io::stdout().is_terminal() }
    }

    /// For standard error.
    pub(crate) fn stderr(no_color: bool) -> Self {
        Self { colour: wanted(no_color) && std::io::stderr().is_terminal() }
    }

    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn state(self, state: InstanceState, text: &str) -> String {
        let code = match state {
            InstanceState::Ready => "32",
            InstanceState::Failed => "31;1",
            InstanceState::BackingOff | InstanceState::Degraded => "31",
            InstanceState::Stopped | InstanceState::Completed | InstanceState::Pending => "2",
            InstanceState::Building
            | InstanceState::Migrating
            | InstanceState::Starting
            | InstanceState::Draining
            | InstanceState::Stopping => "33",
        };
        self.paint(code, text)
    }

    /// A colour of its own for each service, the same in every run.
    pub(crate) fn service(self, name: &str) -> String {
        const CODES: [&str; 6] = ["36", "34", "35", "32", "33", "96"];
        let hash = name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
        self.paint(CODES[hash as usize % CODES.len()], name)
    }
}

/// `NO_COLOR` counts when it is set to anything but nothing (no-color.org).
fn wanted(no_color: bool) -> bool {
    let variable = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !no_color && !variable && !dumb
}
