package store.payments;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.sql.SQLException;
import java.util.HexFormat;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** What the provider tells us by itself: believed when it is signed, applied once, harmless when it is late. */
final class Webhooks {
    private static final long TOLERANCE_S = 300;
    private static final Pattern NUMBER = Pattern.compile("[0-9]{1,15}");

    private final Db db;
    private final Books books;
    private final Reconciler reconciler;
    private final SecretKeySpec secret;

    Webhooks(Db db, Books books, Reconciler reconciler, String secret) {
        this.db = db;
        this.books = books;
        this.reconciler = reconciler;
        this.secret = new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256");
    }

    Answer receive(String signature, byte[] body) throws SQLException {
        if (!genuine(signature, body, System.currentTimeMillis() / 1000)) {
            throw Problem.of(400, "signature-invalid", "The signature is not valid",
                    "psp-signature is missing, older than " + TOLERANCE_S + " s, or not made with our secret");
        }
        JsonNode event;
        try {
            event = Json.read(body);
        } catch (IOException | RuntimeException e) {
            throw Problem.validation("", "the body is not JSON");
        }
        String id = event.path("id").asText("");
        Snapshot intent = Snapshot.of(event.path("data").path("intent"));
        if (id.isEmpty() || id.length() > 200) {
            throw Problem.validation("/id", "is missing or too long");
        }
        if (intent == null) {
            // Genuine, but about something we do not follow; asking for it again would not help.
            return Answer.of(200, Json.object().put("status", "ignored"));
        }
        Payment payment = db.read(tx -> books.ofProvider(tx, intent.ref(), intent.key()));
        if (payment == null) {
            Log.warn("a webhook is about an intent that is not ours: " + intent.ref());
            return Answer.of(200, Json.object().put("status", "ignored"));
        }
        Trace.enter(payment.traceparent());
        Trace.order(payment.orderId());
        record Effect(boolean fresh, boolean work) {
        }
        Effect effect = db.write(tx -> {
            int added = tx.update("INSERT OR IGNORE INTO webhook_event VALUES (?,?,?)", Books.PROVIDER, id, Json.now());
            if (added == 0) {
                return new Effect(false, false);
            }
            Payment now = books.payment(tx, payment.id());
            return new Effect(true, books.settle(tx, Transition.apply(now, books.open(tx, now.id()), intent, null)));
        });
        if (effect.work) {
            reconciler.wake();
        }
        return Answer.of(200, Json.object().put("status", effect.fresh ? "applied" : "duplicate"));
    }

    /** {@code t=<unix seconds>,v1=<hex>[,v1=<hex>…]}: any of the signatures may fit, so that secrets can be rotated. */
    boolean genuine(String header, byte[] body, long nowS) {
        if (header == null || header.length() > 1_000) {
            return false;
        }
        String at = null;
        boolean fits = false;
        for (String part : header.split(",")) {
            String item = part.trim();
            if (item.startsWith("t=") && item.length() <= 20) {
                at = item.substring(2);
            }
        }
        if (at == null || !NUMBER.matcher(at).matches()
                || Math.abs(nowS - Long.parseLong(at)) > TOLERANCE_S) {
            return false;
        }
        byte[] wanted = mac(at, body);
        for (String part : header.split(",")) {
            String item = part.trim();
            if (item.startsWith("v1=") && item.length() == 3 + 64) {
                try {
                    // Constant time: how far a guess was right must not be measurable.
                    fits |= MessageDigest.isEqual(wanted, HexFormat.of().parseHex(item, 3, item.length()));
                } catch (IllegalArgumentException e) {
                    // not hex: a forgery
                }
            }
        }
        return fits;
    }

    private byte[] mac(String at, byte[] body) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(secret);
            mac.update((at + ".").getBytes(StandardCharsets.UTF_8));
            return mac.doFinal(body);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every Java platform has HmacSHA256", e);
        }
    }
}
