"""The pages a card holder sees: choosing a card, and the bank's question (3-D Secure).

Plain forms, no script, no inline style, so that the policy below can forbid both. Nothing here can
move money except the answer to a question the bank has really asked.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from . import tokens
from .provider import AMOUNT_MAX, Refused, new_card_name
from .texts import SYMBOLS, TEXTS, language, money

if TYPE_CHECKING:
    from .server import Handler

STYLE = (Path(__file__).parent / "style.css").read_bytes()

_PATH = re.compile(r"/(?![/\\])[\x21\x23-\x3b\x3d\x3f-\x5b\x5d-\x7e]*\Z")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[\x21\x23-\x3b\x3d\x3f-\x5b\x5d-\x7e]*)?\Z")

# Behaviour, last four digits, expiry: what the page offers first, and what it keeps in the drawer.
EVERYDAY = (("ok", "4242", "12/29"), ("3ds", "3155", "08/30"), ("decline", "0002", "03/28"),
            ("insufficient", "9995", "11/28"))
TROUBLE = (("slow", "0077", "01/30"), ("drop", "0119", "05/29"), ("webhook_first", "1001", "06/29"),
           ("webhook_thrice", "3003", "07/29"), ("auth_expires", "6011", "02/29"), ("capture_fails", "4010", "09/30"))
DIGITS = {behaviour: digits for behaviour, digits, _ in EVERYDAY + TROUBLE}


def return_url_ok(url: str) -> bool:
    return len(url) <= 2000 and bool(_PATH.match(url) or _ADDRESS.match(url))


def serve(handler: Handler, method: str, path: str) -> bool:
    """Answers a page below the public prefix; False when there is none at this path."""
    match (method, *path.strip("/").split("/")):
        case ("GET", "style.css"):
            handler.send(200, "text/css; charset=utf-8", STYLE, {"cache-control": "public, max-age=3600"})
        case ("GET", "pay"):
            _pay(handler)
        case ("POST", "pay"):
            _chosen(handler)
        case ("GET", "3ds", ref):
            _question(handler, ref)
        case ("POST", "3ds", ref):
            _answered(handler, ref)
        case _:
            return False
    return True


# ---- choosing a card ---------------------------------------------------------------------------


def _pay(handler: Handler) -> None:
    lang, t = _language(handler)
    query = handler.query
    amount, currency = query.get("amount_minor", ""), query.get("currency", "EUR")
    back = query.get("return_url", "")
    label = query.get("label", "")[:120]
    if not amount.isdecimal() or len(amount) > 10 or not 0 < int(amount) <= AMOUNT_MAX \
            or currency not in SYMBOLS or not return_url_ok(back):
        _bad(handler, 400, lang)
        return
    first = "".join(_card(t, i == 0, *card) for i, card in enumerate(EVERYDAY))
    drawer = "".join(_card(t, False, *card) for card in TROUBLE)
    body = f"""
<section class="sum"><p>{html.escape(label) or "&nbsp;"}</p><p class="amount">{money(int(amount), currency, lang)}</p></section>
<h1>{t["pay_title"]}</h1><p class="lead">{t["pay_lead"]}</p>
<form method="post" action="{html.escape(handler.server.prefix)}/pay">
<input type="hidden" name="return_url" value="{html.escape(back)}">
<fieldset><legend>{t["cards"]}</legend>{first}</fieldset>
<details><summary>{t["more_cards"]}</summary><div class="drawer">{drawer}</div></details>
<button type="submit">{t["use_card"]}</button>
<p class="alt"><a href="{html.escape(back)}">{t["back"]}</a></p>
</form>"""
    _page(handler, 200, lang, t["pay_title"], body, back)


def _card(t: dict[str, str], checked: bool, behaviour: str, digits: str, expiry: str) -> str:
    mark = " checked" if checked else ""
    return f"""<label class="card"><input type="radio" name="card" value="{behaviour}" required{mark}>
<span class="plastic {behaviour}" aria-hidden="true"></span>
<span class="what"><b>•••• {digits}</b><small>{t[behaviour]}</small></span>
<span class="expiry"><small>{t["expires"]}</small> {expiry}</span></label>"""


def _chosen(handler: Handler) -> None:
    form = handler.form()
    back, card = form.get("return_url", ""), form.get("card", "")
    if not return_url_ok(back) or card not in tokens.BEHAVIOURS:
        _bad(handler, 400, _language(handler)[0])
        return
    # A card account of its own for every visit, so that visitors never share a balance.
    _redirect(handler, _with(back, payment_token=f"tok_{card}_{new_card_name()}"))


# ---- the bank's question -----------------------------------------------------------------------


def _question(handler: Handler, ref: str) -> None:
    lang, t = _language(handler)
    try:
        intent = handler.server.provider.page_view(ref)
    except Refused:
        _bad(handler, 404, lang)
        return
    back = intent["return_url"] or ""
    if intent["status"] != "requires_action":
        done = intent["status"] in ("requires_capture", "succeeded")
        text = t["answered_authorised"] if done else t["answered_other"]
        link = f'<p class="alt"><a class="button" href="{html.escape(_outcome(intent))}">{t["continue"]}</a></p>' if back \
            else f'<p class="alt">{t["close"]}</p>'
        _page(handler, 200, lang, t["answered_title"], f'<h1>{t["answered_title"]}</h1><p class="lead">{text}</p>{link}', back)
        return
    body = f"""
<h1>{t["bank_title"]}</h1><p class="lead">{t["bank_lead"]}</p>
<dl><dt>{t["to_pay"]}</dt><dd class="amount">{money(intent["amount_minor"], intent["currency"], lang)}</dd>
<dt>{t["bank_card"]}</dt><dd>•••• {DIGITS.get(intent["behaviour"], "0000")}</dd>
<dt>{t["bank_order"]}</dt><dd class="ref">{html.escape(intent["order_ref"])}</dd></dl>
<form method="post" action="{html.escape(handler.server.prefix)}/3ds/{quote(ref)}">
<button type="submit" name="answer" value="approve">{t["approve"]}</button>
<button type="submit" name="answer" value="refuse" class="quiet">{t["refuse"]}</button>
</form>"""
    _page(handler, 200, lang, t["bank_title"], body, back)


def _answered(handler: Handler, ref: str) -> None:
    answer = handler.form().get("answer")
    if answer not in ("approve", "refuse"):
        _bad(handler, 400, _language(handler)[0])
        return
    try:
        handler.server.provider.authenticate(ref, answer == "approve")
        intent = handler.server.provider.page_view(ref)
    except Refused:
        _bad(handler, 404, _language(handler)[0])
        return
    _redirect(handler, _outcome(intent) if intent["return_url"] else f"{handler.server.prefix}/3ds/{ref}")


def _outcome(intent: dict[str, object]) -> str:
    done = intent["status"] in ("requires_capture", "succeeded")
    return _with(str(intent["return_url"]), payment_intent=str(intent["ref"]),
                 redirect_status="succeeded" if done else "failed")


# ---- the frame ---------------------------------------------------------------------------------


def _language(handler: Handler) -> tuple[str, dict[str, str]]:
    lang = language(handler.query.get("lang"), handler.headers.get("accept-language"))
    return lang, TEXTS[lang]


def _bad(handler: Handler, status: int, lang: str) -> None:
    t = TEXTS[lang]
    _page(handler, status, lang, t["bad_title"], f'<h1>{t["bad_title"]}</h1><p class="lead">{t["bad_lead"]}</p>', "")


def _page(handler: Handler, status: int, lang: str, title: str, body: str, back: str) -> None:
    t = TEXTS[lang]
    text = f"""<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{title} · Sandbank</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<link rel="stylesheet" href="{html.escape(handler.server.prefix)}/style.css"></head>
<body><header><span class="brand">Sandbank</span><span class="test">{t["test_mode"]}</span></header>
<main>{body}</main><footer>{t["footer"]}</footer></body></html>"""
    # Browsers apply form-action to the redirect after the form too, so the shop's origin must be in it.
    parts = urlsplit(back)
    origin = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    handler.send(status, "text/html; charset=utf-8", text.encode(), {
        "content-security-policy": f"default-src 'none'; style-src 'self'; form-action 'self'{origin};"
                                   " frame-ancestors 'none'; base-uri 'none'",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    })


def _redirect(handler: Handler, url: str) -> None:
    handler.send(303, "", b"", {"location": url, "cache-control": "no-store", "referrer-policy": "no-referrer"})


def _with(url: str, **more: str) -> str:
    parts = urlsplit(url)
    query = f"{parts.query}&{urlencode(more)}" if parts.query else urlencode(more)
    return urlunsplit(parts._replace(query=query))
