import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { WorkflowEvent, WorkflowHistory, WorkflowsChanged, WorkflowWhole } from "../api.ts";
import { get, post } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ago, bytes, ms, plural, span } from "../format.ts";
import { Code, Empty, Failed, Figure, Json, Page, Panel, ServiceLink, State, Sure, Time } from "../parts.tsx";
import { A, go, query, withQuery } from "../router.tsx";
import { message, now, tell } from "../state.ts";
import { type Lane, scale, type Timeline, timeline } from "../timeline.ts";
import { addressOf, took } from "./workflows.tsx";
import "../style/look.css";

const PAYLOAD_MAX = 4_000;
const EVENTS_MAX = 1_000;
const ENDED = ["completed", "failed", "terminated", "canceled"];

export function WorkflowPage({ service, id }: { service: string; id: string }) {
  const path = `/workflows/${encodeURIComponent(service)}/${encodeURIComponent(id)}`;
  const whole = useAsked<WorkflowWhole>((signal) => get(path, {}, signal), path, 2000);
  const of = whole.state.value.data;
  // Its history is read again only when something happened.
  const history = useAsked<WorkflowHistory>(
    (signal) => get(`${path}/history`, { limit: EVENTS_MAX, payload_max: PAYLOAD_MAX }, signal),
    `${path} ${of?.updated_at_ms ?? ""} ${of?.status ?? ""} ${of?.activities.length ?? ""} ${of?.timers.length ?? ""}`,
  );
  if (!of) {
    return (
      <Page title={<span class="mono break">{id}</span>}>
        {whole.state.value.error !== null ? <Failed error={whole.state.value.error} again={whole.again} /> : <p class="dim opening">Opening…</p>}
      </Page>
    );
  }
  const events = history.state.value.data?.events ?? [];
  const trace = events.find((event) => event.trace_id)?.trace_id;
  const again = () => {
    whole.again();
    history.again();
  };
  const ended = ENDED.includes(of.status);
  return (
    <Page
      title={
        <>
          <span class="mono break">{of.id}</span> <State state={of.status} />
        </>
      }
      lead={
        <>
          <A href={`/workflows?name=${encodeURIComponent(of.name)}`}>{of.name}</A>
          {of.version && ` ${of.version}`} of <ServiceLink name={of.service} />
          {of.parent && (
            <>
              , child of <A href={addressOf(of.parent)}>{of.parent.id}</A>
            </>
          )}
        </>
      }
      actions={<Actions of={of} again={again} />}
    >
      {whole.state.value.error !== null && <Failed error={whole.state.value.error} again={whole.again} />}
      {of.failure && (
        <div class="why-box bad">
          <strong>{of.failure.kind || "It failed"}</strong>
          <p>{of.failure.message}</p>
          {of.failure.stack && <pre>{of.failure.stack}</pre>}
        </div>
      )}
      {of.parked ? (
        <div class="why-box bad">
          <strong>Given up</strong>
          <p>{of.parked}. Mend the cause, then resume it or raise an event: it goes on where it stands.</p>
        </div>
      ) : (
        of.waits && (
          <div class="why-box calm-box">
            <strong>Waits for</strong> <span>{of.waits}</span>
          </div>
        )
      )}
      <dl class="figures">
        <Figure label="Started" value={ago(of.created_at_ms, now.value)} note={of.created_at_ms !== null && <Time at={of.created_at_ms} date />} />
        <Figure label={ended ? "Took" : "Running for"} value={took(of, now.value)} note={of.ended_at_ms !== null && <>ended <Time at={of.ended_at_ms} /></>} />
        <Figure label="Workers" value={of.workers} note={of.workers === 0 && !ended ? `no program of ${of.service} is connected` : `of ${of.service}`} tone={of.workers === 0 && !ended ? "bad" : ""} />
        {of.custom_status && <Figure label="Says" value={<span class="says">{of.custom_status}</span>} />}
      </dl>
      <p class="links">
        <A href={`/find/${encodeURIComponent(of.id)}`}>All that names it</A>
        {trace && <A href={`/traces/${trace}`}>The trace that started it</A>}
        {of.created_at_ms !== null && (
          <A href={`/logs?service=${of.service}&from=${of.created_at_ms - 1000}&to=${(of.ended_at_ms ?? now.peek()) + 1000}`}>Lines of {of.service} meanwhile</A>
        )}
      </p>
      {history.state.value.error !== null && <Failed error={history.state.value.error} again={history.again} />}
      {events.length > 0 && <Lanes line={timeline(events, now.value)} />}
      <div class="columns">
        <Payload title="Input" text={of.input} />
        {of.output !== null && <Payload title="Output" text={of.output} />}
        {Object.keys(of.tags).length > 0 && (
          <Panel title="Tags">
            <dl class="facts">
              {Object.entries(of.tags).map(([key, value]) => (
                <>
                  <dt>{key}</dt>
                  <dd>{value}</dd>
                </>
              ))}
            </dl>
          </Panel>
        )}
      </div>
      <History of={of} events={events} left={history.state.value.data?.left_out ?? 0} />
    </Page>
  );
}

function Payload({ title, text }: { title: string; text: string | null }) {
  return (
    <Panel title={title}>
      <div class="example">{text === null || text === "" ? <p class="dim">none</p> : <Json value={pretty(text)} />}</div>
    </Panel>
  );
}

/** As it is written, or laid out where it is JSON. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const SIGNS: Record<Lane["kind"], string> = { activity: "activity", child: "child", timer: "timer", event: "event" };
/** More are in the history below. */
const LANES_MAX = 200;

function Lanes({ line }: { line: Timeline }) {
  const whole = line.to - line.from;
  const { at: place, cuts } = scale(line);
  const percent = (part: number) => `${part * 100}%`;
  const at = (time: number) => percent(place(time));
  const shown = line.lanes.slice(-LANES_MAX);
  return (
    <Panel
      title="Timeline"
      aside={
        <>
          {line.waited > 1000 && `${span(line.waited)} until its first turn · `}
          {plural(line.lanes.length, "step")}, {plural(line.turns.length, "turn")} of its code
        </>
      }
    >
      {line.lanes.length === 0 ? (
        <Empty title="No step yet">What its code asks for stands here: activities, children, timers and events.</Empty>
      ) : (
        <div class="lanes" role="list" aria-label="steps">
          <div class="lane lane-scale" aria-hidden="true">
            <span />
            <span class="lane-bars">
              {line.turns.slice(-500).map((time, i) => (
                <i key={i} class="lane-turn" style={{ left: at(time) }} />
              ))}
              {cuts.map((cut) => (
                <small key={cut.at} class="lane-cut" style={{ left: percent(cut.at) }}>
                  {span(cut.ms)}
                </small>
              ))}
              <small class="lane-end">{span(whole)}</small>
            </span>
          </div>
          {shown.map((lane, i) => {
            const to = lane.to ?? line.to;
            const width = place(to) - place(lane.from);
            const length = lane.kind === "event" ? "raised" : lane.to !== null ? ms(lane.to - lane.from) : lane.due !== null && lane.due > line.to ? `${span(lane.due - line.to)} to go` : `${ms(to - lane.from)} so far`;
            const right = place(to) > 0.75 && place(lane.from) > 0.4;
            return (
              <div class="lane" role="listitem" key={i}>
                <span class="lane-name">
                  <small class="dim">{SIGNS[lane.kind]}</small>
                  {lane.child ? (
                    <A href={`/workflows/-/${encodeURIComponent(lane.child)}`}>{lane.name || lane.child}</A>
                  ) : (
                    <span>{lane.name}</span>
                  )}
                  {lane.attempt > 1 && <span class="tag">attempt {lane.attempt}</span>}
                  {lane.service && <small class="dim">in {lane.service}</small>}
                </span>
                <span class="lane-bars">
                  <i class={`lane-bar ${lane.kind} is-${lane.state}`} style={{ left: at(lane.from), width: percent(width) }} title={lane.failure ?? ""} />
                  <small class={`lane-time ${lane.state === "failed" ? "bad-text" : ""}`} style={right ? { right: percent(1 - place(lane.from)) } : place(to) > 0.75 ? { left: at(lane.from) } : { left: at(to) }}>
                    {lane.state === "failed" ? `failed, ${length}` : length}
                  </small>
                </span>
              </div>
            );
          })}
        </div>
      )}
    </Panel>
  );
}

const STEPS = ["activity scheduled", "child started", "timer created"];

function History({ of, events, left }: { of: WorkflowWhole; events: WorkflowEvent[]; left: number }) {
  const begun = events.reduce((least, event) => Math.min(least, event.at_ms), Infinity);
  const turns = query.value.get("turns") !== null;
  const shown = turns ? events : events.filter((event) => event.kind !== "turn");
  const mayRerun = (ENDED.includes(of.status) || of.parked !== null) && !of.parent;
  const rerun = (event: WorkflowEvent) => change(() => post<WorkflowsChanged>(`/workflows/${encodeURIComponent(of.service)}/${encodeURIComponent(of.id)}/rerun`, { event_id: event.event_id }), "runs again from there");
  return (
    <Panel
      title="History"
      aside={
        <>
          {plural(events.length + left, "event")}
          {shown.length < events.length || turns ? (
            <>
              {" · "}
              <A href={withQuery({ turns: turns ? null : "1" })}>{turns ? "without its turns" : `with its ${events.length - shown.length} turns`}</A>
            </>
          ) : null}
        </>
      }
    >
      {left > 0 && <p class="note">The {left} events before these are not shown: <Code text={`archipel workflow history ${of.id}`} /></p>}
      <div class="scroll">
        <table class="tight history">
          <thead>
            <tr>
              <th class="num fit">Step</th>
              <th>Time</th>
              <th>What</th>
              <th>Content</th>
              <th />
            </tr>
          </thead>
          <tbody>
            {shown.map((event, i) => (
              <tr key={i}>
                <td class="num dim">{event.event_id >= 0 ? event.event_id : (event.of ?? "")}</td>
                <td>
                  <Time at={event.at_ms} /> <small class="dim">+{ms(event.at_ms - begun)}</small>
                </td>
                <th scope="row">
                  <span class={event.failure !== null ? "bad-text" : ""}>{event.kind}</span> {event.name && <span class="mono">{event.name}</span>}
                  {event.service && <span class="dim"> in {event.service}</span>}
                  <About event={event} />
                </th>
                <td>
                  {event.failure && <p class="bad-text break">{event.failure}</p>}
                  {event.payload !== null && event.payload !== "" && <Folded text={event.payload} whole={event.payload_bytes ?? 0} />}
                </td>
                <td class="end">
                  {event.trace_id && <A href={`/traces/${event.trace_id}`}>trace</A>}
                  {mayRerun && STEPS.includes(event.kind) && <Sure label="Rerun from here" class="quiet" ask="Start a new instance that repeats this step and all after it?" yes="Rerun" act={() => void rerun(event)} />}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function About({ event }: { event: WorkflowEvent }) {
  if (event.about === null) return null;
  switch (event.kind) {
    case "child started":
    case "workflow started":
      return (
        <>
          {" "}
          <A class="mono" href={`/workflows/${encodeURIComponent(event.service ?? "-")}/${encodeURIComponent(event.about)}`}>
            {event.about}
          </A>
        </>
      );
    case "timer created":
      return (
        <span class="dim">
          {" "}
          for <Time at={Number(event.about)} date />
        </span>
      );
    default:
      return <span class="dim"> {event.about}</span>;
  }
}

/** One line of it; the rest on demand. */
function Folded({ text, whole }: { text: string; whole: number }) {
  const cut = whole > text.length * 4 || text.length >= PAYLOAD_MAX;
  if (text.length < 80 && !cut) return <code class="break">{text}</code>;
  return (
    <details class="folded">
      <summary>
        <code>{text.slice(0, 72)}…</code> <small class="dim">{bytes(whole)}</small>
      </summary>
      <Json value={cut ? `${text}…` : pretty(text)} />
    </details>
  );
}

async function change(act: () => Promise<WorkflowsChanged>, done: string): Promise<void> {
  try {
    const changed = await act();
    const failed = changed.failed[0];
    if (failed) tell(false, failed.reason);
    else tell(true, `${changed.done[0]?.id ?? "it"} ${done}`);
    const other = changed.done[0];
    if (other && done.startsWith("runs")) go(addressOf(other));
  } catch (error) {
    tell(false, message(error));
  }
}

function Actions({ of, again }: { of: WorkflowWhole; again: () => void }) {
  const raising = useSignal(false);
  const act = async (what: string, done: string, more: object = {}) => {
    await change(() => post("/workflows", { do: what, targets: [{ service: of.service, id: of.id }], ...more }), done);
    again();
  };
  const ended = ENDED.includes(of.status);
  const paused = of.status === "suspended" || of.status === "stalled" || of.parked !== null;
  const buttons: ComponentChildren[] = [];
  if (ended) {
    const path = `/workflows/${encodeURIComponent(of.service)}/${encodeURIComponent(of.id)}/rerun`;
    if (!of.parent) {
      buttons.push(<Sure label="Run again" ask="Start a new instance with the same input?" yes="Run again" act={() => void change(() => post(path, {}), "runs again")} />);
    }
    buttons.push(
      <Sure
        label="Purge"
        ask="Remove it and its history for good?"
        yes="Purge"
        act={() => void act("purge", "was purged", { recursive: true }).then(() => go("/workflows"))}
      />,
    );
  } else {
    if (paused) {
      buttons.push(
        <button type="button" class="primary" onClick={() => void act("resume", "was resumed", { reason: "from the console" })}>
          Resume
        </button>,
      );
    } else {
      buttons.push(<Sure label="Suspend" ask="Suspend it? Nothing more is begun until it is resumed." yes="Suspend" act={() => void act("suspend", "was suspended", { reason: "from the console" })} />);
    }
    buttons.push(
      <button type="button" aria-expanded={raising.value} onClick={() => (raising.value = !raising.value)}>
        Raise an event…
      </button>,
      <Sure label="Terminate" ask="End it now, with all its children? It cannot go on afterwards." yes="Terminate" act={() => void act("terminate", "was terminated", { recursive: true })} />,
    );
  }
  return (
    <>
      {buttons}
      {raising.value && !ended && <Raise of={of} done={() => ((raising.value = false), again())} />}
    </>
  );
}

function Raise({ of, done }: { of: WorkflowWhole; done: () => void }) {
  const failed = useSignal<string | null>(null);
  const awaited = of.timers.map((timer) => timer.event).filter((name): name is string => name !== null);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const name = String(form.get("event") ?? "").trim();
    const payload = String(form.get("payload") ?? "").trim();
    try {
      if (payload !== "") JSON.parse(payload);
      await post("/workflows", { do: "raise", targets: [{ service: of.service, id: of.id }], event: name, ...(payload === "" ? {} : { payload }) });
      tell(true, `${name} was raised`);
      done();
    } catch (error) {
      failed.value = error instanceof SyntaxError ? `the content is no JSON: ${error.message}` : message(error);
    }
  };
  return (
    <form class="form raised" onSubmit={(e) => void submit(e)}>
      <label>
        Event
        <input name="event" required autocomplete="off" defaultValue={awaited[0] ?? ""} list="awaited" />
        <datalist id="awaited">
          {awaited.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </label>
      <label>
          <span>
            Content <small class="dim">JSON, or nothing</small>
          </span>
        <input name="payload" autocomplete="off" />
      </label>
      {failed.value && <Failed error={new Error(failed.value)} />}
      <p class="form-end">
        <button type="submit" class="primary">
          Raise it
        </button>
      </p>
    </form>
  );
}
