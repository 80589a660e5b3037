import { concerns } from "../attention.ts";
import type { Alerts, Jobs, LogLine } from "../api.ts";
import { get, lines } from "../api.ts";
import { useAsked } from "../asked.ts";
import { bytes, ms, percent, plural, rate, short, span } from "../format.ts";
import { Empty, Failed, Figure, Glyph, Meter, Page, Panel, Spark } from "../parts.tsx";
import { A } from "../router.tsx";
import { LogText } from "./log-line.tsx";
import { connections, now, status, topics, total, traffic } from "../state.ts";

export function Overview() {
  const { state: jobs } = useAsked<Jobs>((signal) => get("/jobs", {}, signal), "", 30_000);
  const { state: alerts } = useAsked<Alerts>((signal) => get("/alerts", {}, signal), "", 5_000);
  const all = status.value;
  if (!all) return null;
  const found = concerns(all, topics.value, total.value, jobs.value.data?.jobs ?? [], alerts.value.data?.alerts ?? [], traffic.value.values());
  const ready = all.services.filter((s) => s.settled).length;
  const outside = total.value.outside;
  const lag = (topics.value?.topics ?? []).flatMap((t) => t.subscribers).reduce((n, s) => n + s.lag, 0);
  const memory = all.services.reduce((n, s) => n + s.memory_bytes, 0);
  const busy = all.services
    .map((service) => ({ service, sum: total.value.into.get(service.name) }))
    .filter(({ sum }) => sum && sum.requests > 0)
    .sort((a, b) => (b.sum?.requests ?? 0) - (a.sum?.requests ?? 0))
    .slice(0, 12);
  return (
    <Page
      title={all.app}
      lead={
        <>
          {ready === all.services.length ? "Everything runs as declared" : `${ready} of ${all.services.length} services run as declared`}
          {" · up for "}
          {span(Math.max(0, now.value - all.started_at_ms))}
          {all.gateway && !all.gateway.error && (
            <>
              {" · "}
              <a href={all.gateway.url} target="_blank" rel="noreferrer">
                {all.gateway.url.replace("http://", "")} ↗
              </a>
            </>
          )}
        </>
      }
    >
      <div class={`strip ${all.services.length > 120 ? "many" : ""}`} role="list" aria-label="services">
        {all.services.map((s) => (
          <A role="listitem" key={s.name} href={`/services/${s.name}`} class="pip" title={`${s.name}: ${s.state}`} aria-label={`${s.name}: ${s.state}`}>
            <Glyph state={s.state} />
            {all.services.length <= 40 && <span>{s.name}</span>}
          </A>
        ))}
      </div>
      <dl class="figures">
        <Figure label="Requests from outside" value={rate(outside.rate)} note={`${short(outside.requests)} since start`} />
        <Figure
          label="Failing"
          value={outside.rate > 0 ? percent(outside.failing, outside.rate) : "–"}
          note={`${short((outside.by_class[5] ?? 0) + outside.broken)} since start`}
          tone={outside.failing > 0 ? "bad" : ""}
        />
        <Figure label="95% answered within" value={ms(outside.p95_ms)} note="slowest route" />
        <Figure label="Connections" value={short(connections.value)} note={plural(outside.inflight, "request in flight", "requests in flight")} />
        <Figure label="Events on their way" value={short(lag)} note={plural(topics.value?.topics.length ?? 0, "topic")} />
        <Figure label="Memory" value={bytes(memory)} note={plural(all.services.reduce((n, s) => n + s.instances.length, 0), "instance")} />
      </dl>
      <div class="columns">
        <div class="stack">
          <Panel title="Needs attention" aside={found.length > 0 ? plural(found.length, "thing") : undefined} class="wide">
            {found.length === 0 ? (
              <div class="calm">
                <Glyph state="ready" />
                <p>Nothing. No service fails, no event is late, no letter is dead.</p>
              </div>
            ) : (
              <ul class="concerns">
                {found.map((c) => (
                  <li key={c.title + c.detail} class={c.weight}>
                    <A href={c.href}>
                      <Glyph state={c.weight === "bad" ? "failed" : "degraded"} />
                      <span>
                        <strong>{c.title}</strong>
                        <span>{c.detail}</span>
                        {c.lines && <code>{c.lines.join("\n")}</code>}
                      </span>
                    </A>
                  </li>
                ))}
              </ul>
            )}
          </Panel>
          <Panel title="Warnings and errors lately" aside={<A href="/logs?level=warn">Logs</A>}>
            <Lately />
          </Panel>
        </div>
        <Panel title="Traffic" aside={<A href="/map">Map</A>} class="wide">
          {busy.length === 0 ? (
            <Empty
              title="No request has passed yet"
              code={all.gateway ? `curl ${all.gateway.url}/` : "[gateway]\nlisten = \"127.0.0.1:8080\""}
            >
              Every request through the gateway and between services is counted here, without any change to a program.
            </Empty>
          ) : (
            <div class="scroll">
              <table class="tight">
                <thead>
                  <tr>
                    <th>Service</th>
                    <th>Five minutes</th>
                    <th class="num">Rate</th>
                    <th class="num">Failing</th>
                    <th class="num">p95</th>
                    <th class="num">Memory</th>
                  </tr>
                </thead>
                <tbody>
                  {busy.map(({ service, sum }) => (
                    <tr key={service.name}>
                      <th scope="row">
                        <A class="row-link" href={`/services/${service.name}`}>
                          {service.name}
                        </A>
                      </th>
                      <td>
                        <Spark points={sum?.history ?? []} />
                      </td>
                      <td class="num">{rate(sum?.rate ?? 0)}</td>
                      <td class={`num ${sum?.failing ? "bad-text" : "dim"}`}>
                        {sum && sum.rate > 0 ? percent(sum.failing, sum.rate) : "–"}
                      </td>
                      <td class="num">{ms(sum?.p95_ms)}</td>
                      <td class="num">
                        <Meter value={service.memory_bytes} limit={service.memory_limit} />
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </Panel>
      </div>
    </Page>
  );
}

function Lately() {
  const { state } = useAsked<LogLine[]>((signal) => lines("/logs", { level: "warn", tail: 8 }, signal), "", 4000);
  const found = state.value.data;
  if (state.value.error !== null && !found) return <Failed error={state.value.error} />;
  if (found?.length === 0) {
    return <p class="note">None yet. Lines of level warning or worse stand here, from every service.</p>;
  }
  return (
    <div class="last-lines">
      {found?.map((line, i) => (
        <A key={`${line.at_ms} ${i}`} href={`/logs?service=${line.instance}&at=${line.at_ms}`} class="log-link">
          <LogText line={line} />
        </A>
      ))}
    </div>
  );
}
