//! Finds out, by trying, what control groups can do for us here.
//!
//! In version 2 a group that has processes of its own cannot hand control of memory to groups
//! below it. So there are two places for ours: below our own group, after moving ourselves (and
//! only if we are alone in it) into a leaf beside the instances; or beside our own group, where
//! the parent already hands control down, which is how a user's systemd lays out its terminals.
//! The machine's own root group alone is free of that rule, and ours lie directly below it when
//! everything runs in it, as without systemd.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Cgroups, put};
use crate::process::cgroups_of;

/// Looks below `root` (usually `/sys/fs/cgroup`) and makes our directories, named `name`.
pub(crate) fn detect(root: &Path, name: &str) -> Cgroups {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    detect_from(root, name, &own)
}

pub(super) fn detect_from(root: &Path, name: &str, proc_cgroup: &str) -> Cgroups {
    let own = cgroups_of(proc_cgroup);
    let mut found = Cgroups::default();
    let mut why = Vec::new();

    let v2_mount = [root.to_path_buf(), root.join("unified")]
        .into_iter()
        .find(|dir| dir.join("cgroup.controllers").exists());
    match &v2_mount {
        None => why.push(format!("no cgroup v2 below {}", root.display())),
        Some(mount) => match v2(mount, &path_in(&own, ""), name) {
            Ok((base, memory)) => {
                found.v2 = Some(base);
                match memory {
                    Ok(()) => found.v2_memory = true,
                    Err(reason) => why.push(reason),
                }
            }
            Err(reason) => why.push(reason),
        },
    }
    if !found.v2_memory {
        match v1(root, "memory", &own, name, "memory.limit_in_bytes") {
            Ok(base) => found.v1_memory = Some(base),
            Err(reason) => why.push(reason),
        }
    }
    if found.v2.is_none() {
        found.v1_freezer = v1(root, "freezer", &own, name, "freezer.state").ok();
    }
    found.why = why.join("; ");
    found
}

/// Our path in the hierarchy of `controller`; `""` is version 2.
fn path_in(own: &[(String, String)], controller: &str) -> PathBuf {
    let path = own
        .iter()
        .find(|(names, _)| names.split(',').any(|name| name == controller))
        .map_or("/", |(_, path)| path.as_str());
    // A path above the root of our view starts with `/..`: then the root is all we see.
    let path = if path.starts_with("/..") { "/" } else { path };
    PathBuf::from(path.trim_start_matches('/'))
}

fn v1(
    root: &Path,
    controller: &str,
    own: &[(String, String)],
    name: &str,
    must_have: &str,
) -> Result<PathBuf, String> {
    let mount = root.join(controller);
    if !mount.join("cgroup.procs").exists() {
        return Err(format!("no cgroup v1 `{controller}`"));
    }
    let within = mount.join(path_in(own, controller));
    // In a container the path may name what only the host sees; then its root is ours.
    let parent = if within.join("cgroup.procs").exists() { within } else { mount };
    let base = parent.join(name);
    make_dir(&base).map_err(|error| format!("cannot make {}: {error}", base.display()))?;
    let _ = put(base.join("memory.use_hierarchy"), "1");
    if base.join(must_have).exists() && writable(&base.join("cgroup.procs")) {
        Ok(base)
    } else {
        let _ = fs::remove_dir(&base);
        Err(format!("{} is not ours to use", base.display()))
    }
}

type Memory = Result<(), String>;

/// Our directory in version 2 and whether groups below it get memory control.
fn v2(mount: &Path, own: &Path, name: &str) -> Result<(PathBuf, Memory), String> {
    let own_dir = mount.join(own);
    let mut why = String::new();
    if has(&own_dir, "cgroup.controllers", "memory") {
        match below_own(&own_dir, name) {
            Ok(base) => return Ok((base, Ok(()))),
            Err(reason) => why = reason,
        }
        let mut above = own_dir.parent();
        while let Some(parent) = above.filter(|dir| dir.starts_with(mount)) {
            if let Ok(base) = beside_own(parent, name) {
                return Ok((base, Ok(())));
            }
            above = parent.parent();
        }
    } else if own_dir.exists() {
        why = format!("cgroup v2 at {} has no memory control", mount.display());
    }
    // Without memory control it still holds and kills a tree.
    let mut dir = Some(own_dir.as_path());
    while let Some(parent) = dir.filter(|dir| dir.starts_with(mount)) {
        let base = parent.join(name);
        if make_dir(&base).is_ok() {
            let ours = writable(&base.join("cgroup.procs"));
            if ours && writable(&parent.join("cgroup.procs")) && can_hold_processes(&base) {
                return Ok((base, Err(why)));
            }
            let _ = fs::remove_dir(&base);
        }
        dir = parent.parent();
    }
    Err(format!(
        "no part of cgroup v2 is ours to use ({}); \
         `systemd-run --user --scope -p Delegate=yes archipel …` gives one",
        if why.is_empty() { "not writable" } else { &why }
    ))
}

fn below_own(own: &Path, name: &str) -> Result<PathBuf, String> {
    if !writable(&own.join("cgroup.procs")) {
        return Err(format!("{} belongs to another user", own.display()));
    }
    let base = own.join(name);
    if is_machine_root(own) {
        hand_down(own).map_err(|error| format!("cannot hand memory control down: {error}"))?;
    } else if !has(own, "cgroup.subtree_control", "memory") {
        let me = std::process::id().to_string();
        let procs = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
        if procs.lines().any(|pid| pid != me) {
            return Err(format!("{} holds other processes too", own.display()));
        }
        let leaf = own.join("supervisor");
        let moved = make_dir(&leaf)
            .and_then(|()| put(leaf.join("cgroup.procs"), "0"))
            .and_then(|()| hand_down(own));
        if let Err(error) = moved {
            let _ = put(own.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(&leaf);
            return Err(format!("cannot hand memory control down: {error}"));
        }
    }
    ready(&base)
}

/// Unlike any other group, also than what a container takes for its root, it has no type.
fn is_machine_root(dir: &Path) -> bool {
    !dir.join("cgroup.type").exists()
}

/// Below a group that has processes and hands down `pids` or `cpu` no process can be put: the
/// kernel makes groups there (`domain invalid`), but refuses every member.
fn can_hold_processes(dir: &Path) -> bool {
    fs::read_to_string(dir.join("cgroup.type")).is_ok_and(|kind| kind.trim() == "domain")
}

fn beside_own(parent: &Path, name: &str) -> Result<PathBuf, String> {
    if !writable(&parent.join("cgroup.procs")) {
        return Err(format!("{} belongs to another user", parent.display()));
    }
    if !has(parent, "cgroup.subtree_control", "memory") {
        hand_down(parent).map_err(|error| error.to_string())?;
    }
    ready(&parent.join(name))
}

fn ready(base: &Path) -> Result<PathBuf, String> {
    make_dir(base)
        .and_then(|()| hand_down(base))
        .map_err(|error| format!("{}: {error}", base.display()))?;
    Ok(base.to_path_buf())
}

fn hand_down(dir: &Path) -> io::Result<()> {
    let file = dir.join("cgroup.subtree_control");
    put(&file, "+memory")?;
    // Nice to have: a limit on processes is not part of what was promised.
    let _ = put(&file, "+pids");
    Ok(())
}

fn has(dir: &Path, file: &str, controller: &str) -> bool {
    fs::read_to_string(dir.join(file))
        .is_ok_and(|text| text.split_ascii_whitespace().any(|name| name == controller))
}

fn writable(file: &Path) -> bool {
    fs::OpenOptions::new().write(true).open(file).is_ok()
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}
