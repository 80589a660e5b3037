// notifications: tells customers by text what happens to their orders.

import type { AddressInfo } from 'node:net';
import { readConfig } from './config.js';
import { Db } from './db.js';
import { serve } from './http.js';
import { log, text } from './log.js';
import { Outbox, sweep } from './protocol.js';
import { Receiver } from './receive.js';
import { VERSION, routes } from './routes.js';
import { Sender } from './sender.js';
import { SmsProvider } from './sms.js';

const STOP_MS = 5_000;
const SWEEP_MS = 3_600_000;

function start(): void {
  const config = readConfig(process.env);
  const db = new Db(config.database);
  const outbox = new Outbox(db);
  const provider = new SmsProvider(config.smsUrl);
  const sender = new Sender(db, outbox, provider, config);
  const receiver = new Receiver(db, config, () => sender.wake());
  const stopping = new AbortController();
  const server = serve(routes({ db, outbox, receiver, sender }), config.token, stopping.signal);

  const broom = setInterval(clean, SWEEP_MS);
  function clean(): void {
    try {
      sweep(db, Date.now());
    } catch (error) {
      log.error('could not delete old rows', { error: text(error) });
    }
  }

  async function stop(): Promise<void> {
    if (stopping.signal.aborted) return;
    log.info('stopping');
    setTimeout(() => {
      log.warn('some requests were cut off');
      server.closeAllConnections();
    }, STOP_MS).unref();
    const closed = new Promise((resolve) => server.close(resolve));
    stopping.abort();
    clearInterval(broom);
    // A kept-alive connection that was busy at close() would stay open when its answer is out.
    const hangUp = setInterval(() => server.closeIdleConnections(), 20);
    await Promise.all([closed, sender.stop()]);
    clearInterval(hangUp);
    provider.close();
    db.close();
    process.exit(0);
  }

  server.on('error', (error) => {
    log.error('cannot listen', { error: text(error) });
    process.exit(1);
  });
  server.listen(config.port, config.host, () => {
    const { address, port } = server.address() as AddressInfo;
    log.info('notifications are open', { address: `${address}:${port}`, version: VERSION, start_ms: Math.round(performance.now()) });
    clean();
    sender.wake();
  });
  process.on('SIGTERM', () => void stop());
  process.on('SIGINT', () => void stop());
}

// A bug that reaches here leaves an unknown state behind: better to end and be started anew.
process.on('uncaughtException', (error) => {
  log.error('an error nobody handled', { error: text(error), stack: error.stack });
  process.exit(1);
});

try {
  start();
} catch (error) {
  log.error('notifications cannot run', { error: text(error) });
  process.exit(1);
}
