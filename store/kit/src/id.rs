//! Names of things: a prefix that says the kind, and a UUIDv7 in lower-case hexadecimal.

use std::fmt;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct BadId {
    text: String,
    expected: String,
}

impl BadId {
    fn new(text: &str, expected: impl Into<String>) -> Self {
        // An id in an error message is a hint, not a copy of whatever was sent.
        Self { text: text.chars().take(64).collect(), expected: expected.into() }
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                $check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                $check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.0.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(|e: BadId| FromSqlError::Other(Box::new(e)))
            }
        }
    };
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        name_type!($(#[$doc])* $name, |text: &str| check_id(text, $prefix));

        impl $name {
            /// A new id. Ids made later sort later.
            #[expect(clippy::new_without_default, reason = "two new ids are never equal")]
            pub fn new() -> Self {
                Self(format!(concat!($prefix, "_{}"), Uuid::now_v7().simple()))
            }
        }
    };
}

fn check_id(text: &str, prefix: &str) -> Result<(), BadId> {
    let hex = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let good = hex.is_some_and(|hex| {
        hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    if good {
        Ok(())
    } else {
        Err(BadId::new(text, format!("an id like {prefix}_<32 hexadecimal digits>")))
    }
}

fn check_sku(text: &str) -> Result<(), BadId> {
    let good = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good {
        Ok(())
    } else {
        Err(BadId::new(text, "a sku: letters, digits, `-`, `_`, `.`, at most 64"))
    }
}

id_type!(OrderId, "ord");
id_type!(CheckoutId, "chk");
id_type!(CartId, "crt");
id_type!(CustomerId, "cus");
id_type!(PaymentId, "pay");
id_type!(OperationId, "op");
id_type!(EventId, "evt");
name_type!(
    /// The name of one variant of one product.
    Sku,
    check_sku
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_valid_and_later_ids_sort_later() {
        let (a, b) = (OrderId::new(), OrderId::new());
        assert_eq!(a.as_str().parse::<OrderId>().unwrap(), a);
        assert!(a < b);
    }

    #[test]
    fn refuses_other_kinds_and_shapes() {
        for bad in [
            "",
            "ord_",
            "cus_01890a5d1c7d7cc0a2a1e9a2d0f3b4c5",
            "ord_01890A5D1C7D7CC0A2A1E9A2D0F3B4C5",
            "ord_01890a5d-1c7d-7cc0-a2a1-e9a2d0f3b4c5",
        ] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
        assert!("MAP-01_a.b".parse::<Sku>().is_ok());
        assert!("a b".parse::<Sku>().is_err());
        assert!("../x".parse::<Sku>().is_err());
    }
}
