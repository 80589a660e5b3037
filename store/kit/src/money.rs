//! Money in minor units. Never a float, never a mix of currencies, never a silent overflow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 code, three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    pub const EUR: Self = Self(*b"EUR");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

/// An amount of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: Currency,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MoneyError {
    #[error("`{0}` is not a currency code of three capital letters")]
    Currency(String),
    #[error("{0} and {1} cannot be added: they are different currencies")]
    Mixed(Currency, Currency),
    #[error("the amount is too large")]
    TooLarge,
}

impl Money {
    pub fn new(amount_minor: i64, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }

    pub fn eur(amount_minor: i64) -> Self {
        Self::new(amount_minor, Currency::EUR)
    }

    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    pub fn times(self, qty: u32) -> Result<Self, MoneyError> {
        let amount = self.amount_minor.checked_mul(i64::from(qty)).ok_or(MoneyError::TooLarge)?;
        Ok(Self::new(amount, self.currency))
    }

    /// This amount times `numerator / denominator`, rounded half to even.
    pub fn share(self, numerator: i64, denominator: i64) -> Result<Self, MoneyError> {
        let exact = i128::from(self.amount_minor) * i128::from(numerator);
        let rounded =
            divide_half_even(exact, i128::from(denominator)).ok_or(MoneyError::TooLarge)?;
        let amount = i64::try_from(rounded).map_err(|_| MoneyError::TooLarge)?;
        Ok(Self::new(amount, self.currency))
    }

    fn combine(self, other: Self, how: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed(self.currency, other.currency));
        }
        let amount = how(self.amount_minor, other.amount_minor).ok_or(MoneyError::TooLarge)?;
        Ok(Self::new(amount, self.currency))
    }
}

/// `a / b`, rounded half to even; `None` when `b` is zero.
pub fn divide_half_even(a: i128, b: i128) -> Option<i128> {
    if b == 0 {
        return None;
    }
    let (a, b) = if b < 0 { (a.checked_neg()?, b.checked_neg()?) } else { (a, b) };
    let (quotient, rest) = (a.div_euclid(b), a.rem_euclid(b));
    let up = match (rest.checked_mul(2)?).cmp(&b) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
    };
    Some(quotient + i128::from(up))
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let minor = self.amount_minor.unsigned_abs();
        write!(f, "{sign}{}.{:02} {}", minor / 100, minor % 100, self.currency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(MoneyError::Currency(text.chars().take(16).collect())),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_to_even() {
        for (a, b, expected) in [
            (5, 2, 2),
            (7, 2, 4),
            (-5, 2, -2),
            (-7, 2, -4),
            (6, 4, 2),
            (5, 4, 1),
            (5, -2, -2),
            (0, 3, 0),
        ] {
            assert_eq!(divide_half_even(a, b), Some(expected), "{a}/{b}");
        }
        assert_eq!(divide_half_even(1, 0), None);
        assert_eq!(
            divide_half_even(i128::MAX - 1, i128::MAX),
            None,
            "too large to round, so no number"
        );
    }

    #[test]
    fn refuses_mixes_and_overflow() {
        let usd: Currency = "USD".parse().unwrap();
        assert_eq!(
            Money::eur(1).plus(Money::new(1, usd)),
            Err(MoneyError::Mixed(Currency::EUR, usd))
        );
        assert_eq!(Money::eur(i64::MAX).plus(Money::eur(1)), Err(MoneyError::TooLarge));
        assert_eq!(Money::eur(i64::MAX).times(2), Err(MoneyError::TooLarge));
        assert_eq!(Money::eur(1190).share(19, 119), Ok(Money::eur(190)));
        assert_eq!(Money::eur(-105).to_string(), "-1.05 EUR");
    }

    #[test]
    fn the_wire_form_is_strict() {
        let good: Money =
            serde_json::from_str(r#"{"amount_minor":1299,"currency":"EUR"}"#).unwrap();
        assert_eq!(good, Money::eur(1299));
        for bad in [
            r#"{"amount_minor":12.99,"currency":"EUR"}"#,
            r#"{"amount_minor":1,"currency":"eur"}"#,
            r#"{"amount_minor":1}"#,
        ] {
            assert!(serde_json::from_str::<Money>(bad).is_err(), "{bad}");
        }
    }
}
