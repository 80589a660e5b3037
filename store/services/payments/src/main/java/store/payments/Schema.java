package store.payments;

/** The tables. What must never happen is refused here too, not only in the code above. */
final class Schema {
    static final int VERSION = 1;

    static final String CREATE = """
            CREATE TABLE payment (
                id                TEXT PRIMARY KEY,
                order_id          TEXT NOT NULL,
                attempt           INTEGER NOT NULL CHECK (attempt >= 1),
                state             TEXT NOT NULL CHECK (state IN ('CREATED', 'REQUIRES_ACTION', 'PROCESSING', 'AUTHORISED',
                                      'CAPTURED', 'PARTIALLY_REFUNDED', 'REFUNDED', 'DECLINED', 'VOIDED', 'EXPIRED')),
                currency          TEXT NOT NULL,
                amount_minor      INTEGER NOT NULL CHECK (amount_minor > 0),
                authorised_minor  INTEGER NOT NULL DEFAULT 0 CHECK (authorised_minor BETWEEN 0 AND amount_minor),
                held_minor        INTEGER NOT NULL DEFAULT 0 CHECK (held_minor BETWEEN 0 AND authorised_minor),
                captured_minor    INTEGER NOT NULL DEFAULT 0 CHECK (captured_minor BETWEEN 0 AND authorised_minor),
                refunded_minor    INTEGER NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND captured_minor),
                provider          TEXT NOT NULL,
                provider_ref      TEXT,
                method_token      TEXT NOT NULL,
                return_url        TEXT,
                action_url        TEXT,
                capture_id        TEXT,
                reason            TEXT,
                expires_at        INTEGER NOT NULL DEFAULT 0,
                traceparent       TEXT NOT NULL,
                created_at        TEXT NOT NULL,
                updated_at        TEXT NOT NULL,
                UNIQUE (order_id, attempt),
                UNIQUE (provider, provider_ref)
            ) STRICT;
            CREATE UNIQUE INDEX payment_one_live ON payment (order_id)
                WHERE state IN ('CREATED', 'REQUIRES_ACTION', 'PROCESSING', 'AUTHORISED', 'CAPTURED', 'PARTIALLY_REFUNDED');
            CREATE INDEX payment_expiring ON payment (expires_at) WHERE expires_at > 0;

            CREATE TABLE operation (
                id            TEXT PRIMARY KEY,
                payment_id    TEXT NOT NULL REFERENCES payment (id),
                order_id      TEXT NOT NULL,
                kind          TEXT NOT NULL CHECK (kind IN ('AUTHORISE', 'CAPTURE', 'VOID', 'REFUND')),
                state         TEXT NOT NULL CHECK (state IN ('INITIAL', 'PENDING', 'SUCCESS', 'FAILURE', 'UNKNOWN')),
                amount_minor  INTEGER NOT NULL CHECK (amount_minor >= 0),
                idem_key      TEXT NOT NULL UNIQUE,
                reason        TEXT,
                tries         INTEGER NOT NULL DEFAULT 0,
                next_try_at   INTEGER NOT NULL,
                traceparent   TEXT NOT NULL,
                created_ms    INTEGER NOT NULL,
                created_at    TEXT NOT NULL,
                updated_at    TEXT NOT NULL
            ) STRICT;
            CREATE UNIQUE INDEX operation_one_open ON operation (payment_id, kind) WHERE state IN ('PENDING', 'UNKNOWN');
            CREATE UNIQUE INDEX operation_one_capture ON operation (payment_id) WHERE kind = 'CAPTURE' AND state = 'SUCCESS';
            CREATE INDEX operation_due ON operation (next_try_at) WHERE state IN ('PENDING', 'UNKNOWN');

            CREATE TABLE ledger_entry (
                id            INTEGER PRIMARY KEY,
                tx_id         TEXT NOT NULL,
                payment_id    TEXT NOT NULL REFERENCES payment (id),
                account       TEXT NOT NULL CHECK (account IN ('provider:held', 'customers:promised',
                                  'provider:settled', 'sales', 'refunds')),
                amount_minor  INTEGER NOT NULL CHECK (amount_minor <> 0),
                currency      TEXT NOT NULL,
                at            TEXT NOT NULL
            ) STRICT;
            CREATE INDEX ledger_payment ON ledger_entry (payment_id);
            CREATE TRIGGER ledger_append_only_1 BEFORE UPDATE ON ledger_entry BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
            CREATE TRIGGER ledger_append_only_2 BEFORE DELETE ON ledger_entry BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

            CREATE TABLE webhook_event (
                provider     TEXT NOT NULL,
                event_id     TEXT NOT NULL,
                received_at  TEXT NOT NULL,
                PRIMARY KEY (provider, event_id)
            ) STRICT;

            CREATE TABLE tombstone (
                order_id    TEXT PRIMARY KEY,
                created_at  TEXT NOT NULL
            ) STRICT;

            CREATE TABLE idempotency (
                key          TEXT NOT NULL,
                route        TEXT NOT NULL,
                fingerprint  TEXT NOT NULL,
                status       INTEGER,
                body         TEXT,
                created_at   TEXT NOT NULL,
                PRIMARY KEY (key, route)
            ) STRICT;

            CREATE TABLE outbox (
                seq          INTEGER PRIMARY KEY AUTOINCREMENT,
                id           TEXT NOT NULL UNIQUE,
                topic        TEXT NOT NULL,
                type         TEXT NOT NULL,
                subject      TEXT NOT NULL,
                data         TEXT NOT NULL,
                traceparent  TEXT NOT NULL,
                created_at   TEXT NOT NULL
            ) STRICT;
            """;

    private Schema() {
    }
}
