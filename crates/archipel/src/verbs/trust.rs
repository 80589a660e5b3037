//! `archipel trust`: how browsers come to accept the certificates for the names of this machine.
//!
//! Told and not done: it needs an administrator, and whom a machine trusts is its owner's matter.

use std::path::Path;

use archipel_gateway::{LocalAuthority, authority_dir};
use serde_json::json;

use super::print_json;
use crate::cli::{Global, Trust};
use crate::exit::Failure;

pub(crate) fn run(global: &Global, trust: &Trust) -> Result<u8, Failure> {
    let dir = authority_dir(&std::env::temp_dir());
    let authority = LocalAuthority::open(&dir).map_err(|fault| Failure::unexpected(&fault))?;
    let file = authority.certificate_file();
    if trust.path {
        outln!("{}", file.display());
    } else if global.json {
        let file = file.display().to_string();
        print_json(&json!({ "schema": "archipel.trust/1", "authority": file }))?;
    } else {
        outln!("{}", advice(file));
    }
    Ok(0)
}

fn advice(file: &Path) -> String {
    let file = file.display();
    format!(
        "With `tls = \"auto\"` the gateway proves names of this machine by an authority of your own:

  {file}

It can vouch for localhost, .localhost, .test, .local, .internal, .home.arpa and private
addresses, and for nothing on the Internet. To make this machine trust it, once:

  Debian, Ubuntu   sudo cp {file} /usr/local/share/ca-certificates/archipel.crt
                   sudo update-ca-certificates
  Fedora, RHEL     sudo trust anchor {file}
  macOS            sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {file}
  Chromium, Linux  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n archipel -i {file}
  Firefox          Settings, Certificates, Authorities, Import

One command only: curl --cacert {file}; Node: NODE_EXTRA_CA_CERTS={file}"
    )
}
