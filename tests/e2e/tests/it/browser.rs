//! Programs of `tests/e2e/browser`, which drive a real Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/e2e").to_owned()
}

pub(crate) fn dir() -> PathBuf {
    static INSTALLED: Once = Once::new();
    let dir = root().join("tests/e2e/browser");
    INSTALLED.call_once(|| {
        if !dir.join("node_modules").is_dir() {
            let install = Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund"])
                .current_dir(&dir)
                .status()
                .expect("npm is there");
            assert!(install.success());
        }
    });
    dir
}

/// Runs a program to its end; the last line it prints is its answer.
pub(crate) fn run(script: &str, args: &[&str]) -> serde_json::Value {
    let output = Command::new("node")
        .arg(script)
        .args(args)
        .current_dir(dir())
        .output()
        .expect("node is there");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    serde_json::from_str(out.lines().last().unwrap_or_default()).expect("one JSON line")
}
