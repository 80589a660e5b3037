CREATE SCHEMA IF NOT EXISTS archipel;

CREATE TABLE archipel.format (version int NOT NULL);
INSERT INTO archipel.format VALUES (1);

-- Who shares the database: each application has entries of its own.
CREATE TABLE archipel.namespace (
    id      int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 0
);

CREATE TABLE archipel.entry (
    namespace int NOT NULL REFERENCES archipel.namespace,
    key       text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,
    value     bytea NOT NULL,
    PRIMARY KEY (namespace, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

CREATE VIEW archipel.entries AS
    SELECT n.name AS namespace, e.key, e.version, e.value
    FROM archipel.entry e JOIN archipel.namespace n ON n.id = e.namespace;

-- Many transactions as one. The lock on the namespace makes batches serial; each statement after
-- it sees all that was committed before. `e_*` is what the transactions expect (-1: absent),
-- `w_*` what they write (null: delete), in order; `e_tx` and `w_tx` say which of them, from 1.
-- Its writes are left out for a transaction whose expectation does not hold. A transaction gets
-- the version `base` + its number.
CREATE FUNCTION archipel.commit_1(
    ns int, count int,
    e_tx int[], e_key text[], e_version bigint[],
    w_tx int[], w_key text[], w_value bytea[],
    ring boolean,
    OUT base bigint, OUT failed int[], OUT failed_key text[]
) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE archipel.namespace n SET version = n.version + count WHERE n.id = ns
        RETURNING n.version - count INTO STRICT base;
    IF cardinality(e_tx) > 0 THEN
        SELECT array_agg(f.tx), array_agg(f.key) INTO failed, failed_key FROM (
            SELECT DISTINCT ON (x.tx) x.tx, x.key
            FROM unnest(e_tx, e_key, e_version) WITH ORDINALITY AS x (tx, key, version, place)
            WHERE x.version <> coalesce((
                SELECT e.version FROM archipel.entry e WHERE e.namespace = ns AND e.key = x.key
            ), -1)
            ORDER BY x.tx, x.place
        ) f;
    END IF;
    failed := coalesce(failed, '{}');
    WITH last AS (
        SELECT DISTINCT ON (x.key) x.key, x.value
        FROM unnest(w_tx, w_key, w_value) WITH ORDINALITY AS x (tx, key, value, place)
        WHERE NOT x.tx = ANY (failed)
        ORDER BY x.key, x.place DESC
    )
    DELETE FROM archipel.entry e USING last
        WHERE last.value IS NULL AND e.namespace = ns AND e.key = last.key;
    INSERT INTO archipel.entry AS e (namespace, key, version, value)
        SELECT ns, last.key, base + last.tx, last.value FROM (
            SELECT DISTINCT ON (x.key) x.key, x.tx, x.value
            FROM unnest(w_tx, w_key, w_value) WITH ORDINALITY AS x (tx, key, value, place)
            WHERE NOT x.tx = ANY (failed)
            ORDER BY x.key, x.place DESC
        ) last WHERE last.value IS NOT NULL
        ON CONFLICT ON CONSTRAINT entry_pkey DO UPDATE
            SET version = excluded.version, value = excluded.value;
    IF ring THEN
        PERFORM pg_notify('archipel', ns::text);
    END IF;
END $$;
