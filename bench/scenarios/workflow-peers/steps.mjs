// How long each step took: from the moment its code begins to the moment that of the next one
// does. A line on standard input asks for what there is since the last one.
import { createInterface } from "node:readline";

export const STEPS = 5;
const last = new Map();
let took = [];

export function step(instance, number) {
  const now = performance.now();
  const before = last.get(instance);
  if (number > 0 && before !== undefined) took.push(now - before);
  if (number === STEPS - 1) last.delete(instance);
  else last.set(instance, now);
  return number + 1;
}

export function percentile(sorted, share) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : null;
}

export function answerReports() {
  createInterface({ input: process.stdin }).on("line", () => {
    took.sort((a, b) => a - b);
    const answer = { steps: took.length, p50: percentile(took, 0.5), p99: percentile(took, 0.99) };
    took = [];
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  });
}
