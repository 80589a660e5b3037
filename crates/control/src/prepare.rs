//! What happens before a service's first process: build, database, migration.
//!
//! Services are prepared side by side and independently: one that does not build holds up
//! nobody. What is told about progress is data ([`Progress`]); the owner of the state applies it.

use std::sync::Arc;

use archipel_model::{DatabaseEngine, EnvValue, Service, ServiceName};
use archipel_rt::{Sender, chain};
use archipel_storage::provision;
use archipel_supervisor::{BuildOutcome, BuildSpec, OnceSpec, Supervisor};

use crate::desired::{self, Surroundings};
use crate::environment::DatabaseUrl;
use crate::plan::Plan;
use crate::secrets::{Secret, SecretStore};
use crate::state::{Built, Preparation};

/// The server that `database = { engine = "postgres" }` means unless it says otherwise.
const POSTGRES_VARIABLE: &str = "ARCHIPEL_POSTGRES_URL";

/// A step of one service's preparation. `generation` tells it from that of an older manifest.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) generation: u64,
    pub(crate) service: ServiceName,
    pub(crate) preparation: Preparation,
    pub(crate) database: Option<DatabaseUrl>,
}

/// What one preparation needs.
pub(crate) struct Preparing {
    pub(crate) generation: u64,
    pub(crate) plan: Arc<Plan>,
    pub(crate) around: Arc<Surroundings>,
    pub(crate) supervisor: Supervisor,
    pub(crate) progress: Sender<Progress>,
}

impl Preparing {
    /// Prepares one service and reports each step. Dropping it kills a build that runs.
    pub(crate) async fn run(self, name: ServiceName) {
        let service = &self.plan.app.services[&name];
        let mut database = None;
        let last = match self.steps(service, &mut database).await {
            Ok(built) => Preparation::Done(built),
            Err(failed) => failed,
        };
        self.report(&name, last, database).await;
    }

    async fn steps(
        &self,
        service: &Service,
        database: &mut Option<DatabaseUrl>,
    ) -> Result<Built, Preparation> {
        let built = self.build(service).await?;
        *database = self.provide_database(service).await?;
        self.migrate(service, database.as_ref()).await?;
        Ok(built)
    }

    async fn report(
        &self,
        name: &ServiceName,
        preparation: Preparation,
        database: Option<DatabaseUrl>,
    ) {
        let progress =
            Progress { generation: self.generation, service: name.clone(), preparation, database };
        // Nobody listens any more: Archipel is stopping.
        let _ = self.progress.send(progress).await;
    }

    async fn build(&self, service: &Service) -> Result<Built, Preparation> {
        let Some(command) = &service.build else {
            return Ok(Built { hash: String::new(), took: None, had_build: false });
        };
        self.report(&service.name, Preparation::Building, None).await;
        // Toolchains look for proxies, caches and registries in variables of their own: a build
        // gets everything that Archipel got, a service does not.
        let mut env: std::collections::BTreeMap<String, String> = std::env::vars().collect();
        env.retain(|name, _| !name.starts_with("ARCHIPEL_SECRET_"));
        env.extend(service.env.iter().filter_map(|(name, value)| match value {
            EnvValue::Text(text) => Some((name.clone(), text.clone())),
            EnvValue::Hidden(_) | EnvValue::Secret(_) | EnvValue::UrlOf(_) => None,
        }));
        let spec = BuildSpec {
            service: service.name.clone(),
            argv: command.expand(|name| env.get(name).cloned()),
            cwd: service.path.clone(),
            env,
            inputs: service.sources.clone(),
            artifact: service.artifact.clone(),
        };
        match self.supervisor.build(spec).await {
            BuildOutcome::Cached { hash } => Ok(Built { hash, took: None, had_build: true }),
            BuildOutcome::Built { hash, took } => {
                Ok(Built { hash, took: Some(took), had_build: true })
            }
            BuildOutcome::Failed { reason, last_lines, .. } => {
                Err(Preparation::Failed { phase: "build", reason, last_lines })
            }
        }
    }

    async fn provide_database(
        &self,
        service: &Service,
    ) -> Result<Option<DatabaseUrl>, Preparation> {
        let Some(database) = &service.database else { return Ok(None) };
        let failed = |reason: String| Preparation::Failed {
            phase: "database",
            reason,
            last_lines: Vec::new(),
        };
        let given = match &database.url {
            Some(EnvValue::Text(url)) => Some(url.clone()),
            Some(EnvValue::Secret(name)) => {
                self.plan.secrets.get(name).map(|secret| secret.reveal().to_owned())
            }
            Some(EnvValue::Hidden(text)) => Some(text.reveal().to_owned()),
            Some(EnvValue::UrlOf(_)) | None => None,
        };
        match database.engine {
            DatabaseEngine::Sqlite => {
                let root = self.around.state.data_root();
                let made = provision::sqlite_database(&root, &service.name, &database.name)
                    .map_err(|error| failed(chain(&error)))?;
                Ok(Some(DatabaseUrl {
                    engine: database.engine,
                    url: Secret::new(made.url),
                    file: Some(made.path),
                }))
            }
            DatabaseEngine::External => match given {
                Some(url) => {
                    let url = Secret::new(url);
                    Ok(Some(DatabaseUrl { engine: database.engine, url, file: None }))
                }
                None => Err(failed("its `url` has no value".to_owned())),
            },
            DatabaseEngine::Postgres => {
                let server = given.or_else(|| std::env::var(POSTGRES_VARIABLE).ok());
                let Some(server) = server else {
                    return Err(failed(format!(
                        "no PostgreSQL server is known; set {POSTGRES_VARIABLE} to a URL such as \
                         postgres://postgres:password@127.0.0.1:5432/postgres, or `url` in the manifest"
                    )));
                };
                let secrets = SecretStore::new(&self.around.state);
                let password = secrets
                    .own(&format!("postgres/{}", service.name))
                    .map_err(|error| failed(chain(&error)))?;
                let made = provision::postgres_database(
                    &server,
                    &self.plan.app.name,
                    &service.name,
                    &database.name,
                    password.reveal(),
                )
                .await
                .map_err(|error| failed(chain(&error)))?;
                let url = Secret::new(made.url);
                Ok(Some(DatabaseUrl { engine: database.engine, url, file: None }))
            }
        }
    }

    async fn migrate(
        &self,
        service: &Service,
        database: Option<&DatabaseUrl>,
    ) -> Result<(), Preparation> {
        let migrate = service.database.as_ref().and_then(|database| database.migrate.as_ref());
        let Some(command) = migrate else { return Ok(()) };
        self.report(&service.name, Preparation::Migrating, None).await;
        let own = desired::own_environment(&self.plan, service, database, &self.around);
        let env = desired::whole_environment(&own, service, &self.around);
        let spec = OnceSpec {
            name: format!("{}-migrate", service.name),
            service: service.name.clone(),
            argv: command.expand(|name| env.get(name).cloned()),
            cwd: service.path.clone(),
            env,
            memory: service.memory,
            isolate: desired::isolation(&self.around.state, &service.name),
            timeout: None,
        };
        let done = self.supervisor.run_once(spec).await;
        if done.is_success() {
            return Ok(());
        }
        Err(Preparation::Failed {
            phase: "migration",
            reason: done.reason(),
            last_lines: done.last_lines,
        })
    }
}
