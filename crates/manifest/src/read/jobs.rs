//! Jobs.

use archipel_model::{Command, Job, JobName, JobRetry, Overlap, ServiceName};

use super::command::Use;
use super::service::EnvDraft;
use super::{Reader, Want, count, text};
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::Sited;
use crate::tree::{Entry, Node};
use crate::{Code, cron, timezone};

pub(crate) struct JobDraft {
    /// `path` is empty when only the service tells it.
    pub(crate) job: Job,
    pub(crate) service: Option<Sited<ServiceName>>,
    pub(crate) env: EnvDraft,
}

impl Reader<'_> {
    pub(crate) fn jobs(&mut self, document: &Node) -> Vec<JobDraft> {
        let mut drafts = Vec::new();
        for (name, entry) in document.entries("jobs") {
            let Ok(name) = JobName::new(name) else { continue };
            drafts.push(self.job(name, entry));
        }
        drafts
    }

    fn job(&mut self, name: JobName, entry: &Entry) -> JobDraft {
        let node = &entry.node;
        let mut env = EnvDraft::default();
        let service = text(node, "service", Format::Name).and_then(|service| {
            Some(Sited { value: ServiceName::new(service.value).ok()?, span: service.span })
        });
        let path = text(node, "path", Format::NonEmpty);
        let placed = node.get("service").is_some() || node.get("path").is_some();
        if !placed && node.table().is_some() {
            self.out
                .report(Code::JobWithoutPlace, entry.key, format!("job `{name}` has neither a service nor a path"))
                .label("nowhere to run")
                .help("`service` lends it directory, environment and database; `path` only a directory");
        }
        let path = path.map(|path| {
            self.path_beside_file(&path, Want::Directory, format!("`path` of job `{name}`"))
        });
        let job = Job {
            service: service.as_ref().map(|service| service.value.clone()),
            path: path.unwrap_or_default(),
            run: self
                .command(node, "run", Use::Direct)
                .unwrap_or_else(|| Command { argv: Vec::new(), shell: false }),
            schedule: self.schedule(node),
            timezone: self.timezone(node),
            overlap: match node.get("overlap").and_then(Node::text) {
                Some("allow") => Overlap::Allow,
                Some("replace") => Overlap::Replace,
                _ => Overlap::Forbid,
            },
            timeout: self.period(node, "timeout"),
            memory: self.memory(node, "memory"),
            retry: node.get("retry").map(|retry| self.job_retry(retry)),
            env: self.env(node, &mut env),
            name,
        };
        self.manual(node, &job.name);
        JobDraft { job, service, env }
    }

    fn job_retry(&mut self, node: &Node) -> JobRetry {
        let default = JobRetry::default();
        JobRetry {
            attempts: count(node, "attempts").unwrap_or(default.attempts),
            backoff: self.range(node, "backoff").unwrap_or(default.backoff),
        }
    }

    fn manual(&mut self, node: &Node, name: &JobName) {
        let manual = node.entry("manual").filter(|manual| manual.node.bool() == Some(true));
        if let (Some(manual), Some(schedule)) = (manual, node.entry("schedule")) {
            self.out
                .report(
                    Code::ManualSchedule,
                    manual.key,
                    format!("job `{name}` is manual and has a schedule"),
                )
                .label("excludes the schedule")
                .also(schedule.key, "the schedule")
                .help("remove `manual`: a scheduled job can be run by hand too");
        }
    }

    pub(super) fn schedule(&mut self, node: &Node) -> Option<String> {
        let schedule = text(node, "schedule", Format::NonEmpty)?;
        match cron::check(schedule.value) {
            Ok(()) => Some(schedule.value.split_whitespace().collect::<Vec<_>>().join(" ")),
            Err(error) => {
                let message = format!("`{}` is not a schedule: {error}", shown(schedule.value));
                self.out
                    .report(Code::BadCron, schedule.span, message)
                    .label("cannot be read")
                    .help("minute, hour, day of month, month, day of week: \"0 3 * * *\" is every night at three");
                None
            }
        }
    }

    pub(super) fn timezone(&mut self, node: &Node) -> Option<String> {
        let zone = text(node, "timezone", Format::NonEmpty)?;
        if timezone::is_known(zone.value) {
            return Some(zone.value.to_owned());
        }
        let otherwise = "an IANA name such as \"Europe/Paris\" or \"UTC\"";
        let help = self.out.hint(zone.value, timezone::all(), otherwise);
        self.out
            .report(
                Code::UnknownTimezone,
                zone.span,
                format!("time zone `{}` is not known", shown(zone.value)),
            )
            .label("no such zone")
            .help(help);
        None
    }
}
