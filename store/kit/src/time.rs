//! Moments and the clock they are read from.
//!
//! A moment is milliseconds since 1970 in UTC and is written as RFC 3339 with exactly three
//! decimals, so that texts of two moments compare like the moments: the databases store and
//! order by the text. A service compares only readings of its own clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, to the millisecond, in the years 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The last millisecond that four digits of year can say.
const MILLIS_MAX: i64 = 253_402_300_799_999;

impl Timestamp {
    /// Clamped to what can be written.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, MILLIS_MAX))
    }

    pub fn millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self::from_millis(
            self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self::from_millis(
            self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

const DAY_MS: i64 = 86_400_000;

/// Days since 1970-01-01 of a date in the Gregorian calendar. Counts years from March, so that
/// the leap day is the last of the year, in eras of 400 years.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_of`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = date_of(days);
        let (h, m, s, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a time in UTC such as 2026-01-31T12:00:00.000Z")]
pub struct BadTime(String);

impl FromStr for Timestamp {
    type Err = BadTime;

    /// Reads RFC 3339 in UTC (`Z`), with or without decimals; digits below the millisecond
    /// are cut off.
    fn from_str(text: &str) -> Result<Self, BadTime> {
        parse(text).ok_or_else(|| BadTime(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| bytes.get(at) != Some(&mark)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (h, m, s) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?.strip_suffix('Z')?;
    let ms = match rest.strip_prefix('.') {
        Some(decimals) if !decimals.is_empty() && decimals.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{decimals}00").get(..3)?.parse().ok()?
        }
        None if rest.is_empty() => 0,
        _ => return None,
    };
    let days = days_of(year, month, day);
    let exists = (1..=12).contains(&month) && date_of(days) == (year, month, day);
    if !exists || year < 1970 || h > 23 || m > 59 || s > 59 {
        return None;
    }
    Some(Timestamp(days * DAY_MS + h * 3_600_000 + m * 60_000 + s * 1000 + ms))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|e: BadTime| FromSqlError::Other(Box::new(e)))
    }
}

/// Where a service reads the time. Tests move it; clones move together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(millis.saturating_add(self.offset_ms.load(Ordering::Relaxed)))
    }

    /// Moves this clock and its clones forward.
    pub fn advance(&self, span: Duration) {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_the_same_moment() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
            (MILLIS_MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap(), Timestamp(millis));
        }
        for day in 0..200_000 {
            let (y, m, d) = date_of(day);
            assert_eq!(days_of(y, m, d), day);
        }
    }

    #[test]
    fn reads_other_precisions_and_refuses_what_is_no_time() {
        assert_eq!("2026-01-31T12:00:00Z".parse::<Timestamp>().unwrap().millis() % 1000, 0);
        assert_eq!("2026-01-31T12:00:00.5Z".parse::<Timestamp>().unwrap().millis() % 1000, 500);
        assert_eq!(
            "2026-01-31T12:00:00.123456Z".parse::<Timestamp>().unwrap().millis() % 1000,
            123
        );
        for bad in [
            "",
            "now",
            "2026-02-30T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:00:00+01:00",
            "2026-01-31T12:00:00.Z",
            "２026-01-31T12:00:00Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn text_order_is_time_order() {
        let early = Timestamp(1_000);
        assert!(early.to_string() < (early + Duration::from_millis(1)).to_string());
        assert_eq!((early - Duration::from_secs(5)).millis(), 0);
    }
}
