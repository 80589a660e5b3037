//! Limits, retention and schedules of workflows.

use archipel_model::{WorkflowPolicy, WorkflowSchedule};

use super::{Reader, text};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::tree::Node;

impl Reader<'_> {
    pub(crate) fn workflows(&mut self, service: &Node) -> WorkflowPolicy {
        let Some(node) = service.get("workflows") else { return WorkflowPolicy::default() };
        let limits = |key| {
            let limits = node.entries(key).filter_map(|(name, entry)| {
                let limit = entry.node.integer()?;
                Some((name.to_owned(), u32::try_from(limit).ok()?))
            });
            limits.collect()
        };
        let (at_once, activities_at_once) = (limits("at_once"), limits("activities_at_once"));
        let schedules = node.entries("schedules").filter_map(|(name, entry)| {
            Some((name.to_owned(), self.workflow_schedule(&entry.node)?))
        });
        let schedules = schedules.collect();
        WorkflowPolicy { at_once, activities_at_once, keep: self.period(node, "keep"), schedules }
    }

    fn workflow_schedule(&mut self, node: &Node) -> Option<WorkflowSchedule> {
        let input = text(node, "input", Format::NonEmpty);
        if let Some(input) = &input
            && let Err(error) = serde_json::from_str::<serde_json::Value>(input.value)
        {
            let message = format!("the input `{}` is not JSON: {error}", shown(input.value));
            self.out
                .report(Code::BadText, input.span, message)
                .label("cannot be read")
                .help("text is written with its own quotes: \"\\\"all\\\"\"");
        }
        Some(WorkflowSchedule {
            workflow: text(node, "workflow", Format::NonEmpty)?.value.to_owned(),
            schedule: self.schedule(node)?,
            timezone: self.timezone(node),
            input: input.map(|input| input.value.to_owned()),
        })
    }
}
