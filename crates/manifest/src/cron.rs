//! Checks a schedule of five fields. Times are computed where jobs are run; here the question is
//! only whether the text means anything, and whether it ever comes round.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CronError {
    Fields(usize),
    Field { name: &'static str, text: String, reason: String },
    Never,
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(6) => f.write_str("it has six fields; seconds are not supported"),
            Self::Fields(count) => write!(f, "it has {count} of five fields"),
            Self::Field { name, text, reason } => {
                write!(f, "{name} `{}` {reason}", crate::sink::shown(text))
            }
            Self::Never => f.write_str("no month has that day"),
        }
    }
}

struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    /// Names for `min`, `min + 1`, …
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
    },
    // 7 is Sunday too.
    Field {
        name: "day of week",
        min: 0,
        max: 7,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    },
];

const DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

pub(crate) fn check(text: &str) -> Result<(), CronError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(CronError::Fields(fields.len()));
    }
    let mut values = Vec::with_capacity(5);
    for (field, text) in FIELDS.iter().zip(&fields) {
        values.push(field.values(text)?);
    }
    // With a day of week given, a day of month that never comes does no harm.
    let some_day = fields[4] != "*"
        || (1..=12u8)
            .filter(|month| values[3] & bit(*month) != 0)
            .any(|month| (1..=DAYS[usize::from(month) - 1]).any(|day| values[2] & bit(day) != 0));
    if some_day { Ok(()) } else { Err(CronError::Never) }
}

fn bit(value: u8) -> u64 {
    1 << value
}

impl Field {
    /// The values that the text stands for, as bits.
    fn values(&self, text: &str) -> Result<u64, CronError> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part).map_err(|reason| CronError::Field {
                name: self.name,
                text: part.to_owned(),
                reason,
            })?;
        }
        Ok(bits)
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<u8>().ok().filter(|step| (1..=self.max).contains(step));
                (range, step.ok_or_else(|| format!("has a step that is not 1 to {}", self.max))?)
            }
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // `5/15` is from 5 to the end, in steps of 15.
            None if part.contains('/') => (self.value(range)?, self.max),
            None => (self.value(range)?, self.value(range)?),
        };
        if first > last {
            return Err("goes backwards".to_owned());
        }
        Ok((first..=last).step_by(usize::from(step)).fold(0, |bits, value| bits | bit(value)))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(at) => u8::try_from(at).ok().map(|at| at + self.min),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        value
            .filter(|value| (self.min..=self.max).contains(value))
            .ok_or_else(|| format!("is not a number from {} to {}", self.min, self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in [
            "0 3 * * *",
            "*/5 * * * *",
            "0 0 1,15 * MON-FRI",
            "59 23 31 12 7",
            "0 0 29 2 *",
            "5/15 * * * *",
            "0 0 31 2 MON",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "0 * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "+5 * * * *",
            "0 0 31 2 *",
            "0 0 31 4,6 *",
            ", * * * *",
            "@daily",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
