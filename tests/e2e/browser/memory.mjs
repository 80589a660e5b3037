// Watches pages of the console that change all the time, and says how much the page's heap holds:
// one line of JSON each time. For bench/scenarios/console.

import { open } from "./person.mjs";

const [door, minutes] = process.argv.slice(2);
const base = new URL(door).origin;
const browser = await open();
const { page, problems } = await browser.person();
await page.goto(door);
const devtools = await page.context().newCDPSession(page);
const began = Date.now();
const PATHS = ["/services", "/", "/map", "/gateway", "/events"];
for (let turn = 0; Date.now() - began < Number(minutes) * 60_000; turn++) {
  const path = PATHS[turn % PATHS.length];
  // As a person goes: the page stays the same one.
  await page.evaluate((to) => {
    history.pushState(null, "", to);
    dispatchEvent(new PopStateEvent("popstate"));
  }, path);
  await page.waitForTimeout(12_000);
  await devtools.send("HeapProfiler.collectGarbage");
  const { usedSize } = await devtools.send("Runtime.getHeapUsage");
  const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
  console.log(JSON.stringify({ minute: (Date.now() - began) / 60_000, heap_mib: usedSize / 2 ** 20, nodes, path }));
}
await browser.close();
if (problems.length > 0) throw new Error(`${base}: ${problems.join("\n")}`);
