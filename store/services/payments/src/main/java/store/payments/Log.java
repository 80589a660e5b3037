package store.payments;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;

/** One JSON object a line on standard output. */
final class Log {
    private static final PrintStream OUT = System.out;

    private Log() {
    }

    static void info(String message) {
        write("info", message, null);
    }

    static void warn(String message) {
        write("warn", message, null);
    }

    static void error(String message, Throwable cause) {
        write("error", message, cause);
    }

    private static void write(String level, String message, Throwable cause) {
        ObjectNode line = Json.object();
        line.put("time", Json.now()).put("level", level).put("msg", message);
        Trace trace = Trace.current();
        if (trace != null) {
            line.put("trace_id", trace.traceId());
            if (trace.orderId() != null) {
                line.put("order_id", trace.orderId());
            }
        }
        if (cause != null) {
            StringWriter text = new StringWriter();
            cause.printStackTrace(new PrintWriter(text, true));
            line.put("error", text.toString());
        }
        byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
        synchronized (OUT) {
            OUT.write(bytes, 0, bytes.length);
            OUT.flush();
        }
    }
}
