package store.payments;

import java.sql.SQLException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/** One lock an order, there only while somebody uses it. */
final class Orders {
    private static final class Entry {
        final ReentrantLock lock = new ReentrantLock();
        int users;
    }

    interface Work<T> {
        T run() throws SQLException;
    }

    private final ConcurrentHashMap<String, Entry> entries = new ConcurrentHashMap<>();

    /** Null when the order's lock could not be had in {@code waitMs}. */
    <T> T with(String orderId, long waitMs, Work<T> work) throws SQLException {
        Entry entry = entries.compute(orderId, (id, old) -> {
            Entry used = old == null ? new Entry() : old;
            used.users++;
            return used;
        });
        boolean mine = false;
        try {
            mine = entry.lock.tryLock(waitMs, TimeUnit.MILLISECONDS);
            return mine ? work.run() : null;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return null;
        } finally {
            if (mine) {
                entry.lock.unlock();
            }
            entries.compute(orderId, (id, used) -> --used.users == 0 ? null : used);
        }
    }
}
