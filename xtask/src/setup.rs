//! Installs what the tests need beyond the toolchains, from the system's own packages.

use anyhow::{Result, bail};

use crate::run::{has, run_with};

/// Program that shows the package is there, and the Debian package that brings it.
const PACKAGES: &[(&str, &str)] =
    &[("chromium", "chromium"), ("psql", "postgresql"), ("sqlite3", "sqlite3")];

pub(crate) fn all() -> Result<()> {
    for tool in ["cargo", "go", "java", "mvn", "python3", "node", "npm"] {
        if !has(tool) {
            bail!(
                "`{tool}` is missing; the store's services need Rust, Go, Java 17 with Maven, Python 3.11 and Node 20"
            );
        }
    }
    let mut missing: Vec<&str> =
        PACKAGES.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if !std::path::Path::new("/usr/lib/postgresql").is_dir() && !missing.contains(&"postgresql") {
        missing.push("postgresql"); // the client alone is not enough
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !has("apt-get") {
        bail!("install {} with your system's packages, then try again", missing.join(", "));
    }
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    run_with(".", "apt-get", &["update", "-qq"], &quiet)?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(&missing);
    run_with(".", "apt-get", &args, &quiet)
}
