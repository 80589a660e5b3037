package store.payments;

import java.sql.SQLException;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import store.payments.Operation.Kind;
import store.payments.Transition.Change;
import store.payments.Transition.Verdict;

/**
 * Takes one open operation a step further: asks the provider, and writes what it said. The request that
 * started the operation and the reconciler both come here, under the order's lock, so that two questions
 * about one order are never on the wire together. (Webhooks need no lock: {@link Transition} is monotone.)
 */
final class Driver {
    private static final long AGAIN_FIRST_MS = 200;
    private static final long POLL_FIRST_MS = 1_000;
    private static final long BACKOFF_MAX_MS = 30_000;

    private final Db db;
    private final Books books;
    private final Psp psp;
    private final long lateWindowMs;

    private interface Rule {
        Change on(Payment now, List<Operation> open);
    }

    Driver(Db db, Books books, Psp psp, long lateWindowMs) {
        this.db = db;
        this.books = books;
        this.psp = psp;
        this.lateWindowMs = lateWindowMs;
    }

    /** One step. The caller holds the order's lock. */
    void drive(String operationId) throws SQLException {
        Operation operation = db.read(tx -> books.operation(tx, operationId));
        if (operation == null || !operation.open()) {
            return;
        }
        Payment payment = db.read(tx -> books.payment(tx, operation.paymentId()));
        String ref = payment.standing().ref();
        switch (operation.kind()) {
            case AUTHORISE -> authorise(operation, payment);
            case CAPTURE -> hear(operation, psp.capture(ref, operation.idemKey()));
            case REFUND -> hear(operation, psp.refund(ref, operation.amount(), operation.idemKey()));
            case VOID -> cancel(operation, payment);
        }
    }

    /** Looks at a payment without an operation: its authorisation should have lapsed, says the calendar. */
    void look(Payment payment) throws SQLException {
        if (psp.get(payment.standing().ref()) instanceof Psp.Reply reply) {
            db.write(tx -> {
                Payment now = books.payment(tx, payment.id());
                books.settle(tx, Transition.apply(now, books.open(tx, now.id()), reply.intent(), null));
                return null;
            });
        }
    }

    private void authorise(Operation operation, Payment payment) throws SQLException {
        boolean neverSent = operation.tries() == 0 && operation.state() == Operation.State.PENDING;
        boolean wanted = payment.state() == Payment.State.CREATED;
        if (payment.standing().ref() != null) {
            hear(operation, psp.get(payment.standing().ref()));
            return;
        }
        Psp.Word word = wanted && neverSent ? new Psp.Absent() : psp.getByKey(operation.idemKey());
        if (!(word instanceof Psp.Absent)) {
            hear(operation, word);
        } else if (wanted) {
            // The key makes this safe even when an earlier one was sent and is still on its way.
            hear(operation, psp.authorise(payment, operation.idemKey()));
        } else if (System.currentTimeMillis() - operation.createdAt() > lateWindowMs) {
            settle(operation, (now, open) -> Transition.neverArrived(now, operation));
        } else {
            unknown(operation);
        }
    }

    private void cancel(Operation operation, Payment payment) throws SQLException {
        String ref = payment.standing().ref();
        if (ref == null) {
            Operation authorise = db.read(tx -> books.latest(tx, payment.id(), Kind.AUTHORISE));
            Psp.Word word = psp.getByKey(authorise.idemKey());
            if (word instanceof Psp.Absent) {
                // Nothing to cancel. The authorisation stays open and watched: it may still arrive.
                settle(operation, Transition::nothingThere);
                return;
            }
            if (!(word instanceof Psp.Reply found)) {
                hear(operation, word);
                return;
            }
            ref = found.intent().ref();
        }
        hear(operation, psp.cancel(ref, operation.idemKey()));
    }

    private void hear(Operation operation, Psp.Word word) throws SQLException {
        if (word instanceof Psp.Reply reply) {
            boolean refund = operation.kind() == Kind.REFUND;
            Verdict verdict = refund ? new Verdict(operation.id(), true, null) : null;
            settle(operation, (now, open) -> Transition.apply(now, open, reply.intent(), verdict));
        } else if (word instanceof Psp.Refused refused) {
            Verdict verdict = new Verdict(operation.id(), false, refused.code());
            if (operation.kind() == Kind.VOID && (refused.intent() == null || refused.intent().captured() == 0)) {
                // Money may still be held, so this must not end as if it were done.
                Log.error("the provider refuses to cancel: " + refused.code(), null);
                verdict = null;
            }
            Verdict no = verdict;
            settle(operation, (now, open) -> Transition.apply(now, open, refused.intent(), no));
        } else if (word instanceof Psp.NoAnswer none) {
            Log.warn(operation.kind() + " has no answer (" + none.why() + "); its outcome is unknown");
            unknown(operation);
        } else {
            Log.error("the provider does not know an intent that it made", null);
            unknown(operation);
        }
    }

    private void settle(Operation operation, Rule rule) throws SQLException {
        long again = System.currentTimeMillis() + backoff(operation.tries(), POLL_FIRST_MS);
        db.write(tx -> {
            Payment now = books.payment(tx, operation.paymentId());
            books.settle(tx, rule.on(now, books.open(tx, now.id())));
            books.later(tx, operation, again);
            return null;
        });
    }

    private void unknown(Operation operation) throws SQLException {
        long again = System.currentTimeMillis() + backoff(operation.tries(), AGAIN_FIRST_MS);
        db.write(tx -> {
            books.unknown(tx, operation, again);
            return null;
        });
    }

    /** Doubling up to half a minute; the upper half is random, so that many do not come back as one. */
    private static long backoff(int tries, long first) {
        long full = Math.min(BACKOFF_MAX_MS, first << Math.min(tries, 16));
        return full / 2 + ThreadLocalRandom.current().nextLong(full / 2 + 1);
    }
}
