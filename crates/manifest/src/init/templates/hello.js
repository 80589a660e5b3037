// Says hello. Standard library only.
"use strict";
const http = require("node:http");

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/healthz") {
    reply(response, 200, { ok: true });
  } else if (url.pathname === "/hello") {
    const name = url.searchParams.get("name") || "world";
    reply(response, 200, { greeting: `Hello, ${name}!` });
  } else {
    reply(response, 404, { title: "not found" });
  }
});

function reply(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

// TERM means: finish what you have, then end.
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections?.();
});
// Archipel chooses the port, so that several instances can run side by side.
server.listen(Number(process.env.PORT), process.env.HOST || "127.0.0.1", () => {
  console.log(`listening on ${server.address().port}`);
});
