package store.payments;

import com.sun.net.httpserver.HttpExchange;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.SQLException;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.regex.Pattern;

/** Paths to handlers. What a handler needs from the request it takes apart here, and refuses here. */
final class Router {
    private static final Pattern TOKEN = Pattern.compile("[\\x21-\\x7e]{1,128}");
    private static final Pattern RETURN_URL =
            Pattern.compile("(/(?![/\\\\])|https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/|$))[\\x21-\\x7e&&[^\"<>\\\\]]{0,1900}");
    /** Commands wait for the provider; when it hangs, they must not take the threads of the rest. */
    private static final int COMMANDS_MAX = 16;

    private final Db db;
    private final Payments payments;
    private final Webhooks webhooks;
    private final Outbox outbox;
    private final byte[] token;
    private final Semaphore commands = new Semaphore(COMMANDS_MAX);

    Router(Db db, Payments payments, Webhooks webhooks, Outbox outbox, String token) {
        this.db = db;
        this.payments = payments;
        this.webhooks = webhooks;
        this.outbox = outbox;
        this.token = token.getBytes(StandardCharsets.UTF_8);
    }

    private interface Handler {
        Answer handle(String key, Body body) throws SQLException;
    }

    Answer route(HttpExchange exchange, byte[] bytes) throws SQLException {
        String path = exchange.getRequestURI().getRawPath();
        List<String> parts = List.of((path.startsWith("/") ? path.substring(1) : path).split("/", -1));
        return switch (parts.get(0)) {
            case "healthz", "readyz" -> only(exchange, "GET", parts.size() == 1, () -> health(parts.get(0)));
            case "_archipel" -> platform(exchange, parts);
            case "v1" -> v1(exchange, parts.subList(1, parts.size()), bytes);
            default -> throw Problem.notFound("there is nothing at " + path);
        };
    }

    private Answer v1(HttpExchange exchange, List<String> parts, byte[] bytes) throws SQLException {
        int size = parts.size();
        switch (parts.isEmpty() ? "" : parts.get(0)) {
            case "payments":
                if (size == 1) {
                    return command(exchange, bytes, this::authorise);
                }
                return only(exchange, "GET", size == 2, () -> payments.payment(reference(parts.get(1))));
            case "orders":
                if (size < 3 || !parts.get(2).equals("payment") || size > 4) {
                    break;
                }
                String order = reference(parts.get(1));
                if (size == 3) {
                    return only(exchange, "GET", true, () -> payments.ofOrder(order));
                }
                return switch (parts.get(3)) {
                    case "capture" -> command(exchange, bytes, (key, body) -> payments.capture(key, order, bare(body)));
                    case "void" -> command(exchange, bytes, (key, body) -> payments.voidOrder(key, order, bare(body)));
                    case "refunds" -> command(exchange, bytes, (key, body) -> {
                        long amount = body.euros("amount", Payments.AMOUNT_MAX);
                        body.done();
                        return payments.refund(key, order, amount, body.tree());
                    });
                    default -> throw Problem.notFound("there is nothing at this path");
                };
            case "webhooks":
                return only(exchange, "POST", size == 2 && parts.get(1).equals("psp"),
                        () -> webhooks.receive(exchange.getRequestHeaders().getFirst("psp-signature"), bytes));
            default:
                break;
        }
        throw Problem.notFound("there is nothing at this path");
    }

    private Answer authorise(String key, Body body) throws SQLException {
        Payments.Authorise wish = new Payments.Authorise(
                body.text("order_id", Ids.REF, "1 to 80 letters, digits, _ or -"),
                (int) body.whole("attempt", 1, 1_000),
                body.euros("amount", Payments.AMOUNT_MAX),
                body.text("method_token", TOKEN, "1 to 128 visible ASCII characters"),
                body.optionalText("return_url", RETURN_URL, "an http(s) address or a path"));
        body.text("capture", Pattern.compile("manual"), "manual");
        body.done();
        return payments.authorise(key, wish, body.tree());
    }

    private Answer platform(HttpExchange exchange, List<String> parts) throws SQLException {
        String given = exchange.getRequestHeaders().getFirst("dapr-api-token");
        if (token.length > 0 && (given == null || !MessageDigest.isEqual(token, given.getBytes(StandardCharsets.UTF_8)))) {
            throw Problem.of(401, "unauthorised", "Not authorised", "dapr-api-token is missing or wrong");
        }
        String what = parts.size() == 2 ? parts.get(1) : "";
        return switch (what) {
            case "info" -> only(exchange, "GET", true, () -> Answer.of(200, Json.object().put("name", "payments")
                    .put("version", Main.VERSION).put("schema_version", Schema.VERSION)));
            case "outbox" -> only(exchange, "GET", true, () -> outbox.events(
                    query(exchange, "after", 0, Long.MAX_VALUE), (int) query(exchange, "limit", 100, 1_000),
                    query(exchange, "wait_ms", 0, 30_000)));
            default -> throw Problem.notFound("there is nothing at this path");
        };
    }

    private Answer health(String which) throws SQLException {
        if (which.equals("readyz")) {
            db.ready();
        }
        return Answer.of(200, Json.object().put("status", "ok"));
    }

    private Answer command(HttpExchange exchange, byte[] bytes, Handler handler) throws SQLException {
        method(exchange, "POST");
        String key = exchange.getRequestHeaders().getFirst("idempotency-key");
        if (key == null || key.isEmpty()) {
            throw Problem.of(400, "idempotency-key-missing", "Idempotency-Key is missing",
                    "this request moves money; send an Idempotency-Key so that it can be repeated safely");
        }
        if (!Ids.KEY.matcher(key).matches()) {
            throw Problem.validation("", "Idempotency-Key has 1 to 200 visible ASCII characters");
        }
        Body body = Body.parse(bytes);
        if (!commands.tryAcquire()) {
            throw Problem.overloaded();
        }
        try {
            return handler.handle(key, body);
        } finally {
            commands.release();
        }
    }

    private static com.fasterxml.jackson.databind.JsonNode bare(Body body) {
        body.done();
        return body.tree();
    }

    private interface Question {
        Answer answer() throws SQLException;
    }

    private static Answer only(HttpExchange exchange, String method, boolean here, Question question) throws SQLException {
        if (!here) {
            throw Problem.notFound("there is nothing at this path");
        }
        method(exchange, method);
        return question.answer();
    }

    private static void method(HttpExchange exchange, String wanted) {
        String method = exchange.getRequestMethod();
        if (!method.equals(wanted) && !(method.equals("HEAD") && wanted.equals("GET"))) {
            exchange.getResponseHeaders().set("allow", wanted);
            throw Problem.of(405, "method-not-allowed", "Not this method", "here is only " + wanted);
        }
    }

    private static String reference(String text) {
        if (!Ids.REF.matcher(text).matches()) {
            throw Problem.notFound("that is no id");
        }
        return text;
    }

    private static long query(HttpExchange exchange, String name, long otherwise, long max) {
        String query = exchange.getRequestURI().getRawQuery();
        for (String item : query == null ? new String[0] : query.split("&")) {
            if (item.startsWith(name + "=")) {
                try {
                    long value = Long.parseLong(item.substring(name.length() + 1));
                    if (value >= 0) {
                        return Math.min(value, max);
                    }
                } catch (NumberFormatException e) {
                    // the same answer as for a negative number
                }
                throw Problem.validation("", "the query's " + name + " is a whole number, not negative");
            }
        }
        return otherwise;
    }
}
