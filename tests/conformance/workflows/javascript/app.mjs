// `tour` by the official SDK for JavaScript: what it does stands in ../README.md.
import { WorkflowRuntime } from "@dapr/dapr";

const stamp = async (_, text) => `${text}>javascript`;

async function* tour(context, text) {
  const first = yield context.callActivity(stamp, text);
  const branches = [1, 2, 3].map((n) => context.callActivity(stamp, `${first}${n}`));
  const stamped = yield context.whenAll(branches);
  yield context.createTimer(0.05);
  const word = yield context.waitForExternalEvent("go");
  return [...stamped, word].join("|");
}

const runtime = new WorkflowRuntime();
runtime.registerWorkflow(tour).registerActivity(stamp);
await runtime.start();
process.on("SIGTERM", async () => {
  await runtime.stop();
  process.exit(0);
});
