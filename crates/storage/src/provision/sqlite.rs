//! One SQLite file in a directory of its own.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use archipel_model::ServiceName;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::ProvisionError;

/// What would end or change the path of a URL.
const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'?').add(b'#').add(b'%').add(b'"');

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteDatabase {
    /// `sqlite:///` and the absolute path, so four slashes in all.
    pub url: String,
    pub path: PathBuf,
}

/// Makes `<data_root>/<service>/`, for its owner alone, and names the file in it. The file itself
/// is the service's to make.
///
/// # Errors
/// [`ProvisionError::Name`] when `name` is more than a file's stem; otherwise the directory
/// could not be made.
pub fn sqlite_database(
    data_root: &Path,
    service: &ServiceName,
    name: &str,
) -> Result<SqliteDatabase, ProvisionError> {
    super::postgres::check_name(name)?;
    let directory = data_root.join(service.as_str());
    let failed = |source| ProvisionError::Directory {
        service: service.clone(),
        path: directory.display().to_string(),
        source,
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
    // Also when it was there before, or a generous umask made it.
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).map_err(failed)?;
    let path = std::path::absolute(directory.join(format!("{name}.db"))).map_err(failed)?;
    let text =
        path.to_str().ok_or_else(|| ProvisionError::Path { path: path.display().to_string() })?;
    Ok(SqliteDatabase { url: format!("sqlite:///{}", utf8_percent_encode(text, IN_PATH)), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).expect("a name")
    }

    #[test]
    fn each_service_gets_a_directory_that_only_its_owner_can_enter() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let made = sqlite_database(root.path(), &service("orders"), "orders").expect("makes");
        assert_eq!(made.path, root.path().join("orders/orders.db"));
        assert_eq!(made.url, format!("sqlite:///{}/orders/orders.db", root.path().display()));
        assert!(made.url.starts_with("sqlite:////"), "{}", made.url);
        let mode = fs::metadata(root.path().join("orders")).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::set_permissions(root.path().join("orders"), Permissions::from_mode(0o755))
            .expect("loosens");
        assert_eq!(
            sqlite_database(root.path(), &service("orders"), "orders").expect("again"),
            made
        );
        let mode = fs::metadata(root.path().join("orders")).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "tightened again");
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let root = tempfile::tempdir().expect("a temporary directory");
        for bad in ["", "..", "../cart/cart", "a/b", "a\0", "A", "-"] {
            let made = sqlite_database(root.path(), &service("orders"), bad);
            assert!(made.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_with_spaces_stays_one_url() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let made = sqlite_database(&root.path().join("my data#1"), &service("a"), "a");
        let made = made.expect("makes");
        assert!(made.url.ends_with("/my%20data%231/a/a.db"), "{}", made.url);
    }
}
