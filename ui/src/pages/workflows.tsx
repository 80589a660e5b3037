import { useSignal } from "@preact/signals";
import type { Workflow, Workflows as All, WorkflowsChanged } from "../api.ts";
import { get, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, count, plural, span } from "../format.ts";
import { Empty, Failed, IdField, Page, Panel, ServiceLink, State } from "../parts.tsx";
import { Ranges, rangeOf } from "../range.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { message, now, services, tell } from "../state.ts";
import "../style/look.css";

const STATES = ["running", "pending", "suspended", "stalled", "failed", "completed", "terminated", "canceled"];
const STANDARD = "7d";
const LISTED = 100;

export const addressOf = (of: { service: string; id: string }): string => `/workflows/${encodeURIComponent(of.service)}/${encodeURIComponent(of.id)}`;

export function Workflows() {
  const words = query.value;
  const text = (key: string) => words.get(key) ?? undefined;
  const limit = Number(words.get("limit")) || LISTED;
  const asked = { service: text("service"), name: text("name"), id: text("q"), status: words.getAll("status"), limit };
  const { state, again } = useAsked<All>(
    (signal) => {
      const { since_ms, until_ms } = rangeOf(words, STANDARD);
      return get("/workflows", { ...asked, since_ms, until_ms }, signal);
    },
    words.toString(),
    3000,
  );
  const all = state.value.data;
  const counts = all?.counts ?? {};
  const total = Object.values(counts).reduce((a, b) => a + b, 0);
  const chosen = words.getAll("status");
  const workers = Object.values(all?.workers ?? {}).reduce((a, b) => a + b, 0);
  const names = [...new Set((all?.instances ?? []).map((w) => w.name))].sort();
  const starting = words.get("start") !== null;
  const filtered = chosen.length > 0 || ["service", "name", "q", "range", "from"].some((key) => words.get(key));
  return (
    <Page
      title="Workflows"
      lead={all ? `${plural(total, "instance")}, ${workers === 0 ? "no worker is connected" : `${plural(workers, "worker")} of ${plural(Object.keys(all.workers).length, "service")}`}` : " "}
      actions={
        <A class="button" href={withQuery({ start: starting ? null : "1" })} aria-expanded={starting}>
          Start one…
        </A>
      }
    >
      {starting && <Start workers={all?.workers ?? {}} names={names} />}
      <div class="tools">
        <input type="search" placeholder="Part of an id" aria-label="part of an id" data-search value={words.get("q") ?? ""} onInput={(e) => go(withQuery({ q: e.currentTarget.value }), true)} />
        <Choice label="service" of={[...services.value.keys()]} all="All services" />
        <Choice label="name" of={names} all="All names" />
        <Ranges words={words} standard={STANDARD} />
      </div>
      <div class="chips states" role="group" aria-label="filter by state">
        <A class="chip" href={withQuery({ status: null })} aria-current={chosen.length === 0 ? "true" : undefined}>
          All <b>{count(total)}</b>
        </A>
        {STATES.filter((name) => (counts[name] ?? 0) > 0 || chosen.includes(name)).map((name) => (
          <A
            key={name}
            class="chip"
            href={withQuery({ status: chosen.includes(name) ? chosen.filter((c) => c !== name) : [...chosen, name] })}
            aria-current={chosen.includes(name) ? "true" : undefined}
          >
            <State state={name} /> <b>{count(counts[name] ?? 0)}</b>
          </A>
        ))}
      </div>
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {all && all.instances.length === 0 ? (
        filtered ? (
          <Empty title="No workflow matches">Try a longer span of time, fewer letters, or another state.</Empty>
        ) : (
          <Empty title="No workflow has run" code={`archipel workflow start orders place-order --id o-1 --input '{"order": 1}'`}>
            A workflow is a function of a service that survives crashes and waits for days: each step it took is written down, and its code goes on from there. A service offers workflows with any SDK of Dapr or Durable Task, at the address it has in its environment; nothing is declared. Start one here, from the command line, or from the service.
          </Empty>
        )
      ) : (
        all && <List all={all.instances} />
      )}
      {all?.more && (
        <p class="more">
          These are the newest {all.instances.length}.{" "}
          {limit < 1000 && <A href={withQuery({ limit: String(Math.min(limit * 5, 1000)) })}>Show more</A>}
        </p>
      )}
    </Page>
  );
}

function Choice({ label, of, all }: { label: string; of: string[]; all: string }) {
  const chosen = query.value.get(label) ?? "";
  const options = chosen && !of.includes(chosen) ? [chosen, ...of] : of;
  return (
    <select aria-label={label} value={chosen} onChange={(e) => go(withQuery({ [label]: e.currentTarget.value }))}>
      <option value="">{all}</option>
      {options.map((one) => (
        <option key={one} value={one}>
          {one}
        </option>
      ))}
    </select>
  );
}

export function took(of: Workflow, at: number): string {
  if (of.created_at_ms === null) return "–";
  return span(Math.max(0, (of.ended_at_ms ?? at) - of.created_at_ms));
}

function List({ all }: { all: Workflow[] }) {
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            <th>Instance</th>
            <th>State</th>
            <th>Name</th>
            <th>Service</th>
            <th>Says</th>
            <th>Started</th>
            <th class="num">Took</th>
          </tr>
        </thead>
        <tbody>
          {all.map((w) => (
            <tr key={`${w.service}/${w.id}`}>
              <th scope="row" class="clip">
                <A class="row-link mono" href={addressOf(w)} title={w.id}>
                  {w.id}
                </A>
                {w.parent && <p class="why">child of {w.parent.id}</p>}
              </th>
              <td>
                <State state={w.status} />
              </td>
              <td>
                {w.name}
                {w.version && <span class="tag">{w.version}</span>}
              </td>
              <td>
                <ServiceLink name={w.service} />
              </td>
              <td class="clip dim" title={w.parked ?? w.custom_status ?? ""}>
                {w.parked ?? w.custom_status}
              </td>
              <td title={w.created_at_ms ? new Date(w.created_at_ms).toISOString() : ""}>
                {w.status === "pending" && w.scheduled_at_ms && w.scheduled_at_ms > now.value ? `in ${span(w.scheduled_at_ms - now.value)}` : ago(w.created_at_ms, now.value)}
              </td>
              <td class="num">{w.ended_at_ms ? took(w, now.value) : <span class="dim">{took(w, now.value)} so far</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Start({ workers, names }: { workers: Record<string, number>; names: string[] }) {
  const offering = Object.keys(workers);
  const others = [...services.value.keys()].filter((name) => !offering.includes(name));
  const failed = useSignal<string | null>(null);
  const busy = useSignal(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const field = (name: string) => String(form.get(name) ?? "").trim();
    const input = field("input");
    busy.value = true;
    failed.value = null;
    try {
      if (input !== "") JSON.parse(input);
      const body = { name: field("name"), id: field("id"), ...(input === "" ? {} : { input }) };
      const changed = await post<WorkflowsChanged>(`/workflows/${encodeURIComponent(field("service"))}`, body);
      const begun = changed.done[0];
      tell(true, `${body.name} was started`);
      if (begun) go(addressOf(begun));
    } catch (error) {
      failed.value = error instanceof SyntaxError ? `the input is no JSON: ${error.message}` : message(error);
    }
    busy.value = false;
  };
  return (
    <Panel title="Start a workflow">
      <form class="form" onSubmit={(e) => void submit(e)}>
        <label>
          Service
          <select name="service" required key={offering.join()}>
            {offering.map((name) => (
              <option key={name} value={name}>
                {name} ({plural(workers[name] ?? 0, "worker")})
              </option>
            ))}
            {others.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label>
          Name of the workflow
          <input name="name" required list="workflow-names" autocomplete="off" />
          <datalist id="workflow-names">
            {names.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </label>
        <IdField />
        <label class="whole">
          <span>
            Input <small class="dim">JSON, or nothing</small>
          </span>
          <textarea name="input" rows={4} spellcheck={false} />
        </label>
        {failed.value && <Failed error={new Error(failed.value)} />}
        <p class="whole form-end">
          <button type="submit" class="primary" disabled={busy.value}>
            Start it
          </button>
          <A class="button" href={withQuery({ start: null })}>
            Cancel
          </A>
        </p>
      </form>
    </Panel>
  );
}
