package store.payments;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** Serves the facts of the outbox table, in order, to whoever pulls them. */
final class Outbox {
    private static final int WAITERS_MAX = 4;

    private final Db db;
    private final Semaphore waiters = new Semaphore(WAITERS_MAX);
    private long commits;
    private boolean stopping;

    Outbox(Db db) {
        this.db = db;
    }

    synchronized void committed() {
        commits++;
        notifyAll();
    }

    synchronized void stop() {
        stopping = true;
        notifyAll();
    }

    Answer events(long after, int limit, long waitMs) throws SQLException {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(waitMs);
        // A thread waits for each reader; when too many do, the next is answered at once and asks again.
        boolean mayWait = waitMs > 0 && waiters.tryAcquire();
        try {
            while (true) {
                long seen = commits();
                List<ObjectNode> events = db.read(tx -> tx.all(
                        "SELECT * FROM outbox WHERE seq>? ORDER BY seq LIMIT ?", Outbox::event, after, limit));
                if (!events.isEmpty() || !mayWait || !await(seen, end)) {
                    return answer(events);
                }
            }
        } finally {
            if (mayWait) {
                waiters.release();
            }
        }
    }

    private Answer answer(List<ObjectNode> events) throws SQLException {
        ObjectNode body = Json.object();
        ArrayNode list = body.putArray("events");
        events.forEach(list::add);
        long last = db.read(tx -> tx.number("SELECT MAX(seq) FROM outbox"));
        body.put("last_seq", last);
        return Answer.of(200, body);
    }

    private synchronized long commits() {
        return commits;
    }

    /** False when the time is over. */
    private synchronized boolean await(long seen, long end) {
        while (commits == seen && !stopping) {
            long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
            if (left <= 0) {
                return false;
            }
            try {
                wait(left);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                return false;
            }
        }
        return !stopping;
    }

    private static ObjectNode event(ResultSet row) throws SQLException {
        String subject = row.getString("subject");
        ObjectNode event = Json.object();
        event.put("specversion", "1.0").put("id", row.getString("id")).put("source", "/store/payments");
        event.put("type", row.getString("type")).put("subject", subject).put("time", row.getString("created_at"));
        event.put("datacontenttype", "application/json").put("correlationid", subject).put("partitionkey", subject);
        event.put("traceparent", row.getString("traceparent"));
        event.set("data", Json.stored(row.getString("data")));
        ObjectNode entry = Json.object();
        entry.put("seq", row.getLong("seq")).put("topic", row.getString("topic"));
        entry.set("event", event);
        return entry;
    }
}
