//! Whether a program that builds or runs services is there, and how to get it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::spawn::look_in_path;

/// What was found out about one program.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Toolchain {
    /// Where it is; `None`: nowhere in `PATH`.
    pub found: Option<PathBuf>,
    /// The first line that it says about its version.
    pub version: Option<String>,
    /// How to get it on this system, when it is not there.
    pub hint: Option<String>,
}

/// Looks for `program` in our own `PATH` and asks it for its version; a program that does not
/// answer in some seconds is left without one. Blocks meanwhile.
pub fn probe_toolchain(program: &str) -> Toolchain {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = if program.contains('/') {
        Some(PathBuf::from(program)).filter(|path| path.is_file())
    } else {
        look_in_path(program, &path, Path::new("/"))
    };
    match found {
        Some(found) => {
            Toolchain { version: ask_version(program, &found), found: Some(found), hint: None }
        }
        None => Toolchain { found: None, version: None, hint: hint(program) },
    }
}

fn ask_version(program: &str, path: &Path) -> Option<String> {
    let name = Path::new(program).file_name()?.to_str()?;
    let argument = match name {
        "go" => "version",
        "java" | "javac" => "-version",
        // Asking just any program could do anything.
        name if KNOWN.iter().any(|tool| tool.names.contains(&name)) => "--version",
        _ => return None,
    };
    let mut child = Command::new(path)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    // What a version needs fits a pipe, so it can end before anyone reads.
    let in_time = wait(&mut child, Duration::from_secs(5));
    if !in_time {
        let _ = child.kill();
    }
    let _ = child.wait();
    let mut text = String::new();
    if in_time {
        let _ = child.stdout.take()?.take(4096).read_to_string(&mut text);
        let _ = child.stderr.take()?.take(4096).read_to_string(&mut text);
    }
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

#[expect(clippy::disallowed_methods, reason = "waits for a program on a thread that may block")]
fn wait(child: &mut std::process::Child, at_most: Duration) -> bool {
    let mut waited = Duration::ZERO;
    while waited < at_most {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(_)) => return true,
            Err(_) => return false,
        }
        std::thread::sleep(Duration::from_millis(10));
        waited += Duration::from_millis(10);
    }
    false
}

struct Tool {
    names: &'static [&'static str],
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
    alpine: &'static str,
    /// For every other system, or where the system's own is usually too old.
    anywhere: &'static str,
}

const KNOWN: &[Tool] = &[
    Tool {
        names: &["cargo", "rustc"],
        debian: "",
        fedora: "",
        arch: "",
        alpine: "",
        anywhere: "install Rust with `curl https://sh.rustup.rs -sSf | sh`",
    },
    Tool {
        names: &["go"],
        debian: "golang-go",
        fedora: "golang",
        arch: "go",
        alpine: "go",
        anywhere: "install Go from https://go.dev/dl",
    },
    Tool {
        names: &["java", "javac"],
        debian: "openjdk-17-jdk-headless",
        fedora: "java-17-openjdk-devel",
        arch: "jdk17-openjdk",
        alpine: "openjdk17",
        anywhere: "install a JDK from https://adoptium.net",
    },
    Tool {
        names: &["mvn"],
        debian: "maven",
        fedora: "maven",
        arch: "maven",
        alpine: "maven",
        anywhere: "install Maven from https://maven.apache.org/download.cgi",
    },
    Tool {
        names: &["node", "npm", "npx"],
        debian: "nodejs npm",
        fedora: "nodejs npm",
        arch: "nodejs npm",
        alpine: "nodejs npm",
        anywhere: "install Node.js from https://nodejs.org",
    },
    Tool {
        names: &["python3", "python", "pip", "pip3"],
        debian: "python3 python3-venv python3-pip",
        fedora: "python3 python3-pip",
        arch: "python python-pip",
        alpine: "python3 py3-pip",
        anywhere: "install Python from https://www.python.org/downloads",
    },
    Tool {
        names: &["uv", "uvx"],
        debian: "",
        fedora: "uv",
        arch: "uv",
        alpine: "uv",
        anywhere: "install uv with `curl -LsSf https://astral.sh/uv/install.sh | sh`",
    },
];

/// How to get a program on this system; `None`: we do not know it.
pub(crate) fn hint(program: &str) -> Option<String> {
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    hint_on(program, &os)
}

fn hint_on(program: &str, os_release: &str) -> Option<String> {
    let name = Path::new(program).file_name()?.to_str()?;
    let tool = KNOWN.iter().find(|tool| tool.names.contains(&name))?;
    let families: Vec<&str> = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split_ascii_whitespace())
        .collect();
    let of = |names: &[&str]| families.iter().any(|family| names.contains(family));
    let (command, package) = if of(&["debian", "ubuntu"]) {
        ("sudo apt install", tool.debian)
    } else if of(&["fedora", "rhel", "centos"]) {
        ("sudo dnf install", tool.fedora)
    } else if of(&["arch"]) {
        ("sudo pacman -S", tool.arch)
    } else if of(&["alpine"]) {
        ("sudo apk add", tool.alpine)
    } else {
        ("", "")
    };
    Some(match package {
        "" => tool.anywhere.to_owned(),
        package => format!("install it with `{command} {package}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_the_system() {
        let hint = |program, os| hint_on(program, os).unwrap();
        let ubuntu = "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n";
        assert_eq!(hint("mvn", ubuntu), "install it with `sudo apt install maven`");
        assert!(hint("cargo", ubuntu).contains("rustup"));
        assert!(hint("uv", "ID=arch\n").contains("pacman -S uv"));
        assert!(hint("/opt/go/bin/go", "ID=void\n").contains("go.dev"));
        assert_eq!(hint_on("frobnicate", ubuntu), None);
    }

    #[test]
    fn what_is_there_says_its_version() {
        let cargo = probe_toolchain("cargo");
        assert!(cargo.version.unwrap().starts_with("cargo "));
        let none = probe_toolchain("no-such-tool");
        assert_eq!((none.found, none.version, none.hint), (None, None, None));
        // Not asked: it could do anything.
        assert_eq!(probe_toolchain("sh").version, None);
    }
}
