package store.payments;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** The JDK's HTTP server with a bounded pool: threads answer, and what they cannot is refused, not queued. */
final class Server {
    private static final int THREADS = 24;
    private static final int QUEUE = 256;
    /** Past this many waiting connections, the answer is "overloaded": late answers help nobody. */
    private static final int QUEUE_PATIENCE = 96;
    static final int BODY_MAX = 256 * 1024;

    private final HttpServer http;
    private final Router router;
    private final ThreadPoolExecutor pool;
    private int running;
    private volatile boolean stopping;

    Server(String host, int port, Router router) throws IOException {
        this.router = router;
        this.pool = new ThreadPoolExecutor(THREADS, THREADS, 30, TimeUnit.SECONDS, new LinkedBlockingQueue<>(QUEUE),
                task -> new Thread(task, "http"));
        pool.allowCoreThreadTimeOut(true);
        http = HttpServer.create(new InetSocketAddress(host, port), 128);
        http.setExecutor(pool);
        http.createContext("/", this::serve);
    }

    int port() {
        return http.getAddress().getPort();
    }

    void start() {
        http.start();
    }

    /** Lets what runs finish, for at most {@code seconds}; new requests are refused meanwhile. */
    synchronized void stop(int seconds) {
        stopping = true;
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        try {
            for (long left = seconds * 1000L; running > 0 && left > 0;
                    left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime())) {
                wait(left);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        http.stop(0);
        pool.shutdownNow();
    }

    private synchronized void count(int change) {
        running += change;
        notifyAll();
    }

    private void serve(HttpExchange exchange) throws IOException {
        count(1);
        Trace.enter(Trace.continued(exchange.getRequestHeaders().getFirst("traceparent")));
        try (exchange) {
            send(exchange, answer(exchange));
        } finally {
            Trace.leave();
            count(-1);
        }
    }

    private Answer answer(HttpExchange exchange) throws IOException {
        try {
            if (stopping || pool.getQueue().size() > QUEUE_PATIENCE) {
                throw Problem.overloaded();
            }
            return router.route(exchange, body(exchange));
        } catch (Problem problem) {
            return problem.answer;
        } catch (java.sql.SQLException | RuntimeException e) {
            Log.error(exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath() + " failed", e);
            return Problem.later(500, "internal", "Something is broken here",
                    "the request may have had its effect; ask again with the same key", 1_000).answer;
        }
    }

    private static byte[] body(HttpExchange exchange) throws IOException {
        try (InputStream in = exchange.getRequestBody()) {
            byte[] body = in.readNBytes(BODY_MAX + 1);
            if (body.length > BODY_MAX) {
                throw Problem.of(413, "too-large", "The body is too large", "a body has at most " + BODY_MAX + " bytes");
            }
            return body;
        }
    }

    private static void send(HttpExchange exchange, Answer answer) throws IOException {
        byte[] bytes = answer.body().getBytes(StandardCharsets.UTF_8);
        var headers = exchange.getResponseHeaders();
        headers.set("content-type", answer.isProblem() ? "application/problem+json" : "application/json");
        if (answer.replayed()) {
            headers.set("idempotency-replayed", "true");
        }
        if (answer.retryAfterMs() >= 0) {
            headers.set("retry-after", Integer.toString(Math.max(1, (answer.retryAfterMs() + 999) / 1000)));
        }
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(answer.status(), head || bytes.length == 0 ? -1 : bytes.length);
        if (!head) {
            exchange.getResponseBody().write(bytes);
        }
    }
}
