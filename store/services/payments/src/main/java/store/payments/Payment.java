package store.payments;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;

/** One attempt to pay one order. What was asked never changes; where it stands does. */
record Payment(String id, String orderId, int attempt, String currency, long amount, String provider,
        String methodToken, String returnUrl, String captureId, String traceparent, Standing standing) {

    /** Later states have higher ranks; nothing the provider says moves a payment to a lower one. */
    enum State {
        CREATED(0), PROCESSING(1), REQUIRES_ACTION(2), AUTHORISED(3), DECLINED(4), VOIDED(4), EXPIRED(4),
        CAPTURED(5), PARTIALLY_REFUNDED(6), REFUNDED(7);

        final int rank;

        State(int rank) {
            this.rank = rank;
        }

        /** Nothing was taken, and nothing will be. */
        boolean ended() {
            return rank == 4;
        }

        boolean waiting() {
            return rank < AUTHORISED.rank;
        }
    }

    /**
     * Where a payment stands, in our books. {@code held} is money the provider still holds for it, which may
     * be more than nothing even on a VOIDED payment: a hold that arrived after we gave up, on its way out.
     */
    record Standing(State state, String ref, long authorised, long held, long captured, long refunded,
            String actionUrl, String reason, long expiresAt) {
        static final Standing NEW = new Standing(State.CREATED, null, 0, 0, 0, 0, null, null, 0);

        Standing ended(State end, String why) {
            return new Standing(end, ref, authorised, 0, captured, refunded, null, why, 0);
        }
    }

    State state() {
        return standing.state;
    }

    Payment with(Standing next, String capture) {
        return new Payment(id, orderId, attempt, currency, amount, provider, methodToken, returnUrl, capture,
                traceparent, next);
    }

    ObjectNode json(URI pspPublic) {
        ObjectNode body = Json.object();
        body.put("id", id).put("order_id", orderId).put("attempt", attempt).put("state", state().name());
        body.set("amount", Json.money(amount, currency));
        body.set("authorised", Json.money(standing.authorised, currency));
        body.set("captured", Json.money(standing.captured, currency));
        body.set("refunded", Json.money(standing.refunded, currency));
        body.put("capture_id", captureId).put("action_url", publicUrl(pspPublic, standing.actionUrl));
        body.put("provider", provider).put("provider_ref", standing.ref);
        body.put("decline_reason", state() == State.DECLINED ? standing.reason : null);
        return body;
    }

    /**
     * The provider's page as the customer's browser reaches it. A full address is the provider's own affair;
     * a path is put below the place where the provider's pages are published.
     */
    static String publicUrl(URI pspPublic, String redirect) {
        if (redirect == null || !redirect.startsWith("/")) {
            return redirect;
        }
        String prefix = pspPublic.getPath() == null ? "" : pspPublic.getPath();
        String path = redirect.startsWith(prefix + "/") ? redirect : prefix + redirect;
        return pspPublic.getHost() == null ? path : pspPublic.getScheme() + "://" + pspPublic.getRawAuthority() + path;
    }
}
