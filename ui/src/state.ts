// What every page shares, kept up to date over one connection.

import { batch, computed, effect, signal } from "@preact/signals";
import type { Graph, Status, StatusPatch, Topics, Traffic } from "./api.ts";
import { ApiError, address, get } from "./api.ts";
import { type Known, step, totals, whole } from "./traffic.ts";
import { begin, type Kind, type Operation, progress } from "./operation.ts";
import { post } from "./api.ts";
import type { Service } from "./api.ts";

export const status = signal<Status | null>(null);
export const topics = signal<Topics | null>(null);
export const graph = signal<Graph | null>(null);
export const traffic = signal<Known>(new Map());
export const connections = signal(0);
export const link = signal<"opening" | "open" | "lost" | "locked">("opening");
/** When something was heard last, to tell how old the picture is. */
export const heard = signal(0);
export const now = signal(Date.now());

export const total = computed(() => totals(traffic.value));
export const services = computed(
  () => new Map((status.value?.services ?? []).map((service) => [service.name, service])),
);

setInterval(() => {
  if (document.hidden) return;
  now.value = Date.now();
  // The stream speaks every two seconds. One that is silent may be dead without having ended.
  if (source && link.peek() === "open" && Date.now() - heard.peek() > SILENT_MS) {
    close();
    void lost();
  }
}, 1000);

const SILENT_MS = 10_000;

let source: EventSource | null = null;
let again: ReturnType<typeof setTimeout> | undefined;
let wait = 500;

function open(): void {
  close();
  source = new EventSource(address("/live"));
  const on = <T>(name: string, take: (data: T) => void) =>
    source?.addEventListener(name, (message) => {
      batch(() => {
        heard.value = Date.now();
        take(JSON.parse((message as MessageEvent<string>).data) as T);
      });
    });
  source.onopen = () => {
    wait = 500;
    heard.value = Date.now();
    link.value = "open";
    // What was missed meanwhile.
    get<Traffic>("/traffic").then((all) => {
      traffic.value = whole(all);
      connections.value = all.connections;
    }, ignore);
  };
  source.onerror = () => {
    // A refused stream is not opened again by the browser; then it is for us to try.
    close();
    void lost();
  };
  on<Status>("status", (all) => (status.value = all));
  on<StatusPatch>("patch", (patch) => {
    const before = status.value;
    if (!before) return;
    const changed = new Map(patch.services.map((service) => [service.name, service]));
    const services = before.services.map((service) => changed.get(service.name) ?? service);
    status.value = { ...before, ...patch, services };
  });
  on<Topics>("topics", (all) => (topics.value = all));
  on<Traffic>("traffic", (moving) => {
    traffic.value = step(traffic.value, moving);
    connections.value = moving.connections;
  });
}

async function lost(): Promise<void> {
  try {
    await get("/status");
    link.value = "lost";
  } catch (error) {
    link.value = error instanceof ApiError && (error.status === 401 || error.status === 403) ? "locked" : "lost";
  }
  if (link.value === "locked" || document.hidden) return;
  again = setTimeout(open, wait);
  wait = Math.min(wait * 2, 10_000);
}

function close(): void {
  clearTimeout(again);
  source?.close();
  source = null;
}

const ignore = () => {};

/** A page nobody looks at holds no connection. */
export function start(): void {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  open();
  effect(() => {
    const generation = status.value?.generation;
    if (generation === undefined || graph.peek()?.generation === generation) return;
    get<Graph>("/graph").then((all) => (graph.value = all), ignore);
  });
}

/** What a person asked for and how it goes; by service. */
export const operations = signal<ReadonlyMap<string, Operation>>(new Map());

export interface Note {
  id: number;
  ok: boolean;
  text: string;
}
export const notes = signal<Note[]>([]);
let lastNote = 0;

export function tell(ok: boolean, text: string): void {
  const id = ++lastNote;
  notes.value = [...notes.value.slice(-3), { id, ok, text }];
  setTimeout(() => dismiss(id), ok ? 5000 : 15_000);
}

export function dismiss(id: number): void {
  notes.value = notes.value.filter((note) => note.id !== id);
}

export async function operate(kind: Kind, service: Service, instance?: string): Promise<void> {
  const operation = begin(kind, service, Date.now(), instance);
  operations.value = new Map(operations.value).set(service.name, operation);
  try {
    await post(`/${kind}`, { names: [instance ?? service.name] });
  } catch (error) {
    finish(service.name);
    tell(false, `${kind} ${service.name}: ${message(error)}`);
  }
}

function finish(service: string): void {
  const left = new Map(operations.value);
  left.delete(service);
  operations.value = left;
}

effect(() => {
  for (const operation of operations.value.values()) {
    const state = progress(operation, services.value.get(operation.service));
    if (!state.done) continue;
    const took = ((Date.now() - operation.since) / 1000).toFixed(1);
    queueMicrotask(() => {
      finish(operation.service);
      const who = operation.instance ?? operation.service;
      tell(state.ok, state.ok ? `${who} ${state.text} in ${took} s` : `${who}: ${state.text}`);
    });
  }
});

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
