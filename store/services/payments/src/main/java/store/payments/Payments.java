package store.payments;

import com.fasterxml.jackson.databind.JsonNode;
import java.sql.SQLException;
import store.payments.Db.Tx;
import store.payments.Operation.Kind;
import store.payments.Payment.Standing;
import store.payments.Payment.State;

/**
 * The four commands. Each is decided in one transaction that either gives the final answer or leaves an open
 * operation; the operation is then driven against the provider, and the answer is read from the rows.
 */
final class Payments {
    static final long AMOUNT_MAX = 99_999_999_999L;
    /** How long a command waits for another one on the same order: a little over the provider's timeout. */
    private static final long LOCK_WAIT_MS = 2_500;

    record Authorise(String orderId, int attempt, long amount, String methodToken, String returnUrl) {
    }

    /** What the first transaction of a command says: a final answer, or the operation to drive. */
    private record Step(Answer answer, Operation operation, boolean thenAgain) {
        static Step end(Answer answer) {
            return new Step(answer, null, false);
        }

        static Step drive(Operation operation) {
            return new Step(null, operation, false);
        }

        /** Drive this one, then decide anew: it stood in the way. */
        static Step first(Operation operation) {
            return new Step(null, operation, true);
        }
    }

    private interface Decision {
        Step in(Tx tx) throws SQLException;
    }

    private final Db db;
    private final Books books;
    private final Driver driver;
    private final Orders orders;
    private final Reconciler reconciler;
    private final Idempotency idempotency = new Idempotency();

    Payments(Db db, Books books, Driver driver, Orders orders, Reconciler reconciler) {
        this.db = db;
        this.books = books;
        this.driver = driver;
        this.orders = orders;
        this.reconciler = reconciler;
    }

    // ---- questions ------------------------------------------------------------------------------

    Answer payment(String id) throws SQLException {
        Payment payment = db.read(tx -> books.payment(tx, id));
        if (payment == null) {
            throw Problem.notFound("there is no payment " + id);
        }
        return books.replies().ok(payment);
    }

    Answer ofOrder(String orderId) throws SQLException {
        Payment payment = db.read(tx -> books.latest(tx, orderId));
        if (payment == null) {
            throw Problem.notFound("order " + orderId + " has no payment");
        }
        return books.replies().ok(payment);
    }

    // ---- commands -------------------------------------------------------------------------------

    Answer authorise(String key, Authorise wish, JsonNode body) throws SQLException {
        return run(Kind.AUTHORISE, key, wish.orderId, body, tx -> {
            if (books.tombstoned(tx, wish.orderId)) {
                return Step.end(Replies.tombstone(wish.orderId));
            }
            Payment known = books.attempt(tx, wish.orderId, wish.attempt);
            if (known != null) {
                return repeated(tx, known, wish);
            }
            Payment latest = books.latest(tx, wish.orderId);
            if (latest != null && latest.attempt() > wish.attempt) {
                return Step.end(Problem.of(409, "attempt-superseded", "A later attempt took its place",
                        "attempt " + latest.attempt() + " of this order was made already").answer);
            }
            Payment live = books.live(tx, wish.orderId);
            if (live != null) {
                return inTheWay(tx, live);
            }
            Payment payment = new Payment(Ids.next("pay_"), wish.orderId, wish.attempt, "EUR", wish.amount,
                    Books.PROVIDER, wish.methodToken, wish.returnUrl, null, Trace.traceparentNow(), Standing.NEW);
            books.insert(tx, payment);
            return Step.drive(begin(tx, payment, Kind.AUTHORISE, wish.amount, key));
        });
    }

    Answer capture(String key, String orderId, JsonNode body) throws SQLException {
        return run(Kind.CAPTURE, key, orderId, body, tx -> {
            Payment payment = books.latest(tx, orderId);
            if (payment == null) {
                throw Problem.notFound("order " + orderId + " has no payment");
            }
            Operation latest = books.latest(tx, payment.id(), Kind.CAPTURE);
            if (latest != null && latest.open()) {
                return Step.drive(latest);
            }
            if (payment.state().rank >= State.CAPTURED.rank) {
                return Step.end(books.replies().ok(payment));
            }
            if (payment.state() == State.CREATED || payment.state() == State.PROCESSING) {
                throw Problem.unavailable("the authorisation is not certain yet");
            }
            if (payment.state() != State.AUTHORISED) {
                return Step.end(Replies.captureFailed(payment, payment.standing().reason()));
            }
            return Step.drive(begin(tx, payment, Kind.CAPTURE, payment.amount(), key));
        });
    }

    Answer voidOrder(String key, String orderId, JsonNode body) throws SQLException {
        return run(Kind.VOID, key, orderId, body, tx -> {
            Payment payment = books.latest(tx, orderId);
            if (payment != null && payment.state().rank >= State.CAPTURED.rank) {
                return Step.end(Replies.alreadyCaptured(payment));
            }
            if (payment != null && books.open(tx, payment.id()).stream().anyMatch(o -> o.kind() == Kind.CAPTURE)) {
                // Once asked for, money is never called back by a void; when it is certain, a refund can.
                throw Problem.inProgress("the payment is being captured");
            }
            // From here on no authorisation of this order can begin, whenever it arrives.
            books.bury(tx, orderId);
            if (payment == null) {
                return Step.end(Replies.nothingHeld(orderId, null));
            }
            Operation known = books.latest(tx, payment.id(), Kind.VOID);
            if (known != null && known.open()) {
                return Step.drive(known);
            }
            if (payment.state().ended()) {
                return Step.end(Replies.nothingHeld(orderId, payment.id()));
            }
            return Step.drive(begin(tx, payment, Kind.VOID, payment.amount(), key));
        });
    }

    Answer refund(String key, String orderId, long amount, JsonNode body) throws SQLException {
        return run(Kind.REFUND, key, orderId, body, tx -> {
            Payment payment = books.latest(tx, orderId);
            if (payment == null) {
                throw Problem.notFound("order " + orderId + " has no payment");
            }
            Operation known = books.operationByKey(tx, Kind.REFUND.idemKey(key));
            if (known != null) {
                return known.open() ? Step.drive(known) : Step.end(books.replies().of(known, payment, false));
            }
            if (books.open(tx, payment.id()).stream().anyMatch(o -> o.kind() == Kind.REFUND)) {
                throw Problem.inProgress("another refund of this payment is not certain yet");
            }
            long left = payment.standing().captured() - payment.standing().refunded();
            if (amount > left) {
                throw Problem.validation("/amount/amount_minor", "at most " + left + " can be refunded");
            }
            return Step.drive(begin(tx, payment, Kind.REFUND, amount, key));
        });
    }

    // ---- how they run ---------------------------------------------------------------------------

    private Answer run(Kind kind, String key, String orderId, JsonNode body, Decision decision) throws SQLException {
        Trace.order(orderId);
        String route = kind.route();
        String fingerprint = Json.fingerprint(route + " " + orderId, body);
        return idempotency.alone(key, route, () -> {
            Answer early = db.read(tx -> Idempotency.stored(tx, key, route, fingerprint));
            if (early != null) {
                return early;
            }
            Answer answer = orders.with(orderId, LOCK_WAIT_MS, () -> locked(kind, key, fingerprint, decision));
            if (answer == null) {
                throw Problem.inProgress("another request for this order is still running");
            }
            return answer;
        });
    }

    private Answer locked(Kind kind, String key, String fingerprint, Decision decision) throws SQLException {
        String route = kind.route();
        boolean cleared = false;
        while (true) {
            Step step = db.write(tx -> {
                Answer stored = Idempotency.stored(tx, key, route, fingerprint);
                if (stored != null) {
                    return Step.end(stored);
                }
                Idempotency.begin(tx, key, route, fingerprint);
                Step decided = decision.in(tx);
                if (decided.answer != null) {
                    Idempotency.finish(tx, key, route, decided.answer);
                }
                return decided;
            });
            if (step.answer != null) {
                return step.answer;
            }
            driver.drive(step.operation.id());
            Answer answer = db.read(tx -> outcome(tx, step.operation.id()));
            boolean certain = answer.retryAfterMs() < 0 && answer.status() != 202;
            if (!certain) {
                reconciler.wake();
            }
            if (step.thenAgain && certain && !cleared) {
                cleared = true;
                continue;
            }
            if (step.thenAgain) {
                throw Problem.inProgress("an earlier attempt of this order is not ended yet");
            }
            if (certain && !key.equals(step.operation.callerKey())) {
                // The operation began under another key; this one gets the same end.
                db.write(tx -> {
                    Idempotency.finish(tx, key, route, answer);
                    return null;
                });
            }
            return answer;
        }
    }

    private Answer outcome(Tx tx, String operationId) throws SQLException {
        Operation operation = books.operation(tx, operationId);
        Payment payment = books.payment(tx, operation.paymentId());
        return books.replies().of(operation, payment, books.tombstoned(tx, payment.orderId()));
    }

    /** First try at once in the caller's thread; the reconciler keeps off until that has surely ended. */
    private Operation begin(Tx tx, Payment payment, Kind kind, long amount, String key) throws SQLException {
        if (books.operationByKey(tx, kind.idemKey(key)) != null) {
            throw Problem.keyReused("this Idempotency-Key began another operation long ago");
        }
        return books.begin(tx, payment, kind, amount, kind.idemKey(key), System.currentTimeMillis() + LOCK_WAIT_MS);
    }

    private Step repeated(Tx tx, Payment known, Authorise wish) throws SQLException {
        if (known.amount() != wish.amount || !known.methodToken().equals(wish.methodToken)) {
            throw Problem.keyReused("attempt " + wish.attempt + " of this order was made with another amount or card");
        }
        Operation operation = books.latest(tx, known.id(), Kind.AUTHORISE);
        return operation.open() ? Step.drive(operation)
                : Step.end(books.replies().of(operation, known, false));
    }

    /** An earlier attempt is alive: one that waits for the customer gives way, any other does not. */
    private Step inTheWay(Tx tx, Payment live) throws SQLException {
        return switch (live.state()) {
            case CREATED, PROCESSING -> throw Problem.inProgress("the outcome of attempt " + live.attempt() + " is not known yet");
            case REQUIRES_ACTION -> {
                Operation known = books.latest(tx, live.id(), Kind.VOID);
                yield Step.first(known != null && known.open() ? known : books.begin(tx, live, Kind.VOID, live.amount(),
                        Operation.ownKey(Kind.VOID, "superseded", live), System.currentTimeMillis() + LOCK_WAIT_MS));
            }
            default -> Step.end(Problem.aboutPayment(409, "already-authorised", "The order is paid already",
                    "attempt " + live.attempt() + " of this order is " + live.state(), live.id(), null));
        };
    }
}
