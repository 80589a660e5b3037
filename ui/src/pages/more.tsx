import { useSignal } from "@preact/signals";
import type { Databases as All, Jobs as AllJobs, JobRun } from "../api.ts";
import { get, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, bytes, ms, plural, span } from "../format.ts";
import { Code, Empty, Failed, Page, Panel, ServiceLink, State, Time } from "../parts.tsx";
import { graph, message, now, services, status, tell } from "../state.ts";
import { theme, zone } from "../settings.ts";
import { KEYS } from "../keys.tsx";

export function Databases() {
  const { state, again } = useAsked<All>((signal) => get("/databases", {}, signal), "", 10_000);
  const all = state.value.data?.databases ?? [];
  const sized = all.reduce((n, d) => n + (d.bytes ?? 0), 0);
  return (
    <Page title="Databases" lead={state.value.data ? `${plural(all.length, "database")}, each with one owner${sized > 0 ? `, ${bytes(sized)} on this disk` : ""}` : " "}>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all.length === 0 && state.value.data ? (
        <Empty title="No service has a database" code={'[services.orders]\ndatabase = { engine = "sqlite", migrate = "python3 migrate.py" }'}>
          A service's database is its own: no other service gets its address, and a file is out of sight of other processes.
        </Empty>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>Database</th>
                <th>Owner</th>
                <th>State</th>
                <th>Engine</th>
                <th class="num">On disk</th>
                <th>Share</th>
                <th>Migration</th>
                <th>Open it</th>
              </tr>
            </thead>
            <tbody>
              {[...all]
                .sort((a, b) => (b.bytes ?? 0) - (a.bytes ?? 0) || a.service.localeCompare(b.service))
                .map((d) => (
                  <tr key={d.service}>
                    <th scope="row">
                      {d.name}
                      {d.file && <p class="why mono break">{d.file.split("/").slice(-3).join("/")}</p>}
                    </th>
                    <td>
                      <ServiceLink name={d.service} />
                    </td>
                    <td>
                      <State state={services.value.get(d.service)?.state ?? "stopped"} />
                    </td>
                    <td>{d.engine}</td>
                    <td class="num">{d.bytes === null ? <span class="dim">–</span> : bytes(d.bytes)}</td>
                    <td>
                      <svg class="classes" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                        <rect class="back" width="100" height="8" />
                        <rect class="class-2" width={sized > 0 ? Math.max(((d.bytes ?? 0) / sized) * 100, 0.5) : 0} height="8" />
                      </svg>
                    </td>
                    <td class="mono clip" title={d.migrate ?? ""}>{d.migrate ?? <span class="dim">by itself</span>}</td>
                    <td>
                      <Code text={`archipel db shell ${d.service}`} />
                    </td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      )}
    </Page>
  );
}

export function Jobs() {
  const { state, again } = useAsked<AllJobs>((signal) => get("/jobs", {}, signal), "", 3000);
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
                <th>Last run</th>
                <th>Outcome</th>
                <th class="num">Took</th>
                <th />
              </tr>
            </thead>
            <tbody>
              {all.map((job) => {
                const busy = job.running > 0 || running.value.has(job.name);
                return (
                  <tr key={job.name}>
                    <th scope="row">{job.name}</th>
                    <td>{job.service ? <ServiceLink name={job.service} /> : <span class="dim">none</span>}</td>
                    <td class="mono">
                      {job.schedule ?? <span class="dim">by hand</span>}
                      {job.schedule && <p class="why">{job.timezone}</p>}
                    </td>
                    <td>{job.next_at_ms ? <span title={new Date(job.next_at_ms).toISOString()}>in {span(Math.max(0, job.next_at_ms - now.value))}</span> : <span class="dim">–</span>}</td>
                    <td>{job.last ? ago(job.last.started_at_ms, now.value) : <span class="dim">never</span>}</td>
                    <td>{job.last ? <span class={job.last.exit_code === 0 ? "good-text" : "bad-text"}>{job.last.outcome}</span> : ""}</td>
                    <td class="num">{job.last ? ms(job.last.took_ms) : ""}</td>
                    <td class="end">
                      {busy ? (
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
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </Page>
  );
}

export function Settings() {
  const all = status.value;
  if (!all) return null;
  const facts: [string, preact.ComponentChildren][] = [
    ["Application", all.app],
    ["Profile", all.profile ?? "none"],
    ["Manifest", <span class="mono break">{all.manifest}</span>],
    ["Applied", `${plural(all.generation, "time")} since start`],
    ["Archipel", `version ${all.version}, process ${all.pid}`],
    ["Started", <Time at={all.started_at_ms} date />],
    ["Declared", `${plural(all.services.length, "service")}, ${plural(graph.value?.topics.length ?? 0, "topic")}, ${plural(graph.value?.routes.length ?? 0, "route")}`],
  ];
  return (
    <Page title="Settings">
      {all.problems.map((problem) => (
        <Failed key={problem} error={new Error(problem)} />
      ))}
      <div class="columns">
        <Panel title="This browser">
          <Choice label="Appearance" value={theme.value} options={[["system", "As the system"], ["light", "Light"], ["dark", "Dark"]]} set={(v) => (theme.value = v)} />
          <Choice label="Times" value={zone.value} options={[["local", "Local"], ["utc", "UTC"]]} set={(v) => (zone.value = v)} />
        </Panel>
        <Panel title="This application">
          <dl class="facts">
            {facts.map(([label, value]) => (
              <>
                <dt>{label}</dt>
                <dd>{value}</dd>
              </>
            ))}
          </dl>
        </Panel>
        <Panel title="Keys">
          <dl class="facts keys">
            {KEYS.map(([keys, what]) => (
              <>
                <dt>
                  {keys.split(" ").map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dt>
                <dd>{what}</dd>
              </>
            ))}
          </dl>
        </Panel>
        <Panel title="From a terminal">
          <p class="note">All of this is the same API that the command line uses.</p>
          <p class="note"><Code text="archipel ps --follow" /></p>
          <p class="note"><Code text="archipel logs --follow" /></p>
          <p class="note"><Code text="archipel events list" /></p>
          <p class="note">There is a <a href="/plain">plain page</a> for browsers without scripts.</p>
        </Panel>
      </div>
    </Page>
  );
}

function Choice<T extends string>(props: { label: string; value: T; options: [T, string][]; set: (value: T) => void }) {
  return (
    <fieldset class="choice">
      <legend>{props.label}</legend>
      {props.options.map(([value, label]) => (
        <label key={value}>
          <input type="radio" name={props.label} checked={props.value === value} onChange={() => props.set(value)} />
          {label}
        </label>
      ))}
    </fieldset>
  );
}
