// A person buys something: browse, search, basket, checkout, pay, watch the order to
// «delivered», read the text message. In a real Chromium, against the running store.
//
//   node shop.mjs <base url> <directory for screenshots>
//
// Ends with 0 and one JSON line {order, seconds} on standard output, or with 1 and the reason.

import { mkdir } from "node:fs/promises";
import { chromium } from "playwright-core";

const [base, shots] = process.argv.slice(2);
if (!base || !shots) {
  console.error("usage: node shop.mjs <base url> <directory for screenshots>");
  process.exit(2);
}
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const QUIET = [
  "--no-sandbox", // CI runs as root; the pages are our own
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const GOOD_DAY = ["received", "reserved", "authorised", "confirmed", "packed", "captured", "released", "dispatched", "delivered"];

await mkdir(shots, { recursive: true });
const browser = await chromium.launch({ executablePath: EXECUTABLE, args: QUIET });
const problems = [];
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-GB" });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => problems.push(`script error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console: ${message.text()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 500) problems.push(`${response.status()} ${response.url()}`);
  });
  const shot = (name) => page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });

  await page.goto(base);
  await shot("01-home");

  await page.goto(`${base}/search?q=lantern`);
  const found = page.locator('a[href^="/p/"]');
  if ((await found.count()) === 0) throw new Error("the search for «lantern» finds nothing");
  await shot("02-search");

  // The first product that can be had.
  const links = [...new Set(await found.evaluateAll((all) => all.map((a) => a.getAttribute("href"))))];
  let added = false;
  for (const link of links) {
    await page.goto(base + link);
    const add = page.locator('form[action="/cart/lines"] button[type=submit]:not([disabled])');
    if ((await add.count()) === 0) continue;
    await shot("03-product");
    await add.first().click();
    added = true;
    break;
  }
  if (!added) throw new Error("nothing of what was found can be bought");
  await page.goto(`${base}/cart`);
  await shot("04-basket");

  await page.goto(`${base}/checkout`);
  await page.waitForURL("**/checkout/address**");
  const fields = {
    name: "Ada Example",
    email: "ada@example.test",
    phone: "+447700900123",
    line1: "1 Harbour Row",
    postcode: "75001",
    city: "Port Example",
  };
  for (const [name, value] of Object.entries(fields)) await page.fill(`[name=${name}]`, value);
  await page.selectOption("[name=country]", "FR");
  await shot("05-address");
  await page.click('form[action="/checkout/address"] button[type=submit]');

  await page.waitForURL("**/checkout/delivery**");
  await shot("06-delivery");
  await page.click('form[action="/checkout/delivery"] button[type=submit]');

  await page.waitForURL("**/checkout/payment**");
  await shot("07-payment");
  await page.click('a[href*="/psp/pay"]');
  await page.waitForURL("**/psp/pay**");
  await page.check('input[name=card][value="ok"]');
  await shot("08-card-page");
  await page.click('form[action$="/pay"] button[type=submit]');

  await page.waitForURL("**/checkout/review**");
  await shot("09-review");
  const started = Date.now();
  await page.click('form[action="/checkout/submit"] button[type=submit]');
  await page.waitForURL("**/orders/ord_*");
  const order = new URL(page.url()).pathname.split("/").pop();
  await shot("10-order-received");

  // The page changes by itself: nothing is reloaded here.
  await page.waitForSelector('[data-status="DELIVERED"], [data-status="COMPLETED"]', { timeout: 120_000 });
  const seconds = (Date.now() - started) / 1000;
  await page.waitForSelector("text=/counted/i", { timeout: 20_000 });
  await shot("11-order-delivered");
  const steps = await page.locator("[data-step]").evaluateAll((all) =>
    all.filter((step) => step.hasAttribute("data-done")).map((step) => step.getAttribute("data-step")),
  );
  if (steps.length > 0) {
    const missing = GOOD_DAY.filter((step) => !steps.includes(step));
    if (missing.length > 0) throw new Error(`steps missing on the order page: ${missing}`);
  }

  await page.goto(`${base}/phone/?order=${order}`);
  const text = await page.textContent("body");
  if (!/order/i.test(text) || !text.includes("+447700900123")) {
    throw new Error(`no text message on the phone: ${text.slice(0, 300)}`);
  }
  await shot("12-phone");

  // A telephone in the hand, in the dark.
  const small = await browser.newContext({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
  const hand = await small.newPage();
  await hand.goto(base);
  await hand.screenshot({ path: `${shots}/13-home-phone-dark.png` });

  // Without scripts everything can still be read and bought.
  const plain = await browser.newContext({ javaScriptEnabled: false });
  const bare = await plain.newPage();
  await bare.goto(base + links[0]);
  if ((await bare.locator('form[action="/cart/lines"]').count()) === 0) {
    throw new Error("the product page has no form without scripts");
  }
  if (problems.length > 0) throw new Error(`the browser complained:\n${problems.join("\n")}`);
  console.log(JSON.stringify({ order, seconds }));
} catch (error) {
  console.error(`${error.message}\n${problems.join("\n")}`);
  const page = browser.contexts()[0]?.pages()[0];
  await page?.screenshot({ path: `${shots}/failed.png`, fullPage: true }).catch(() => {});
  console.error(`at ${page?.url()}; see ${shots}/failed.png`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
