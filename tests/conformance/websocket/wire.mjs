// WebSocket frames by hand, so that a case may say what no library would; and three ways to an
// app: straight, through the gateway by HTTP/1, and through it by HTTP/2 (RFC 8441).
import http from "node:http";
import http2 from "node:http2";

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/// One frame as a client sends it.
export function frame(opcode, payload, { fin = true, rsv = 0, mask = true, length } = {}) {
  const data = Buffer.from(payload);
  const size = length ?? data.length;
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  const masked = mask ? 0x80 : 0;
  if (size < 126) head.push(masked | size);
  else if (size < 65536) head.push(masked | 126, size >> 8, size & 255);
  else {
    const long = Buffer.alloc(8);
    long.writeBigUInt64BE(BigInt(size));
    head.push(masked | 127, ...long);
  }
  if (!mask) return Buffer.concat([Buffer.from(head), data]);
  const key = [0x11, 0x22, 0x33, 0x44];
  const body = Buffer.allocUnsafe(data.length);
  for (let at = 0; at < data.length; at++) body[at] = data[at] ^ key[at & 3];
  return Buffer.concat([Buffer.from([...head, ...key]), body]);
}

export function close(code, reason = "") {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return frame(CLOSE, payload);
}

/// Takes whole frames out of what a server sends.
class Frames {
  rest = Buffer.alloc(0);

  *take(bytes) {
    this.rest = this.rest.length ? Buffer.concat([this.rest, bytes]) : bytes;
    for (;;) {
      if (this.rest.length < 2) return;
      let size = this.rest[1] & 127;
      let at = 2;
      if (size === 126) {
        if (this.rest.length < 4) return;
        size = this.rest.readUInt16BE(2);
        at = 4;
      } else if (size === 127) {
        if (this.rest.length < 10) return;
        size = Number(this.rest.readBigUInt64BE(2));
        at = 10;
      }
      if (this.rest.length < at + size) return;
      const [first] = this.rest;
      const payload = this.rest.subarray(at, at + size);
      this.rest = this.rest.subarray(at + size);
      yield { fin: first >> 7, rsv: (first >> 4) & 7, opcode: first & 15, payload };
    }
  }
}

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";

export function overHttp1(address, headers) {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const request = http.request({
      host,
      port,
      path: "/socket",
      agent: false,
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
        ...headers,
      },
    });
    request.on("error", reject);
    request.on("response", (response) => reject(new Error(`status ${response.statusCode}`)));
    request.on("upgrade", (response, socket, first) => {
      socket.on("error", () => {});
      if (response.headers["sec-websocket-accept"] !== "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        return reject(new Error("the key was not answered"));
      if (first.length) socket.unshift(first);
      resolve({ socket, headers: response.headers, end: () => socket.destroy() });
    });
    request.end();
  });
}

export function overHttp2(address, headers) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`http://${address}`);
    session.on("error", reject);
    session.on("remoteSettings", (settings) => {
      if (!settings.enableConnectProtocol) return reject(new Error("no extended CONNECT"));
      const socket = session.request(
        {
          ":method": "CONNECT",
          ":protocol": "websocket",
          ":scheme": "http",
          ":path": "/socket",
          ":authority": address,
          "sec-websocket-version": "13",
          ...headers,
        },
        { endStream: false },
      );
      socket.on("error", () => {});
      socket.on("response", (answer) => {
        if (answer[":status"] !== 200) return reject(new Error(`status ${answer[":status"]}`));
        resolve({ socket, headers: answer, end: () => session.destroy() });
      });
    });
  });
}

/// Plays one case: sends `writes` one by one, and tells all that comes until the other side
/// closes or has said as much as `until` asks for.
export async function play(connect, { writes, headers = {}, until }) {
  const { socket, headers: answer, end } = await connect(headers);
  const story = [];
  for (const name of ["sec-websocket-protocol", "sec-websocket-extensions"])
    if (answer[name]) story.push(`${name}: ${answer[name]}`);
  const frames = new Frames();
  const over = new Promise((resolve) => {
    const ended = () => resolve(story.push("closed"));
    socket.on("end", ended);
    socket.on("close", ended);
    socket.on("data", (bytes) => {
      for (const { fin, rsv, opcode, payload } of frames.take(bytes)) {
        const shown =
          payload.length > 64
            ? `${payload.length} bytes, sum ${payload.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7)}`
            : payload.toString("hex");
        story.push(`fin ${fin} rsv ${rsv} opcode ${opcode}: ${shown}`);
        if (until && story.filter((line) => line.startsWith("fin")).length >= until) resolve();
      }
    });
  });
  for (const bytes of writes) {
    if (socket.destroyed) break;
    await new Promise((resolve) => socket.write(bytes, resolve));
  }
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve(story.push("silence")), 10_000);
  });
  await Promise.race([over, late]);
  clearTimeout(timer);
  end();
  return [...new Set(story.filter((line) => line === "closed")), ...story.filter((line) => line !== "closed")];
}
