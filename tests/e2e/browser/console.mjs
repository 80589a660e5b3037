// Walks through the web console as a person would: every page, in both appearances and at the
// width of a phone; a restart, a stop and a start; a dead letter that is replayed; live lines.
// Ends with one line of JSON. Any complaint of a page, and any request elsewhere, is a failure.

import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { complaints, unseenFocus } from "./access.mjs";
import { open } from "./person.mjs";

const [door, shop, shots, secret, upAgain] = process.argv.slice(2);
const up = JSON.parse(upAgain);
const base = new URL(door).origin;
mkdirSync(shots, { recursive: true });

const PAGES = [
  ["/", "Needs attention"],
  ["/services", "lonely"],
  ["/services/front", "Environment"],
  ["/services/broken", "Why"],
  ["/map", "outside"],
  ["/map?node=lonely", "If it stops"],
  ["/traces", "Narrow down"],
  ["/logs", "cannot reach the lighthouse"],
  ["/errors", "of error"],
  ["/find/thing.done", "everything that names it"],
  ["/measures", "Processor"],
  ["/events", "thing.done"],
  ["/events/thing.done?event=1", "Event 1"],
  ["/events/dead", "refused for good"],
  ["/events/thing.done?publish=1", "thing.done.schema.json"],
  ["/workflows", "o-1"],
  ["/workflows/front/o-1", "ship"],
  ["/gateway", "/back/**"],
  ["/databases", "archipel db shell front"],
  ["/databases/front?sql=SELECT%20*%20FROM%20inbox%20LIMIT%201", "1 row"],
  ["/apis", "openapi.yaml"],
  ["/apis/lonely?op=GET%20/things/%7Bid%7D", "One thing"],
  ["/jobs", "sweep"],
  ["/settings", "What is kept"],
];

function check(condition, what) {
  if (!condition) throw new Error(what);
}

const browser = await open();

async function person(options) {
  const { page, problems } = await browser.person(options);
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("data:")) problems.push(`asked elsewhere: ${request.url()}`);
  });
  await page.goto(door);
  await page.waitForURL(`${base}/`);
  return { page, problems };
}

const visible = (page, text) => page.getByText(text, { exact: false }).first().waitFor({ timeout: 15_000 });

async function lookAround(page, label) {
  for (const [path, text] of PAGES) {
    await page.goto(base + path);
    // In the content: on a phone the bar of pages may hold it out of sight.
    await page.locator("main", { hasText: text }).waitFor({ timeout: 15_000 });
    const found = await page.evaluate(() => ({
      over: document.documentElement.scrollWidth - innerWidth,
      headings: document.querySelectorAll("h1").length,
      text: document.body.innerText,
      title: document.title,
    }));
    check(found.over <= 0, `${label} ${path} is ${found.over} pixels too wide`);
    check(found.headings === 1, `${label} ${path} has ${found.headings} first headings`);
    const wrong = await complaints(page);
    check(wrong.length === 0, `${label} ${path}:\n${wrong.join("\n")}`);
    check(!found.text.includes(secret), `${label} ${path} shows the secret`);
    check(found.title.endsWith("small"), `${path} is called «${found.title}»`);
    if (label.startsWith("desk")) {
      const unseen = await unseenFocus(page, 15);
      check(unseen.length === 0, `${path}:\n${unseen.join("\n")}`);
    }
    await page.screenshot({ path: `${shots}/${label}${path.replace(/[^a-z.]+/g, "-")}.png` });
  }
}

async function act({ page, problems }) {
  // A restart, with its progress and its end.
  const pid = async () => Number(await page.locator("main table tbody tr td.num").first().innerText());
  await page.goto(`${base}/services/lonely`);
  await page.getByRole("button", { name: "Restart" }).click();
  await page.getByRole("group", { name: "Restart lonely?" }).waitFor();
  const before = await pid();
  await page.getByRole("button", { name: "Restart", exact: true }).click();
  await visible(page, "lonely restarted in");
  check((await pid()) !== before, "the restart left the same process");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await visible(page, "lonely stopped in");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await visible(page, "lonely started in");

  // The dead letter: its reason, its content, another delivery.
  await page.goto(`${base}/`);
  await page.getByRole("link", { name: "1 dead letter" }).click();
  await page.getByRole("link", { name: "refused for good" }).click();
  await page.locator(".side pre", { hasText: '"poison": true' }).waitFor();
  await page.getByRole("button", { name: "Replay", exact: true }).click();
  await visible(page, "1 event on the way again");

  // An event by hand: refused with the reason, then taken.
  await page.goto(`${base}/events/thing.done?publish=1`);
  const data = page.getByLabel("Data");
  await data.fill('{"size": "large"}');
  await page.getByRole("button", { name: "Publish to front" }).click();
  await page.locator(".failed", { hasText: "size" }).waitFor();
  await data.fill('{"size": 3}');
  await page.getByRole("button", { name: "Publish to front" }).click();
  await page.locator(".side pre", { hasText: '"size": 3' }).waitFor();

  // A workflow: what it waits for is raised, it ends, and is run again from its step.
  await page.goto(`${base}/workflows`);
  await page.getByRole("link", { name: "o-1", exact: true }).click();
  await page.locator(".lane", { hasText: "ship" }).waitFor();
  await page.getByRole("button", { name: "Raise an event" }).click();
  await page.getByLabel("Event", { exact: true }).fill("paid");
  await page.getByRole("button", { name: "Raise it" }).click();
  await page.locator("h1 .state", { hasText: "completed" }).waitFor();
  await page.getByRole("button", { name: "Rerun from here" }).first().click();
  await page.getByRole("button", { name: "Rerun", exact: true }).click();
  await page.waitForURL((url) => /workflows.front.(?!o-1)/.test(url.pathname));
  await page.getByRole("button", { name: "Terminate" }).click();
  await page.getByRole("button", { name: "Terminate", exact: true }).click();
  await page.locator("h1 .state", { hasText: "terminated" }).waitFor();

  // Rows are read, and nothing is written.
  await page.goto(`${base}/databases/front`);
  await page.getByRole("link", { name: /^inbox/ }).click();
  await page.locator(".result td", { hasText: "e2" }).first().waitFor();
  await page.getByLabel("a statement that reads").fill("DELETE FROM inbox");
  await page.keyboard.press("Control+Enter");
  await page.locator(".failed", { hasText: "only statements that read" }).waitFor();
  // The browser's own words about the two refusals that were asked for.
  const others = problems.filter((p) => !p.includes("status of 422"));
  check(problems.length - others.length === 2, problems.join("\n"));
  problems.splice(0, problems.length, ...others);

  // A request by its contract, and its trace.
  await page.goto(`${base}/apis/lonely`);
  await page.getByRole("link", { name: /GET .things/ }).click();
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".panel h2", { hasText: "200" }).waitFor();
  await page.getByRole("link", { name: "its trace" }).click();
  await page.locator(".span-row").first().waitFor();
  // It may be asked for before it is there.
  problems.splice(0, problems.length, ...problems.filter((p) => !p.includes("status of 404")));

  // Lines as they are written, and the search for one.
  await page.goto(`${base}/logs?service=front`);
  await visible(page, "listening");
  await fetch(`${shop}/say?text=the+tide+is+turning`);
  await visible(page, "the tide is turning");
  await page.keyboard.press("/");
  await page.keyboard.type("tide");
  await page.waitForURL("**q=tide**");
  await page.locator(".log-row", { hasText: "tide" }).click();
  await page.getByRole("link", { name: "Lines around it" }).click();
  await page.locator(".log-row.chosen", { hasText: "tide" }).waitFor();

  // From a line of a request to its whole trace, and from the list of traces to a waterfall.
  await page.goto(`${base}/traces`);
  await page.locator("table.traces .row-link").first().click();
  await page.waitForURL("**/traces/*");
  await page.locator(".span-row").first().click();
  await page.locator(".span-side", { hasText: "http.request.method" }).waitFor();
  await page.keyboard.press("Escape");

  // By keys alone.
  await page.keyboard.press("Control+k");
  await page.keyboard.type("back");
  await page.getByRole("option", { name: "Service back" }).waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(`${base}/services/back`);
  await page.keyboard.press("g");
  await page.keyboard.press("j");
  await page.waitForURL(`${base}/jobs`);
  await page.getByRole("button", { name: "Run now" }).click();
  await visible(page, "sweep: exit 0");

  // What passes is seen on the line it passes over.
  await page.goto(`${base}/map`);
  for (let i = 0; i < 20; i++) await fetch(`${shop}/call/back/x`);
  await page.locator(".edge.busy").first().waitFor();
  await page.getByRole("link", { name: /^front to back/ }).focus();
  await page.keyboard.press("Enter");
  await page.locator(".side", { hasText: "since start" }).waitFor();
  return before;
}

/** Archipel dies: the page says so and keeps what it shows; it lives again, and so does the page. */
async function reconnect({ page, problems }) {
  await page.goto(`${base}/services`);
  await visible(page, "lonely");
  check(problems.length === 0, problems.join("\n"));
  const { pid } = await page.evaluate(async () => (await fetch("/api/v1/status")).json());
  process.kill(pid, "SIGKILL");
  await visible(page, "No answer from Archipel");
  await page.locator("main tbody", { hasText: "lonely" }).waitFor();
  const [program, ...args] = up;
  spawnSync(program, args);
  await page.getByText("No answer from Archipel").waitFor({ state: "detached" });
  await page.goto(`${base}/settings`);
  const about = page.locator("main .facts dd", { hasText: "process" });
  check(!(await about.innerText()).includes(`process ${pid}`), "the page still shows the process that died");
  // The browser's own words about what was cut off.
  problems.splice(0, problems.length, ...problems.filter((p) => !p.includes("net::ERR_")));
}

const desk = await person({ colorScheme: "light", viewport: { width: 1440, height: 900 } });
await lookAround(desk.page, "desk-light");
const pidBefore = await act(desk);
await reconnect(desk);
const phone = await person({ colorScheme: "dark", viewport: { width: 390, height: 844 } });
await lookAround(phone.page, "phone-dark");

const stranger = await browser.person();
await stranger.page.goto(base);
check((await stranger.page.innerText("body")).includes("archipel dashboard"), "a stranger came in");

await browser.close();
const problems = [...desk.problems, ...phone.problems];
check(problems.length === 0, problems.join("\n"));
console.log(JSON.stringify({ pages: PAGES.length, pid_before: pidBefore }));
