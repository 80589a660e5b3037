import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TRACE, World, ago, eventually } from './world.js';

const MINUTE = 60_000;
const total = { amount_minor: 129_905, currency: 'EUR' };

test('a customer is told of each step, in its order, once', async (t) => {
  const w = await World.open(t);
  await w.customer();
  await w.fact('received', 'ord_00abc1', { total });
  await w.fact('received', 'ord_00abc1', { total });
  await w.fact('received', 'ord_00abc1', { total }, { id: 'another event of the same fact' });
  await w.fact('confirmed', 'ord_00abc1');
  await w.fact('dispatched', 'ord_00abc1', { tracking: 'CS77' });
  await w.fact('delivered', 'ord_00abc1');
  await w.becomes('ord_00abc1', 'received:SENT confirmed:SENT dispatched:SENT delivered:SENT');
  assert.deepEqual(w.provider.texts.map((x) => x.body), [
    'Ada, we have your order #00ABC1 (€1299.05). We will write when it leaves.',
    'Ada, your order #00ABC1 is confirmed. We are packing it now.',
    'Ada, your order #00ABC1 is on its way, parcel CS77.',
    'Ada, your order #00ABC1 has been delivered. Enjoy it!',
  ]);
  assert.equal(w.provider.texts[0]?.to, '+447700900123');
  assert.equal(w.provider.texts[0]?.trace, TRACE);
  const events = await w.outbox();
  assert.deepEqual(events.map((e) => e.event.data.template), ['received', 'confirmed', 'dispatched', 'delivered']);
  for (const { event } of events) {
    assert.equal(event.subject, 'ord_00abc1');
    assert.equal(event.type, 'store.message.sent.v1');
    assert.equal(event.traceparent, TRACE);
  }
});

test('in French, and with a name a stranger wrote', async (t) => {
  const w = await World.open(t);
  await w.customer('cus_1', { locale: 'fr-FR', name: '\u202eÉloïse\n<b>Martin</b>' });
  await w.fact('received', 'ord_1', { total });
  await w.becomes('ord_1', 'received:SENT');
  assert.equal(w.provider.texts[0]?.body, 'Éloïse, nous avons bien reçu la commande #ORD_1 (1299,05 €). Nous écrirons à son départ.');
  const page = await w.ask('GET', '/outbox?order=ord_1');
  assert.ok(!page.text.includes('<b>'));
});

test('an order of an unknown customer waits for the customer', async (t) => {
  const w = await World.open(t);
  const early = await w.event('order.received', { order_id: 'ord_1', customer_id: 'cus_1', total });
  assert.equal(early.status, 409);
  assert.equal(early.body.code, 'not-yet');
  await w.customer();
  await w.fact('received', 'ord_1', { total });
  await w.becomes('ord_1', 'received:SENT');
  const nameless = await w.event('order.delivered', { order_id: 'ord_1' });
  assert.equal(nameless.status, 204);
  assert.equal((await w.event('order.delivered', { order_id: 'ord_2' })).status, 409);
  await w.becomes('ord_1', 'received:SENT delivered:SENT');
});

test('what a customer said last counts, in whatever order it is heard', async (t) => {
  const w = await World.open(t);
  await w.event('customer.contact_changed', { customer_id: 'cus_1', name: 'New', phone: '+447700900222', locale: 'en', consent: { sms: true } }, { id: 'b' });
  await w.event('customer.registered', { customer_id: 'cus_1', name: 'Old', phone: '+447700900111', locale: 'fr', consent: { sms: false } }, { id: 'a', ...ago(MINUTE) });
  await w.fact('confirmed', 'ord_1');
  await w.becomes('ord_1', 'confirmed:SENT');
  assert.equal(w.provider.texts[0]?.to, '+447700900222');
  assert.match(w.provider.texts[0]?.body ?? '', /^New, your/);
});

test('without consent only what is about money is told; without a number nothing', async (t) => {
  const w = await World.open(t);
  await w.customer('cus_1', { consent: { sms: false, email: true } });
  await w.fact('received', 'ord_1', { total });
  await w.fact('confirmed', 'ord_1');
  await w.fact('cancelled', 'ord_1', { reason: 'customer' });
  await w.becomes('ord_1', 'received:SENT confirmed:SUPPRESSED:no-consent cancelled:SENT');
  await w.event('customer.contact_changed', { customer_id: 'cus_1', name: 'Ada', phone: '', locale: 'en', consent: { sms: true } }, { id: 'changed' });
  await w.fact('received', 'ord_2', { total });
  await w.becomes('ord_2', 'received:SUPPRESSED:no-phone');
});

test('each kind of payment action has its own text', async (t) => {
  const w = await World.open(t);
  await w.customer();
  await w.fact('payment_action_required', 'ord_1', { kind: 'authenticate' });
  await w.fact('payment_action_required', 'ord_1', { kind: 'new_card' });
  await w.becomes('ord_1', 'action_authenticate:SENT action_new_card:SENT');
});

test('after an outage of the bus, an order gets one text and not a burst', async (t) => {
  const w = await World.open(t, { SETTLE_MS: '1000' });
  await w.customer();
  await w.fact('received', 'ord_1', { total }, ago(40 * MINUTE));
  await w.fact('confirmed', 'ord_1', {}, ago(39 * MINUTE));
  await w.fact('cancelled', 'ord_1', {}, ago(38 * MINUTE));
  await w.fact('received', 'ord_2', { total }, ago(3 * 60 * MINUTE));
  await w.becomes('ord_1', 'received:SUPPRESSED:superseded confirmed:SUPPRESSED:superseded cancelled:SENT');
  await w.becomes('ord_2', 'received:SUPPRESSED:stale');
  assert.equal(w.provider.texts.length, 1);
});

test('a fact told at once is never dropped, though the next one is there already', async (t) => {
  const w = await World.open(t);
  await w.customer();
  w.provider.mode = 'away';
  await w.fact('confirmed', 'ord_1');
  await w.fact('received', 'ord_1', { total }); // topics do not keep each other's order
  await eventually(async () => [w.provider.asked > 0, 'the provider was not asked']);
  w.provider.mode = 'good';
  await w.becomes('ord_1', 'confirmed:SENT received:SENT');
});

test('after an outage of the provider, only the latest text of an order is sent', async (t) => {
  const w = await World.open(t, { SUPERSEDE_AFTER_MS: '400' });
  await w.customer();
  w.provider.mode = 'away';
  await w.fact('received', 'ord_1', { total });
  await w.fact('confirmed', 'ord_1');
  await w.fact('dispatched', 'ord_1', { tracking: 'CS1' });
  await eventually(async () => [w.provider.asked > 1, 'the provider was not asked again']);
  await eventually(async () => [(await w.states('ord_1')).startsWith('received:SUPPRESSED:superseded confirmed:SUPPRESSED'), await w.states('ord_1')]);
  w.provider.mode = 'good';
  await w.becomes('ord_1', 'received:SUPPRESSED:superseded confirmed:SUPPRESSED:superseded dispatched:SENT');
  assert.equal(w.provider.of('ord_1'), 'dispatched');
});

test('a lost answer of the provider makes no second text', async (t) => {
  const w = await World.open(t);
  await w.customer();
  w.provider.mode = 'lose';
  await w.fact('received', 'ord_1', { total });
  await eventually(async () => [w.provider.asked > 1, 'the provider was not asked again']);
  w.provider.mode = 'good';
  await w.becomes('ord_1', 'received:SENT');
  assert.equal(w.provider.texts.length, 1);
  assert.equal((await w.outbox()).length, 1);
});

test('a refused text fails, and a person can have it sent to the number of today', async (t) => {
  const w = await World.open(t);
  await w.customer('cus_1', { phone: 'nonsense' });
  w.provider.mode = 'refuse';
  await w.fact('received', 'ord_1', { total });
  await w.becomes('ord_1', 'received:FAILED');
  w.provider.mode = 'good';
  await w.event('customer.contact_changed', { customer_id: 'cus_1', name: 'Ada', phone: '+447700900999', locale: 'en', consent: { sms: true } }, { id: 'changed' });
  const [message] = (await w.ask('GET', '/v1/messages?order=ord_1')).body.items;
  assert.equal(message.to, 'non•••se');
  assert.equal((await w.ask('POST', `/v1/messages/${message.id}:resend`)).status, 202);
  await w.becomes('ord_1', 'received:SENT');
  assert.equal(w.provider.texts[0]?.to, '+447700900999');
  assert.equal((await w.ask('POST', `/v1/messages/${message.id}:resend`)).body.code, 'already-sent');
  assert.equal((await w.ask('POST', '/v1/messages/msg_0:resend')).status, 404);
});

test('a suppressed text can be sent all the same, by a person', async (t) => {
  const w = await World.open(t);
  await w.customer();
  await w.fact('received', 'ord_1', { total }, ago(3 * 60 * MINUTE));
  await w.becomes('ord_1', 'received:SUPPRESSED:stale');
  const [message] = (await w.ask('GET', '/v1/messages?order=ord_1')).body.items;
  await w.ask('POST', `/v1/messages/${message.id}:resend`);
  await w.becomes('ord_1', 'received:SENT');
});

test('events that can never be accepted', async (t) => {
  const w = await World.open(t);
  await w.customer();
  const good = { specversion: '1.0', id: 'e', source: '/store/orders', type: 'store.order.received.v1', data: { order_id: 'ord_1', customer_id: 'cus_1', total } };
  const bad: unknown[] = ['', '{', '[]', 'null', '7', {}, { ...good, specversion: '0.3' }, { ...good, id: '' }, { ...good, id: 7 }, { ...good, data: [] },
    { ...good, data: undefined }, { ...good, data: {} }, { ...good, data: { order_id: '../x', customer_id: 'cus_1' } },
    { ...good, data: { order_id: 'ord_1', customer_id: 7 } }, { ...good, type: 'store.order.completed.v1' }, { ...good, type: 'constructor' }];
  for (const body of bad) {
    const reply = await w.ask('POST', '/_archipel/events', body);
    assert.equal(reply.status, 422, JSON.stringify(body));
  }
  const odd = { ...good, time: 'yesterday', data: { order_id: 'ord_1', customer_id: 'cus_1', total: { amount_minor: 1.5, currency: 'EUR' } } };
  assert.equal((await w.ask('POST', '/_archipel/events', odd)).status, 204);
  assert.equal((await w.ask('POST', '/_archipel/events', `{"x":"${'x'.repeat(300_000)}"}`)).status, 413);
  await w.becomes('ord_1', 'received:SENT');
  assert.equal(w.provider.texts[0]?.body, 'Ada, we have your order #ORD_1. We will write when it leaves.');
});

test('the platform’s paths', async (t) => {
  const w = await World.open(t, { APP_API_TOKEN: 'the token' });
  const token = { 'dapr-api-token': 'the token' };
  for (const path of ['/_archipel/info', '/_archipel/outbox']) {
    assert.equal((await w.ask('GET', path)).status, 401);
    assert.equal((await w.ask('GET', path, undefined, { 'dapr-api-token': 'the tokem' })).status, 401);
    assert.equal((await w.ask('GET', path, undefined, token)).status, 200);
  }
  assert.equal((await w.ask('POST', '/_archipel/events', {})).status, 401);
  assert.equal((await w.ask('GET', '/_archipel/outbox?after=-1', undefined, token)).status, 422);
  assert.equal((await w.ask('GET', '/v1/messages?state=LOST')).status, 422);
  for (const path of ['/healthz', '/readyz', '/outbox']) assert.equal((await w.ask('GET', path)).status, 200);
});

test('a long poll wakes for an event, and ends when the service stops', async (t) => {
  const w = await World.open(t);
  await w.customer();
  const first = w.ask('GET', '/_archipel/outbox?wait_ms=30000');
  await w.fact('received', 'ord_1', { total });
  assert.equal((await first).body.events.length, 1);
  const second = w.ask('GET', '/_archipel/outbox?after=1&wait_ms=30000');
  assert.equal((await w.ask('GET', '/healthz')).status, 200);
  const began = Date.now();
  assert.equal(await w.kill('SIGTERM'), 0);
  await second.catch(() => undefined); // answered empty, or never accepted
  assert.ok(Date.now() - began < 5_000);
});

test('killed again and again, no text is lost and none is sent twice', async (t) => {
  const w = await World.open(t);
  const orders = Array.from({ length: 80 }, (_, n) => `ord_${n}`);
  const insist = async (send: () => Promise<void>): Promise<void> => {
    for (const deadline = Date.now() + 60_000; ; ) {
      try {
        return await send();
      } catch (error) {
        if (Date.now() > deadline || (error as Error).name === 'AssertionError') throw error;
      }
    }
  };
  await w.customer();
  let kills = 0;
  let done = false;
  const murderer = (async (): Promise<void> => {
    while (!done && kills < 8) {
      const before = w.provider.texts.length;
      await eventually(async () => [done || w.provider.texts.length > before + 5, 'no progress']);
      w.provider.mode = kills % 2 ? 'lose' : 'good';
      await w.kill();
      await w.launch();
      kills++;
    }
    w.provider.mode = 'good';
  })();
  for (const order of orders) {
    await insist(() => w.fact('received', order, { total }));
    await insist(() => w.fact('confirmed', order));
  }
  done = true;
  await murderer;
  for (const order of orders) await w.becomes(order, 'received:SENT confirmed:SENT');
  assert.ok(kills > 0, 'never killed: the test has shown nothing');
  t.diagnostic(`killed ${kills} times`);
  assert.equal(w.provider.texts.length, orders.length * 2);
  const told = (await w.outbox()).map(({ event }) => `${event.data.order_id} ${event.data.template}`);
  assert.equal(told.length, orders.length * 2);
  assert.equal(new Set(told).size, told.length);
});
