//! Enumerations whose values are words in JSON and in the database.

/// Declares an enumeration and the word of each value:
///
/// ```
/// store_kit::text_enum! {
///     /// How it stands.
///     pub enum State { Open = "OPEN", Closed = "CLOSED" }
/// }
/// assert_eq!(State::Open.as_str(), "OPEN");
/// assert_eq!("CLOSED".parse(), Ok(State::Closed));
/// ```
#[macro_export]
macro_rules! text_enum {
    ($(#[$doc:meta])* $vis:vis enum $name:ident {
        $($(#[$value_doc:meta])* $value:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$value_doc])* $value),+ }

        #[allow(dead_code, reason = "not every enumeration uses all of these")]
        impl $name {
            $vis const ALL: &'static [Self] = &[$(Self::$value),+];

            $vis fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err($crate::UnknownWord::new(text, &[$($word),+])),
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::serde::Serialize for $name {
            fn serialize<S: $crate::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <::std::string::String as $crate::serde::Deserialize>::deserialize(from)?;
                text.parse().map_err($crate::serde::de::Error::custom)
            }
        }

        impl $crate::rusqlite::ToSql for $name {
            fn to_sql(&self) -> $crate::rusqlite::Result<$crate::rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl $crate::rusqlite::types::FromSql for $name {
            fn column_result(
                value: $crate::rusqlite::types::ValueRef<'_>,
            ) -> $crate::rusqlite::types::FromSqlResult<Self> {
                value.as_str()?.parse().map_err(|error: $crate::UnknownWord| {
                    $crate::rusqlite::types::FromSqlError::Other(Box::new(error))
                })
            }
        }
    };
}

/// A word that names no value of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}

impl UnknownWord {
    #[doc(hidden)]
    pub fn new(word: &str, known: &[&str]) -> Self {
        Self { word: word.chars().take(32).collect(), known: known.join(", ") }
    }
}
