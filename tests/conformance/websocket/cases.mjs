// Each case goes straight to the app and through the gateway, by HTTP/1 and by HTTP/2: the story
// must be the same three times, and where it is known beforehand, be that one.
//
//   node cases.mjs APP GATEWAY
import { deflateRawSync, constants } from "node:zlib";
import { BINARY, CLOSE, PING, PONG, TEXT, close, frame, overHttp1, overHttp2, play } from "./wire.mjs";

const bytes = (size, seed = 1) => Buffer.from({ length: size }, (_, at) => (at * 31 + seed) & 255);
const letters = (size) => "*".repeat(size);
const bye = close(1000);
const split = (buffer, size) => {
  const pieces = [];
  for (let at = 0; at < buffer.length; at += size) pieces.push(buffer.subarray(at, at + size));
  return pieces;
};
const cases = {};
const add = (name, ...writes) => (cases[name] = { writes });

for (const size of [0, 1, 125, 126, 127, 128, 65535, 65536, 1 << 20, 8 << 20]) {
  add(`text of ${size} bytes`, frame(TEXT, letters(size)), bye);
  add(`binary of ${size} bytes`, frame(BINARY, bytes(size)), bye);
}
for (const chop of [1, 2, 7, 997])
  add(`frame in writes of ${chop}`, ...split(frame(BINARY, bytes(chop < 8 ? 200 : 65536)), chop), bye);
add("many frames in one write", Buffer.concat([...Array(500).keys()].map((n) => frame(TEXT, `${n}`))), bye);
add("message in three fragments", frame(TEXT, "a", { fin: false }), frame(0, "b", { fin: false }), frame(0, "c"), bye);
add("message in a thousand fragments", frame(BINARY, "x", { fin: false }), ...Array(998).fill(frame(0, "y", { fin: false })), frame(0, "z"), bye);
add("empty fragments", frame(TEXT, "", { fin: false }), frame(0, "", { fin: false }), frame(0, ""), bye);
add("ping between fragments", frame(TEXT, "a", { fin: false }), frame(PING, "now"), frame(0, "b"), bye);
add("continuation of nothing", frame(0, "b"), bye);
add("message within a message", frame(TEXT, "a", { fin: false }), frame(TEXT, "b"), bye);
for (const size of [0, 1, 125]) add(`ping of ${size} bytes`, frame(PING, bytes(size)), bye);
add("ping of 126 bytes", frame(PING, bytes(126)), bye);
add("ping in fragments", frame(PING, "a", { fin: false }), bye);
add("pong that nobody asked for", frame(PONG, "a"), frame(TEXT, "b"), bye);
add("ten pings", ...[...Array(10).keys()].map((n) => frame(PING, `${n}`)), bye);
for (const rsv of [1, 2, 3, 4, 7]) add(`reserved bits ${rsv}`, frame(TEXT, "a", { rsv }), bye);
for (const opcode of [3, 5, 7, 11, 13, 15]) add(`opcode ${opcode}`, frame(opcode, "a"), bye);
add("without a mask", frame(TEXT, "a", { mask: false }), bye);
add("length above what is allowed", frame(TEXT, "", { length: 2 ** 40 }));
for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
  add(`close with ${code}`, close(code, "why"));
for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
  add(`close with ${code}, which nobody may say`, close(code));
add("close without a code", frame(CLOSE, ""));
add("close with half a code", frame(CLOSE, [3]));
add("close with a reason of 123 bytes", close(1000, letters(123)));
add("close with a reason of 124 bytes", close(1000, letters(124)));
add("close with a reason that is no text", frame(CLOSE, [3, 232, 0xff]));
add("close in the middle of a message", frame(TEXT, "a", { fin: false }), bye);
add("text after close", bye, frame(TEXT, "a"));
add("close twice", bye, bye);
const utf8 = {
  "all of a language": "Ελληνικά κόσμε 日本語 🜁",
  "highest code point": "\u{10ffff}",
  "not a character": "\uffff",
};
for (const [name, text] of Object.entries(utf8)) {
  add(`text: ${name}`, frame(TEXT, text), bye);
  add(`text byte by byte: ${name}`, ...[...Buffer.from(text)].map((byte, at, all) => frame(at ? 0 : TEXT, [byte], { fin: at + 1 === all.length })), bye);
}
for (const [name, data] of Object.entries({
  "lone continuation": [0x80],
  "overlong slash": [0xc0, 0xaf],
  surrogate: [0xed, 0xa0, 0x80],
  "above the highest": [0xf4, 0x90, 0x80, 0x80],
  "cut off": [0xe2, 0x82],
  "five bytes": [0xf8, 0x88, 0x80, 0x80, 0x80],
}))
  add(`no text: ${name}`, frame(TEXT, data), bye);

const squeeze = (text) => deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
for (const offer of ["permessage-deflate", "permessage-deflate; client_no_context_takeover; server_no_context_takeover", "permessage-deflate; client_max_window_bits=10", "x-unknown, permessage-deflate"]) {
  for (const size of [16, 2048, 1 << 20]) {
    const data = squeeze(letters(size));
    cases[`compressed ${size} with ${offer}`] = {
      headers: { "sec-websocket-extensions": offer },
      writes: [frame(TEXT, data, { rsv: 4 }), frame(TEXT, "plain"), bye],
    };
  }
}
cases["compressed in fragments"] = {
  headers: { "sec-websocket-extensions": "permessage-deflate" },
  writes: [...split(squeeze(letters(4096)), 5).map((piece, at, all) => frame(at ? 0 : BINARY, piece, { rsv: at ? 0 : 4, fin: at + 1 === all.length })), bye],
};
cases["compressed nonsense"] = {
  headers: { "sec-websocket-extensions": "permessage-deflate" },
  writes: [frame(TEXT, bytes(50), { rsv: 4 }), bye],
};
cases["a protocol that is spoken"] = { headers: { "sec-websocket-protocol": "chat, echo" }, writes: [bye] };
cases["a protocol that is not"] = { headers: { "sec-websocket-protocol": "chat" }, writes: [bye] };

const [app, gateway] = process.argv.slice(2);
let failed = 0;
for (const [name, one] of Object.entries(cases)) {
  const tell = (way) => play(way, one).catch((error) => [`failed: ${error.message}`]);
  const straight = await tell((headers) => overHttp1(app, headers));
  const ways = {
    "HTTP/1": await tell((headers) => overHttp1(gateway, headers)),
    "HTTP/2": await tell((headers) => overHttp2(gateway, headers)),
  };
  for (const [way, story] of Object.entries(ways)) {
    if (JSON.stringify(story) === JSON.stringify(straight) && !story.includes("silence")) continue;
    failed += 1;
    console.error(`✗ ${name}, by ${way}\n    straight: ${straight.join(" | ")}\n    here:     ${story.join(" | ")}`);
  }
}
const count = Object.keys(cases).length;
console.log(`${count} cases, each by HTTP/1 and by HTTP/2: ${2 * count - failed} as without the gateway, ${failed} not`);
process.exit(failed ? 1 : 0);
