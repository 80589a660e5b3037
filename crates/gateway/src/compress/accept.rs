//! What a caller can read, by `Accept-Encoding` (RFC 9110, section 12.5.3).

use http::{HeaderMap, header};

use crate::compress::Coding;

/// The coding that the caller likes best; of equals the one that makes it smallest.
pub(crate) fn best(headers: &HeaderMap) -> Option<Coding> {
    let mut named = [None; Coding::ALL.len()];
    let (mut every, mut identity) = (None, None);
    for line in headers.get_all(header::ACCEPT_ENCODING) {
        for part in line.as_bytes().split(|b| *b == b',') {
            let (name, weight) = read(part);
            if name == b"*" {
                every = Some(weight);
            } else if name.eq_ignore_ascii_case(b"identity") {
                identity = Some(weight);
            } else if let Some(coding) = coding(name) {
                named[coding as usize] = Some(weight);
            }
        }
    }
    let weight = |coding: Coding| named[coding as usize].or(every).unwrap_or_default();
    let best = Coding::ALL.into_iter().rev().max_by_key(|coding| weight(*coding))?;
    // Somebody who ranks plain text above all codings gets it; unsaid, anything is better.
    (weight(best) > 0 && weight(best) >= identity.unwrap_or_default()).then_some(best)
}

fn coding(name: &[u8]) -> Option<Coding> {
    let gzip = || name.eq_ignore_ascii_case(b"x-gzip").then_some(Coding::Gzip);
    Coding::ALL.into_iter().find(|c| name.eq_ignore_ascii_case(c.name().as_bytes())).or_else(gzip)
}

/// One member and its weight in thousandths.
fn read(part: &[u8]) -> (&[u8], u16) {
    let mut pieces = part.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let name = pieces.next().unwrap_or_default();
    let weight =
        pieces.find_map(|piece| piece.strip_prefix(b"q=").or_else(|| piece.strip_prefix(b"Q=")));
    let weight = weight.map_or(1000, |text| {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f32>().ok());
        // What cannot be read is no consent.
        number.filter(|n| (0.0..=1.0).contains(n)).map_or(0, |n| (n * 1000.0) as u16)
    });
    (name, weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn best_of(text: &str) -> Option<Coding> {
        let value = HeaderValue::from_str(text).unwrap();
        best(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]))
    }

    #[test]
    fn the_caller_chooses() {
        let check =
            |text: &str, expected: Option<Coding>| assert_eq!(best_of(text), expected, "{text}");
        check("gzip, deflate, br, zstd", Some(Coding::Brotli));
        check("gzip, deflate, zstd", Some(Coding::Zstd));
        check("GZIP;q=1.0, br;q=0.5", Some(Coding::Gzip));
        check("br;q=0, *", Some(Coding::Zstd));
        check("br;q=0, gzip;q=0", None);
        check("gzip;q=0.5, identity", None);
        check("*;q=0", None);
        check("identity", None);
        check("deflate", None);
        check("gzip;q=x", None);
        check("", None);
        assert_eq!(best(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read(text in "[ -~]{0,80}") {
            best_of(&text);
        }
    }
}
