// A person buys something: browse, search, basket, checkout, pay, watch the order to
// «delivered», read the text message. In a real Chromium, against the running store.
//
//   node shop.mjs <base url> <directory for screenshots>
//
// Ends with 0 and one JSON line {order, seconds} on standard output, or with 1 and the reason.

import { mkdir } from "node:fs/promises";
import { buy, open } from "./person.mjs";

const [base, shots] = process.argv.slice(2);
if (!base || !shots) {
  console.error("usage: node shop.mjs <base url> <directory for screenshots>");
  process.exit(2);
}
await mkdir(shots, { recursive: true });
const browser = await open();
const { page, problems } = await browser.person();
const shot = (name, of = page) => of.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
try {
  await page.goto(base);
  await shot("01-home");
  const order = await buy(page, base, "lantern", shot);
  const started = Date.now();

  // The page changes by itself: nothing is reloaded here.
  await page.waitForSelector('[data-status="DELIVERED"], [data-status="COMPLETED"]', { timeout: 120_000 });
  const seconds = (Date.now() - started) / 1000;
  await page.getByText(/counted/i).first().waitFor();
  await shot("11-order-delivered");

  await page.goto(`${base}/phone/?order=${order}`);
  const text = await page.textContent("body");
  if (!/order/i.test(text)) throw new Error(`no text message on the phone: ${text.slice(0, 300)}`);
  await shot("12-phone");

  // A telephone in the hand, in the dark.
  const hand = await browser.person({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
  await hand.page.goto(base);
  await shot("13-home-small-dark", hand.page);

  // Without scripts everything can still be bought.
  const plain = await browser.person({ javaScriptEnabled: false });
  const unscripted = await buy(plain.page, base, "tea", (name) => shot(`plain-${name}`, plain.page));
  if (!unscripted.startsWith("ord_")) throw new Error("no order without scripts");

  const complaints = [...problems, ...hand.problems, ...plain.problems];
  if (complaints.length > 0) throw new Error(`the browser complained:\n${complaints.join("\n")}`);
  console.log(JSON.stringify({ order, seconds }));
} catch (error) {
  console.error(error.message);
  await shot("failed").catch(() => {});
  console.error(`at ${page.url()}; see ${shots}/failed.png; ${problems.join("; ")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
