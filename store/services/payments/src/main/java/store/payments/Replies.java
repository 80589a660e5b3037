package store.payments;

import java.net.URI;

/** What a caller is told about an operation, from the rows alone: the same before and after a crash. */
final class Replies {
    private final URI pspPublic;

    Replies(URI pspPublic) {
        this.pspPublic = pspPublic;
    }

    Answer of(Operation operation, Payment payment, boolean tombstoned) {
        return switch (operation.kind()) {
            case AUTHORISE -> authorise(operation, payment, tombstoned);
            case CAPTURE -> capture(operation, payment);
            case VOID -> voided(operation, payment);
            case REFUND -> refund(operation, payment);
        };
    }

    static Answer tombstone(String orderId) {
        return Problem.of(410, "order-tombstoned", "The order was given up",
                "order " + orderId + " was voided; it takes no payment any more").answer;
    }

    static Answer nothingHeld(String orderId, String paymentId) {
        return Answer.of(200, Json.object().put("order_id", orderId).put("payment_id", paymentId).put("state", "VOIDED"));
    }

    static Answer alreadyCaptured(Payment payment) {
        return Problem.aboutPayment(409, "already-captured", "The payment is captured",
                "a captured payment can only be refunded", payment.id(), null);
    }

    static Answer captureFailed(Payment payment, String reason) {
        return Problem.aboutPayment(409, "capture-failed", "The payment cannot be captured",
                "payment " + payment.id() + " is " + payment.state() + (reason == null ? "" : " (" + reason + ")"),
                payment.id(), reason);
    }

    Answer ok(Payment payment) {
        return Answer.of(200, payment.json(pspPublic));
    }

    private Answer authorise(Operation operation, Payment payment, boolean tombstoned) {
        if (tombstoned && payment.state().rank < Payment.State.CAPTURED.rank) {
            return tombstone(payment.orderId());
        }
        return switch (payment.state()) {
            case CREATED -> unknown(operation);
            case PROCESSING, REQUIRES_ACTION -> Answer.of(202, payment.json(pspPublic));
            case DECLINED, EXPIRED -> Problem.aboutPayment(402, "payment-declined", "The card was declined",
                    "the provider declined the payment: " + payment.standing().reason(), payment.id(),
                    payment.standing().reason());
            case VOIDED -> Problem.aboutPayment(409, "attempt-superseded", "A later attempt took its place",
                    "attempt " + payment.attempt() + " was given up for a later one", payment.id(), null);
            default -> Answer.of(201, payment.json(pspPublic));
        };
    }

    private Answer capture(Operation operation, Payment payment) {
        return switch (operation.state()) {
            case SUCCESS -> ok(payment);
            case FAILURE -> captureFailed(payment, operation.reason());
            default -> unknown(operation);
        };
    }

    private Answer voided(Operation operation, Payment payment) {
        return switch (operation.state()) {
            case SUCCESS -> nothingHeld(payment.orderId(), payment.id());
            case FAILURE -> alreadyCaptured(payment);
            default -> unknown(operation);
        };
    }

    private Answer refund(Operation operation, Payment payment) {
        return switch (operation.state()) {
            case SUCCESS -> ok(payment);
            case FAILURE -> Problem.aboutPayment(409, "refund-failed", "The refund was refused",
                    "the provider refused the refund: " + operation.reason(), payment.id(), operation.reason());
            default -> unknown(operation);
        };
    }

    private static Answer unknown(Operation operation) {
        return Problem.unavailable("the outcome of " + operation.kind().route() + " is not known yet;"
                + " it is being reconciled, ask again with the same key").answer;
    }
}
