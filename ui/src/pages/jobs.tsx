import { useSignal } from "@preact/signals";
import type { Job, JobRun, Jobs as All } from "../api.ts";
import { get, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, ms, plural, span } from "../format.ts";
import { Code, Empty, Failed, Page, ServiceLink, Time } from "../parts.tsx";
import { A, query, withQuery } from "../router.tsx";
import { message, now, tell } from "../state.ts";
import "../style/look.css";

export function Jobs() {
  const { state, again } = useAsked<All>((signal) => get("/jobs", {}, signal), "", 3000);
  const running = useSignal<ReadonlySet<string>>(new Set());
  const all = state.value.data?.jobs ?? [];
  const run = async (name: string) => {
    running.value = new Set(running.value).add(name);
    try {
      const done = await post<JobRun>(`/jobs/${encodeURIComponent(name)}/run`, {});
      tell(done.exit_code === 0, `${name}: ${done.outcome} after ${span(done.took_ms)}`);
    } catch (error) {
      tell(false, `${name}: ${message(error)}`);
    }
    const left = new Set(running.value);
    left.delete(name);
    running.value = left;
    again();
  };
  const open = query.value.get("job");
  return (
    <Page title="Jobs" lead={state.value.data ? plural(all.length, "job") : " "}>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all.length === 0 && state.value.data ? (
        <Empty title="No job is declared" code={'[jobs.nightly-report]\nrun = "python3 report.py"\nservice = "orders"\nschedule = "0 3 * * *"\ntimezone = "Europe/Paris"'}>
          A job is a command that runs on a schedule or by hand, with the directory, environment and database of a service.
        </Empty>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>Job</th>
                <th>Service</th>
                <th>Schedule</th>
                <th>Next</th>
                <th>Last runs</th>
                <th>Outcome</th>
                <th class="num">Took</th>
                <th />
              </tr>
            </thead>
            {all.map((job) => (
              <tbody key={job.name}>
                <tr class={open === job.name ? "chosen" : ""}>
                  <th scope="row">
                    <A class="row-link" href={withQuery({ job: open === job.name ? null : job.name })} aria-expanded={open === job.name}>
                      {job.name}
                    </A>
                    <p class="why mono">{job.command}</p>
                  </th>
                  <td>{job.service ? <ServiceLink name={job.service} /> : <span class="dim">none</span>}</td>
                  <td class="mono nowrap">
                    {job.schedule ?? <span class="dim">by hand</span>}
                    {job.schedule && <p class="why">{job.timezone}</p>}
                  </td>
                  <td class="nowrap">{job.next_at_ms ? <span title={new Date(job.next_at_ms).toISOString()}>in {span(Math.max(0, job.next_at_ms - now.value))}</span> : <span class="dim">–</span>}</td>
                  <td>
                    <Pips job={job} />
                    {job.last ? <span class="dim">{ago(job.last.started_at_ms, now.value)}</span> : <span class="dim">none since Archipel started</span>}
                  </td>
                  <td>{job.last ? <span class={job.last.exit_code === 0 ? "good-text" : "bad-text"}>{job.last.outcome}</span> : ""}</td>
                  <td class="num">{job.last ? ms(job.last.took_ms) : ""}</td>
                  <td class="end">
                    {job.running > 0 || running.value.has(job.name) ? (
                      <span class="busy" role="status">
                        <span class="spinner" aria-hidden="true" /> running
                      </span>
                    ) : (
                      <button type="button" onClick={() => void run(job.name)}>
                        Run now
                      </button>
                    )}
                  </td>
                </tr>
                {open === job.name && <Runs job={job} />}
              </tbody>
            ))}
          </table>
        </div>
      )}
    </Page>
  );
}

/** The last runs, the latest at the right; a failed one also differs in form. */
function Pips({ job }: { job: Job }) {
  if (job.runs.length < 2) return null;
  const failed = job.runs.filter((run) => run.exit_code !== 0).length;
  return (
    <svg class="run-pips" width={job.runs.length * 6} height="14" role="img" aria-label={`${plural(job.runs.length, "run")}, ${failed} failed`}>
      {[...job.runs].reverse().map((run, i) => (
        <rect key={i} class={run.exit_code === 0 ? "well" : "bad"} x={i * 6} width="4" y={run.exit_code === 0 ? 5 : 0} height={run.exit_code === 0 ? 9 : 14} rx="1" />
      ))}
    </svg>
  );
}

function Runs({ job }: { job: Job }) {
  if (job.runs.length === 0) {
    return (
      <tr>
        <td colSpan={8}>
          It has not run since Archipel started. <Code text={`archipel job run ${job.name}`} />
        </td>
      </tr>
    );
  }
  return (
    <>
      {job.runs.map((run) => (
        <tr key={run.started_at_ms} class="inner-row">
          <td colSpan={3} />
          <td colSpan={2} class="num">
            <Time at={run.started_at_ms} date /> <span class="dim">{ago(run.started_at_ms, now.value)}</span>
          </td>
          <td class={run.exit_code === 0 ? "good-text" : "bad-text"}>{run.outcome}</td>
          <td class="num">{ms(run.took_ms)}</td>
          <td class="end">
            <A href={`/logs?service=${job.service ?? job.name}&from=${run.started_at_ms - 500}&to=${run.started_at_ms + run.took_ms + 500}&live=0`}>what it wrote</A>
          </td>
        </tr>
      ))}
    </>
  );
}
