//! Texts with a form: names, durations, paths, and so on.
//!
//! Each has a regular expression for the schema and a function for the parser. The function is
//! written by hand, so that the product needs no regular expressions; a property test holds the
//! two together.

use crate::Code;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Any,
    NonEmpty,
    /// `payments`, `psp-sim`
    Name,
    /// `order.placed`
    Topic,
    /// `order.*`
    TopicPattern,
    /// `LOG_LEVEL`
    Variable,
    /// `/readyz`
    UrlPath,
    /// `20s`
    Duration,
    /// `500ms..60s`
    Range,
    /// `128M`
    Size,
    /// `20%`
    Percent,
    /// `random:64`
    Generate,
    /// `5% 10m`
    Step,
    /// `50/s`
    Rate,
    /// Of a database: letters, digits, `_`.
    DatabaseName,
    /// `http://…`
    HttpUrl,
    /// `p95`, `200ms`
    Hedge,
}

impl Format {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 17] = [
        Self::Any,
        Self::NonEmpty,
        Self::Name,
        Self::Topic,
        Self::TopicPattern,
        Self::Variable,
        Self::UrlPath,
        Self::Duration,
        Self::Range,
        Self::Size,
        Self::Percent,
        Self::Generate,
        Self::Step,
        Self::Rate,
        Self::DatabaseName,
        Self::HttpUrl,
        Self::Hedge,
    ];

    /// For the schema; in the dialect common to JavaScript, Rust and Python.
    pub(crate) fn regex(self) -> Option<&'static str> {
        Some(match self {
            Self::Any => return None,
            Self::NonEmpty => r"^[^\x00]+$",
            Self::Name => "^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$",
            Self::Topic => r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+$",
            Self::TopicPattern => r"^[a-z][a-z0-9_-]*(\.([a-z0-9_-]+|\*))*\.([a-z0-9_-]+|\*\*?)$",
            Self::Variable => "^[A-Za-z_][A-Za-z0-9_]*$",
            Self::UrlPath => r"^/[!-~]*$",
            Self::Duration => "^([0-9]{1,9}(ms|s|m|h|d)){1,5}$",
            Self::Range => r"^([0-9]{1,9}(ms|s|m|h|d)){1,5}\.\.([0-9]{1,9}(ms|s|m|h|d)){1,5}$",
            Self::Size => r"^[0-9]{1,15}(\.[0-9]{1,9})?([KMGT]i?)?B?$",
            Self::Percent => r"^[0-9]{1,3}(\.[0-9]{1,3})?%$",
            Self::Generate => "^random:[0-9]{1,4}$",
            Self::Step => r"^[0-9]{1,3}(\.[0-9]{1,3})?% ([0-9]{1,9}(ms|s|m|h|d)){1,5}$",
            Self::Rate => "^[0-9]{1,9}/(s|m|h)$",
            Self::DatabaseName => "^[A-Za-z0-9_]{1,63}$",
            Self::HttpUrl => "^https?://[!-~]+$",
            Self::Hedge => "^(p[1-9][0-9]|([0-9]{1,9}(ms|s|m|h|d)){1,5})$",
        })
    }

    pub(crate) fn accepts(self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::NonEmpty => !text.is_empty() && !text.contains('\0'),
            Self::Name => is_name(text),
            Self::Topic => {
                let mut words = text.split('.');
                words.next().is_some_and(is_first_word)
                    && text.contains('.')
                    && words.all(is_topic_word)
            }
            Self::TopicPattern => is_topic_pattern(text),
            Self::Variable => {
                !text.starts_with(|c: char| c.is_ascii_digit())
                    && !text.is_empty()
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            }
            Self::UrlPath => text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()),
            Self::Duration => is_duration(text),
            Self::Range => {
                text.split_once("..").is_some_and(|(a, b)| is_duration(a) && is_duration(b))
            }
            Self::Size => is_size(text),
            Self::Percent => is_percent(text),
            Self::Generate => text.strip_prefix("random:").is_some_and(|n| digits(n, 1, 4)),
            Self::Step => {
                text.split_once(' ').is_some_and(|(a, b)| is_percent(a) && is_duration(b))
            }
            Self::Rate => text
                .split_once('/')
                .is_some_and(|(n, unit)| digits(n, 1, 9) && ["s", "m", "h"].contains(&unit)),
            Self::DatabaseName => {
                (1..=63).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            }
            Self::Hedge => match text.strip_prefix('p') {
                Some(rest) => digits(rest, 2, 2) && !rest.starts_with('0'),
                None => is_duration(text),
            },
            Self::HttpUrl => text
                .strip_prefix("http://")
                .or_else(|| text.strip_prefix("https://"))
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic())),
        }
    }

    pub(crate) fn code(self) -> Code {
        match self {
            Self::NonEmpty => Code::Empty,
            Self::Name | Self::Topic | Self::TopicPattern | Self::Variable | Self::DatabaseName => {
                Code::BadName
            }
            Self::Duration => Code::BadDuration,
            Self::Range => Code::BadRange,
            Self::Size => Code::BadSize,
            _ => Code::BadText,
        }
    }

    /// With an article, for messages.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Any | Self::NonEmpty => "a string",
            Self::Name => "a name",
            Self::Topic => "a topic",
            Self::TopicPattern => "a topic pattern",
            Self::Variable => "the name of a variable",
            Self::UrlPath => "a path",
            Self::Duration => "a duration",
            Self::Range => "a range of durations",
            Self::Size => "a size",
            Self::Percent => "a percentage",
            Self::Generate => "a rule to generate a secret",
            Self::Step => "a step of a rollout",
            Self::Rate => "a rate",
            Self::DatabaseName => "the name of a database",
            Self::HttpUrl => "a URL",
            Self::Hedge => "a time after which to ask twice",
        }
    }

    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Any => "any text",
            Self::NonEmpty => "at least one character",
            Self::Name => {
                "lower-case letters, digits and hyphens, starting with a letter and not ending \
                 with a hyphen, at most 42 characters"
            }
            Self::Topic => "lower-case words joined by dots, for example `order.placed`",
            Self::TopicPattern => {
                "a topic in which `*` stands for one word and a last `**` for the rest, for \
                 example `order.*`"
            }
            Self::Variable => "letters, digits and `_`, not starting with a digit",
            Self::UrlPath => "a path that starts with `/`, in ASCII and without spaces",
            Self::Duration => {
                "a number with a unit (ms, s, m, h, d), for example \"500ms\", \"20s\" or \"1m30s\""
            }
            Self::Range => "two durations joined by `..`, for example \"500ms..60s\"",
            Self::Size => "a number with a unit (K, M, G, T; powers of two), for example \"128M\"",
            Self::Percent => "a number and `%`, for example \"20%\"",
            Self::Generate => "`random:` and a length, for example \"random:64\"",
            Self::Step => "a percentage, a space and a duration, for example \"5% 10m\"",
            Self::Rate => "a number, `/` and s, m or h, for example \"50/s\"",
            Self::DatabaseName => "letters, digits and `_`, at most 63 characters",
            Self::Hedge => "a percentile such as \"p95\", or a duration such as \"200ms\"",
            Self::HttpUrl => {
                "a URL that starts with `http://` or `https://`, in ASCII and without spaces"
            }
        }
    }
}

fn digits(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.first(), Some(b'a'..=b'z'))
        && bytes.len() <= 42
        && bytes.last() != Some(&b'-')
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_topic_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn is_first_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && is_topic_word(word)
}

fn is_topic_pattern(text: &str) -> bool {
    let Some((front, last)) = text.rsplit_once('.') else { return false };
    let mut front = front.split('.');
    front.next().is_some_and(is_first_word)
        && front.all(|word| word == "*" || is_topic_word(word))
        && (last == "*" || last == "**" || is_topic_word(last))
}

fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=9).contains(&number) {
            return false;
        }
        rest = &rest[number..];
        let unit = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        if !["ms", "s", "m", "h", "d"].contains(&&rest[..unit]) {
            return false;
        }
        rest = &rest[unit..];
        parts += 1;
    }
    (1..=5).contains(&parts)
}

fn is_decimal(text: &str, whole_max: usize, fraction_max: usize) -> bool {
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole, 1, whole_max) && digits(fraction, 1, fraction_max),
        None => digits(text, 1, whole_max),
    }
}

fn is_size(text: &str) -> bool {
    let number = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at(number);
    let unit = unit.strip_suffix('B').unwrap_or(unit);
    is_decimal(number, 15, 9) && ["", "K", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&unit)
}

fn is_percent(text: &str) -> bool {
    text.strip_suffix('%').is_some_and(|number| is_decimal(number, 3, 3))
}
