import type { Description, LogLine, Service as ServiceView } from "../api.ts";
import { get, lines } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, bytes, count, ms, plural, rate, short, span } from "../format.ts";
import { reaching } from "../layout.ts";
import { Code, Empty, Errors, Failed, Figure, Meter, Operations, Page, Panel, Red, ServiceLink, State, Sure } from "../parts.tsx";
import { OverTime } from "./metrics.tsx";
import { LogText } from "./log-line.tsx";
import { A } from "../router.tsx";
import { graph, now, operate, services, status, topics, total } from "../state.ts";
import { edgeKey, GATEWAY, NOTHING } from "../traffic.ts";

export function Service({ name }: { name: string }) {
  const service = services.value.get(name);
  const { state } = useAsked<Description>(
    (signal) => get(`/services/${encodeURIComponent(name)}`, {}, signal),
    `${name} ${status.value?.generation} ${service?.state}`,
  );
  if (!service) {
    return (
      <Page title={name}>
        <Empty title={`There is no service «${name}»`}>
          It may have been renamed or removed from the manifest. <A href="/services">All services</A>
        </Empty>
      </Page>
    );
  }
  const about = state.value.data?.service.name === name ? state.value.data : null;
  const sum = total.value.into.get(name) ?? NOTHING;
  const limit = (service.memory_limit ?? 0) * Math.max(service.instances.length, 1) || null;
  return (
    <Page
      title={
        <>
          {name} <State state={service.state} />
        </>
      }
      lead={
        about && (
          <>
            <code>{about.run_command}</code>
          </>
        )
      }
      actions={<Operations service={service} />}
    >
      {service.reason && (
        <div class={`why-box ${service.needs_a_person ? "bad" : ""}`}>
          <strong>Why</strong>
          <p>{service.reason}</p>
          {service.last_lines.length > 0 && <pre>{service.last_lines.join("\n")}</pre>}
          <A href={`/logs?service=${name}`}>All its logs</A>
        </div>
      )}
      <dl class="figures">
        <Figure label="Requests" value={rate(sum.rate)} note={`${short(sum.requests)} since start`} />
        <Figure label="Failing" value={<Errors sum={sum} />} note={`${short((sum.by_class[5] ?? 0) + sum.broken)} since start`} />
        <Figure label="Answered within" value={ms(sum.p95_ms)} note={`half within ${ms(sum.p50_ms)}, 99% ${ms(sum.p99_ms)}`} />
        <Figure label="In flight" value={count(sum.inflight)} note={plural(service.ready, "ready instance")} />
        <Figure label="Memory" value={bytes(service.memory_bytes)} note={limit ? `of ${bytes(limit)}, limited by ${tier(service.memory_tier)}` : "no limit declared"} />
        <Figure label="Restarts" value={count(service.restarts)} note={built(service)} />
      </dl>
      <Panel title="Instances" aside={`${service.ready} of ${service.desired} ready`}>
        <Instances service={service} />
      </Panel>
      <OverTime name={name} />
      <div class="columns">
        <Traffic name={name} routes={about?.routes ?? []} />
        <Events name={name} />
      </div>
      <Panel title="Last lines" aside={<><A href={`/logs?service=${name}`}>Logs</A> · <A href={`/traces?q=service:${name}`}>Traces</A> · <A href={`/errors?service=${name}`}>Errors</A></>}>
        <LastLines name={name} />
      </Panel>
      {state.value.error !== null && !about && <Failed error={state.value.error} />}
      {about && <Config about={about} />}
    </Page>
  );
}

function built({ build }: ServiceView): string {
  if (!build) return "nothing to build";
  if (build.state === "cached") return "build was up to date";
  return build.state === "built" && build.took_ms !== null ? `built in ${span(build.took_ms)}` : `build: ${build.state}`;
}

const tier = (word: string) =>
  ({ v2: "the kernel (cgroup v2)", v1: "the kernel (cgroup v1)", poll: "polling", none: "nobody" })[word] ?? word;

function Instances({ service }: { service: ServiceView }) {
  if (service.instances.length === 0) {
    return <Empty title="No instance">{service.state === "stopped" ? "It was stopped. Start it again above." : "None has been started yet."}</Empty>;
  }
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="instances">
      <table class="tight">
        <thead>
          <tr>
            <th>Instance</th>
            <th>State</th>
            <th>Ready since</th>
            <th class="num">Process</th>
            <th class="num">Port</th>
            <th class="num">In flight</th>
            <th class="num">Memory</th>
            <th class="num">Restarts</th>
            <th>Last exit</th>
            <th>Last probe</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {service.instances.map((i) => (
            <tr key={i.id}>
              <th scope="row">{i.id}</th>
              <td>
                <State state={i.state} />
                {i.next_start_at_ms && i.next_start_at_ms > now.value && (
                  <span class="dim"> again in {Math.ceil((i.next_start_at_ms - now.value) / 1000)} s</span>
                )}
              </td>
              <td>
                {ago(i.ready_since_ms, now.value)}
                {i.adopted && <span class="tag" title="It ran already when Archipel started, and was taken over">adopted</span>}
              </td>
              <td class="num">{i.pid ?? "–"}</td>
              <td class="num">{i.port ?? "–"}</td>
              <td class="num">{i.inflight}</td>
              <td class="num">
                <Meter value={i.memory_bytes} limit={service.memory_limit} />
              </td>
              <td class="num">{i.restarts}</td>
              <td class="dim">{i.last_exit ?? "–"}</td>
              <td class="dim clip" title={i.last_probe ?? ""}>{i.last_probe ?? "–"}</td>
              <td class="end">
                {service.instances.length > 1 && (
                  <Sure label="Restart" ask={`Restart ${i.id}?`} yes="Restart" class="quiet" act={() => void operate("restart", service, i.id)} />
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Traffic({ name, routes }: { name: string; routes: string[] }) {
  const all = graph.value;
  if (!all) return null;
  const edges = all.services.flatMap((s) => s.calls.map((to) => ({ from: s.name, to })));
  const callers = edges.filter((e) => e.to === name).map((e) => e.from);
  const calls = all.services.find((s) => s.name === name)?.calls ?? [];
  const affected = reaching(name, edges);
  const public_ = all.routes.some((r) => r.targets.includes(name));
  return (
    <Panel title="Who calls whom" aside={<A href={`/map?node=${name}`}>On the map</A>}>
      {callers.length === 0 && calls.length === 0 && !public_ ? (
        <Empty title="It calls nobody and nobody calls it" code={`[services.${name}]\ncalls = ["another"]`}>
          Declared calls get an address by environment, a token, retries and counters.
        </Empty>
      ) : (
        <div class="scroll">
          <table class="tight">
            <thead>
              <tr>
                <th>Edge</th>
                <th class="num">Rate</th>
                <th class="num">Failing</th>
                <th class="num">p95</th>
              </tr>
            </thead>
            <tbody>
              {public_ && (
                <tr>
                  <th scope="row">
                    <span class="dir">from</span> <A href="/gateway">outside</A>
                    <p class="why">{routes.join(", ")}</p>
                  </th>
                  <Red sum={total.value.edges.get(edgeKey(GATEWAY, name))} />
                </tr>
              )}
              {callers.map((from) => (
                <tr key={`from ${from}`}>
                  <th scope="row">
                    <span class="dir">from</span> <ServiceLink name={from} />
                  </th>
                  <Red sum={total.value.edges.get(edgeKey(from, name))} />
                </tr>
              ))}
              {calls.map((to) => (
                <tr key={`to ${to}`}>
                  <th scope="row">
                    <span class="dir">to</span> {services.value.has(to) ? <ServiceLink name={to} /> : <>{to} <span class="tag">outside</span></>}
                  </th>
                  <Red sum={total.value.edges.get(edgeKey(name, to))} />
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {affected.size > 0 && <p class="note">If it stops, {[...affected].sort().join(", ")} will notice.</p>}
    </Panel>
  );
}

function Events({ name }: { name: string }) {
  const all = topics.value?.topics ?? [];
  const out = all.filter((t) => t.publisher === name);
  const into = all.flatMap((t) => t.subscribers.filter((s) => s.service === name).map((s) => ({ topic: t, s })));
  const outbox = topics.value?.outboxes.find((o) => o.service === name);
  return (
    <Panel title="Events" aside={<A href="/events">Topics</A>}>
      {out.length === 0 && into.length === 0 ? (
        <Empty title="It publishes and takes no events" code={`[services.${name}]\npublishes = ["thing.done"]\n[services.${name}.subscribes]\n"other.done" = { path = "/events" }`} />
      ) : (
        <table class="tight">
          <thead>
            <tr>
              <th>Topic</th>
              <th class="num">Events</th>
              <th class="num">Lag</th>
              <th class="num">Dead</th>
            </tr>
          </thead>
          <tbody>
            {out.map((t) => (
              <tr key={`out ${t.name}`}>
                <th scope="row">
                  <span class="dir">out</span> <A href={`/events/${t.name}`}>{t.name}</A>
                </th>
                <td class="num">{short(t.events)}</td>
                <td class="num dim">–</td>
                <td class="num dim">–</td>
              </tr>
            ))}
            {into.map(({ topic, s }) => (
              <tr key={`in ${topic.name}`}>
                <th scope="row">
                  <span class="dir">in</span> <A href={`/events/${topic.name}`}>{topic.name}</A>
                </th>
                <td class="num">{short(topic.events)}</td>
                <td class={`num ${s.lag > 0 ? "warn-text" : "dim"}`}>{short(s.lag)}</td>
                <td class="num">
                  {s.dead > 0 ? (
                    <A class="bad-text" href={`/events/dead?topic=${topic.name}&subscriber=${name}`}>
                      {s.dead}
                    </A>
                  ) : (
                    <span class="dim">0</span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {outbox && (
        <p class={`note ${outbox.problem ? "bad-text" : ""}`}>
          {outbox.problem ?? `${plural(outbox.pulled, "event")} pulled from its outbox since start.`}
        </p>
      )}
    </Panel>
  );
}

function LastLines({ name }: { name: string }) {
  const { state } = useAsked<LogLine[]>((signal) => lines("/logs", { service: name, tail: 12 }, signal), name, 3000);
  const found = state.value.data;
  if (state.value.error !== null && !found) return <Failed error={state.value.error} />;
  if (found?.length === 0) return <Empty title="It has written nothing yet">Whatever it writes to its standard output stands here; JSON and logfmt lines are understood.</Empty>;
  return (
    <div class="last-lines">
      {found?.map((line, i) => (
        <A key={`${line.at_ms} ${i}`} href={`/logs?service=${line.instance}&at=${line.at_ms}`} class="log-link">
          <LogText line={line} withService={false} />
        </A>
      ))}
    </div>
  );
}

function Config({ about }: { about: Description }) {
  const facts: [string, string | null][] = [
    ["Directory", about.path],
    ["Build", about.build_command],
    ["Run", about.run_command],
    ["Database", about.database],
    ["Stop", about.stop],
    ["Restart", about.restart],
    ["Isolation", about.isolation],
  ];
  return (
    <div class="columns">
      <Panel title="How it runs">
        <dl class="facts">
          {facts
            .filter(([, value]) => value)
            .map(([label, value]) => (
              <>
                <dt>{label}</dt>
                <dd>{value}</dd>
              </>
            ))}
          <dt>Health</dt>
          <dd>{about.health.map((line) => <div>{line}</div>)}</dd>
          <dt>Addresses</dt>
          <dd>{about.urls.map((u) => <div><span class="dim">{u.name}</span> {u.url}</div>)}</dd>
          <dt>Shell</dt>
          <dd>
            <Code text={`archipel exec ${about.service.name} -- env`} />
          </dd>
        </dl>
      </Panel>
      <Panel title="Environment" aside={`${about.env.length} variables, secrets are masked`}>
        <div class="scroll env" tabIndex={0} role="group" aria-label="environment">
          <table class="tight">
            <tbody>
              {about.env.map((e) => (
                <tr key={e.name}>
                  <th scope="row" class="mono">{e.name}</th>
                  <td class={`mono break ${e.masked ? "dim" : ""}`}>{e.masked ? <span aria-label="secret">{e.value}</span> : e.value}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
    </div>
  );
}
