// A page that asks the service `hello`. Standard library only.
"use strict";
const http = require("node:http");

// Given because of `calls = ["hello"]`. It leads to an instance that is ready, whichever that is.
const helloUrl = process.env.HELLO_URL;

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/healthz") {
    return reply(response, 200, "text/plain", "ok\n");
  }
  if (url.pathname !== "/") {
    return reply(response, 404, "text/plain", "not found\n");
  }
  const name = url.searchParams.get("name") || "world";
  try {
    const { greeting } = await getJson(`${helloUrl}/hello?name=${encodeURIComponent(name)}`);
    reply(response, 200, "text/html; charset=utf-8", page(greeting));
  } catch (error) {
    console.error(`hello did not answer: ${error.message}`);
    reply(response, 502, "text/plain", "hello did not answer, try again\n");
  }
});

function getJson(url) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { timeout: 2000 }, (answer) => {
      let body = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => (body += part));
      answer.on("error", reject);
      answer.on("end", () => {
        if (answer.statusCode !== 200) return reject(new Error(`status ${answer.statusCode}`));
        try {
          resolve(JSON.parse(body));
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer in 2 seconds")));
    request.on("error", reject);
  });
}

function page(greeting) {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Hello</title>
<body style="font-family: system-ui; max-width: 40rem; margin: 4rem auto">
<h1>${escapeHtml(greeting)}</h1>
<form><label>Your name <input name="name"></label> <button>Greet me</button></form>
</body></html>
`;
}

function escapeHtml(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => names[character]);
}

function reply(response, status, type, body) {
  response.writeHead(status, { "Content-Type": type });
  response.end(body);
}

// TERM means: finish what you have, then end.
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections?.();
});
server.listen(Number(process.env.PORT), process.env.HOST || "127.0.0.1", () => {
  console.log(`listening on ${server.address().port}`);
});
