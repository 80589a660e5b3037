// A workflow of five steps for any sidecar that speaks Dapr's workflow protocol.
import { WorkflowRuntime } from "@dapr/dapr";
import { STEPS, answerReports, step } from "./steps.mjs";

// The SDK writes a line for each item.
console.log = () => {};

const runtime = new WorkflowRuntime({ daprHost: "127.0.0.1", daprPort: process.argv[3] });
runtime.registerWorkflowWithName("five", async function* (context, input) {
  let value = input;
  for (let number = 0; number < STEPS; number += 1) {
    value = yield context.callActivity("step", number);
  }
  return value;
});
runtime.registerActivityWithName("step", (context, number) => step(context.getWorkflowInstanceId(), Number(number)));
await runtime.start();
answerReports();
process.stdout.write("ready\n");
