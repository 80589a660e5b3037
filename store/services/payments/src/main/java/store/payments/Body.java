package store.payments;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

/** Reads the members of a command, collects every mistake, and tells them all at once. */
final class Body {
    private final JsonNode root;
    private final String at;
    private final List<Problem.At> errors;
    private final Set<String> asked = new HashSet<>();

    private Body(JsonNode root, String at, List<Problem.At> errors) {
        this.root = root;
        this.at = at;
        this.errors = errors;
    }

    static Body parse(byte[] bytes) {
        JsonNode root;
        try {
            root = bytes.length == 0 ? Json.object() : Json.read(bytes);
        } catch (IOException | RuntimeException e) {
            throw Problem.validation("", "the body is not JSON");
        }
        if (!root.isObject()) {
            throw Problem.validation("", "the body is not a JSON object");
        }
        return new Body(root, "", new ArrayList<>());
    }

    JsonNode tree() {
        return root;
    }

    String text(String name, Pattern form, String what) {
        JsonNode value = member(name, true);
        if (value != null && !(value.isTextual() && form.matcher(value.textValue()).matches())) {
            wrong(name, what);
        }
        return value == null ? null : value.textValue();
    }

    String optionalText(String name, Pattern form, String what) {
        JsonNode value = member(name, false);
        if (value != null && !(value.isTextual() && form.matcher(value.textValue()).matches())) {
            wrong(name, what);
        }
        return value == null ? null : value.textValue();
    }

    long whole(String name, long min, long max) {
        JsonNode value = member(name, true);
        boolean fits = value != null && value.isIntegralNumber() && value.canConvertToLong()
                && value.longValue() >= min && value.longValue() <= max;
        if (value != null && !fits) {
            wrong(name, "a whole number from " + min + " to " + max);
        }
        return fits ? value.longValue() : min;
    }

    /** The store sells in one currency; another is a mistake of the caller, not of the card. */
    long euros(String name, long max) {
        JsonNode value = member(name, true);
        if (value == null) {
            return 0;
        }
        if (!value.isObject()) {
            wrong(name, "an object {amount_minor, currency}");
            return 0;
        }
        Body money = new Body(value, at + "/" + name, errors);
        long amount = money.whole("amount_minor", 1, max);
        money.text("currency", Pattern.compile("EUR"), "EUR");
        money.noOthers();
        return amount;
    }

    /** To be called last: unknown members are mistakes too. */
    void done() {
        noOthers();
        if (!errors.isEmpty()) {
            throw Problem.validation(errors);
        }
    }

    private void noOthers() {
        root.fieldNames().forEachRemaining(name -> {
            if (!asked.contains(name)) {
                wrong(name, "is not a member of this request");
            }
        });
    }

    private JsonNode member(String name, boolean required) {
        asked.add(name);
        JsonNode value = root.get(name);
        if (value == null || value.isNull()) {
            if (required) {
                wrong(name, "is missing");
            }
            return null;
        }
        return value;
    }

    private void wrong(String name, String what) {
        if (errors.size() < 20) {
            errors.add(new Problem.At(at + "/" + name.replace("~", "~0").replace("/", "~1"), what));
        }
    }
}
