// The official JavaScript SDK of Dapr, over HTTP, against Archipel's API. Started by run.sh, which
// builds the server and says where it is in SERVE_API.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { CommunicationProtocolEnum, DaprClient, HttpMethod } from "@dapr/dapr";

const events = [];
let app, api, client;

// The app `orders`: takes events, answers calls.
function handle(request, response) {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const body = Buffer.concat(pieces).toString();
    if (request.url === "/_archipel/events") {
      events.push({ headers: request.headers, event: JSON.parse(body) });
      return response.writeHead(204).end();
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ method: request.method, url: request.url, body }));
  });
}

async function arrived(count) {
  for (let i = 0; i < 500 && events.length < count; i++) {
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.equal(events.length, count);
  return events[count - 1];
}

before(async () => {
  app = createServer(handle).listen(0, "127.0.0.1");
  await once(app, "listening");
  api = spawn(process.env.SERVE_API, [String(app.address().port)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await once(createInterface({ input: api.stdout }), "line");
  const { DAPR_HTTP_PORT, DAPR_API_TOKEN } = JSON.parse(line);
  client = new DaprClient({
    daprHost: "127.0.0.1",
    daprPort: DAPR_HTTP_PORT,
    daprApiToken: DAPR_API_TOKEN,
    communicationProtocol: CommunicationProtocolEnum.HTTP,
  });
});

after(async () => {
  await client?.stop();
  api?.stdin.end();
  app?.close();
  app?.closeAllConnections();
});

test("the client starts", async () => {
  await client.start();
  assert.equal(await client.health.isHealthy(), true);
});

test("an object is published as JSON", async () => {
  const result = await client.pubsub.publish("pubsub", "order.placed", { order_id: "ord_1" });
  assert.equal(result?.error, undefined);
  const { headers, event } = await arrived(1);
  assert.equal(headers["dapr-api-token"], "the-token-of-the-app");
  assert.equal(headers["content-type"], "application/cloudevents+json");
  assert.deepEqual(event.data, { order_id: "ord_1" });
  assert.equal(event.source, "orders");
  assert.equal(event.topic, "order.placed");
  assert.equal(event.datacontenttype, "application/json");
});

test("a text is published as text", async () => {
  const result = await client.pubsub.publish("pubsub", "order.placed", "hello");
  assert.equal(result?.error, undefined);
  const { event } = await arrived(2);
  assert.equal(event.data, "hello");
});

test("a CloudEvent is published as it is", async () => {
  const own = { specversion: "1.0", id: "e1", source: "/me", type: "x.y", data: { n: 1 } };
  const options = { contentType: "application/cloudevents+json" };
  const result = await client.pubsub.publish("pubsub", "order.placed", own, options);
  assert.equal(result?.error, undefined);
  const { event } = await arrived(3);
  assert.equal(event.id, "e1");
  assert.equal(event.type, "x.y");
  assert.deepEqual(event.data, { n: 1 });
});

test("metadata overrides attributes", async () => {
  const options = { metadata: { "cloudevent.type": "t.v1", ttlInSeconds: "60" } };
  const result = await client.pubsub.publish("pubsub", "order.placed", { n: 2 }, options);
  assert.equal(result?.error, undefined);
  const { event } = await arrived(4);
  assert.equal(event.type, "t.v1");
  assert.ok(event.expiration);
});

test("many are published at once", async () => {
  const failed = await client.pubsub.publishBulk("pubsub", "order.placed", [
    { order_id: "ord_5" },
    { entryID: "own", event: "hello", contentType: "text/plain" },
  ]);
  assert.deepEqual(failed, { failedMessages: [] });
  await arrived(6);
  const data = events.slice(4).map(({ event }) => event.data);
  assert.deepEqual(new Set(data.map(String)), new Set(["[object Object]", "hello"]));
});

test("an undeclared topic is refused with the line to add", async () => {
  const result = await client.pubsub.publish("pubsub", "order.shipped", {});
  assert.match(String(result.error), /publishes = \[\\*"order\.shipped\\*"\]/);
  const unknown = await client.pubsub.publish("redis", "order.placed", {});
  assert.match(String(unknown.error), /ERR_PUBSUB_NOT_FOUND/);
});

test("a service is invoked", async () => {
  const body = { hello: "world" };
  const answer = await client.invoker.invoke("orders", "v1/echo?x=1", HttpMethod.POST, body);
  assert.equal(answer.method, "POST");
  assert.equal(answer.url, "/v1/echo?x=1");
  assert.deepEqual(JSON.parse(answer.body), body);
});

test("metadata is read and written", async () => {
  const told = await client.metadata.get();
  assert.equal(told.id, "orders");
  assert.equal(await client.metadata.set("colour", "green"), true);
  assert.equal((await client.metadata.get()).extended.colour, "green");
});
