package store.payments;

/**
 * One thing asked of the provider. The row is committed before the question is sent, under a key that
 * never changes, so that the same question can be asked again until the answer is certain.
 */
record Operation(String id, String paymentId, String orderId, Kind kind, State state, long amount,
        String idemKey, String reason, int tries, long createdAt, String traceparent) {

    enum Kind {
        AUTHORISE, CAPTURE, VOID, REFUND;

        /** The route whose Idempotency-Key became this operation's key. */
        String route() {
            return name().toLowerCase(java.util.Locale.ROOT);
        }

        String idemKey(String key) {
            return route() + ":" + key;
        }
    }

    enum State {
        PENDING, UNKNOWN, SUCCESS, FAILURE
    }

    boolean open() {
        return state == State.PENDING || state == State.UNKNOWN;
    }

    /** The key of an operation that no caller asked for; no caller's key can collide with it. */
    static String ownKey(Kind kind, String why, Payment payment) {
        return kind.route() + "!" + why + ":" + payment.id();
    }

    /** The caller's Idempotency-Key, null for operations of our own. */
    String callerKey() {
        int mark = kind.route().length();
        return idemKey.charAt(mark) == ':' ? idemKey.substring(mark + 1) : null;
    }
}
