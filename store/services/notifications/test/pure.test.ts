import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KINDS, backoffMs, onArrival, tooLate, type Template } from '#built/facts.js';
import { render } from '#built/templates.js';

const templates = Object.keys(KINDS) as Template[];
const limits = { staleMs: 7_200_000, supersedeMs: 60_000, settleMs: 3_000 };
const contact = { phone: '+447700900123', consentSms: true };

test('every text fits one or two short messages, in both languages, with the longest details', () => {
  const details = {
    name: 'Maximiliane-Charlotte-Antoinette Islander', orderId: 'ord_01a20609c75a707194e5afaae1e76ad5', tracking: 'CSABCDEFGHIJKLMNOP',
    total: { amount_minor: 12_345_678, currency: 'EUR' }, amount: { amount_minor: 12_345_678, currency: 'EUR' },
  };
  for (const template of templates) {
    for (const locale of ['en', 'fr', 'fr-CA', 'EN-gb', 'xx', '']) {
      const said = render(template, locale, details);
      assert.ok(said.length <= 160, `${said.length}: ${said}`);
      assert.match(said, /#E76AD5/);
      const bare = render(template, locale, { name: ' \n', orderId: 'ord_1' });
      assert.match(bare, /^\p{Lu}.*[.!]$/u);
      assert.doesNotMatch(bare, /undefined|\(\)|\s,|  /);
    }
  }
});

test('amounts are written without rounding', () => {
  const said = (amount_minor: number, currency = 'EUR'): string => render('refunded', 'en', { name: '', orderId: 'o', amount: { amount_minor, currency } });
  assert.match(said(5), /€0\.05 /);
  assert.match(said(100), /€1\.00 /);
  assert.match(said(-1299), /€-12\.99 /);
  assert.match(said(9_007_199_254_740_991), /€90071992547409\.91 /);
  assert.match(said(1299, 'USD'), /12\.99 USD /);
});

test('a punctual fact is always sent; a late one only when nothing followed; a stale one never', () => {
  for (const template of templates) {
    for (const latestRank of [0, 10, 70]) {
      for (const age of [-1000, 0, 59_999, 60_001, 7_199_999, 7_200_001]) {
        const decision = onArrival({ template, factAt: 1e12 }, contact, latestRank, 1e12 + age, limits);
        const followed = latestRank > KINDS[template].rank;
        const expected = age > 7_200_000 ? 'stale' : age > 60_000 && followed ? 'superseded' : 'sent';
        assert.equal(decision.send ? 'sent' : decision.reason, expected, `${template} ${age} ${latestRank}`);
        assert.equal(tooLate({ template, factAt: 1e12 }, latestRank, 1e12 + age, limits), expected === 'sent' ? undefined : expected);
      }
    }
  }
});

test('the back-off grows to half a minute and never reaches zero', () => {
  for (let attempts = 1; attempts < 100; attempts++) {
    const [least, most] = [backoffMs(attempts, 0), backoffMs(attempts, 1)];
    assert.ok(least >= 250 && most <= 30_000 && least * 2 === most, `${attempts}: ${least} to ${most}`);
  }
});
