//! A database that several processes share, where it is named, and what is said when it cannot be
//! used.

use std::sync::Arc;
use std::time::Duration;

use archipel_control::SecretStore;
use archipel_model::{App, SecretName};
use archipel_storage::postgres::{PostgresKv, PostgresUrl};
use archipel_storage::{Kv, StorageError};
use archipel_workflow::Sharing;

use crate::exit::{self, Failure};
use crate::find::Place;

pub(crate) const VARIABLE: &str = "ARCHIPEL_STORE_URL";

/// A shorter lease would be lost to a busy machine, a longer one is a long wait after a crash.
const LEASES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(120);

/// The database that the manifest names by a secret.
pub(crate) async fn of_secret(
    place: &Place,
    app: &App,
    name: &SecretName,
) -> Result<Arc<dyn Kv>, Failure> {
    let secrets = SecretStore::new(&place.state).resolve(app).map_err(|errors| {
        let texts: Vec<_> = errors.iter().map(|error| archipel_rt::chain(error)).collect();
        Failure::new(exit::UNEXPECTED, texts.join("; "))
    })?;
    let Some(url) = secrets.get(name) else {
        let variable = SecretStore::variable(name);
        let text = format!("ARC0910: the secret `{name}`, which [storage] names, has no value");
        let help =
            format!("`archipel secret set {name}`, or {variable}=postgres://… in the environment");
        return Err(Failure::new(exit::UNEXPECTED, text).help(help));
    };
    open(url.reveal(), app.name.as_str(), &format!("[storage] workflows, secret `{name}`")).await
}

/// `from`: where the URL was named. It is never shown itself.
pub(crate) async fn open(url: &str, application: &str, from: &str) -> Result<Arc<dyn Kv>, Failure> {
    let failed = |error: &StorageError| {
        let text = format!("ARC0910: {} (named by {from})", archipel_rt::chain(error));
        Failure::new(exit::UNEXPECTED, text).help(help(error))
    };
    let url = PostgresUrl::parse(url).map_err(|error| failed(&error))?;
    let kv = PostgresKv::open(url, application).await.map_err(|error| failed(&error))?;
    Ok(Arc::new(kv))
}

fn help(error: &StorageError) -> &'static str {
    match error {
        StorageError::Unreachable { .. } => {
            "nothing was started. Try the same URL with `psql`; over a network that is not yours, \
             add `?sslmode=require`. `archipel explain ARC0910` tells more"
        }
        StorageError::Refused { .. } => {
            "nothing was started. The role needs a database in which it may make a schema: \
             GRANT CREATE ON DATABASE … TO …. `archipel explain ARC0910` tells more"
        }
        StorageError::Newer { .. } => "use the newer Archipel, or another database",
        _ => "`archipel explain ARC0910` tells more",
    }
}

pub(crate) fn sharing(lease: Duration) -> Result<Sharing, Failure> {
    if !LEASES.contains(&lease) {
        let text = "a lease is 1 s to 2 min long";
        return Err(Failure::new(exit::USAGE, text).help("the default of 5 s suits most"));
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok(Sharing { lease, name: format!("{} (process {})", host.trim(), std::process::id()) })
}
