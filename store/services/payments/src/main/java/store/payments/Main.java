package store.payments;

import java.util.concurrent.CountDownLatch;

/** Wires the parts, waits for SIGTERM, and stops them in the order in which they need each other. */
final class Main {
    static final String VERSION = "0.1.0";
    private static final int STOP_SECONDS = 5;

    private Main() {
    }

    public static void main(String[] args) throws Exception {
        Config config;
        try {
            config = Config.from(System.getenv());
        } catch (Config.Invalid e) {
            System.err.println("payments: " + e.getMessage());
            System.exit(2);
            return;
        }
        // Without the first, answers wait 40 ms for a delayed acknowledgement; the second frees threads
        // from clients that never finish a request (seconds).
        System.setProperty("sun.net.httpserver.nodelay", "true");
        System.setProperty("sun.net.httpserver.maxReqTime", "15");
        System.setProperty("http.maxConnections", "16");

        Db db = new Db(config.database());
        Books books = new Books(config.pspPublic());
        Psp psp = new Psp(config.psp(), config.pspTimeoutMs());
        Driver driver = new Driver(db, books, psp, config.lateWindowMs());
        Orders orders = new Orders();
        Reconciler reconciler = new Reconciler(db, books, driver, orders);
        Payments payments = new Payments(db, books, driver, orders, reconciler);
        Webhooks webhooks = new Webhooks(db, books, reconciler, config.webhookSecret());
        Outbox outbox = new Outbox(db);
        db.afterCommit(outbox::committed);
        Router router = new Router(db, payments, webhooks, outbox, config.apiToken());
        Server server = new Server(config.host(), config.port(), router);

        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            outbox.stop();
            server.stop(STOP_SECONDS);
            reconciler.close();
            psp.close();
            try {
                db.close();
            } catch (java.sql.SQLException e) {
                Log.error("the database did not close cleanly", e);
            }
            Log.info("stopped");
            stopped.countDown();
            // A JVM ended by a signal exits with 143; a clean stop is a success.
            Runtime.getRuntime().halt(0);
        }, "stop"));
        reconciler.start();
        server.start();
        Log.info("listening on http://" + config.host() + ":" + server.port());
        stopped.await();
    }
}
