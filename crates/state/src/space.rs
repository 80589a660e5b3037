//! Whose keys: a store, and within it an owner.

use crate::StateError;

/// Of a key as the caller knows it. With store and owner it fits into a key of the storage.
pub const KEY_BYTES_MAX: usize = 512;

/// Between the owner and the key. No key may hold it, so no owner reaches another's keys.
const SEPARATOR: &str = "||";

const ENTRIES: &str = "e/";
pub(crate) const MARKS: &str = "x/";

/// Where the keys of one owner are. The owner is a service, a store's name where all its users
/// share their keys, or empty. Names of stores have no slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Space {
    pub store: String,
    pub owner: String,
}

impl Space {
    pub fn new(store: impl Into<String>, owner: impl Into<String>) -> Self {
        Self { store: store.into(), owner: owner.into() }
    }

    /// # Errors
    /// [`StateError::Key`], in the words of Dapr where it has some.
    pub fn check(&self, key: &str) -> Result<(), StateError> {
        let reason = match key {
            "" => "the key is empty".to_owned(),
            _ if key.contains(SEPARATOR) => {
                format!("input key/keyPrefix '{key}' can't contain '{SEPARATOR}'")
            }
            _ if key.len() > KEY_BYTES_MAX => {
                format!("the key has {} bytes; at most {KEY_BYTES_MAX} are allowed", key.len())
            }
            _ if key.contains('\0') => "the key holds a NUL".to_owned(),
            _ => return Ok(()),
        };
        Err(StateError::Key { key: key.to_owned(), reason })
    }

    /// Without its kind: `<store>/<owner>||<key>`.
    fn path(&self, key: &str) -> String {
        format!("{}/{}{SEPARATOR}{key}", self.store, self.owner)
    }

    pub(crate) fn entry(&self, key: &str) -> String {
        format!("{ENTRIES}{}", self.path(key))
    }

    /// In the order of time: as many digits for each.
    pub(crate) fn mark(&self, key: &str, expires_ms: u64) -> String {
        format!("{MARKS}{expires_ms:016x}/{}", self.path(key))
    }

    /// The key of an entry that is known to be of this space.
    pub(crate) fn key_of(entry: &str) -> &str {
        entry.split_once(SEPARATOR).map_or(entry, |(_, key)| key)
    }

    pub(crate) fn entries_of(store: &str) -> String {
        format!("{ENTRIES}{store}/")
    }

    pub(crate) fn owner_of<'a>(store: &str, entry: &'a str) -> Option<&'a str> {
        let path = entry.strip_prefix(Self::entries_of(store).as_str())?;
        path.split_once(SEPARATOR).map(|(owner, _)| owner)
    }

    /// After every entry of the space, before those of the next owner: `}` follows `|`.
    pub(crate) fn end(&self) -> String {
        format!("{}{}|}}", Self::entries_of(&self.store), self.owner)
    }
}

/// When a mark falls due, and which entry it is about.
pub(crate) fn read_mark(mark: &str) -> Option<(u64, String)> {
    let (due, path) = mark.strip_prefix(MARKS)?.split_once('/')?;
    Some((u64::from_str_radix(due, 16).ok()?, format!("{ENTRIES}{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_leads_to_its_entry() {
        let space = Space::new("statestore", "cart");
        let mark = space.mark("a/b", 77);
        assert_eq!(read_mark(&mark), Some((77, space.entry("a/b"))));
        assert!(mark < space.mark("a", 0x100));
        for bad in ["x/", "x/zz/s/o||k", "e/s/o||k", "x/0"] {
            assert_eq!(read_mark(bad), None, "{bad}");
        }
    }

    #[test]
    fn spaces_lie_side_by_side() {
        let of = |owner: &str| Space::new("s", owner);
        let (one, two) = (of("cart"), of("cart-2"));
        assert!(one.entry("\u{10ffff}") < one.end());
        assert!(one.end() < two.entry("a") || two.end() < one.entry("a"));
        assert_eq!(Space::owner_of("s", &two.entry("a")), Some("cart-2"));
        assert_eq!(Space::key_of(&two.entry("a|b")), "a|b");
    }

    #[test]
    fn the_longest_key_fits_into_the_storage() {
        let name = "n".repeat(63);
        let longest = Space::new(name.as_str(), name.as_str()).mark(&"k".repeat(KEY_BYTES_MAX), 1);
        assert!(longest.len() <= archipel_storage::KEY_BYTES_MAX, "{}", longest.len());
    }
}
