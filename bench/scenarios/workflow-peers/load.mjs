// node load.mjs archipel|restate PORT CONCURRENT SECONDS
//
// So many workflows at a time, each begun when one before it has ended, with the official client.
// Those that end within the time count.
import { percentile } from "./steps.mjs";

const [, , peer, port, concurrent, seconds] = process.argv;
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
console.log = () => {};

async function client() {
  if (peer === "archipel") {
    const { DaprWorkflowClient } = await import("@dapr/dapr");
    const dapr = new DaprWorkflowClient({ daprHost: "127.0.0.1", daprPort: port });
    return async () => {
      const id = await dapr.scheduleNewWorkflow("five", 0);
      const state = await dapr.waitForWorkflowCompletion(id, true, 300);
      return Number(state.serializedOutput);
    };
  }
  const { connect } = await import("@restatedev/restate-sdk-clients");
  const five = connect({ url: `http://127.0.0.1:${port}` }).serviceClient({ name: "five" });
  return () => five.run(0);
}

const once = await client();
const end = performance.now() + Number(seconds) * 1000;
const took = [];
async function one() {
  while (performance.now() < end) {
    const begun = performance.now();
    const result = await once();
    if (result !== 5) throw new Error(`a workflow ended with ${result}`);
    if (performance.now() < end) took.push(performance.now() - begun);
  }
}
await Promise.all(Array.from({ length: Number(concurrent) }, one));
took.sort((a, b) => a - b);
say({ done: took.length, p50: percentile(took, 0.5), p99: percentile(took, 0.99), cpu: process.cpuUsage() });
process.exit(0);
