// What was sent, for people. No script; the style is in the page and named by
// its hash, so that the policy forbids every other.

import { createHash } from 'node:crypto';
import type { Message } from './messages.js';

const STYLE = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1c2430;--soft:#5a6675;--line:#dde2e9;--blue:#1559b5;
--QUEUED:#8a5a00;--SENT:#19703b;--SUPPRESSED:#5a6675;--FAILED:#b3261e}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1b212a;--text:#e6eaf0;--soft:#a0acba;--line:#303945;--blue:#8ab8ff;
--QUEUED:#f0b95a;--SENT:#6fd199;--SUPPRESSED:#a0acba;--FAILED:#ff8f86}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:46rem;margin:0 auto;padding:1.5rem 1rem 4rem}h1{font-size:1.4rem;margin:0 0 1rem}
a{color:var(--blue)}form{display:flex;gap:.5rem;flex-wrap:wrap;align-items:end;margin:0 0 1.5rem}label{display:grid;gap:.2rem;font-size:.9rem;flex:1 1 16rem}
input,button{font:inherit;padding:.45rem .7rem;border:1px solid var(--line);border-radius:.5rem;background:var(--card);color:inherit}
:focus-visible{outline:3px solid var(--blue);outline-offset:2px}
ol{list-style:none;margin:0;padding:0;display:grid;gap:.75rem}li{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:.8rem 1rem}
p{margin:0 0 .4rem;overflow-wrap:anywhere}.meta{color:var(--soft);font-size:.85rem;display:flex;flex-wrap:wrap;gap:.2rem .9rem;margin:0}
.state{font-weight:600}${['QUEUED', 'SENT', 'SUPPRESSED', 'FAILED'].map((s) => `.${s}{color:var(--${s})}`).join('')}
`;

export const PAGE_HEADERS: Record<string, string> = {
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

export function page(messages: Message[], order: string | null): string {
  const items = messages.map(item).reverse().join('\n');
  const none = '<p>Nothing yet. A message appears here as soon as an order gives reason for one.</p>';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Messages sent</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Messages sent${order ? ` for ${escape(order)}` : ''}</h1>
<form method="get"><label>Order <input name="order" value="${escape(order ?? '')}" autocomplete="off" spellcheck="false"></label><button>Show</button></form>
${messages.length ? `<ol>\n${items}\n</ol>` : none}
</main>
</body>
</html>
`;
}

function item(m: Message): string {
  const when = m.sent_at ?? m.created_at;
  return `<li><p>${escape(m.body)}</p>
<p class="meta"><span class="state ${m.state}">${m.state.toLowerCase()}${m.reason ? ` (${escape(m.reason)})` : ''}</span>
<span>${escape(m.template)}</span><span>${escape(m.channel)} to ${escape(m.to || 'nobody')}</span>
<a href="?order=${encodeURIComponent(m.order_id)}">${escape(m.order_id)}</a><time datetime="${when}">${when.slice(0, 19).replace('T', ' ')} UTC</time></p></li>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
