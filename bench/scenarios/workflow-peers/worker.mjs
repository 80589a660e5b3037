// node worker.mjs archipel|restate PORT
await import(process.argv[2] === "archipel" ? "./dapr_worker.mjs" : "./restate_worker.mjs");
