//! Keys of attributes: the same few hundred in every span, so each is made once.
//!
//! What is known of a key (the name that replaced it, whether its value is secret) is worked out
//! when it is first met. Keys that were met stay for good, which is why there is a limit; further
//! ones cost what all would cost otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;

use crate::names;
use crate::span::Text;

/// With the limit on their length, a quarter of a megabyte.
const KEYS_MAX: usize = 1024;
const KEPT_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    name: &'static str,
    pub(super) guard: names::Guard,
}

type Known = HashMap<&'static str, Key, RandomState>;

/// Of one request, which looks each of its keys up in the common list once.
#[derive(Default)]
pub(super) struct Keys {
    met: Known,
}

fn common() -> &'static Mutex<Known> {
    static KEYS: OnceLock<Mutex<Known>> = OnceLock::new();
    KEYS.get_or_init(Mutex::default)
}

impl Keys {
    /// The current name of a key, and what may be shown of its values.
    pub(super) fn of(&mut self, key: &str) -> (Text, names::Guard) {
        if let Some(known) = self.met.get(key) {
            return (Text::Borrowed(known.name), known.guard);
        }
        match self.learn(key) {
            Some(known) => (Text::Borrowed(known.name), known.guard),
            None => {
                let name = names::current(key.to_owned());
                let guard = names::Guard::of(&name);
                (name, guard)
            }
        }
    }

    fn learn(&mut self, key: &str) -> Option<Key> {
        if key.len() > KEPT_BYTES_MAX {
            return None;
        }
        let mut all = common().lock().unwrap_or_else(PoisonError::into_inner);
        let (met, known) = match all.get_key_value(key) {
            Some((met, known)) => (*met, *known),
            None if all.len() >= KEYS_MAX => return None,
            None => {
                let met: &'static str = Box::leak(key.into());
                let name = match names::current(key.to_owned()) {
                    Text::Borrowed(name) => name,
                    Text::Owned(_) => met,
                };
                let known = Key { name, guard: names::Guard::of(name) };
                all.insert(met, known);
                (met, known)
            }
        };
        self.met.insert(met, known);
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_end_are_not_kept() {
        let mut keys = Keys::default();
        for n in 0..2 * KEYS_MAX {
            let key = format!("key {n}");
            assert_eq!(keys.of(&key).0, key);
        }
        assert!(keys.met.len() <= KEYS_MAX);
        assert!(common().lock().unwrap().len() <= KEYS_MAX);
        assert_eq!(keys.of("http.status_code").0, "http.response.status_code");
        assert!(matches!(keys.of("db.Password").1, names::Guard::Hidden));
    }
}
