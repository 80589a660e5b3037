// The ways that an order can go besides the good one, each as a person sees it in the page. In a
// real Chromium, against the running store, whose robot picker rests: we are its warehouse too.
//
//   node ways.mjs <base url> <warehouse url> <path of a product's last unit> <directory for screenshots>
//
// Ends with 0 and one JSON line {way: order, …} on standard output, or with 1 and the reasons.

import { mkdir } from "node:fs/promises";
import { buy, chooseCard, open, review, submit } from "./person.mjs";

const [base, warehouse, lastUnit, shots] = process.argv.slice(2);
if (!base || !warehouse || !lastUnit || !shots) {
  console.error("usage: node ways.mjs <base url> <warehouse url> <path of a product> <directory>");
  process.exit(2);
}
const PATIENCE = { timeout: 90_000 };

/** The page says so by itself: nothing is reloaded. */
const becomes = (page, ...statuses) =>
  page.waitForSelector(statuses.map((status) => `[data-status="${status}"]`).join(), PATIENCE);
const says = (page, words) => page.getByText(words).first().waitFor(PATIENCE);

/** What somebody in the warehouse does; as soon as it has heard of the order. */
async function worker(order, ...moves) {
  for (const move of moves) {
    const until = Date.now() + PATIENCE.timeout;
    for (;;) {
      const answer = await fetch(`${warehouse}/v1/fulfilments/${order}/${move}`, { method: "POST" });
      if (answer.ok) break;
      if (Date.now() > until) throw new Error(`${move}: ${answer.status} ${await answer.text()}`);
      await new Promise((again) => setTimeout(again, 100));
    }
  }
}

/** Packs and waits for the door. */
async function delivered(page, order) {
  await Promise.all([worker(order, "pick", "pack"), becomes(page, "DELIVERED", "COMPLETED")]);
  await says(page, "It has arrived");
}

/** What the text on the telephone says in the end. */
const TEXTS = {
  cancelled: "was cancelled. You pay nothing.",
  second_card: "delivered",
  bank_asks: "delivered",
  short_pick: "was cancelled. You pay nothing.",
  authorisation_lapses: "was cancelled. You pay nothing.",
  sold_out: "was cancelled. You pay nothing.",
};

const WAYS = {
  async cancelled(page) {
    const order = await buy(page, base, "lantern");
    await becomes(page, "CONFIRMED");
    await page.click(`form[action="/orders/${order}/cancel"] button[type=submit]`);
    await says(page, "We are cancelling it. Nothing more will be charged.");
    await becomes(page, "CANCELLED");
    await says(page, "This order is cancelled");
    await says(page, "You asked us to.");
    await says(page, "What was held on your card is released.");
    // And all of it can be had again.
    await page.getByRole("button", { name: "Put it all back in the basket" }).click();
    await page.waitForURL("**/cart");
    await says(page, /lantern/i);
    return order;
  },

  async second_card(page) {
    const order = await buy(page, base, "tea", undefined, "decline");
    await becomes(page, "AWAITING_METHOD");
    await says(page, "Your bank declined that card. Nothing was charged.");
    await page.getByRole("link", { name: "Choose another card" }).click();
    await chooseCard(page, "ok");
    await says(page, "Thank you, we are trying the new card.");
    await delivered(page, order);
    return order;
  },

  async bank_asks(page) {
    const order = await buy(page, base, "rope", undefined, "3ds");
    await becomes(page, "AWAITING_ACTION");
    await says(page, "Your bank has a question");
    await says(page, "Your things stay set aside meanwhile.");
    await page.getByRole("link", { name: "Answer your bank" }).click();
    await page.getByRole("button", { name: "Confirm payment" }).click();
    await page.waitForURL(`**/orders/${order}**`);
    await delivered(page, order);
    return order;
  },

  async short_pick(page) {
    const order = await buy(page, base, "blanket");
    await worker(order, "pick", "short");
    await becomes(page, "CANCELLED");
    await says(page, "When we packed it, something was missing on the shelf. We are sorry.");
    await says(page, "What was held on your card is released.");
    return order;
  },

  async authorisation_lapses(page) {
    const order = await buy(page, base, "knife", undefined, "auth_expires");
    await becomes(page, "CANCELLED");
    await says(page, "Your bank took its promise back before the parcel left.");
    return order;
  },

  /** Two people with the same last one in their baskets. */
  async sold_out(page, other) {
    for (const somebody of [page, other]) {
      await somebody.goto(base + lastUnit);
      await somebody.click('form[action="/cart/lines"] button[type=submit]:not([disabled])');
      await somebody.waitForLoadState();
      await review(somebody, base);
    }
    const quicker = await submit(other);
    await becomes(other, "CONFIRMED");
    const order = await submit(page);
    await becomes(page, "CANCELLED");
    await says(page, "Somebody was quicker: there was not enough left on the shelf.");
    await delivered(other, quicker);
    return order;
  },
};

await mkdir(shots, { recursive: true });
const browser = await open();
const failures = [];
async function go([name, way]) {
  const [one, other] = [await browser.person(), await browser.person()];
  one.page.setDefaultTimeout(PATIENCE.timeout);
  other.page.setDefaultTimeout(PATIENCE.timeout);
  try {
    const order = await way(one.page, other.page);
    await one.page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
    await one.page.goto(`${base}/phone/?order=${order}`);
    await says(one.page, TEXTS[name]);
    const complaints = [...one.problems, ...other.problems];
    if (complaints.length > 0) throw new Error(`the browser complained:\n${complaints.join("\n")}`);
    return [name, order];
  } catch (error) {
    failures.push(`${name}, at ${one.page.url()}: ${error.message}`);
    await one.page.screenshot({ path: `${shots}/${name}-failed.png`, fullPage: true }).catch(() => {});
  }
}
try {
  const ended = await Promise.all(Object.entries(WAYS).map(go));
  if (failures.length === 0) console.log(JSON.stringify(Object.fromEntries(ended)));
} finally {
  await browser.close();
}
if (failures.length > 0) {
  console.error(failures.join("\n\n"));
  process.exitCode = 1;
}
