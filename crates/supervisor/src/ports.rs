//! Ports that stay: assigned once per key, from a range that nobody else draws from.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::record::write_durable;

#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("every port from {first} to {last} is taken")]
    Exhausted { first: u16, last: u16 },
    #[error("could not read the port assignments in {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the port assignments in {} are damaged ({why}); remove the file to assign anew", .path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("could not store a port assignment in {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Which port belongs to which key (`instance/orders/0`, `edge/orders/payments`), kept in the
/// state directory, so that addresses are the same after every restart.
#[derive(Debug)]
pub struct Ports {
    path: PathBuf,
    range: RangeInclusive<u16>,
    assigned: Mutex<BTreeMap<String, u16>>,
}

impl Ports {
    /// Reads the assignments in `state_dir`.
    ///
    /// # Errors
    /// [`PortError::Read`] and [`PortError::Damaged`]: a lost assignment would move addresses
    /// that people have written down, so nothing is made up in its place.
    pub fn open(state_dir: &Path, range: RangeInclusive<u16>) -> Result<Self, PortError> {
        let path = state_dir.join("ports.json");
        let assigned = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| PortError::Damaged {
                path: path.clone(),
                why: error.to_string(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(PortError::Read { path, source }),
        };
        Ok(Self { path, range, assigned: Mutex::new(assigned) })
    }

    /// The port of `key`: the one it has always had, or a new one that is free now.
    ///
    /// # Errors
    /// [`PortError::Exhausted`] and [`PortError::Write`].
    pub fn get(&self, key: &str) -> Result<u16, PortError> {
        let mut assigned = self.lock();
        match assigned.get(key) {
            Some(port) => Ok(*port),
            None => self.assign(&mut assigned, key),
        }
    }

    /// Another port for `key`, because a stranger sits on the old one. Tell people: their
    /// bookmarks move.
    ///
    /// # Errors
    /// [`PortError::Exhausted`] and [`PortError::Write`].
    pub fn reassign(&self, key: &str) -> Result<u16, PortError> {
        let mut assigned = self.lock();
        let old = assigned.get(key).copied();
        self.assign_except(&mut assigned, key, old)
    }

    /// Forgets keys for which `keep` says no: services that are gone.
    ///
    /// # Errors
    /// [`PortError::Write`].
    pub fn retain(&self, keep: impl Fn(&str) -> bool) -> Result<(), PortError> {
        let mut assigned = self.lock();
        let before = assigned.len();
        assigned.retain(|key, _| keep(key));
        if assigned.len() == before { Ok(()) } else { self.store(&assigned) }
    }

    /// Every assignment.
    pub fn all(&self) -> BTreeMap<String, u16> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u16>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, to: &mut BTreeMap<String, u16>, key: &str) -> Result<u16, PortError> {
        self.assign_except(to, key, None)
    }

    /// Starts at a place that depends on key and directory, so that two applications rarely
    /// meet and a lost file usually gives the same ports again.
    fn assign_except(
        &self,
        assigned: &mut BTreeMap<String, u16>,
        key: &str,
        not: Option<u16>,
    ) -> Result<u16, PortError> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let size = u32::from(last.saturating_sub(first)) + 1;
        let mut hash = Sha256::new();
        hash.update(self.path.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(key.as_bytes());
        let digest = hash.finalize();
        let start = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % size;
        let port = (0..size)
            .map(|step| {
                let offset = (start + step) % size;
                first + u16::try_from(offset).expect("the offset lies within a range of u16")
            })
            .find(|port| {
                Some(*port) != not
                    && !assigned.iter().any(|(other, taken)| taken == port && other != key)
                    && is_free(*port)
            })
            .ok_or(PortError::Exhausted { first, last })?;
        assigned.insert(key.to_owned(), port);
        self.store(assigned)?;
        Ok(port)
    }

    fn store(&self, assigned: &BTreeMap<String, u16>) -> Result<(), PortError> {
        let error = |source| PortError::Write { path: self.path.clone(), source };
        let bytes = serde_json::to_vec_pretty(assigned).map_err(|e| error(e.into()))?;
        write_durable(&self.path, &bytes).map_err(error)
    }
}

/// Nobody listens there, on this machine's own addresses or on all of them.
pub fn is_free(port: u16) -> bool {
    let taken = |result: io::Result<TcpListener>| {
        result.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    !taken(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
        && !taken(TcpListener::bind((Ipv6Addr::LOCALHOST, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_stays_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Ports::open(dir.path(), crate::spec::PORT_RANGE).unwrap();
        let ports = open();
        let first = ports.get("instance/orders/0").unwrap();
        let second = ports.get("edge/orders/payments").unwrap();
        assert_ne!(first, second);
        assert!(crate::spec::PORT_RANGE.contains(&first));
        let ports = open();
        assert_eq!(ports.get("instance/orders/0").unwrap(), first);
        // Also while its rightful owner listens on it.
        let _owner = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_eq!(open().get("instance/orders/0").unwrap(), first);
        let moved = ports.reassign("instance/orders/0").unwrap();
        assert_ne!(moved, first);
        ports.retain(|key| key.starts_with("edge/")).unwrap();
        assert_eq!(open().all().len(), 1);
    }

    #[test]
    fn a_taken_port_is_never_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let ports = Ports::open(dir.path(), port..=port).unwrap();
        assert!(matches!(ports.get("a"), Err(PortError::Exhausted { .. })));
    }

    #[test]
    fn damaged_assignments_are_not_replaced_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ports.json"), "{").unwrap();
        assert!(matches!(
            Ports::open(dir.path(), crate::spec::PORT_RANGE),
            Err(PortError::Damaged { .. })
        ));
    }
}
