// An echo server for WebSocket, with compression, that refuses what RFC 6455 forbids.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const server = createServer((_, response) => response.end("no socket here"));
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: true,
  maxPayload: 64 << 20,
  handleProtocols: (offered) => (offered.has("echo") ? "echo" : false),
});
sockets.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
  socket.on("error", () => {});
});
server.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
