//! The same tests as somebody who is not root: no control groups of their own, user namespaces.

use std::process::Command;

use crate::support::{example, open_to_all};

const NOBODY: u32 = 65_534;

#[test]
fn isolation_and_memory_work_for_a_plain_user() {
    if !rustix::process::geteuid().is_root() {
        return; // then they have just been run that way
    }
    // The programs themselves may lie where this user cannot go.
    let dir = tempfile::Builder::new().prefix("archipel").tempdir_in("/var/tmp").unwrap();
    rustix::fs::chown(dir.path(), Some(rustix::fs::Uid::from_raw(NOBODY)), None).unwrap();
    for sub in ["deps", "examples", "tmp"] {
        std::fs::create_dir(dir.path().join(sub)).unwrap();
        open_to_all(&dir.path().join(sub));
    }
    let tmp = dir.path().join("tmp");
    rustix::fs::chown(&tmp, Some(rustix::fs::Uid::from_raw(NOBODY)), None).unwrap();
    let test = dir.path().join("deps/it");
    std::fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    let fixture = dir.path().join("examples/fixture");
    std::fs::copy(example("fixture"), &fixture).unwrap();
    open_to_all(&test);
    open_to_all(&fixture);
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&test)
        .args(["isolation::", "memory::", "life::going_down", "life::who_ignores", "--nocapture"])
        .env("TMPDIR", &tmp)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("7 passed"), "{text}\n{errors}");
}
