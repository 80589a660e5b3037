package store.payments;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.sqlite.SQLiteErrorCode;
import org.sqlite.SQLiteException;

/**
 * One SQLite file, one thread that writes, one connection that reads.
 *
 * <p>The writer takes what waits in its queue, runs each piece in a savepoint of its own, and commits all of
 * them with one sync: durability is paid once a batch, so the busier it is the cheaper a commit becomes.
 * {@link #write} returns after the sync. A piece that throws undoes itself and leaves its neighbours alone.
 */
final class Db implements AutoCloseable {
    private static final int QUEUE_MAX = 256;
    private static final int BATCH_MAX = 64;

    interface Work<T> {
        T in(Tx tx) throws SQLException;
    }

    private record Job<T>(Work<T> work, Trace trace, CompletableFuture<T> done) {
        /** Runs in the batch, in its submitter's trace; the answer waits in {@code result} for the commit. */
        Runnable run(Tx tx) throws SQLException {
            Trace.adopt(trace);
            tx.run("SAVEPOINT piece");
            try {
                T result = work.in(tx);
                tx.run("RELEASE piece");
                return () -> done.complete(result);
            } catch (SQLException | RuntimeException e) {
                tx.run("ROLLBACK TO piece");
                tx.run("RELEASE piece");
                return () -> done.completeExceptionally(e);
            }
        }
    }

    private final BlockingQueue<Job<?>> queue = new ArrayBlockingQueue<>(QUEUE_MAX);
    private final Tx writing;
    private final Tx reading;
    private final Thread writer;
    private volatile boolean closing;
    private volatile boolean storageFull;
    private volatile Runnable afterCommit = () -> { };

    Db(Path file) throws SQLException, IOException {
        prepareDriver(file);
        writing = open(file);
        migrate(writing);
        reading = open(file);
        reading.run("PRAGMA query_only=ON");
        writer = new Thread(this::writeLoop, "writer");
        writer.start();
    }

    /** Called by the writer after every batch; must not block. */
    void afterCommit(Runnable hook) {
        afterCommit = hook;
    }

    <T> T write(Work<T> work) throws SQLException {
        Job<T> job = new Job<>(work, Trace.current(), new CompletableFuture<>());
        if (closing || !queue.offer(job)) {
            throw Problem.overloaded();
        }
        try {
            return job.done.get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new SQLException("interrupted while waiting for a commit", e);
        } catch (ExecutionException e) {
            if (e.getCause() instanceof RuntimeException problem) {
                throw problem;
            }
            if (full(e.getCause())) {
                storageFull = true;
                throw Problem.storageFull();
            }
            throw new SQLException("the transaction was undone", e.getCause());
        }
    }

    /** Whether it answers; once the disk was full, whether it takes writes again. */
    void ready() throws SQLException {
        read(tx -> tx.number("SELECT 1"));
        if (storageFull) {
            write(tx -> {
                tx.run("PRAGMA user_version=" + Schema.VERSION);
                return null;
            });
            storageFull = false;
        }
    }

    private static boolean full(Throwable error) {
        return error instanceof SQLiteException e && (e.getResultCode() == SQLiteErrorCode.SQLITE_FULL
                || e.getResultCode().name().startsWith("SQLITE_IOERR"));
    }

    <T> T read(Work<T> work) throws SQLException {
        synchronized (reading) {
            return work.in(reading);
        }
    }

    @Override
    public void close() throws SQLException {
        closing = true;
        writer.interrupt();
        try {
            writer.join(5_000);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        synchronized (reading) {
            reading.close();
        }
        writing.close();
    }

    private void writeLoop() {
        List<Job<?>> batch = new ArrayList<>();
        while (!closing || !queue.isEmpty()) {
            batch.clear();
            try {
                Job<?> first = queue.poll(60, TimeUnit.SECONDS);
                if (first == null) {
                    continue;
                }
                batch.add(first);
            } catch (InterruptedException e) {
                continue; // closing: the loop's condition decides
            }
            queue.drainTo(batch, BATCH_MAX - 1);
            commit(batch);
        }
    }

    private void commit(List<Job<?>> batch) {
        List<Runnable> replies = new ArrayList<>(batch.size());
        Tx tx = writing;
        try {
            tx.run("BEGIN IMMEDIATE");
            for (Job<?> job : batch) {
                replies.add(job.run(tx));
            }
            tx.run("COMMIT");
        } catch (SQLException | RuntimeException e) {
            Log.error("a batch of " + batch.size() + " transactions could not be committed", e);
            try {
                tx.run("ROLLBACK");
            } catch (SQLException none) {
                // SQLite has rolled back by itself
            }
            batch.forEach(job -> job.done.completeExceptionally(e));
            return;
        }
        replies.forEach(Runnable::run);
        afterCommit.run();
    }

    private static void migrate(Tx tx) throws SQLException {
        long found = tx.number("PRAGMA user_version");
        if (found > Schema.VERSION) {
            throw new SQLException("the database has schema " + found + ", this program knows " + Schema.VERSION
                    + ": start a newer version of payments");
        }
        if (found == 0) {
            tx.run("BEGIN IMMEDIATE");
            for (String statement : Schema.CREATE.split(";\n")) {
                tx.run(statement);
            }
            tx.run("PRAGMA user_version=" + Schema.VERSION);
            tx.run("COMMIT");
        }
    }

    private static Tx open(Path file) throws SQLException {
        Tx tx = new Tx(DriverManager.getConnection("jdbc:sqlite:" + file));
        tx.run("PRAGMA busy_timeout=5000");
        tx.run("PRAGMA journal_mode=WAL");
        tx.run("PRAGMA synchronous=FULL");
        tx.run("PRAGMA foreign_keys=ON");
        return tx;
    }

    /**
     * The driver unpacks its native library into a temporary directory and cannot tidy up after a kill -9.
     * It gets a directory of our own beside the database, emptied at every start.
     */
    private static void prepareDriver(Path file) throws IOException {
        Path home = file.toAbsolutePath().getParent().resolve(".native");
        Files.createDirectories(home);
        try (DirectoryStream<Path> old = Files.newDirectoryStream(home, "sqlite-*")) {
            for (Path path : old) {
                Files.deleteIfExists(path);
            }
        }
        System.setProperty("org.sqlite.tmpdir", home.toString());
    }

    /**
     * A thin hand on one connection, used by one thread at a time. Statements are kept: the program has some
     * forty of them, and preparing one costs several times what running it does.
     */
    static final class Tx {
        private final Connection connection;
        private final Map<String, PreparedStatement> statements = new HashMap<>();

        Tx(Connection connection) {
            this.connection = connection;
        }

        interface Row<T> {
            T of(ResultSet row) throws SQLException;
        }

        private interface Use<T> {
            T of(PreparedStatement statement) throws SQLException;
        }

        /** For what has no values and no rows, kept or not. */
        void run(String sql) throws SQLException {
            if (sql.startsWith("PRAGMA") || sql.startsWith("CREATE")) {
                try (Statement statement = connection.createStatement()) {
                    statement.execute(sql);
                }
            } else {
                with(sql, PreparedStatement::execute);
            }
        }

        int update(String sql, Object... values) throws SQLException {
            return with(sql, PreparedStatement::executeUpdate, values);
        }

        <T> T first(String sql, Row<T> row, Object... values) throws SQLException {
            return with(sql, statement -> {
                try (ResultSet result = statement.executeQuery()) {
                    return result.next() ? row.of(result) : null;
                }
            }, values);
        }

        <T> List<T> all(String sql, Row<T> row, Object... values) throws SQLException {
            return with(sql, statement -> {
                try (ResultSet result = statement.executeQuery()) {
                    List<T> rows = new ArrayList<>();
                    while (result.next()) {
                        rows.add(row.of(result));
                    }
                    return rows;
                }
            }, values);
        }

        boolean exists(String sql, Object... values) throws SQLException {
            return first(sql, row -> true, values) != null;
        }

        long number(String sql, Object... values) throws SQLException {
            Long value = first(sql, row -> row.getLong(1), values);
            return value == null ? 0 : value;
        }

        void close() throws SQLException {
            for (PreparedStatement statement : statements.values()) {
                statement.close();
            }
            connection.close();
        }

        private <T> T with(String sql, Use<T> use, Object... values) throws SQLException {
            PreparedStatement statement = statements.remove(sql);
            if (statement == null) {
                statement = connection.prepareStatement(sql);
            }
            try {
                for (int i = 0; i < values.length; i++) {
                    statement.setObject(i + 1, values[i]);
                }
                T result = use.of(statement);
                statements.put(sql, statement);
                return result;
            } catch (SQLException | RuntimeException e) {
                // The driver closes a statement that has failed; it must not come back.
                statement.close();
                throw e;
            }
        }
    }
}
