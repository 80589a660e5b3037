//! What a workflow error is in gRPC.

use archipel_workflow::WorkflowError;
use tonic::Status;

pub(super) fn status(error: &WorkflowError) -> Status {
    let text = archipel_rt::chain(error);
    match error {
        WorkflowError::NotFound { .. } | WorkflowError::NotPending { .. } => {
            Status::not_found(text)
        }
        WorkflowError::AlreadyActive { .. } | WorkflowError::AlreadyExists { .. } => {
            Status::already_exists(text)
        }
        WorkflowError::NotCompleted { .. } => Status::failed_precondition(text),
        WorkflowError::NotDeclared(_) => Status::permission_denied(text),
        WorkflowError::Invalid(_) => Status::invalid_argument(text),
        WorkflowError::TooLarge { .. } => Status::resource_exhausted(text),
        WorkflowError::Closing | WorkflowError::Unavailable(_) => Status::unavailable(text),
        WorkflowError::Storage(_) | WorkflowError::Stored { .. } => {
            tracing::error!(error = text, "a workflow request failed");
            Status::internal(text)
        }
    }
}
