package store.payments;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;

/** Trees only: the shapes are few, and data binding by reflection costs start time and memory. */
final class Json {
    private static final ObjectMapper MAPPER = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.").withZone(ZoneOffset.UTC);

    /** The text of one second. A formatter costs more than a row, and every row has two times. */
    private record Second(long epoch, String text) {
    }

    private static volatile Second last = new Second(0, "1970-01-01T00:00:00.");

    private Json() {
    }

    static ObjectNode object() {
        return MAPPER.createObjectNode();
    }

    static JsonNode read(byte[] bytes) throws IOException {
        return MAPPER.readTree(bytes);
    }

    static JsonNode stored(String text) {
        try {
            return MAPPER.readTree(text);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a body that we stored is not JSON", e);
        }
    }

    static ObjectNode money(long minor, String currency) {
        return object().put("amount_minor", minor).put("currency", currency);
    }

    static String now() {
        return time(System.currentTimeMillis());
    }

    static String time(long epochMs) {
        long second = Math.floorDiv(epochMs, 1000L);
        Second known = last;
        if (known.epoch != second) {
            known = new Second(second, TIME.format(Instant.ofEpochSecond(second)));
            last = known;
        }
        int ms = (int) Math.floorMod(epochMs, 1000L);
        return known.text + (ms < 10 ? "00" : ms < 100 ? "0" : "") + ms + "Z";
    }

    /** A digest that does not depend on the order of members. */
    static String fingerprint(String route, JsonNode body) {
        try {
            MessageDigest sha = MessageDigest.getInstance("SHA-256");
            sha.update(route.getBytes(StandardCharsets.UTF_8));
            sha.update(canonical(body).getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(sha.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has SHA-256", e);
        }
    }

    private static String canonical(JsonNode node) {
        if (!node.isObject()) {
            return node.toString();
        }
        Map<String, String> sorted = new TreeMap<>();
        node.properties().forEach(e -> sorted.put(e.getKey(), canonical(e.getValue())));
        return sorted.toString();
    }
}
