//! How many of one name may be inside at once; the others wait in line.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// Names without a limit pass and are not remembered.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    limits: BTreeMap<String, u32>,
    rooms: HashMap<String, Room<T>>,
}

#[derive(Debug)]
struct Room<T> {
    inside: HashSet<T>,
    /// In order; who is not in `waiting` any more is passed over.
    line: VecDeque<T>,
    waiting: HashSet<T>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self { limits: BTreeMap::new(), rooms: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Gate<T> {
    /// Everybody who waits is to ask again, now that limits are others.
    pub(crate) fn limit(&mut self, limits: BTreeMap<String, u32>) -> Vec<T> {
        if self.limits == limits {
            return Vec::new();
        }
        self.limits = limits;
        let waiting = self.rooms.values_mut().flat_map(Room::empty_line).collect();
        self.rooms.retain(|name, _| self.limits.contains_key(name));
        waiting
    }

    pub(crate) fn limits(&self) -> &BTreeMap<String, u32> {
        &self.limits
    }

    /// False: it waits, and [`Gate::leave`] lets it in when there is room.
    pub(crate) fn enter(&mut self, name: &str, who: &T) -> bool {
        let Some(limit) = self.limits.get(name) else { return true };
        let room = room(&mut self.rooms, name);
        if !room.inside.contains(who) {
            if room.inside.len() >= *limit as usize {
                if room.waiting.insert(who.clone()) {
                    room.line.push_back(who.clone());
                }
                return false;
            }
            room.inside.insert(who.clone());
        }
        true
    }

    /// Whoever was inside before there was a limit, or must not wait.
    pub(crate) fn admit(&mut self, name: &str, who: &T) {
        if self.limits.contains_key(name) {
            let room = room(&mut self.rooms, name);
            room.waiting.remove(who);
            room.inside.insert(who.clone());
        }
    }

    /// Takes somebody out, wherever it is. Whoever is let in for it is to be told.
    pub(crate) fn leave(&mut self, name: &str, who: &T) -> Option<T> {
        let limit = *self.limits.get(name)?;
        let room = self.rooms.get_mut(name)?;
        room.inside.remove(who);
        room.waiting.remove(who);
        if room.inside.is_empty() && room.waiting.is_empty() {
            self.rooms.remove(name);
            return None;
        }
        while room.inside.len() < limit as usize {
            let next = room.line.pop_front()?;
            if room.waiting.remove(&next) {
                room.inside.insert(next.clone());
                return Some(next);
            }
        }
        None
    }

    /// The limit behind which it waits.
    pub(crate) fn behind(&self, name: &str, who: &T) -> Option<u32> {
        let waits = self.rooms.get(name)?.waiting.contains(who);
        waits.then(|| self.limits.get(name).copied())?
    }
}

impl<T: Eq + Hash> Room<T> {
    fn empty_line(&mut self) -> Vec<T> {
        self.waiting.clear();
        self.line.drain(..).collect()
    }
}

fn room<'a, T>(rooms: &'a mut HashMap<String, Room<T>>, name: &str) -> &'a mut Room<T> {
    if !rooms.contains_key(name) {
        let (inside, line, waiting) = (HashSet::new(), VecDeque::new(), HashSet::new());
        let empty = Room { inside, line, waiting };
        rooms.insert(name.to_owned(), empty);
    }
    rooms.get_mut(name).expect("it was made above")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_limit_says_are_inside_and_the_others_in_line() {
        let mut gate = Gate::default();
        assert!(gate.limit([("order".to_owned(), 2)].into()).is_empty());
        assert!(gate.enter("order", &1) && gate.enter("order", &2));
        assert!(gate.enter("order", &1), "it is inside already");
        assert!(!gate.enter("order", &3) && !gate.enter("order", &4));
        assert!(gate.enter("other", &5), "it has no limit");
        assert_eq!((gate.behind("order", &3), gate.behind("order", &1)), (Some(2), None));
        assert_eq!(gate.leave("order", &3), None, "there is still no room");
        assert_eq!(gate.leave("order", &1), Some(4));
        assert!(gate.enter("order", &4));
        gate.admit("order", &6);
        assert_eq!(gate.leave("order", &6), None);
        assert!(!gate.enter("order", &7));
        assert_eq!(gate.limit(BTreeMap::new()), [7], "everybody asks again");
        assert!(gate.enter("order", &7));
    }
}
