//! Version 2 on made-up trees: what systemd lays out, without systemd.

use std::fs;
use std::path::{Path, PathBuf};

use archipel_model::{Bytes, Memory};

use super::detect::detect_from;
use super::{Cgroups, Leaf};
use crate::status::{Exit, MemoryTier};

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A group with these members, and these controllers handed down to groups below it.
    fn group(&self, path: &str, procs: &str, handed_down: &str) -> PathBuf {
        let dir = self.0.path().join(path);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(dir.join("cgroup.subtree_control"), handed_down).unwrap();
        fs::write(dir.join("cgroup.procs"), procs).unwrap();
        if !path.is_empty() {
            fs::write(dir.join("cgroup.type"), "domain\n").unwrap();
        }
        dir
    }

    /// What `mkdir` makes of a group in the real thing.
    fn made(&self, path: &str) {
        self.group(path, "", "");
    }

    fn detect(&self, own: &str) -> Cgroups {
        detect_from(self.0.path(), "archipel-x", &format!("0::{own}\n"))
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn alone_in_a_delegated_group_it_moves_aside() {
    let tree = Tree::new();
    tree.group("", "", "memory");
    let own = tree.group("user/run-1.scope", &format!("{}\n", std::process::id()), "");
    for made in ["user/run-1.scope/supervisor", "user/run-1.scope/archipel-x"] {
        tree.made(made);
    }
    let found = tree.detect("/user/run-1.scope");
    assert_eq!(found.tier(), MemoryTier::V2, "{}", found.why);
    assert_eq!(found.v2, Some(own.join("archipel-x")));
    assert_eq!(read(&own.join("supervisor/cgroup.procs")), "0");
    assert!(read(&own.join("cgroup.subtree_control")).contains("+pids"));
    assert!(read(&own.join("archipel-x/cgroup.subtree_control")).contains("+pids"));
}

#[test]
fn among_others_in_the_root_of_the_machine_it_stays_there() {
    let tree = Tree::new();
    let root = tree.group("", "1\n2\n3\n", "");
    tree.made("archipel-x");
    let found = tree.detect("/");
    assert_eq!(found.tier(), MemoryTier::V2, "{}", found.why);
    assert_eq!(found.v2, Some(root.join("archipel-x")));
    assert!(read(&root.join("cgroup.subtree_control")).contains("+pids"));
}

#[test]
fn a_group_that_takes_no_process_is_not_used() {
    let tree = Tree::new();
    // Above it nothing is ours: no control files.
    fs::write(tree.0.path().join("cgroup.controllers"), "cpu memory").unwrap();
    let own = tree.group("container", "1\n2\n3\n", "pids");
    tree.made("container/archipel-x");
    fs::write(own.join("archipel-x/cgroup.type"), "domain invalid\n").unwrap();
    let found = tree.detect("/container");
    assert_eq!(found.tier(), MemoryTier::Poll);
    assert!(!found.tracks(), "{found:?}");
    assert!(found.why.contains("holds other processes too"), "{}", found.why);
}

#[test]
fn among_others_it_goes_beside_its_own_group() {
    let tree = Tree::new();
    tree.group("", "", "memory");
    let parent = tree.group("user/app.slice", "", "memory pids");
    let own = tree.group("user/app.slice/terminal.scope", "1\n2\n3\n", "");
    tree.made("user/app.slice/archipel-x");
    let found = tree.detect("/user/app.slice/terminal.scope");
    assert_eq!(found.tier(), MemoryTier::V2, "{}", found.why);
    assert_eq!(found.v2, Some(parent.join("archipel-x")));
    assert_eq!(read(&own.join("cgroup.procs")), "1\n2\n3\n");
}

#[test]
fn what_it_may_not_touch_is_told() {
    let tree = Tree::new();
    let found = tree.detect("/nowhere");
    assert_eq!(found.tier(), MemoryTier::Poll);
    assert!(!found.tracks());
    assert!(found.why.contains("no cgroup v2 below"), "{}", found.why);
    // A group without control files, as somebody else's looks to us.
    fs::create_dir_all(tree.0.path().join("session")).unwrap();
    fs::write(tree.0.path().join("cgroup.controllers"), "cpu memory").unwrap();
    fs::write(tree.0.path().join("session/cgroup.controllers"), "memory").unwrap();
    let found = tree.detect("/session");
    assert_eq!(found.tier(), MemoryTier::Poll);
    assert!(found.why.contains("belongs to another user"), "{}", found.why);
    assert!(found.why.contains("systemd-run --user --scope"), "{}", found.why);
    assert!(!tree.0.path().join("session/archipel-x").exists());
}

#[test]
fn limits_are_set_and_the_truth_is_read_back() {
    let tree = Tree::new();
    let base = Cgroups { v2: Some(tree.0.path().into()), v2_memory: true, ..Cgroups::default() };
    let dir = tree.0.path().join("shop-0.1");
    fs::create_dir(&dir).unwrap();
    let files =
        ["memory.max", "memory.high", "memory.swap.max", "memory.oom.group", "cgroup.procs"];
    for file in files {
        fs::write(dir.join(file), "").unwrap();
    }
    let memory = Memory {
        limit: Bytes(64 << 20),
        high: Some(Bytes(48 << 20)),
        swap: None,
        jvm: false,
        go: false,
        node: false,
    };
    let leaf = Leaf::create(&base, "shop-0.1", Some(&memory)).unwrap();
    assert_eq!(files.map(|file| read(&dir.join(file))), ["67108864", "50331648", "0", "1", ""]);

    fs::write(dir.join("memory.stat"), "anon 1000\nfile 999999\nkernel 24\nslab 7\n").unwrap();
    assert_eq!(leaf.memory(), Some(1024));
    fs::write(dir.join("memory.stat"), "anon 1000\nkernel_stack 8\npagetables 16\nslab 7\n")
        .unwrap();
    assert_eq!(leaf.memory(), Some(1031));

    assert_eq!(leaf.true_exit(Exit::Signal(9), None), Exit::Signal(9));
    fs::write(dir.join("memory.events"), "low 0\nhigh 2\nmax 9\noom 1\noom_kill 1\n").unwrap();
    let killed = Exit::OomKilled { limit: memory.limit, peak: memory.limit };
    assert_eq!(leaf.true_exit(Exit::Signal(9), None), killed);
    // A shell around it says 137.
    assert_eq!(leaf.true_exit(Exit::Code(137), None), killed);
    // It has lost a helper, but ended well.
    assert_eq!(leaf.true_exit(Exit::Code(0), None), Exit::Code(0));
    fs::write(dir.join("memory.peak"), "1048576\n").unwrap();
    let peak = Exit::OomKilled { limit: memory.limit, peak: Bytes(1 << 20) };
    assert_eq!(leaf.true_exit(Exit::Unknown, None), peak);
}
