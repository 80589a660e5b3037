import { useSignal } from "@preact/signals";
import type { Found } from "../api.ts";
import { get } from "../api.ts";
import { useAsked } from "../asked.ts";
import { ms, plural, span as length } from "../format.ts";
import { Empty, Failed, Figure, Json, Page, ServiceLink, Time } from "../parts.tsx";
import { A, go } from "../router.tsx";
import { services } from "../state.ts";
import { type Entry, story } from "../story.ts";
import { hueOf, LogText } from "./log-line.tsx";

function Box({ value }: { value: string }) {
  const typed = useSignal(value);
  return (
    <form
      class="tools"
      role="search"
      onSubmit={(e) => {
        e.preventDefault();
        if (typed.value.trim() !== "") go(`/find/${encodeURIComponent(typed.value.trim())}`);
      }}
    >
      <div class="question">
        <input type="search" data-search aria-label="a business key" placeholder="ord_01a20f… or any id, number or word" value={typed.value} onInput={(e) => (typed.value = e.currentTarget.value)} />
      </div>
      <button type="submit" class="primary">
        Find
      </button>
    </form>
  );
}

/** One order, one page. */
export function Find({ wanted }: { wanted: string }) {
  if (wanted === "") {
    return (
      <Page title="Follow a key" lead="One order, one page: everything that all services did and said about it.">
        <Box value="" />
        <Empty title="Give the number of an order, a customer, a payment">
          Every span, log line and event that names it is put in the order of time, across services, with what went wrong in its traces. Services have to do nothing but name it: in a path, in a log line, in an event.
        </Empty>
      </Page>
    );
  }
  return <Story key={wanted} wanted={wanted} />;
}

const KINDS: [Entry["kind"], string][] = [
  ["trace", "Requests"],
  ["workflow", "Workflows"],
  ["event", "Events"],
  ["log", "Log lines"],
];

function Story({ wanted }: { wanted: string }) {
  const { state, again } = useAsked<Found>((signal) => get("/find", { key: wanted }, signal), wanted, 10_000);
  const hidden = useSignal<ReadonlySet<string>>(new Set());
  const open = useSignal<string | null>(null);
  const found = state.value.data;
  const all = found ? story(found) : [];
  const shown = all.filter((e) => !hidden.value.has(e.kind));
  const wrong = all.filter(isWrong).length;
  const [first, last] = [all[0], all[all.length - 1]];
  const taking = new Set(all.map((e) => e.service).filter((name) => services.value.has(name)));
  for (const t of found?.traces ?? []) for (const name of Object.keys(t.services)) if (services.value.has(name)) taking.add(name);
  return (
    <Page title={<span class="mono break">{wanted}</span>} lead={found ? `everything that names it${found.cut ? "; there is more than could be looked at" : ""}` : " "}>
      <Box value={wanted} />
      {state.value.error !== null && <Failed error={state.value.error} again={again} />}
      {!found && state.value.error === null && <p class="dim opening">Looking…</p>}
      {found && all.length === 0 && (
        <Empty title="Nobody has named it">
          Keys are found as whole words, as they were written. Telemetry is kept for some days only; events as long as their topic says. Try it in <A href={`/logs?range=all&live=0&q=${encodeURIComponent(`${wanted}*`)}`}>logs</A> as the beginning of a word.
        </Empty>
      )}
      {first && last && found && (
        <>
          <dl class="figures">
            <Figure label="From the first to the last" value={length(last.at - first.at)} note={<Time at={first.at} date />} />
            <Figure label="Requests" value={found.traces.length} />
            {found.workflows.length > 0 && <Figure label="Workflows" value={found.workflows.length} />}
            <Figure label="Events" value={found.events.length} />
            <Figure label="Log lines" value={found.logs.length} />
            <Figure label="Went wrong" value={wrong} tone={wrong > 0 ? "bad" : ""} />
          </dl>
          <p class="note services-of">
            {[...taking].sort().map((name) => (
              <span key={name} class={`dot ${hueOf(name)}`}>
                <ServiceLink name={name} />
              </span>
            ))}
          </p>
          <div class="chips" role="group" aria-label="what is shown">
            {KINDS.map(([kind, label]) => (
              <button
                key={kind}
                type="button"
                class="chip"
                aria-pressed={!hidden.value.has(kind)}
                onClick={() => {
                  const next = new Set(hidden.value);
                  if (!next.delete(kind)) next.add(kind);
                  hidden.value = next;
                }}
              >
                {label}
              </button>
            ))}
          </div>
          <ol class="story">
            {shown.slice(0, 1500).map((entry, i) => (
              <li key={i} class={`${entry.kind} ${isWrong(entry) ? "wrong-entry" : ""}`}>
                <span class="dim when">
                  <Time at={entry.at} />
                  <small>+{ms(entry.at - first.at)}</small>
                </span>
                <span class={`who ${hueOf(entry.service)}`}>{entry.service || "?"}</span>
                <One entry={entry} open={open.value === String(i)} toggle={() => (open.value = open.value === String(i) ? null : String(i))} />
              </li>
            ))}
          </ol>
        </>
      )}
    </Page>
  );
}

function isWrong(entry: Entry): boolean {
  switch (entry.kind) {
    case "trace":
      return entry.trace.errors > 0;
    case "log":
      return entry.line.level === "error" || entry.line.level === "warn";
    case "event":
      return entry.dead.length > 0;
    case "workflow":
      return entry.workflow.status === "failed" || entry.workflow.status === "stalled";
  }
}

function One({ entry, open, toggle }: { entry: Entry; open: boolean; toggle: () => void }) {
  switch (entry.kind) {
    case "trace": {
      const { trace } = entry;
      const method = trace.name.split(" ")[0];
      return (
        <span class="what">
          <A class="row-link" href={`/traces/${trace.trace_id}`}>
            {trace.path ? `${method} ${trace.path}` : trace.name}
          </A>{" "}
          <span class="dim">
            {ms(trace.duration_us / 1000)}, {plural(trace.spans, "span")} of {plural(Object.keys(trace.services).length, "service")}
          </span>
          {trace.errors > 0 && <span class="tag bad-text">{plural(trace.errors, "error")}</span>}
        </span>
      );
    }
    case "event": {
      const { event, dead } = entry;
      return (
        <span class="what">
          <button type="button" class="link" aria-expanded={open} onClick={toggle}>
            ⇢ {event.topic}
          </button>{" "}
          <A class="dim" href={`/events/${event.topic}?event=${event.seq}`}>
            event {event.seq}
          </A>
          {dead.map((letter) => (
            <A key={letter.id} class="tag bad-text" href={`/events/dead?topic=${letter.topic}&subscriber=${letter.subscriber}`}>
              dead for {letter.subscriber}: {letter.reason}
            </A>
          ))}
          {open && <Json value={event.event?.data ?? event.event} />}
        </span>
      );
    }
    case "workflow": {
      const { workflow } = entry;
      const ended = workflow.ended_at_ms;
      return (
        <span class="what">
          <A class="row-link" href={`/workflows/${encodeURIComponent(workflow.service)}/${encodeURIComponent(workflow.id)}`}>
            {workflow.name} {workflow.id}
          </A>{" "}
          <span class="dim">
            {workflow.status}
            {ended && workflow.created_at_ms ? ` after ${length(ended - workflow.created_at_ms)}` : ""}
          </span>
        </span>
      );
    }
    case "log":
      return (
        <A class="what said-link" href={`/logs?at=${entry.line.at_ms}&service=${entry.line.instance}`} title="the lines around it">
          <LogText line={entry.line} withService={false} />
        </A>
      );
  }
}
