// Adds new texts as they come. Everything else works without this file.

const every = 2_000;
const texts = document.getElementById('texts');
let etag = '';

function tellLocalTime(within) {
  for (const time of within.querySelectorAll('.about time')) {
    time.textContent = new Date(time.dateTime).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    time.removeAttribute('title');
  }
}

async function look() {
  const answer = await fetch(location.href, { headers: etag ? { 'If-None-Match': etag } : {}, cache: 'no-store' });
  if (answer.status !== 200) return; // 304: nothing new; anything else: the next look may do better
  etag = answer.headers.get('ETag') ?? '';
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const added = [...fresh.querySelectorAll('#texts > li')].filter((item) => !document.getElementById(item.id));
  if (added.length === 0) return;
  for (const item of added) {
    item.classList.add('new');
    tellLocalTime(item);
    texts.append(document.adoptNode(item));
  }
  document.getElementById('none')?.remove();
  document.title = fresh.title;
}

async function keepLooking() {
  if (document.visibilityState === 'visible') await look().catch(() => {});
  setTimeout(keepLooking, every);
}

tellLocalTime(texts);
if (!new URLSearchParams(location.search).has('still')) keepLooking();
