//! `archipel job`.

use archipel_console::view::{JobRun, Jobs};
use serde_json::json;

use super::{Versioned, connect, print_json};
use crate::cli::{Global, JobVerb};
use crate::exit::Failure;
use crate::show::table::{Table, age};

pub(crate) async fn run(global: &Global, verb: &JobVerb) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    match verb {
        JobVerb::List => {
            let jobs: Jobs = client.get("/v1/jobs").await?;
            if global.json {
                print_json(&jobs)?;
            } else if jobs.jobs.is_empty() {
                eprintln!("there are no jobs; declare one in a table [jobs.NAME]");
            } else {
                show(&jobs);
            }
            Ok(0)
        }
        JobVerb::Run { job } => {
            let run: JobRun = client.post(&format!("/v1/jobs/{job}/run"), &json!({})).await?;
            if global.json {
                print_json(&Versioned::new("archipel.job-run/1", &run))?;
            } else {
                eprintln!("{job}: {} in {}", run.outcome, age(run.took_ms));
            }
            Ok(u8::try_from(run.exit_code).unwrap_or(1))
        }
    }
}

fn show(jobs: &Jobs) {
    let now = archipel_rt::clock::wall_ms();
    let mut table = Table::new(&["JOB", "SERVICE", "SCHEDULE", "NEXT", "RUNNING", "LAST"]);
    for job in &jobs.jobs {
        let last = job.last.as_ref().map(|run| {
            let ago = age(now.saturating_sub(run.started_at_ms));
            format!("{} {ago} ago, took {}", run.outcome, age(run.took_ms))
        });
        let next = job.next_at_ms.map(|at| format!("in {}", age(at.saturating_sub(now))));
        table.row(vec![
            job.name.as_str().into(),
            job.service.clone().unwrap_or_default().into(),
            job.schedule.clone().unwrap_or_else(|| "by hand".to_owned()).into(),
            next.unwrap_or_default().into(),
            job.running.to_string().into(),
            last.unwrap_or_default().into(),
        ]);
    }
    table.print();
}
