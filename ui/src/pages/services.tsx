import type { Service } from "../api.ts";
import { toneOf } from "../parts.tsx";
import { Empty, Meter, Page, Red, Spark, State } from "../parts.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { services, status, total } from "../state.ts";

const SORTS: Record<string, (a: Service, b: Service) => number> = {
  name: (a, b) => a.name.localeCompare(b.name),
  rate: (a, b) => (total.value.into.get(b.name)?.rate ?? 0) - (total.value.into.get(a.name)?.rate ?? 0),
  failing: (a, b) => (total.value.into.get(b.name)?.failing ?? 0) - (total.value.into.get(a.name)?.failing ?? 0),
  p95: (a, b) => (total.value.into.get(b.name)?.p95_ms ?? 0) - (total.value.into.get(a.name)?.p95_ms ?? 0),
  memory: (a, b) => b.memory_bytes - a.memory_bytes,
  restarts: (a, b) => b.restarts - a.restarts,
  state: (a, b) => TONES.indexOf(toneOf(a.state)) - TONES.indexOf(toneOf(b.state)),
};
const TONES = ["bad", "warn", "busy", "off", "good"];

function Head({ by, label, num = false }: { by: string; label: string; num?: boolean }) {
  const sorted = (query.value.get("sort") ?? "name") === by;
  return (
    <th class={num ? "num" : ""} aria-sort={sorted ? (by === "name" ? "ascending" : "descending") : "none"}>
      <A href={withQuery({ sort: by === "name" ? null : by })} class={sorted ? "sorted" : ""}>
        {label}
      </A>
    </th>
  );
}

/** More rows than this are shown only when asked for by name. */
const MOST = 300;

export function Services() {
  const all = status.value?.services ?? [];
  const words = query.value.get("q")?.toLowerCase() ?? "";
  const tone = query.value.get("state") ?? "";
  const sort = SORTS[query.value.get("sort") ?? "name"] ?? SORTS.name!;
  const found = all
    .filter((s) => s.name.includes(words) && (tone === "" || toneOf(s.state) === tone))
    .sort((a, b) => sort(a, b) || a.name.localeCompare(b.name));
  const counts = new Map<string, number>();
  for (const s of all) counts.set(toneOf(s.state), (counts.get(toneOf(s.state)) ?? 0) + 1);
  return (
    <Page title="Services" lead={`${all.length} declared, ${all.filter((s) => s.settled).length} as declared`}>
      <div class="tools">
        <input
          type="search"
          placeholder="Filter by name"
          aria-label="filter by name"
          data-search
          value={words}
          onInput={(e) => go(withQuery({ q: e.currentTarget.value }), true)}
        />
        <div class="chips" role="group" aria-label="filter by state">
          {[
            ["", "All", all.length],
            ["good", "Well", counts.get("good") ?? 0],
            ["busy", "Changing", counts.get("busy") ?? 0],
            ["warn", "Degraded", counts.get("warn") ?? 0],
            ["bad", "Failing", counts.get("bad") ?? 0],
            ["off", "Stopped", counts.get("off") ?? 0],
          ]
            .filter(([key, , n]) => key === "" || key === tone || n !== 0)
            .map(([key, label, n]) => (
              <A key={key} class="chip" href={withQuery({ state: String(key) })} aria-current={tone === key ? "true" : undefined}>
                {label} <b>{n}</b>
              </A>
            ))}
        </div>
      </div>
      {found.length === 0 ? (
        <Empty
          title={all.length === 0 ? "No service is declared" : "No service matches"}
          {...(all.length === 0 ? { code: '[services.web]\nrun = "python3 app.py"' } : {})}
        >
          {all.length === 0 ? "Declare one in archipel.toml, then run archipel up again." : "Try fewer letters, or another state."}
        </Empty>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <Head by="name" label="Service" />
                <Head by="state" label="State" />
                <th class="num">Ready</th>
                <th>Five minutes</th>
                <Head by="rate" label="Rate" num />
                <Head by="failing" label="Failing" num />
                <Head by="p95" label="p95" num />
                <Head by="memory" label="Memory" num />
                <Head by="restarts" label="Restarts" num />
                <th>Database</th>
              </tr>
            </thead>
            <tbody>
              {found.slice(0, MOST).map((s) => {
                const sum = total.value.into.get(s.name);
                return (
                  <tr key={s.name}>
                    <th scope="row">
                      <A class="row-link" href={`/services/${s.name}`}>
                        {s.name}
                      </A>
                      {s.reason && <p class="why">{s.reason}</p>}
                    </th>
                    <td>
                      <State state={s.state} />
                    </td>
                    <td class={`num ${s.ready < s.desired ? "warn-text" : ""}`}>
                      {s.ready}/{s.desired}
                    </td>
                    <td>
                      <Spark points={sum?.history ?? []} />
                    </td>
                    <Red sum={sum} />
                    <td class="num">
                      <Meter value={s.memory_bytes} limit={s.memory_limit} />
                    </td>
                    <td class={`num ${s.restarts > 0 ? "" : "dim"}`}>{s.restarts}</td>
                    <td class="dim">{s.database ?? ""}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
          {found.length > MOST && (
            <p class="more">
              {found.length - MOST} more of {services.value.size}: filter by name to see them.
            </p>
          )}
        </div>
      )}
    </Page>
  );
}
