//! Names as types with one checked constructor each.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a name of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {rule}")]
pub struct NameError {
    pub kind: &'static str,
    pub text: String,
    pub rule: &'static str,
}

const LABEL_RULE: &str =
    "lower-case letters, digits and hyphens, starting with a letter, at most 42 characters";
const TOPIC_RULE: &str = "lower-case words joined by dots, for example `order.placed`";

/// A DNS label short enough to stay one after a suffix is added in a cluster.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.first(), Some(b'a'..=b'z'))
        && bytes.len() <= 42
        && bytes.last() != Some(&b'-')
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_topic_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn is_topic(text: &str) -> bool {
    text.len() <= 200
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.split('.').count() >= 2
        && text.split('.').all(is_topic_word)
}

/// `order.*` stands for one more word, `order.**` for one or more.
fn is_topic_pattern(text: &str) -> bool {
    let words: Vec<&str> = text.split('.').collect();
    text.len() <= 200
        && words.len() >= 2
        && words[0].as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && words.iter().enumerate().all(|(i, word)| match *word {
            "*" => true,
            "**" => i == words.len() - 1,
            word => is_topic_word(word),
        })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`NameError`] with the rule that it breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { kind: $kind, text: text.to_owned(), rule: $rule })
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// What is watched or told: an alert, an objective, a check, a channel.
    WatchName, "name", is_label, LABEL_RULE
);
name!(
    /// The application: what one manifest describes.
    AppName, "application name", is_label, LABEL_RULE
);
name!(
    /// A declared service, or an external system: both are called by one name space.
    ServiceName, "service name", is_label, LABEL_RULE
);
name!(JobName, "job name", is_label, LABEL_RULE);
name!(SecretName, "secret name", is_label, LABEL_RULE);
name!(ProfileName, "profile name", is_label, LABEL_RULE);
name!(
    /// A durable log of events, named noun.past-participle.
    TopicName, "topic name", is_topic, TOPIC_RULE
);
name!(
    /// One or more topics: `order.placed`, `order.*`, `order.**`.
    TopicPattern, "topic pattern", is_topic_pattern,
    "a topic name in which `*` stands for one word and a last `**` for the rest"
);

impl ServiceName {
    /// The name as it stands in environment variables: upper case, every other character `_`.
    pub fn env_name(&self) -> String {
        self.as_str()
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { b.to_ascii_uppercase() as char } else { '_' })
            .collect()
    }
}

impl TopicPattern {
    pub fn matches(&self, topic: &TopicName) -> bool {
        let mut pattern = self.as_str().split('.');
        let mut words = topic.as_str().split('.');
        loop {
            match (pattern.next(), words.next()) {
                (Some("**"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(p), Some(w)) if p == w => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// The one topic it names, when it has no wildcard.
    pub fn exact(&self) -> Option<TopicName> {
        TopicName::new(self.as_str()).ok()
    }
}

/// One running copy of a service: `orders-0`, `orders-1`.
///
/// Stable over restarts of the process, so that addresses, logs and charts line up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct InstanceId {
    pub service: ServiceName,
    pub replica: u32,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.service, self.replica))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for InstanceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError {
            kind: "instance",
            text: text.to_owned(),
            rule: "a service name, a hyphen and the number of the replica, for example `orders-0`",
        };
        let (service, replica) = text.rsplit_once('-').ok_or_else(error)?;
        Ok(Self {
            service: ServiceName::new(service).map_err(|_| error())?,
            replica: replica.parse().map_err(|_| error())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_words() {
        let check = |pattern: &str, topic: &str, expected: bool| {
            let pattern = TopicPattern::new(pattern).unwrap();
            assert_eq!(
                pattern.matches(&TopicName::new(topic).unwrap()),
                expected,
                "{pattern} {topic}"
            );
        };
        check("order.placed", "order.placed", true);
        check("order.*", "order.placed", true);
        check("order.*", "order.line.added", false);
        check("order.**", "order.line.added", true);
        check("order.*", "orders.placed", false);
        check("*.placed".replace('*', "order").as_str(), "order.placed", true);
        assert!(TopicPattern::new("order.**.x").is_err());
        assert!(TopicPattern::new("order").is_err());
    }

    #[test]
    fn labels() {
        for good in ["a", "cart", "psp-sim", "a1"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "1a", "a".repeat(43).as_str()] {
            assert!(ServiceName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(ServiceName::new("psp-sim").unwrap().env_name(), "PSP_SIM");
    }

    #[test]
    fn an_instance_reads_back() {
        let id: InstanceId = "psp-sim-3".parse().unwrap();
        assert_eq!((id.service.as_str(), id.replica), ("psp-sim", 3));
        assert_eq!(id.to_string(), "psp-sim-3");
        assert!("orders".parse::<InstanceId>().is_err());
    }
}
