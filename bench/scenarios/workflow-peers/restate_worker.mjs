// The same workflow of five steps for Restate.
import { STEPS, answerReports, step } from "./steps.mjs";

// Node has it from version 22 on; the SDK takes it for granted.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
};
const restate = await import("@restatedev/restate-sdk");

const five = restate.service({
  name: "five",
  handlers: {
    run: async (context, input) => {
      let value = input;
      for (let number = 0; number < STEPS; number += 1) {
        value = await context.run("step", () => step(context.request().id.toString(), number));
      }
      return value;
    },
  },
});
await restate.endpoint().bind(five).setLogger(() => {}).listen(Number(process.argv[3]));
answerReports();
process.stdout.write("ready\n");
