// What people do in the shop, for the tests.

import { chromium } from "playwright-core";

const ARGS = [
  "--no-sandbox", // CI runs as root; the pages are our own
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A browser whose people note every complaint of their pages. */
export async function open() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ARGS,
  });
  return {
    close: () => browser.close(),
    async person(options = {}) {
      const context = await browser.newContext({
        viewport: { width: 1280, height: 900 },
        locale: "en-GB",
        ...options,
      });
      const page = await context.newPage();
      page.setDefaultTimeout(30_000);
      const problems = [];
      page.on("pageerror", (error) => problems.push(`script error: ${error.message}`));
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(`console: ${message.text()}`);
      });
      page.on("response", (response) => {
        if (response.status() >= 500) problems.push(`${response.status()} ${response.url()}`);
      });
      return { page, problems };
    },
  };
}

const ADDRESS = {
  name: "Ada Example",
  email: "ada@example.test",
  phone: "+447700900123",
  line1: "1 Harbour Row",
  postcode: "75001",
  city: "Port Example",
};

/** From the search to the order page; the order's id. `shot(name)` is called on each page. */
export async function buy(page, base, words, shot = async () => {}, card = "ok") {
  await page.goto(`${base}/search?q=${encodeURIComponent(words)}`);
  const found = page.locator('a[href^="/p/"]');
  const links = [...new Set(await found.evaluateAll((all) => all.map((a) => a.getAttribute("href"))))];
  if (links.length === 0) throw new Error(`the search for «${words}» finds nothing`);
  await shot("02-search");
  if (!(await addFirstAvailable(page, base, links, shot))) {
    throw new Error("nothing of what was found can be bought");
  }
  await review(page, base, shot, card);
  return submit(page, shot);
}

/** From the basket to the page with the last button. */
export async function review(page, base, shot = async () => {}, card = "ok") {
  await page.goto(`${base}/cart`);
  await shot("04-basket");

  await page.goto(`${base}/checkout`);
  await page.waitForURL("**/checkout/address**");
  for (const [name, value] of Object.entries(ADDRESS)) await page.fill(`[name=${name}]`, value);
  await page.selectOption("[name=country]", "FR");
  await shot("05-address");
  await page.click('form[action="/checkout/address"] button[type=submit]');

  await page.waitForURL("**/checkout/delivery**");
  await shot("06-delivery");
  await page.click('form[action="/checkout/delivery"] button[type=submit]');

  await page.waitForURL("**/checkout/payment**");
  await shot("07-payment");
  await page.click('a[href*="/psp/pay"]');
  await chooseCard(page, card, shot);

  await page.waitForURL("**/checkout/review**");
  await shot("09-review");
}

/** On the provider's page. */
export async function chooseCard(page, card, shot = async () => {}) {
  await page.waitForURL("**/psp/pay**");
  const choice = page.locator(`input[name=card][value="${card}"]`);
  if (!(await choice.isVisible())) await page.click("summary");
  await choice.check();
  await shot("08-card-page");
  await page.click('form[action$="/pay"] button[type=submit]');
}

/** The last button; the order's id. */
export async function submit(page, shot = async () => {}) {
  await page.click('form[action="/checkout/submit"] button[type=submit]');
  await page.waitForURL("**/orders/ord_*");
  await shot("10-order-received");
  return new URL(page.url()).pathname.split("/").pop();
}

async function addFirstAvailable(page, base, links, shot) {
  for (const link of links) {
    await page.goto(base + link);
    const add = page.locator('form[action="/cart/lines"] button[type=submit]:not([disabled])');
    if ((await add.count()) === 0) continue;
    await shot("03-product");
    await add.first().click();
    await page.waitForLoadState();
    return true;
  }
  return false;
}
