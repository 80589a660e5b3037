//! Reads `Cache-Control`, of requests and of answers (RFC 9111, section 5.2).
//!
//! What cannot be read makes an answer fresh for less time, never for longer: a number that is
//! none counts as zero, and of two that differ the smaller one holds.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

/// RFC 9111, section 1.2.2: what is greater than can be counted.
const FOREVER_S: u64 = 1 << 31;

/// The directives that a shared cache knows; those with a time are `None` when absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) no_store: bool,
    /// Without a list of fields, or in a request.
    pub(crate) no_cache: bool,
    /// Without a list of fields.
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) no_transform: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// `Duration::MAX`: however old.
    pub(crate) max_stale: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    /// Fields that `no-cache` and `private` name: they are not kept.
    pub(crate) unkept: Vec<HeaderName>,
}

impl Control {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for line in headers.get_all(header::CACHE_CONTROL) {
            let mut rest = line.as_bytes();
            while let Some(directive) = next(&mut rest) {
                control.take(&directive);
            }
        }
        control
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let name = directive.name.to_ascii_lowercase();
        let seconds = |place: &mut Option<Duration>| {
            let read = directive.seconds();
            *place = Some(place.map_or(read, |other| other.min(read)));
        };
        match name.as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => match directive.value.is_empty() {
                true => self.no_cache = true,
                false => self.unkept.extend(directive.fields()),
            },
            b"private" => match directive.value.is_empty() {
                true => self.private = true,
                false => self.unkept.extend(directive.fields()),
            },
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => seconds(&mut self.max_age),
            b"s-maxage" => seconds(&mut self.s_maxage),
            b"min-fresh" => seconds(&mut self.min_fresh),
            b"max-stale" if directive.value.is_empty() => self.max_stale = Some(Duration::MAX),
            b"max-stale" => seconds(&mut self.max_stale),
            b"stale-while-revalidate" => seconds(&mut self.stale_while_revalidate),
            b"stale-if-error" => seconds(&mut self.stale_if_error),
            _ => {}
        }
    }
}

struct Directive<'a> {
    name: &'a [u8],
    /// Without its quotes.
    value: &'a [u8],
}

impl Directive<'_> {
    fn seconds(&self) -> Duration {
        seconds(self.value).unwrap_or_default()
    }

    fn fields(&self) -> impl Iterator<Item = HeaderName> {
        let names = self.value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        names.filter_map(|name| HeaderName::from_bytes(name).ok())
    }
}

/// Whole seconds, as `Age` and the directives have them.
pub(crate) fn seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(Duration::from_secs(number.min(FOREVER_S)))
}

/// Takes one directive off the start; commas within quotes are part of it.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Directive<'a>> {
    loop {
        let mut quoted = false;
        let mut escaped = false;
        let end = rest.iter().position(|byte| {
            match (*byte, quoted) {
                _ if escaped => escaped = false,
                (b'\\', true) => escaped = true,
                (b'"', _) => quoted = !quoted,
                (b',', false) => return true,
                _ => {}
            }
            false
        });
        let whole = &rest[..end.unwrap_or(rest.len())];
        *rest = end.map_or(&[], |end| &rest[end + 1..]);
        let whole = whole.trim_ascii();
        if whole.is_empty() {
            if rest.is_empty() {
                return None;
            }
            continue;
        }
        let (name, value) = match whole.iter().position(|b| *b == b'=') {
            // No space around `=`: with one it is another directive, which nobody knows.
            Some(at) => (&whole[..at], &whole[at + 1..]),
            None => (whole, &b""[..]),
        };
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        return Some(Directive { name, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(text: &str) -> Control {
        let value = HeaderValue::from_str(text).unwrap();
        Control::of(&HeaderMap::from_iter([(header::CACHE_CONTROL, value)]))
    }

    #[test]
    fn directives_are_read_in_any_dress() {
        let control = read("Public, MAX-AGE=\"60\",, s-maxage=5 ,must-revalidate");
        assert!(control.public && control.must_revalidate && !control.private);
        assert_eq!(control.max_age, Some(Duration::from_secs(60)));
        assert_eq!(control.s_maxage, Some(Duration::from_secs(5)));
        let control = read("no-cache=\"set-cookie, x-a\", private");
        assert!(!control.no_cache && control.private);
        assert_eq!(control.unkept, ["set-cookie", "x-a"]);
    }

    #[test]
    fn a_comma_in_quotes_ends_nothing() {
        let control = read("x=\"a, no-store\", max-age=1");
        assert!(!control.no_store);
        assert_eq!(control.max_age, Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_cannot_be_read_is_stale() {
        for bad in ["max-age=", "max-age=x", "max-age=-1", "max-age=1.5", "max-age=9, max-age=0"] {
            assert_eq!(read(bad).max_age, Some(Duration::ZERO), "{bad}");
        }
        assert_eq!(read("max-age = 5").max_age, None);
        let huge = read("max-age=99999999999999999999999999").max_age;
        assert_eq!(huge, Some(Duration::from_secs(FOREVER_S)));
    }

    proptest! {
        #[test]
        fn any_line_is_read(text in "[ -~]{0,80}") {
            read(&text);
        }
    }
}
