package store.payments;

import com.fasterxml.jackson.databind.JsonNode;

/** The provider's intent as one reply or one webhook shows it. It may be old: see {@link Transition}. */
record Snapshot(String ref, String key, Status status, long amount, long held, long captured, long refunded,
        String redirect, String declineCode, String cancelReason, long expiresAt) {

    enum Status {
        REQUIRES_PAYMENT_METHOD, REQUIRES_ACTION, PROCESSING, REQUIRES_CAPTURE, SUCCEEDED, CANCELED;

        boolean live() {
            return this == REQUIRES_ACTION || this == PROCESSING || this == REQUIRES_CAPTURE;
        }
    }

    /** Null when this is not an intent that we understand. */
    static Snapshot of(JsonNode intent) {
        if (!intent.path("id").isTextual() || !intent.path("amount_minor").canConvertToLong()) {
            return null;
        }
        Status status;
        try {
            status = Status.valueOf(intent.path("status").asText("").toUpperCase(java.util.Locale.ROOT));
        } catch (IllegalArgumentException e) {
            return null;
        }
        long amount = intent.path("amount_minor").asLong();
        long held = status == Status.REQUIRES_CAPTURE ? intent.path("held_minor").asLong(amount) : 0;
        return new Snapshot(intent.path("id").asText(), text(intent.path("idempotency_key")), status, amount, held,
                intent.path("captured_minor").asLong(0), intent.path("refunded_minor").asLong(0),
                text(intent.path("next_action").path("redirect_url")), text(intent.path("decline_code")),
                text(intent.path("cancellation_reason")), intent.path("expires_at").asLong(0) * 1000);
    }

    private static String text(JsonNode node) {
        return node.isTextual() ? node.textValue() : null;
    }
}
