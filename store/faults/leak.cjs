// Loaded before a service of Node (`node --require`), it keeps a megabyte a second for ever: a memory
// leak to practise on (docs/guide/finding-faults.md), outside the heap that Node limits itself.
const kept = [];
setInterval(() => kept.push(Buffer.alloc(256 << 10, 1)), 250).unref();
