package store.payments;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/** A refusal as RFC 9457 describes it. It is thrown, and it is also what an operation's end may be. */
final class Problem extends RuntimeException {
    private static final long serialVersionUID = 1;

    record At(String pointer, String detail) {
    }

    final transient Answer answer;

    private Problem(Answer answer, String detail) {
        super(detail, null, false, false);
        this.answer = answer;
    }

    static Problem of(int status, String code, String title, String detail) {
        return new Problem(answer(status, code, title, detail, -1, List.of(), null), detail);
    }

    static Problem later(int status, String code, String title, String detail, int retryAfterMs) {
        return new Problem(answer(status, code, title, detail, retryAfterMs, List.of(), null), detail);
    }

    static Problem validation(List<At> errors) {
        String detail = errors.get(0).pointer + ": " + errors.get(0).detail;
        return new Problem(answer(422, "validation", "The request is not valid", detail, -1, errors, null), detail);
    }

    static Problem validation(String pointer, String detail) {
        return validation(List.of(new At(pointer, detail)));
    }

    static Problem notFound(String detail) {
        return of(404, "not-found", "Not found", detail);
    }

    static Problem inProgress(String detail) {
        return later(409, "request-in-progress", "A request is still running", detail, 1_000);
    }

    static Problem keyReused(String detail) {
        return of(422, "idempotency-key-reused", "The key was used for another request", detail);
    }

    static Problem overloaded() {
        return later(503, "overloaded", "Too much to do", "too many requests at once", 1_000);
    }

    /** Nothing was done; when there is room again, the same key does it. */
    static Problem storageFull() {
        return later(507, "storage-full", "No space left to store this", "the database cannot grow", 5_000);
    }

    static Problem unavailable(String detail) {
        return later(503, "dependency-unavailable", "The payment provider does not answer", detail, 500);
    }

    /** A refusal about one payment, with the payment's id and, when there is one, the provider's reason. */
    static Answer aboutPayment(int status, String code, String title, String detail, String paymentId, String reason) {
        ObjectNode more = Json.object();
        more.put("payment_id", paymentId);
        if (reason != null) {
            more.put("reason", reason);
        }
        return answer(status, code, title, detail, -1, List.of(), more);
    }

    private static Answer answer(int status, String code, String title, String detail, int retryAfterMs,
            List<At> errors, ObjectNode more) {
        ObjectNode body = Json.object();
        body.put("type", "urn:store:problem:" + code).put("title", title).put("status", status);
        body.put("detail", detail).put("code", code);
        Trace trace = Trace.current();
        if (trace != null) {
            body.put("trace_id", trace.traceId());
        }
        body.put("retryable", retryAfterMs >= 0);
        if (retryAfterMs >= 0) {
            body.put("retry_after_ms", retryAfterMs);
        }
        if (!errors.isEmpty()) {
            ArrayNode list = body.putArray("errors");
            errors.forEach(e -> list.addObject().put("pointer", e.pointer).put("detail", e.detail));
        }
        if (more != null) {
            body.setAll(more);
        }
        return new Answer(status, body.toString(), retryAfterMs, false);
    }
}
