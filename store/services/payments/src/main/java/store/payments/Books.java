package store.payments;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;
import store.payments.Db.Tx;
import store.payments.Payment.Standing;
import store.payments.Payment.State;

/**
 * Payments, operations, ledger and outbox in the database. {@link #settle} writes one {@link Transition.Change}
 * as a whole: rows, ledger lines, facts and the stored answers of the requests that it ends.
 */
final class Books {
    static final String PROVIDER = "psp";
    private static final String OPEN = "state IN ('PENDING', 'UNKNOWN')";

    private final URI pspPublic;
    private final Replies replies;

    Books(URI pspPublic) {
        this.pspPublic = pspPublic;
        this.replies = new Replies(pspPublic);
    }

    Replies replies() {
        return replies;
    }

    // ---- reading --------------------------------------------------------------------------------

    Payment payment(Tx tx, String id) throws SQLException {
        return tx.first("SELECT * FROM payment WHERE id=?", Books::payment, id);
    }

    Payment attempt(Tx tx, String orderId, int attempt) throws SQLException {
        return tx.first("SELECT * FROM payment WHERE order_id=? AND attempt=?", Books::payment, orderId, attempt);
    }

    Payment latest(Tx tx, String orderId) throws SQLException {
        return tx.first("SELECT * FROM payment WHERE order_id=? ORDER BY attempt DESC LIMIT 1", Books::payment, orderId);
    }

    /** The attempt that holds or has money, or still may; the schema allows one an order. */
    Payment live(Tx tx, String orderId) throws SQLException {
        return tx.first("SELECT * FROM payment WHERE order_id=? AND state NOT IN ('DECLINED','VOIDED','EXPIRED','REFUNDED')",
                Books::payment, orderId);
    }

    Payment ofProvider(Tx tx, String ref, String key) throws SQLException {
        Payment known = tx.first("SELECT * FROM payment WHERE provider=? AND provider_ref=?", Books::payment, PROVIDER, ref);
        return known != null || key == null ? known
                : tx.first("SELECT p.* FROM payment p JOIN operation o ON o.payment_id=p.id"
                        + " WHERE o.idem_key=? AND o.kind='AUTHORISE'", Books::payment, key);
    }

    Operation operation(Tx tx, String id) throws SQLException {
        return tx.first("SELECT * FROM operation WHERE id=?", Books::operation, id);
    }

    Operation operationByKey(Tx tx, String idemKey) throws SQLException {
        return tx.first("SELECT * FROM operation WHERE idem_key=?", Books::operation, idemKey);
    }

    Operation latest(Tx tx, String paymentId, Operation.Kind kind) throws SQLException {
        return tx.first("SELECT * FROM operation WHERE payment_id=? AND kind=? ORDER BY created_ms DESC, id DESC LIMIT 1",
                Books::operation, paymentId, kind.name());
    }

    List<Operation> open(Tx tx, String paymentId) throws SQLException {
        return tx.all("SELECT * FROM operation WHERE payment_id=? AND " + OPEN, Books::operation, paymentId);
    }

    List<Operation> due(Tx tx, long now, int limit) throws SQLException {
        return tx.all("SELECT * FROM operation WHERE " + OPEN + " AND next_try_at<=? ORDER BY next_try_at LIMIT ?",
                Books::operation, now, limit);
    }

    List<Payment> expiring(Tx tx, long before, int limit) throws SQLException {
        return tx.all("SELECT * FROM payment WHERE expires_at>0 AND expires_at<? ORDER BY expires_at LIMIT ?",
                Books::payment, before, limit);
    }

    boolean tombstoned(Tx tx, String orderId) throws SQLException {
        return tx.exists("SELECT 1 FROM tombstone WHERE order_id=?", orderId);
    }

    // ---- writing --------------------------------------------------------------------------------

    void bury(Tx tx, String orderId) throws SQLException {
        tx.update("INSERT OR IGNORE INTO tombstone VALUES (?,?)", orderId, Json.now());
    }

    void insert(Tx tx, Payment p) throws SQLException {
        String now = Json.now();
        tx.update("INSERT INTO payment (id, order_id, attempt, state, currency, amount_minor, provider, method_token,"
                + " return_url, traceparent, created_at, updated_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                p.id(), p.orderId(), p.attempt(), p.state().name(), p.currency(), p.amount(), p.provider(),
                p.methodToken(), p.returnUrl(), p.traceparent(), now, now);
    }

    Operation begin(Tx tx, Payment payment, Operation.Kind kind, long amount, String idemKey, long firstTryAt)
            throws SQLException {
        String id = Ids.next(kind == Operation.Kind.CAPTURE ? "cap_" : "op_");
        long at = System.currentTimeMillis();
        String now = Json.time(at);
        tx.update("INSERT INTO operation (id, payment_id, order_id, kind, state, amount_minor, idem_key, next_try_at,"
                + " traceparent, created_ms, created_at, updated_at) VALUES (?,?,?,?,'PENDING',?,?,?,?,?,?,?)",
                id, payment.id(), payment.orderId(), kind.name(), amount, idemKey, firstTryAt,
                Trace.traceparentNow(), at, now, now);
        return operation(tx, id);
    }

    /** The provider did not answer: the outcome is unknown and will be asked for again at {@code nextTryAt}. */
    void unknown(Tx tx, Operation operation, long nextTryAt) throws SQLException {
        tx.update("UPDATE operation SET state='UNKNOWN', tries=tries+1, next_try_at=?, updated_at=? WHERE id=? AND " + OPEN,
                nextTryAt, Json.now(), operation.id());
    }

    /** The provider answered, and the answer is "not yet". */
    void later(Tx tx, Operation operation, long nextTryAt) throws SQLException {
        tx.update("UPDATE operation SET tries=tries+1, next_try_at=?, updated_at=? WHERE id=? AND " + OPEN,
                nextTryAt, Json.now(), operation.id());
    }

    /** What a former life left pending was interrupted at a point we cannot know. */
    int forgetPending(Tx tx) throws SQLException {
        return tx.update("UPDATE operation SET state='UNKNOWN', next_try_at=0 WHERE state='PENDING'");
    }

    /** True when it left something to do for the reconciler. */
    boolean settle(Tx tx, Transition.Change change) throws SQLException {
        if (change.nothing()) {
            return false;
        }
        Payment after = change.after();
        if (!change.before().equals(after)) {
            save(tx, after);
            post(tx, change.before().standing(), after);
        }
        for (Transition.End end : change.ends()) {
            tx.update("UPDATE operation SET state=?, reason=?, updated_at=? WHERE id=?",
                    end.success() ? "SUCCESS" : "FAILURE", end.reason(), Json.now(), end.operation().id());
        }
        for (Transition.Fact fact : change.facts()) {
            publish(tx, after, fact);
        }
        for (Transition.End end : change.ends()) {
            Operation ended = operation(tx, end.operation().id());
            Answer answer = replies.of(ended, after, tombstoned(tx, after.orderId()));
            Idempotency.finish(tx, ended.callerKey(), ended.kind().route(), answer);
        }
        if (change.lateHold() && open(tx, after.id()).stream().noneMatch(o -> o.kind() == Operation.Kind.VOID)) {
            Log.warn("a hold arrived at the provider after its payment was voided; cancelling it");
            begin(tx, after, Operation.Kind.VOID, after.amount(), Operation.ownKey(Operation.Kind.VOID, "late", after), 0);
        }
        return change.lateHold();
    }

    private void save(Tx tx, Payment p) throws SQLException {
        Standing s = p.standing();
        tx.update("UPDATE payment SET state=?, authorised_minor=?, held_minor=?, captured_minor=?, refunded_minor=?,"
                + " provider_ref=?, action_url=?, capture_id=?, reason=?, expires_at=?, updated_at=? WHERE id=?",
                s.state().name(), s.authorised(), s.held(), s.captured(), s.refunded(), s.ref(), s.actionUrl(),
                p.captureId(), s.reason(), s.expiresAt(), Json.now(), p.id());
    }

    /** The ledger follows the difference between before and after, so it can neither miss nor repeat money. */
    private void post(Tx tx, Standing before, Payment payment) throws SQLException {
        Standing after = payment.standing();
        String id = Ids.next("tx_");
        both(tx, id, payment, "provider:held", "customers:promised", after.held() - before.held());
        both(tx, id, payment, "provider:settled", "sales", after.captured() - before.captured());
        both(tx, id, payment, "refunds", "provider:settled", after.refunded() - before.refunded());
    }

    private void both(Tx tx, String id, Payment payment, String debit, String credit, long amount) throws SQLException {
        if (amount != 0) {
            entry(tx, id, payment, debit, amount);
            entry(tx, id, payment, credit, -amount);
        }
    }

    private void entry(Tx tx, String id, Payment payment, String account, long amount) throws SQLException {
        tx.update("INSERT INTO ledger_entry (tx_id, payment_id, account, amount_minor, currency, at) VALUES (?,?,?,?,?,?)",
                id, payment.id(), account, amount, payment.currency(), Json.now());
    }

    private void publish(Tx tx, Payment payment, Transition.Fact fact) throws SQLException {
        ObjectNode data = Json.object();
        data.put("payment_id", payment.id()).put("order_id", payment.orderId()).put("attempt", payment.attempt());
        data.set("amount", Json.money(fact.amount(), payment.currency()));
        if (payment.captureId() != null) {
            data.put("capture_id", payment.captureId());
        }
        if (fact.topic().equals("payment.action_required")) {
            data.put("action_url", Payment.publicUrl(pspPublic, payment.standing().actionUrl()));
        }
        if (fact.reason() != null) {
            data.put("reason", fact.reason());
        }
        tx.update("INSERT INTO outbox (id, topic, type, subject, data, traceparent, created_at) VALUES (?,?,?,?,?,?,?)",
                Ids.next("evt_"), fact.topic(), "store." + fact.topic() + ".v1", payment.orderId(), data.toString(),
                Trace.traceparentNow(), Json.now());
    }

    private static Payment payment(ResultSet r) throws SQLException {
        Standing standing = new Standing(State.valueOf(r.getString("state")), r.getString("provider_ref"),
                r.getLong("authorised_minor"), r.getLong("held_minor"), r.getLong("captured_minor"),
                r.getLong("refunded_minor"), r.getString("action_url"), r.getString("reason"), r.getLong("expires_at"));
        return new Payment(r.getString("id"), r.getString("order_id"), r.getInt("attempt"), r.getString("currency"),
                r.getLong("amount_minor"), r.getString("provider"), r.getString("method_token"),
                r.getString("return_url"), r.getString("capture_id"), r.getString("traceparent"), standing);
    }

    private static Operation operation(ResultSet r) throws SQLException {
        return new Operation(r.getString("id"), r.getString("payment_id"), r.getString("order_id"),
                Operation.Kind.valueOf(r.getString("kind")), Operation.State.valueOf(r.getString("state")),
                r.getLong("amount_minor"), r.getString("idem_key"), r.getString("reason"), r.getInt("tries"),
                r.getLong("created_ms"), r.getString("traceparent"));
    }
}
