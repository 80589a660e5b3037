package store.payments;

import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Pattern;

/** The W3C trace context of what the current thread is working on. */
record Trace(String traceparent, String orderId) {
    private static final Pattern FORM = Pattern.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}");
    private static final ThreadLocal<Trace> CURRENT = new ThreadLocal<>();

    static Trace current() {
        return CURRENT.get();
    }

    static void enter(String traceparent) {
        CURRENT.set(new Trace(traceparent, null));
    }

    static void order(String orderId) {
        Trace trace = CURRENT.get();
        CURRENT.set(new Trace(trace == null ? fresh() : trace.traceparent, orderId));
    }

    /** Goes on in another thread with what the first was working on. */
    static void adopt(Trace trace) {
        CURRENT.set(trace);
    }

    static void leave() {
        CURRENT.remove();
    }

    static String traceparentNow() {
        Trace trace = CURRENT.get();
        return trace == null ? fresh() : trace.traceparent;
    }

    /** The caller's context, or a new one when there is none or it is not one. */
    static String continued(String header) {
        return header != null && FORM.matcher(header).matches() ? header : fresh();
    }

    String traceId() {
        return traceparent.substring(3, 35);
    }

    private static String fresh() {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        HexFormat hex = HexFormat.of();
        return "00-" + hex.toHexDigits(random.nextLong()) + hex.toHexDigits(random.nextLong()) + "-"
                + hex.toHexDigits(random.nextLong()) + "-01";
    }
}
