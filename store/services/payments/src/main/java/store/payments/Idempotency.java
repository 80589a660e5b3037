package store.payments;

import java.sql.SQLException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import store.payments.Db.Tx;

/**
 * Idempotency keys. A row is written with the operation it starts and gets its answer in the transaction
 * that ends the operation, whoever ends it: the reply, a webhook or the reconciler. A row without an answer
 * therefore means "not certain yet", and asking again joins the operation instead of starting another.
 */
final class Idempotency {
    static final long KEPT_MS = 14L * 24 * 3600 * 1000;

    /** Keys that a thread of this process is busy with. */
    private final Set<String> running = ConcurrentHashMap.newKeySet();

    interface Handler {
        Answer answer() throws SQLException;
    }

    /** Runs one request of a key at a time; a second one that comes meanwhile is told to come again. */
    Answer alone(String key, String route, Handler handler) throws SQLException {
        String name = route + ":" + key;
        if (!running.add(name)) {
            throw Problem.inProgress("a request with this key is still running");
        }
        try {
            return handler.answer();
        } finally {
            running.remove(name);
        }
    }

    /** The stored answer; null when there is none yet. Refuses a key that came with another request. */
    static Answer stored(Tx tx, String key, String route, String fingerprint) throws SQLException {
        record Row(String fingerprint, int status, String body) {
        }
        Row row = tx.first("SELECT fingerprint, status, body FROM idempotency WHERE key=? AND route=?",
                r -> new Row(r.getString(1), r.getInt(2), r.getString(3)), key, route);
        if (row == null) {
            return null;
        }
        if (!row.fingerprint.equals(fingerprint)) {
            throw Problem.keyReused("this Idempotency-Key came before with another order or another body");
        }
        return row.body == null ? null : Answer.stored(row.status, row.body);
    }

    static void begin(Tx tx, String key, String route, String fingerprint) throws SQLException {
        tx.update("INSERT OR IGNORE INTO idempotency (key, route, fingerprint, created_at) VALUES (?,?,?,?)",
                key, route, fingerprint, Json.now());
    }

    /** Keeps an answer that will not change any more; does nothing for keys that no caller has used. */
    static void finish(Tx tx, String key, String route, Answer answer) throws SQLException {
        if (answer.retryAfterMs() < 0 && answer.status() != 202) {
            tx.update("UPDATE idempotency SET status=?, body=? WHERE key=? AND route=? AND status IS NULL",
                    answer.status(), answer.body(), key, route);
        }
    }

    static void purge(Tx tx) throws SQLException {
        tx.update("DELETE FROM idempotency WHERE created_at < ?", Json.time(System.currentTimeMillis() - KEPT_MS));
    }
}
