// A newcomer looks for the cause of a fault, from the overview, by clicks alone: as written in
// docs/guide/finding-faults.md. Ends with one line of JSON: the clicks that it took.
//
//   node faults.mjs <console> <directory for screenshots> <fault> <pattern of its name on the overview>

import { mkdirSync } from "node:fs";
import { open } from "./person.mjs";

const [door, shots, fault, named] = process.argv.slice(2);
const base = new URL(door).origin;
mkdirSync(shots, { recursive: true });

/** What is clicked after the line on the overview, and what must then be read in the page. */
const PATHS = {
  slow: {
    clicks: [(page) => page.locator("table.traces .row-link").first()],
    cause: [/slow statement/, /SELECT sku, on_hand/],
  },
  payments: { clicks: [], cause: [/file is not a database/, /payments/] },
  poison: {
    clicks: [(page) => page.locator(".reason").first()],
    cause: [/weight_g: expected an integer/, /"order_id": "ord_/],
  },
  leak: { clicks: [], cause: [/memory limit 160M reached|only grows/, /--require .*leak/] },
};

const { clicks, cause } = PATHS[fault];
const browser = await open();
const taken = {};
for (const [label, options] of [
  ["desk-light", { colorScheme: "light", viewport: { width: 1440, height: 900 } }],
  ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 } }],
]) {
  const { page, problems } = await browser.person(options);
  page.setDefaultTimeout(60_000);
  await page.goto(door);
  await page.waitForURL(`${base}/`);
  const shot = (n) => page.screenshot({ path: `${shots}/${fault}-${label}-${n}.png` });
  const first = page.locator(".concerns a", { hasText: new RegExp(named) }).first();
  await first.waitFor();
  await shot(0);
  let n = 0;
  for (const next of [() => first, ...clicks]) {
    await next(page).click();
    n++;
    await page.waitForLoadState();
  }
  for (const words of cause) await page.locator("main", { hasText: words }).waitFor();
  await shot(n);
  taken[label] = n;
  if (problems.length > 0) throw new Error(problems.join("\n"));
}
await browser.close();
console.log(JSON.stringify({ fault, ...taken }));
