package store.payments;

/** One HTTP answer. {@code retryAfterMs} is negative when the caller has no reason to come again. */
record Answer(int status, String body, int retryAfterMs, boolean replayed) {

    static Answer of(int status, Object body) {
        return new Answer(status, body.toString(), -1, false);
    }

    static Answer stored(int status, String body) {
        return new Answer(status, body, -1, true);
    }

    boolean isProblem() {
        return status >= 400;
    }
}
