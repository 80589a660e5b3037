package store.payments;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.Proxy;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * The payment provider over HTTP. Knows its wire format and nothing of our books.
 *
 * <p>Every question ends in one of four ways, and the difference between the last two is the whole point:
 * a reply, a definite refusal, "there is no such thing", or no answer, which says nothing about the outcome.
 *
 * <p>{@code HttpURLConnection}, because the newer client loads the whole TLS machinery even for plain HTTP:
 * half a second of start and 15 MB. Bodies are sent in fixed-length mode, in which it never repeats a POST.
 */
final class Psp implements AutoCloseable {
    private static final int BODY_MAX = 256 * 1024;
    /** Refusals that say something about the request; any other status may hide an effect. */
    private static final List<Integer> DEFINITE = List.of(400, 402, 404, 409, 410, 422);

    sealed interface Word {
    }

    record Reply(Snapshot intent) implements Word {
    }

    record Refused(String code, Snapshot intent) implements Word {
    }

    record Absent() implements Word {
    }

    record NoAnswer(String why) implements Word {
    }

    private final URI base;
    private final int timeoutMs;
    /** The connection's own timeout is per read; this one ends an answer that drips in byte by byte. */
    private final ScheduledThreadPoolExecutor deadlines = new ScheduledThreadPoolExecutor(1, task -> {
        Thread thread = new Thread(task, "psp-deadlines");
        thread.setDaemon(true);
        return thread;
    });

    Psp(URI base, long timeoutMs) {
        this.base = base;
        this.timeoutMs = (int) timeoutMs;
        deadlines.setRemoveOnCancelPolicy(true);
    }

    Word authorise(Payment payment, String key) {
        ObjectNode body = Json.object();
        body.put("amount_minor", payment.amount()).put("currency", payment.currency());
        body.put("order_ref", payment.orderId()).put("method_token", payment.methodToken());
        body.put("capture_method", "manual");
        if (payment.returnUrl() != null) {
            body.put("return_url", payment.returnUrl());
        }
        return post("/v1/payment_intents", key, body);
    }

    Word capture(String ref, String key) {
        return post("/v1/payment_intents/" + ref + "/capture", key, Json.object());
    }

    Word cancel(String ref, String key) {
        return post("/v1/payment_intents/" + ref + "/cancel", key, Json.object());
    }

    Word refund(String ref, long amount, String key) {
        return post("/v1/refunds", key, Json.object().put("intent", ref).put("amount_minor", amount));
    }

    Word get(String ref) {
        return question("/v1/payment_intents/" + ref);
    }

    Word getByKey(String key) {
        String query = "?idempotency_key=" + URLEncoder.encode(key, StandardCharsets.UTF_8);
        return question("/v1/payment_intents" + query);
    }

    @Override
    public void close() {
        deadlines.shutdownNow();
    }

    private Word question(String path) {
        return send("GET", path, null, null);
    }

    private Word post(String path, String key, ObjectNode body) {
        return send("POST", path, key, body.toString().getBytes(StandardCharsets.UTF_8));
    }

    private Word send(String method, String path, String key, byte[] body) {
        Future<?> deadline = null;
        try {
            HttpURLConnection connection = open(method, path);
            deadline = deadlines.schedule(connection::disconnect, timeoutMs, TimeUnit.MILLISECONDS);
            if (body != null) {
                connection.setRequestProperty("idempotency-key", key);
                connection.setRequestProperty("content-type", "application/json");
                connection.setDoOutput(true);
                connection.setFixedLengthStreamingMode(body.length);
                try (OutputStream out = connection.getOutputStream()) {
                    out.write(body);
                }
            }
            int status = connection.getResponseCode();
            return word(method, status, read(status < 400 ? connection.getInputStream() : connection.getErrorStream()));
        } catch (IOException | RuntimeException e) {
            // Runtime too: closed by the deadline in the middle of its work, the connection may trip over itself.
            return new NoAnswer(e.getClass().getSimpleName() + ": " + e.getMessage());
        } finally {
            if (deadline != null) {
                deadline.cancel(false);
            }
        }
    }

    private HttpURLConnection open(String method, String path) throws IOException {
        HttpURLConnection connection =
                (HttpURLConnection) URI.create(base + path).toURL().openConnection(Proxy.NO_PROXY);
        connection.setRequestMethod(method);
        connection.setConnectTimeout(timeoutMs);
        connection.setReadTimeout(timeoutMs);
        connection.setInstanceFollowRedirects(false);
        connection.setUseCaches(false);
        connection.setRequestProperty("traceparent", Trace.traceparentNow());
        connection.setRequestProperty("accept", "application/json");
        return connection;
    }

    /** Reads to the end, so that the connection can be used again; an answer without end is none. */
    private static byte[] read(InputStream answer) throws IOException {
        if (answer == null) {
            return new byte[0];
        }
        try (answer) {
            byte[] bytes = answer.readNBytes(BODY_MAX + 1);
            if (bytes.length > BODY_MAX) {
                throw new IOException("an answer of more than " + BODY_MAX + " bytes");
            }
            return bytes;
        }
    }

    private static Word word(String method, int status, byte[] bytes) {
        JsonNode body;
        try {
            body = Json.read(bytes);
        } catch (IOException | RuntimeException e) {
            return new NoAnswer("status " + status + " with a body that is not JSON");
        }
        if (status == 200 || status == 201) {
            // A refund's answer carries the intent inside, an intent's answer is the intent.
            Snapshot intent = Snapshot.of(body.path("intent").isObject() ? body.path("intent") : body);
            return intent == null ? new NoAnswer("an answer that is no payment intent") : new Reply(intent);
        }
        String code = body.path("error").path("code").asText("");
        if (method.equals("GET")) {
            // A refused question says nothing about the payment, except that the provider has none.
            return status == 404 && code.equals("not_found") ? new Absent() : new NoAnswer("status " + status);
        }
        boolean busy = code.isEmpty() || code.equals("idempotency_key_in_use");
        return DEFINITE.contains(status) && !busy
                ? new Refused(code, Snapshot.of(body.path("intent")))
                : new NoAnswer("status " + status + (code.isEmpty() ? "" : " " + code));
    }
}
