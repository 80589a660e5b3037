package store.payments;

import java.sql.SQLException;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * Brings every open operation to a certain end, however long the provider is away. Looks at the rows, not at
 * memory: after a crash the first look is the recovery.
 */
final class Reconciler implements AutoCloseable {
    private static final int WORKERS = 3;
    private static final long IDLE_MS = 5_000;
    private static final long BUSY_MS = 50;
    /** The provider's clock and ours may differ a little; and its webhook deserves the first word. */
    private static final long EXPIRY_SLACK_MS = 2_000;
    private static final long PURGE_EVERY_MS = 3_600_000;

    private final Db db;
    private final Books books;
    private final Driver driver;
    private final Orders orders;
    private final ExecutorService workers;
    private final Thread loop;
    private final Set<String> busy = ConcurrentHashMap.newKeySet();
    private boolean woken;
    private volatile boolean stopping;
    private long purgedAt;

    Reconciler(Db db, Books books, Driver driver, Orders orders) {
        this.db = db;
        this.books = books;
        this.driver = driver;
        this.orders = orders;
        this.workers = Executors.newFixedThreadPool(WORKERS, task -> new Thread(task, "reconcile"));
        this.loop = new Thread(this::run, "reconciler");
    }

    void start() throws SQLException {
        int found = db.write(books::forgetPending);
        if (found > 0) {
            Log.info(found + " operations of the last run have no certain end; asking the provider");
        }
        loop.start();
    }

    synchronized void wake() {
        woken = true;
        notifyAll();
    }

    @Override
    public void close() {
        stopping = true;
        wake();
        workers.shutdown();
        try {
            loop.join(3_000);
            if (!workers.awaitTermination(3, TimeUnit.SECONDS)) {
                workers.shutdownNow();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void run() {
        while (!stopping) {
            long wait = IDLE_MS;
            try {
                wait = look();
            } catch (SQLException | RuntimeException e) {
                Log.error("the reconciler could not look", e);
            }
            sleep(wait);
        }
    }

    private synchronized void sleep(long ms) {
        try {
            if (!woken) {
                wait(ms);
            }
            woken = false;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            stopping = true;
        }
    }

    /** Hands out what is due; returns how long nothing else will be. */
    private long look() throws SQLException {
        long now = System.currentTimeMillis();
        if (now - purgedAt > PURGE_EVERY_MS) {
            purgedAt = now;
            purge(now);
        }
        List<Operation> due = db.read(tx -> books.due(tx, now, 64));
        for (Operation operation : due) {
            hand(operation.id(), () -> {
                Trace.enter(operation.traceparent());
                Trace.order(operation.orderId());
                orders.with(operation.orderId(), 0, () -> {
                    driver.drive(operation.id());
                    return true;
                });
            });
        }
        for (Payment payment : db.read(tx -> books.expiring(tx, now - EXPIRY_SLACK_MS, 16))) {
            hand(payment.id(), () -> {
                Trace.enter(payment.traceparent());
                Trace.order(payment.orderId());
                driver.look(payment);
            });
        }
        if (!due.isEmpty()) {
            return BUSY_MS;
        }
        long next = db.read(tx -> tx.number(
                "SELECT MIN(next_try_at) FROM operation WHERE state IN ('PENDING', 'UNKNOWN')"));
        return next == 0 ? IDLE_MS : Math.max(BUSY_MS, Math.min(IDLE_MS, next - now));
    }

    private interface Task {
        void run() throws SQLException;
    }

    private void hand(String id, Task task) {
        if (stopping || busy.size() >= 2 * WORKERS || !busy.add(id)) {
            return;
        }
        workers.execute(() -> {
            try {
                task.run();
            } catch (SQLException | RuntimeException e) {
                Log.error("could not reconcile " + id, e);
            } finally {
                Trace.leave();
                busy.remove(id);
                wake();
            }
        });
    }

    private void purge(long now) throws SQLException {
        db.write(tx -> {
            Idempotency.purge(tx);
            tx.update("DELETE FROM webhook_event WHERE received_at < ?", Json.time(now - 30L * 24 * 3600 * 1000));
            tx.update("DELETE FROM outbox WHERE created_at < ? AND seq < (SELECT MAX(seq) FROM outbox)",
                    Json.time(now - 7L * 24 * 3600 * 1000));
            return null;
        });
    }
}
