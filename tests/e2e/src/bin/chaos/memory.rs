//! A service that eats its memory limit, without a line of code in it: a process of ours joins its
//! control group and takes what is left. The kernel ends one of them, and Archipel the rest.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use archipel_e2e::App;

/// Takes more than the limit, in the group of the service's first process, until it is killed.
pub(crate) fn fill(app: &App, service: &str) {
    let Some(group) = app.pid(service).ok().and_then(group) else {
        eprintln!("chaos: {service} has no control group of its own now");
        return;
    };
    // `tail` keeps everything until it has seen a line's end, which never comes.
    // And no more than a gigabyte, should nobody count here.
    let script = "echo $$ > \"$0/cgroup.procs\" && ulimit -v 1000000 && exec tail /dev/zero";
    let hog = Command::new("sh")
        .args(["-c", script])
        .arg(&group)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = hog {
        eprintln!("chaos: nobody eats the memory of {service}: {error}");
    }
}

/// The supervisor must say why it ended the service.
pub(crate) fn untold(app: &App, service: &str) -> Option<String> {
    let seen = app.service(service).ok()?;
    let last = seen["instances"][0]["last_exit"].as_str().unwrap_or("nothing").to_owned();
    (!last.contains("memory")).then(|| format!("{service} ran out of memory; told is: {last}"))
}

/// Where the memory of a process is counted, if not together with our own.
fn group(pid: i32) -> Option<PathBuf> {
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| {
                line.split(':').nth(1).is_some_and(|c| c.split(',').any(|c| c == "memory"))
            })
            .or_else(|| text.lines().find(|line| line.starts_with("0::")))?;
        let path = line.rsplit(':').next()?.trim_start_matches('/').to_owned();
        let root = if line.starts_with("0::") { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/memory" };
        Some(PathBuf::from(root).join(path))
    };
    let theirs = of(&pid.to_string())?;
    (Some(&theirs) != of("self").as_ref()).then_some(theirs)
}
