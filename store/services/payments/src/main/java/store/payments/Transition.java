package store.payments;

import java.util.ArrayList;
import java.util.List;
import store.payments.Payment.Standing;
import store.payments.Payment.State;

/**
 * The one place where the provider's word changes our books. Pure.
 *
 * <p>Replies, webhooks and the reconciler's questions all bring a {@link Snapshot} of the provider's intent,
 * in any order, any number of times. The function is monotone: states have ranks, amounts only grow, and a
 * snapshot that is older than what we know changes nothing. So no caller needs to know who came first.
 *
 * <p>What changed tells which facts to publish and which ledger lines to write; both are derived from the
 * difference, never from the message, and a message that comes twice makes no difference the second time.
 */
final class Transition {
    /** A reply's definite word on the operation it answers, which a snapshot alone does not carry. */
    record Verdict(String operationId, boolean success, String reason) {
    }

    record End(Operation operation, boolean success, String reason) {
    }

    record Fact(String topic, long amount, String reason) {
    }

    /** {@code lateHold}: the provider has something live that we had given up; it must be cancelled. */
    record Change(Payment before, Payment after, List<End> ends, List<Fact> facts, boolean lateHold) {
        boolean nothing() {
            return ends.isEmpty() && before.equals(after) && !lateHold;
        }
    }

    private Transition() {
    }

    static Change apply(Payment payment, List<Operation> open, Snapshot word, Verdict verdict) {
        Standing before = payment.standing();
        boolean ours = word != null && (before.ref() == null || before.ref().equals(word.ref()));
        Snapshot seen = ours ? word : null;
        Standing after = seen == null ? before : advance(payment, seen);
        List<End> ends = new ArrayList<>();
        String captureId = payment.captureId();
        for (Operation operation : open) {
            End end = end(operation, before, after, seen, verdict);
            if (end == null) {
                continue;
            }
            ends.add(end);
            if (operation.kind() == Operation.Kind.CAPTURE && end.success) {
                captureId = operation.id();
            }
            if (operation.kind() == Operation.Kind.AUTHORISE && !end.success && after.state().waiting()) {
                after = after.ended(State.DECLINED, end.reason);
            }
        }
        boolean late = seen != null && before.state() == State.VOIDED && before.ref() == null && seen.status().live();
        Payment changed = payment.with(after, captureId);
        return new Change(payment, changed, ends, facts(payment, after, ends), late);
    }

    /** The provider has never heard of it and nothing will be sent any more: it is over. */
    static Change nothingThere(Payment payment, List<Operation> open) {
        Standing after = payment.state().waiting() ? payment.standing().ended(State.VOIDED, null) : payment.standing();
        List<End> ends = open.stream().filter(o -> o.kind() == Operation.Kind.VOID)
                .map(o -> new End(o, true, "nothing-there")).toList();
        return new Change(payment, payment.with(after, payment.captureId()), ends, facts(payment, after, ends), false);
    }

    /** The authorisation that we gave up did not arrive within the time a message may travel. */
    static Change neverArrived(Payment payment, Operation authorise) {
        return new Change(payment, payment, List.of(new End(authorise, false, "never-arrived")), List.of(), false);
    }

    private static Standing advance(Payment payment, Snapshot seen) {
        Standing now = payment.standing();
        State target = target(seen);
        boolean late = now.state() == State.VOIDED && now.ref() == null;
        boolean onward = target.rank > now.state().rank;
        State state = onward ? target : now.state();
        long captured = Math.max(now.captured(), seen.captured());
        long refunded = Math.min(captured, Math.max(now.refunded(), seen.refunded()));
        long authorised = now.authorised();
        if ((onward || late) && (target == State.AUTHORISED || target.rank >= State.CAPTURED.rank)) {
            authorised = Math.max(authorised, seen.amount());
        }
        long held = switch (target) {
            case AUTHORISED -> onward || late ? seen.held() : now.held();
            case CREATED, PROCESSING, REQUIRES_ACTION -> now.held();
            default -> 0;
        };
        String action = state == State.REQUIRES_ACTION ? (onward ? seen.redirect() : now.actionUrl()) : null;
        String reason = onward ? reason(target, seen) : now.reason();
        long expires = state == State.AUTHORISED ? Math.max(now.expiresAt(), seen.expiresAt()) : 0;
        return new Standing(state, seen.ref(), authorised, held, captured, refunded, action, reason, expires);
    }

    private static State target(Snapshot seen) {
        return switch (seen.status()) {
            case PROCESSING -> State.PROCESSING;
            case REQUIRES_ACTION -> State.REQUIRES_ACTION;
            case REQUIRES_CAPTURE -> State.AUTHORISED;
            case REQUIRES_PAYMENT_METHOD -> seen.declineCode() == null ? State.CREATED : State.DECLINED;
            case CANCELED -> seen.cancelReason() == null || "requested".equals(seen.cancelReason())
                    ? State.VOIDED : State.EXPIRED;
            case SUCCEEDED -> seen.refunded() == 0 ? State.CAPTURED
                    : seen.refunded() < seen.captured() ? State.PARTIALLY_REFUNDED : State.REFUNDED;
        };
    }

    private static String reason(State target, Snapshot seen) {
        return switch (target) {
            case DECLINED -> seen.declineCode();
            case EXPIRED -> seen.cancelReason();
            default -> null;
        };
    }

    /** A success that the snapshot proves beats a refusal; a refusal beats a mere absence of proof. */
    private static End end(Operation operation, Standing before, Standing after, Snapshot seen, Verdict verdict) {
        End proven = seen == null ? null : proven(operation, before, after, seen);
        if (proven != null && proven.success) {
            return proven;
        }
        if (verdict != null && verdict.operationId().equals(operation.id())) {
            return new End(operation, verdict.success(), verdict.reason());
        }
        return proven;
    }

    private static End proven(Operation operation, Standing before, Standing after, Snapshot seen) {
        boolean canceled = seen.status() == Snapshot.Status.CANCELED;
        String canceledWhy = seen.cancelReason() == null ? "canceled" : seen.cancelReason();
        boolean declined = seen.status() == Snapshot.Status.REQUIRES_PAYMENT_METHOD && seen.declineCode() != null;
        return switch (operation.kind()) {
            case AUTHORISE -> seen.status() == Snapshot.Status.REQUIRES_CAPTURE || seen.captured() > 0
                    ? new End(operation, true, null)
                    : declined ? new End(operation, false, seen.declineCode())
                    : canceled ? new End(operation, false, canceledWhy) : null;
            case CAPTURE -> seen.captured() > 0 ? new End(operation, true, null)
                    : canceled ? new End(operation, false, canceledWhy) : null;
            case VOID -> canceled || declined ? new End(operation, true, null)
                    : seen.captured() > 0 ? new End(operation, false, "already-captured") : null;
            // One refund at a time is open, so money that went back and is not in our books is its money.
            case REFUND -> after.refunded() - before.refunded() >= operation.amount()
                    ? new End(operation, true, null) : null;
        };
    }

    private static List<Fact> facts(Payment payment, Standing after, List<End> ends) {
        Standing before = payment.standing();
        List<Fact> facts = new ArrayList<>();
        boolean stands = after.state() == State.AUTHORISED || after.state().rank >= State.CAPTURED.rank;
        if (stands && before.authorised() == 0) {
            facts.add(new Fact("payment.authorised", after.authorised(), null));
        }
        if (after.state() != before.state()) {
            switch (after.state()) {
                case REQUIRES_ACTION -> facts.add(new Fact("payment.action_required", payment.amount(), null));
                case DECLINED -> facts.add(new Fact("payment.declined", payment.amount(), after.reason()));
                case VOIDED -> facts.add(new Fact("payment.voided", payment.amount(), null));
                case EXPIRED -> facts.add(new Fact("payment.expired", payment.amount(), after.reason()));
                default -> { }
            }
        }
        if (after.captured() > before.captured()) {
            facts.add(new Fact("payment.captured", after.captured() - before.captured(), null));
        }
        for (End end : ends) {
            if (end.operation.kind() == Operation.Kind.CAPTURE && !end.success) {
                facts.add(new Fact("payment.capture_failed", payment.amount(), end.reason));
            }
        }
        if (after.refunded() > before.refunded()) {
            facts.add(new Fact("payment.refunded", after.refunded() - before.refunded(), null));
        }
        return facts;
    }
}
