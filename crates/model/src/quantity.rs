//! Durations and sizes as people write them.

use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {rule}")]
pub struct QuantityError {
    pub kind: &'static str,
    pub text: String,
    pub rule: &'static str,
}

/// Reads `500ms`, `2s`, `1m30s`, `7d`.
///
/// # Errors
/// [`QuantityError`] for anything else, also for a bare number: its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let error = || QuantityError {
        kind: "duration",
        text: text.to_owned(),
        rule: "a number with a unit (ms, s, m, h, d), for example `500ms`, `20s` or `1m30s`",
    };
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let millis_each: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(error()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(millis_each).map(Duration::from_millis).ok_or_else(error)?;
        total = total.checked_add(part).ok_or_else(error)?;
    }
    if text.is_empty() { Err(error()) } else { Ok(total) }
}

/// The inverse of [`parse_duration`], to two units: `1m30s`, `2s`, `350ms`.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let seconds = duration.as_secs();
    let (days, hours, minutes, secs) =
        (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let two = |a: u64, ua: &str, b: u64, ub: &str| match b {
        0 => format!("{a}{ua}"),
        b => format!("{a}{ua}{b}{ub}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, m) => two(m, "m", secs, "s"),
        (0, h, m) => two(h, "h", m, "m"),
        (d, h, _) => two(d, "d", h, "h"),
    }
}

/// A size in bytes; `128M` is 128 MiB, as in every container tool.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Reads `128M`, `1.5G`, `64KiB`, `4096`.
    ///
    /// # Errors
    /// [`QuantityError`] for anything else, zero and what does not fit 63 bits.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let error = || QuantityError {
            kind: "size",
            text: text.to_owned(),
            rule: "a number with a unit (K, M, G, T; powers of two), for example `128M`",
        };
        let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit {
            "" | "B" => 0,
            "K" | "KB" | "Ki" | "KiB" => 10,
            "M" | "MB" | "Mi" | "MiB" => 20,
            "G" | "GB" | "Gi" | "GiB" => 30,
            "T" | "TB" | "Ti" | "TiB" => 40,
            _ => return Err(error()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u64 = whole.parse().map_err(|_| error())?;
        if fraction.is_empty() || fraction.len() > 9 {
            return Err(error());
        }
        let scale = 10u64.pow(u32::try_from(fraction.len()).map_err(|_| error())?);
        let fraction: u64 = fraction.parse().map_err(|_| error())?;
        let unit = 1u128 << shift;
        let bytes = u128::from(whole) * unit + u128::from(fraction) * unit / u128::from(scale);
        match u64::try_from(bytes) {
            Ok(0) | Err(_) => Err(error()),
            Ok(bytes) if bytes > i64::MAX as u64 => Err(error()),
            Ok(bytes) => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        for (shift, unit) in units {
            let one = 1u64 << shift;
            if self.0 >= one {
                let tenths = self.0.saturating_mul(10) / one;
                let text = if tenths.is_multiple_of(10) || tenths >= 1_000 {
                    format!("{}{unit}", tenths / 10)
                } else {
                    format!("{}.{}{unit}", tenths / 10, tenths % 10)
                };
                return f.pad(&text);
            }
        }
        f.pad(&format!("{}B", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "1.5s",
            "5x",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for text in ["350ms", "2s", "1m30s", "3h", "2d5h"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("4096", 4096),
            ("128M", 128 << 20),
            ("1.5G", 3 << 29),
            ("64KiB", 65_536),
            ("1T", 1 << 40),
        ] {
            assert_eq!(Bytes::parse(text).unwrap().0, bytes, "{text}");
        }
        for bad in ["", "0", "M", "1.M", "1,5G", "-1M", "9999999999T", "1e3", "1..5G"] {
            assert!(Bytes::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Bytes(128 << 20).to_string(), "128M");
        assert_eq!(Bytes(3 << 29).to_string(), "1.5G");
        assert_eq!(Bytes(900).to_string(), "900B");
    }
}
