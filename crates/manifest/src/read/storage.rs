//! `[storage]`

use std::time::Duration;

use archipel_model::{SecretName, Storage};

use super::{Reader, text};
use crate::Code;
use crate::shape::format::Format;
use crate::source::Sited;
use crate::tree::Node;

#[derive(Default)]
pub(crate) struct StorageDraft {
    pub(crate) storage: Storage,
    pub(crate) secret: Option<Sited<SecretName>>,
}

/// A shorter one is lost to a busy machine; a longer one is a long wait after a crash.
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(120);

impl Reader<'_> {
    pub(super) fn storage(&mut self, document: &Node) -> StorageDraft {
        let mut draft = StorageDraft::default();
        let Some(table) = document.get("storage") else { return draft };
        if let Some(secret) = table.get("workflows").and_then(|of| text(of, "secret", Format::Name))
            && let Ok(value) = SecretName::new(secret.value)
        {
            draft.storage.workflows = Some(value.clone());
            draft.secret = Some(Sited { value, span: secret.span });
        }
        if let Some(lease) = self.duration(table, "lease") {
            draft.storage.lease = lease;
            if let Some(given) = text(table, "lease", Format::Duration)
                && !(LEASE_MIN..=LEASE_MAX).contains(&lease)
            {
                self.out
                    .report(Code::OutOfBounds, given.span, "a lease is 1s to 2m long")
                    .label("too short, or too long")
                    .help("a short one is lost to a busy machine, a long one is a long wait after a crash; 5s suits most");
            }
        }
        draft
    }
}
