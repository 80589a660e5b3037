// All that is known of one key as one list in the order of time. Pure.

import type { DeadLetter, Found, LogLine, StoredEvent, TraceSummary, Workflow } from "./api.ts";

export type Entry = { at: number; service: string } & (
  | { kind: "trace"; trace: TraceSummary }
  | { kind: "log"; line: LogLine }
  | { kind: "workflow"; workflow: Workflow }
  | { kind: "event"; event: StoredEvent; dead: DeadLetter[] }
);

export function story(found: Found): Entry[] {
  const deadOf = new Map<string, DeadLetter[]>();
  for (const letter of found.dead) {
    if (letter.event_id) deadOf.set(letter.event_id, [...(deadOf.get(letter.event_id) ?? []), letter]);
  }
  const entries: Entry[] = [
    ...found.traces.map((trace): Entry => ({ kind: "trace", at: trace.start_us / 1000, service: trace.service, trace })),
    ...found.logs.map((line): Entry => ({ kind: "log", at: line.at_ms, service: line.service, line })),
    ...found.workflows.map((workflow): Entry => ({ kind: "workflow", at: workflow.created_at_ms ?? 0, service: workflow.service, workflow })),
    ...found.events.map((event): Entry => {
      const id = event.event?.id;
      return { kind: "event", at: event.at_ms, service: source(event), event, dead: typeof id === "string" ? (deadOf.get(id) ?? []) : [] };
    }),
  ];
  // A request begins before what it causes, also within one millisecond.
  const rank = { trace: 0, workflow: 1, log: 2, event: 3 };
  return entries.sort((a, b) => a.at - b.at || rank[a.kind] - rank[b.kind]);
}

function source(event: StoredEvent): string {
  const text = event.event?.source;
  return typeof text === "string" ? (text.split("/").filter((part) => part !== "").pop() ?? "") : "";
}
