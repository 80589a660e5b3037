package store.payments;

import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.regex.Pattern;

/** Identifiers: a prefix and a UUIDv7 in hex, so that they sort by the time they were made. */
final class Ids {
    private static final SecureRandom RANDOM = new SecureRandom();
    /** What we accept as somebody else's id, and as an Idempotency-Key. */
    static final Pattern REF = Pattern.compile("[A-Za-z0-9_-]{1,80}");
    static final Pattern KEY = Pattern.compile("[\\x21-\\x7e]{1,200}");

    private Ids() {
    }

    static String next(String prefix) {
        long high = (System.currentTimeMillis() << 16) | 0x7000 | RANDOM.nextInt(0x1000);
        long low = 0x8000_0000_0000_0000L | (RANDOM.nextLong() >>> 2);
        HexFormat hex = HexFormat.of();
        return prefix + hex.toHexDigits(high) + hex.toHexDigits(low);
    }
}
