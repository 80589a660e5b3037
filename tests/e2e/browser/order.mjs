// A person places an order and leaves: writes its id to <directory>/placed as soon as it is
// accepted, and ends.
//
//   node order.mjs <base url> <directory>

import { mkdir, rm, writeFile } from "node:fs/promises";
import { buy, open } from "./person.mjs";

const [base, directory] = process.argv.slice(2);
await mkdir(directory, { recursive: true });
await rm(`${directory}/placed`, { force: true });
const browser = await open();
try {
  const { page } = await browser.person();
  const order = await buy(page, base, "lamp");
  await writeFile(`${directory}/placed`, order);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
}
