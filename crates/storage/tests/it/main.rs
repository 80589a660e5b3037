//! Every back end against the contracts, and what is special to one.

mod crash;
mod embedded;
mod faults;
mod postgres;
mod postgres_kv;

use std::sync::Arc;

use archipel_storage::conformance::{KvFixture, LogFixture};
use archipel_storage::embedded::{EmbeddedKv, EmbeddedLogs, Options};
use archipel_storage::memory::{MemoryKv, MemoryLogs};
use archipel_storage::{Kv, Logs, kv_conformance, log_conformance};
use async_trait::async_trait;

#[derive(Default)]
struct Memory {
    logs: MemoryLogs,
    kv: MemoryKv,
}

#[async_trait]
impl LogFixture for Memory {
    async fn open(&self) -> Arc<dyn Logs> {
        Arc::new(self.logs.reopen())
    }
}

#[async_trait]
impl KvFixture for Memory {
    async fn open(&self) -> Arc<dyn Kv> {
        Arc::new(self.kv.reopen())
    }
}

struct Embedded {
    directory: tempfile::TempDir,
}

impl Embedded {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }
}

#[async_trait]
impl LogFixture for Embedded {
    async fn open(&self) -> Arc<dyn Logs> {
        let path = self.directory.path().join("events.db");
        Arc::new(EmbeddedLogs::open(&path, Options::default()).await.expect("opens"))
    }
}

#[async_trait]
impl KvFixture for Embedded {
    async fn open(&self) -> Arc<dyn Kv> {
        let path = self.directory.path().join("state.db");
        Arc::new(EmbeddedKv::open(&path, Options::default()).await.expect("opens"))
    }
}

log_conformance!(memory_log, Memory::default());
log_conformance!(embedded_log, Embedded::new());
kv_conformance!(memory_kv, Memory::default());
kv_conformance!(embedded_kv, Embedded::new());
