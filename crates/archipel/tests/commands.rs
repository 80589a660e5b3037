//! What the verbs print, in `cmd/*.trycmd`. `TRYCMD=overwrite cargo test -p archipel` writes them
//! again; read the difference with the eyes of somebody who sees it for the first time.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Nothing of the machine shows: `init` finds the languages in a directory made here, and nobody's
/// home or settings are read.
#[test]
fn commands_print_what_they_should() {
    let tools = tempfile::tempdir().expect("a directory can be made");
    for tool in ["go", "node", "python3"] {
        std::fs::write(tools.path().join(tool), "").expect("a file can be written");
    }
    trycmd::TestCases::new()
        .env("PATH", tools.path().to_str().expect("a temporary path is text"))
        .env("HOME", "/nonexistent")
        .env("NO_COLOR", "")
        .timeout(Duration::from_secs(60)) // for a machine with a lot else to do
        .case("tests/cmd/*.trycmd");
}

fn archipel(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archipel"));
    command.args(args).current_dir("tests/cmd").stdin(Stdio::null());
    command.env_clear().env("PATH", "/nonexistent").env("TERM", "xterm-256color");
    command
}

fn output(args: &[&str]) -> Output {
    archipel(args).output().expect("the binary can be run")
}

/// What is found differs from machine to machine, and with it the exit code.
#[test]
fn doctor_tells_the_same_by_its_json_and_its_exit_code() {
    let output = output(&["-C", "/", "doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["schema"], "archipel.doctor/1");
    let findings = report["findings"].as_array().expect("findings are a list");
    assert!(!findings.is_empty());
    for finding in findings {
        assert!(finding["what"].is_string() && finding["detail"].is_string(), "{finding}");
    }
    let ok = findings.iter().all(|finding| finding["ok"] == true);
    assert_eq!(report["ok"], ok);
    assert_eq!(output.status.code(), Some(if ok { 0 } else { 1 }));
}

#[test]
fn what_is_not_a_terminal_gets_no_colours() {
    for args in [&["-C", "validate.in/bad", "validate"][..], &["ps"], &["--help"], &["pss"]] {
        let Output { stdout, stderr, .. } = output(args);
        assert!(!stdout.is_empty() || !stderr.is_empty(), "{args:?} said nothing");
        assert!(!stdout.contains(&0x1b) && !stderr.contains(&0x1b), "{args:?} in colours");
    }
}

/// `archipel explain | head -1` ended with a panic.
#[test]
fn a_reader_that_has_gone_away_ends_a_verb_quietly() {
    for args in [&["explain"][..], &["schema"], &["completion", "bash"], &["-C", "/", "doctor"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let output = archipel(args).stdout(writer).output().expect("the binary can be run");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(141), "{args:?}");
    }
}

#[test]
fn a_full_disk_does_not_end_a_verb_quietly() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = archipel(&["explain"]).stdout(full).output().expect("the binary can be run");
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not write"));
    assert_eq!(output.status.code(), Some(1));
}
