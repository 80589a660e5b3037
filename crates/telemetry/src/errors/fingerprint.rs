//! What makes two errors the same: the kind, and where it came from. Not the numbers in it.

/// A text without what differs each time: numbers, ids, quoted values, addresses.
pub(crate) fn shape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, word) in text.split_whitespace().take(60).enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let differs = word.bytes().any(|byte| byte.is_ascii_digit());
        match (differs, word.split_once(['=', ':'])) {
            (false, _) => out.push_str(word),
            (true, Some((key, _))) if !key.bytes().any(|byte| byte.is_ascii_digit()) => {
                out.push_str(key);
                out.push_str("=*");
            }
            (true, _) => out.push('*'),
        }
    }
    out
}

/// The exception of a stack trace and the places nearest to it; nothing for a plain message.
pub(crate) fn trace(text: &str) -> Option<(String, Vec<String>)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_place = |line: &str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.starts_with("File \"") || line.contains(".go:")
    };
    let places: Vec<&str> = lines.iter().copied().filter(|line| is_place(line)).collect();
    if places.is_empty() {
        return None;
    }
    // Python tells the exception last and the nearest place before it; others first.
    let python = lines.iter().any(|line| line.starts_with("Traceback (most recent call last)"));
    let title = match python {
        true => lines.iter().rev().find(|line| !line.is_empty() && !line.starts_with(' ')),
        false => lines.iter().find(|line| !line.trim().is_empty()),
    };
    let near: Vec<&str> = match python {
        true => places.iter().rev().take(3).copied().collect(),
        false => places.iter().take(3).copied().collect(),
    };
    Some(((*title?).trim().to_owned(), near.into_iter().map(shape).collect()))
}

/// FNV-1a, as it stands in addresses: it must not change from one run to the next.
pub(crate) fn hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_make_another_error() {
        let same = |a: &str, b: &str| assert_eq!(shape(a), shape(b), "{a} / {b}");
        same("order ord_17 is gone", "order ord_2a9 is gone");
        same("timeout after 1500ms", "timeout after 20ms");
        same("dial 127.0.0.1:8080: refused", "dial 127.0.0.1:9090: refused");
        same("status=500 in 3", "status=502 in 4");
        assert_ne!(shape("card declined"), shape("card expired"));
    }

    #[test]
    fn a_trace_is_known_by_its_exception_and_its_places() {
        let python = "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\n    f()\n  File \"b.py\", line 9, in f\n    raise E\nValueError: no 7";
        let (title, places) = trace(python).unwrap();
        assert_eq!(title, "ValueError: no 7");
        assert_eq!(places[0], "File \"b.py\", line * in f");
        let java = "java.lang.X: no\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)";
        assert_eq!(trace(java).unwrap().0, "java.lang.X: no");
        assert_eq!(trace("it broke"), None);
    }
}
