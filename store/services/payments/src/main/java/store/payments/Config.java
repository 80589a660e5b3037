package store.payments;

import java.net.URI;
import java.nio.file.Path;
import java.util.Map;

/** What the environment says, checked once: a wrong variable stops the start with one clear line. */
record Config(String host, int port, Path database, String apiToken, URI psp, URI pspPublic,
        String webhookSecret, long pspTimeoutMs, long lateWindowMs) {

    static final class Invalid extends Exception {
        private static final long serialVersionUID = 1;

        Invalid(String message) {
            super(message);
        }
    }

    static Config from(Map<String, String> env) throws Invalid {
        String psp = env.getOrDefault("PSP_URL", env.getOrDefault("PSP_SIM_URL", ""));
        if (psp.isEmpty()) {
            throw new Invalid("PSP_URL (or PSP_SIM_URL) is not set: the address of the payment provider");
        }
        String secret = env.getOrDefault("PSP_WEBHOOK_SECRET", "");
        if (secret.isEmpty()) {
            throw new Invalid("PSP_WEBHOOK_SECRET is not set: without it no webhook can be believed");
        }
        return new Config(
                env.getOrDefault("HOST", "127.0.0.1"),
                (int) number(env, "PORT", 8080, 65_535),
                database(env.getOrDefault("DATABASE_URL", "sqlite:///payments.db")),
                env.getOrDefault("APP_API_TOKEN", ""),
                address("PSP_URL", psp),
                URI.create(stripped(env.getOrDefault("PSP_PUBLIC_URL", "/psp"))),
                secret,
                number(env, "PSP_TIMEOUT_MS", 2_000, 60_000),
                number(env, "LATE_WINDOW_MS", 60_000, 3_600_000));
    }

    private static Path database(String url) throws Invalid {
        if (!url.startsWith("sqlite:///") || url.length() == "sqlite:///".length()) {
            throw new Invalid("DATABASE_URL is \"" + url + "\"; it has the form sqlite:////absolute/path.db");
        }
        return Path.of(url.substring("sqlite:///".length()));
    }

    private static URI address(String name, String text) throws Invalid {
        try {
            URI uri = URI.create(stripped(text));
            if (("http".equals(uri.getScheme()) || "https".equals(uri.getScheme())) && uri.getHost() != null) {
                return uri;
            }
        } catch (IllegalArgumentException e) {
            // the same answer as for a wrong scheme
        }
        throw new Invalid(name + " is \"" + text + "\", which is not an http(s) address");
    }

    private static String stripped(String url) {
        return url.endsWith("/") ? url.substring(0, url.length() - 1) : url;
    }

    private static long number(Map<String, String> env, String name, long otherwise, long max) throws Invalid {
        String text = env.getOrDefault(name, "");
        if (text.isEmpty()) {
            return otherwise;
        }
        try {
            long value = Long.parseLong(text);
            if (value >= 0 && value <= max) {
                return value;
            }
        } catch (NumberFormatException e) {
            // the same answer as for a number out of range
        }
        throw new Invalid(name + " is \"" + text + "\"; it is a whole number from 0 to " + max);
    }
}
