//! The schema that the events of one topic are held against.

use std::collections::BTreeMap;
use std::sync::Arc;

use archipel_model::{EventSchema, TopicName};
use archipel_schema::{CompileError, Mismatch, Schema};

use crate::event::{Envelope, EventError};

/// Topics, each with what its events must match.
pub(crate) type Contracts = BTreeMap<TopicName, Option<Arc<Contract>>>;

#[derive(Debug)]
pub(crate) struct Contract {
    /// As people know its file.
    file: String,
    schema: Schema,
}

impl Contract {
    pub(crate) fn compile(of: &EventSchema) -> Result<Self, CompileError> {
        let schema = Schema::compile(&of.root, &of.file, &of.documents)?;
        Ok(Self { file: of.name(), schema })
    }

    /// Without `data` in JSON there is nothing that could match.
    pub(crate) fn check(&self, event: &Envelope<'_>) -> Result<(), EventError> {
        let data = event.raw("data").ok_or_else(Mismatch::no_data);
        let checked = data.and_then(|data| self.schema.check(data.get()));
        checked.map_err(|mismatch| EventError::Schema { schema: self.file.clone(), mismatch })
    }
}
