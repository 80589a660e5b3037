// What needs attention now, worst first: a pure function of what is known.

import type { Alert, Job, Status, Topics } from "./api.ts";
import { bytes, count, percent, plural, span } from "./format.ts";
import type { Totals } from "./traffic.ts";

export interface Concern {
  weight: "bad" | "warn";
  title: string;
  detail: string;
  /** Where the cause can be seen. */
  href: string;
  lines?: string[];
}

/** Older than this, an event that is not delivered is late. */
const LATE_MS = 30_000;
/** So many restarts, and not ready, is no accident. */
const OFTEN = 3;
/** A share of failures, and a rate below which one failure is no share. */
const FAILING = 0.02;

export function concerns(
  status: Status | null,
  topics: Topics | null,
  totals: Totals,
  jobs: Job[] = [],
  alerts: Alert[] = [],
): Concern[] {
  const found: Concern[] = [];
  const add = (weight: Concern["weight"], title: string, detail: string, href: string, lines?: string[]) =>
    found.push(lines && lines.length > 0 ? { weight, title, detail, href, lines } : { weight, title, detail, href });
  for (const problem of status?.problems ?? []) add("bad", "Archipel", problem, "/settings");
  if (status?.gateway?.error) add("bad", "The gateway does not listen", status.gateway.error, "/gateway");
  for (const s of status?.services ?? []) {
    const href = `/services/${s.name}`;
    if (s.needs_a_person) {
      add("bad", `${s.name} is ${words(s.state)}`, s.reason ?? "It will not get well by waiting.", href, s.last_lines.slice(-4));
    } else if (["failed", "backing-off", "degraded"].includes(s.state)) {
      add("warn", `${s.name} is ${words(s.state)}`, s.reason ?? "", href, s.last_lines.slice(-4));
    }
    const unlucky = s.instances.find((i) => i.last_exit !== null && i.state !== "ready");
    if (!s.needs_a_person && s.restarts >= OFTEN && unlucky && ["pending", "starting"].includes(s.state)) {
      // Between two failures it looks as if it were just starting.
      add("bad", `${s.name} keeps ending`, `started again ${plural(s.restarts, "time")}, last ${unlucky.last_exit}`, href, s.last_lines.slice(-4));
    }
    // What has a limit of its own per instance is near it as a whole when each is.
    const limit = (s.memory_limit ?? 0) * Math.max(s.instances.length, 1);
    if (limit > 0 && s.memory_bytes > 0.9 * limit) {
      add("warn", `${s.name} is near its memory limit`, `${bytes(s.memory_bytes)} of ${bytes(limit)}`, href);
    }
  }
  for (const [name, sum] of totals.into) {
    if (sum.failing > 0 && sum.failing / sum.rate > FAILING) {
      add(
        "bad",
        `${name} fails ${percent(sum.failing, sum.rate)} of its requests`,
        `in the last ten seconds; ${plural(sum.by_class[5] ?? 0, "failed answer")} since start`,
        `/services/${name}`,
      );
    }
  }
  for (const topic of topics?.topics ?? []) {
    for (const s of topic.subscribers) {
      const who = `${topic.name} → ${s.service}`;
      if (s.dead > 0) {
        add("bad", plural(s.dead, "dead letter"), who, `/events/dead?topic=${topic.name}&subscriber=${s.service}`);
      }
      if (s.lost > 0) add("bad", `${count(s.lost)} events were lost to retention`, who, `/events/${topic.name}`);
      if (s.lag > 0 && (s.oldest_age_ms ?? 0) > LATE_MS) {
        add(
          "warn",
          `${plural(s.lag, "event")} behind, the oldest for ${span(s.oldest_age_ms ?? 0)}`,
          `${who}${s.parked > 0 ? `; ${plural(s.parked, "key")} held back` : ""}`,
          `/events/${topic.name}`,
        );
      }
    }
  }
  for (const outbox of topics?.outboxes ?? []) {
    if (outbox.problem) add("warn", `The outbox of ${outbox.service} cannot be pulled`, outbox.problem, `/services/${outbox.service}`);
  }
  for (const job of jobs) {
    if (job.last && job.last.exit_code !== 0) add("warn", `Job ${job.name} failed`, job.last.outcome, "/jobs");
  }
  for (const alert of alerts) {
    if (alert.state !== "firing" || alert.silence !== null || alert.explained !== null) continue;
    const of = Object.values(alert.labels).join(", ");
    add(alert.severity === "page" ? "bad" : "warn", `Alert: ${alert.rule}${of ? ` (${of})` : ""}`, alert.summary, alert.link);
  }
  // Stable: within one weight the order of the parts stays.
  return found.sort((a, b) => (a.weight === b.weight ? 0 : a.weight === "bad" ? -1 : 1));
}

export function words(state: string): string {
  return state.replace(/-/g, " ");
}
