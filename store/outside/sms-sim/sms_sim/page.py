"""The telephone. It reads well without scripts and without styles.

Without scripts the page loads itself anew every few seconds, and a link stops
that, because a page that moves under a reader must be stoppable. With scripts
only what is new is added, and announced politely.
"""

from __future__ import annotations

from datetime import date, datetime, timezone
from html import escape
from urllib.parse import quote

from .book import Sms

RELOAD_S = 5

POLICY = ("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'self'")


def render(texts: list[Sms], order: str | None, still: bool, prefix: str, sender: str) -> str:
    here = f"{prefix}/"
    asked = f"?order={quote(order)}" if order else ""
    paused = f"{asked}&still=1" if asked else "?still=1"
    initials = "".join(word[0] for word in sender.split()[:2]).upper()
    reload = "" if still else f'<noscript><meta http-equiv="refresh" content="{RELOAD_S}"></noscript>'
    steer = (f'<a href="{here}{asked}">Go on updating</a>' if still
             else f'<a href="{here}{paused}">Stop updating</a>')
    banner = (f'<p class="filter">Order <b>{escape(_short(order))}</b> only. <a href="{here}">Show all texts</a></p>'
              if order else "")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_count(texts)} from {escape(sender)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{prefix}/phone.css">
<script type="module" src="{prefix}/phone.js"></script>
{reload}
</head>
<body>
<main class="phone" aria-label="Telephone">
<header>
<span class="avatar" aria-hidden="true">{escape(initials)}</span>
<h1>{escape(sender)}</h1>
<a class="again" href="{here}{asked}" aria-label="Look for new texts"><svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path d="M20 12a8 8 0 1 1-2.3-5.7M20 3v4.5h-4.5" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg></a>
</header>
{banner}
<div class="screen" tabindex="0" role="region" aria-label="Texts, newest last">
<div class="roll">
<ol id="texts" role="log" aria-live="polite" aria-relevant="additions">
{_items(texts, here)}
</ol>
{"" if texts else '<p class="none" id="none">No texts yet.<br>Order something, and the store will write here.</p>'}
</div>
</div>
<footer><p>This sender cannot take replies.</p><noscript><p>{steer}</p></noscript></footer>
</main>
</body>
</html>
"""


def _items(texts: list[Sms], here: str) -> str:
    out: list[str] = []
    day: date | None = None
    for text in texts:
        at = datetime.fromisoformat(text.accepted_at.replace("Z", "+00:00")).astimezone(timezone.utc)
        if at.date() != day:
            day = at.date()
            out.append(f'<li class="day" id="day-{day.isoformat()}"><time datetime="{day.isoformat()}">'
                       f'{day.strftime("%A")} {day.day} {day.strftime("%B %Y")}</time></li>')
        out.append(
            f'<li class="text" id="{escape(text.id)}"><p dir="auto">{escape(text.body)}</p>'
            f'<p class="about"><time datetime="{text.accepted_at}" title="UTC">{at:%H:%M}</time>'
            f' <span>to <span class="number">{escape(text.to)}</span></span>'
            f' <a href="{here}?order={quote(text.order_ref)}" title="Only the texts of this order">'
            f'<span class="hidden">Only order </span>{escape(_short(text.order_ref))}</a></p></li>')
    return "\n".join(out)


def _short(order: str) -> str:
    """As the texts name it."""
    return "#" + order[-6:].upper()


def _count(texts: list[Sms]) -> str:
    return {0: "No texts", 1: "1 text"}.get(len(texts), f"{len(texts)} texts")
