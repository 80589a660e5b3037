"""The words of the pages, English and French, and how an amount is written."""

from __future__ import annotations

TEXTS = {
    "en": {
        "pay_title": "Choose a card",
        "pay_lead": "Your card details stay here. The shop only receives a one-time reference.",
        "to_pay": "To pay",
        "test_mode": "Test mode: no real money moves",
        "cards": "Cards",
        "more_cards": "Cards that cause trouble",
        "use_card": "Use this card",
        "back": "Return without choosing",
        "expires": "Expires",
        "ok": "Pays at once",
        "3ds": "Your bank asks you first",
        "decline": "Is declined",
        "insufficient": "Has not enough money",
        "slow": "Answers after half a minute",
        "drop": "Pays, but the line breaks before the answer",
        "webhook_first": "The notice arrives before the answer",
        "webhook_thrice": "The notice arrives three times",
        "auth_expires": "The authorisation lapses",
        "capture_fails": "The final charge is refused",
        "bank_title": "Confirm this payment",
        "bank_lead": "Your bank wants to be sure that it is you who pays.",
        "bank_order": "Order",
        "bank_card": "Card",
        "approve": "Confirm payment",
        "refuse": "This was not me",
        "answered_title": "Already answered",
        "answered_authorised": "You confirmed this payment. Nothing more to do here.",
        "answered_other": "This payment is no longer waiting for your answer.",
        "continue": "Back to the shop",
        "close": "You can close this page.",
        "bad_title": "This payment link does not work",
        "bad_lead": "The address is incomplete or was changed. Go back to the shop and try again.",
        "footer": "Sandbank is a simulated payment provider.",
    },
    "fr": {
        "pay_title": "Choisissez une carte",
        "pay_lead": "Vos données bancaires restent ici. La boutique ne reçoit qu’une référence à usage unique.",
        "to_pay": "À payer",
        "test_mode": "Mode test : aucun argent réel ne circule",
        "cards": "Cartes",
        "more_cards": "Cartes à problèmes",
        "use_card": "Utiliser cette carte",
        "back": "Revenir sans choisir",
        "expires": "Expire",
        "ok": "Paie immédiatement",
        "3ds": "Votre banque vous demande d’abord",
        "decline": "Est refusée",
        "insufficient": "Solde insuffisant",
        "slow": "Répond après une demi-minute",
        "drop": "Paie, mais la ligne coupe avant la réponse",
        "webhook_first": "L’avis arrive avant la réponse",
        "webhook_thrice": "L’avis arrive trois fois",
        "auth_expires": "L’autorisation expire",
        "capture_fails": "Le débit final est refusé",
        "bank_title": "Confirmez ce paiement",
        "bank_lead": "Votre banque veut s’assurer que c’est bien vous qui payez.",
        "bank_order": "Commande",
        "bank_card": "Carte",
        "approve": "Confirmer le paiement",
        "refuse": "Ce n’était pas moi",
        "answered_title": "Réponse déjà donnée",
        "answered_authorised": "Vous avez confirmé ce paiement. Il n’y a plus rien à faire ici.",
        "answered_other": "Ce paiement n’attend plus votre réponse.",
        "continue": "Retour à la boutique",
        "close": "Vous pouvez fermer cette page.",
        "bad_title": "Ce lien de paiement ne fonctionne pas",
        "bad_lead": "L’adresse est incomplète ou a été modifiée. Revenez à la boutique et réessayez.",
        "footer": "Sandbank est un prestataire de paiement simulé.",
    },
}

SYMBOLS = {"EUR": "€"}


def language(query: str | None, accept: str | None) -> str:
    """`?lang=` wins, then the first language of the browser that we speak, then English."""
    for wish in [query or "", *(accept or "").split(",")]:
        tag = wish.split(";")[0].strip().lower()[:2]
        if tag in TEXTS:
            return tag
    return "en"


def money(amount_minor: int, currency: str, lang: str) -> str:
    units, cents = divmod(amount_minor, 100)
    symbol = SYMBOLS.get(currency, currency)
    if lang == "fr":
        grouped = f"{units:,}".replace(",", "\u202f")
        return f"{grouped},{cents:02d}\u00a0{symbol}"
    return f"{symbol}{units:,}.{cents:02d}"
