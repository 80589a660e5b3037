// How far a restart, stop or start that a person asked for has come.

import type { Service } from "./api.ts";

export type Kind = "restart" | "stop" | "start";

export interface Operation {
  kind: Kind;
  service: string;
  /** By the browser's clock. */
  since: number;
  /** Process ids at that time, by instance. */
  before: Record<string, number | null>;
  /** Only this instance; the whole service otherwise. */
  instance?: string;
}

export type Progress = { done: false; step: string } | { done: true; ok: boolean; text: string };

export function begin(kind: Kind, service: Service, now: number, instance?: string): Operation {
  const before = Object.fromEntries(service.instances.map((i) => [i.id, i.pid]));
  const operation = { kind, service: service.name, since: now, before };
  return instance === undefined ? operation : { ...operation, instance };
}

export function progress(operation: Operation, service: Service | undefined): Progress {
  if (!service) return { done: true, ok: false, text: "it is not part of the application any more" };
  const mine = service.instances.filter((i) => !operation.instance || i.id === operation.instance);
  const fresh = mine.filter((i) => i.pid !== null && i.pid !== operation.before[i.id]);
  switch (operation.kind) {
    case "stop": {
      const running = mine.filter((i) => i.pid !== null && i.state !== "stopped");
      if (running.length === 0) return { done: true, ok: true, text: "stopped" };
      return { done: false, step: running.some((i) => i.state === "draining") ? "letting requests finish" : "stopping" };
    }
    case "start":
    case "restart": {
      const wanted = operation.instance ? 1 : service.desired;
      const ready = fresh.filter((i) => i.state === "ready");
      if (ready.length >= wanted && mine.every((i) => i.state === "ready")) {
        return { done: true, ok: true, text: operation.kind === "start" ? "started" : "restarted" };
      }
      const failed = fresh.find((i) => i.state === "failed" || i.state === "backing-off");
      if (failed || service.state === "failed") {
        return { done: true, ok: false, text: service.reason ?? "it did not come back" };
      }
      const now = mine.find((i) => i.state !== "ready")?.state ?? "pending";
      return { done: false, step: STEPS[now] ?? now };
    }
  }
}

const STEPS: Record<string, string> = {
  pending: "waiting",
  building: "building",
  migrating: "migrating the database",
  starting: "starting",
  degraded: "starting",
  draining: "letting requests finish",
  stopping: "stopping",
  stopped: "stopped, about to start",
};
