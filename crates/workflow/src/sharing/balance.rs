//! Who is to hold what: a pure function, the same for everybody who sees the same.

use super::SHARDS;

/// What one member does about one app.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub claim: Vec<u8>,
    pub give_up: Vec<u8>,
}

/// `members`: those who are to hold shards of the app, in order. `holders`: who does, `None` for
/// nobody who lives. Moves no more than an even share asks for.
pub(crate) fn plan(me: &str, members: &[&str], holders: &[Option<&str>]) -> Plan {
    let count = |who: &str| holders.iter().filter(|holder| **holder == Some(who)).count();
    let target = |rank: usize| {
        let (all, members) = (usize::from(SHARDS), members.len().max(1));
        all / members + usize::from(rank < all % members)
    };
    let place = |shard: usize| u8::try_from(shard).unwrap_or_default();
    let mine = || (0..holders.len()).filter(|shard| holders[*shard] == Some(me));
    let Some(rank) = members.iter().position(|member| *member == me) else {
        return Plan { claim: Vec::new(), give_up: mine().map(place).collect() };
    };
    let (have, want) = (count(me), target(rank));
    let free: Vec<_> = (0..holders.len()).filter(|shard| holders[*shard].is_none()).collect();
    if have < want && !free.is_empty() {
        // Not all begin with the same, so that few want the same at once.
        let first = rank * free.len() / members.len();
        let claim = free.iter().cycle().skip(first).take(free.len().min(want - have));
        return Plan { claim: claim.map(|shard| place(*shard)).collect(), give_up: Vec::new() };
    }
    let lacking = |(rank, member): (usize, &&str)| target(rank).saturating_sub(count(member));
    let lacking: usize = members.iter().enumerate().map(lacking).sum();
    // What is free, or held by those who are to hold nothing, serves the others first.
    let strangers = holders.iter().flatten().filter(|holder| !members.contains(holder)).count();
    let surplus = have.saturating_sub(want).min(lacking.saturating_sub(free.len() + strangers));
    Plan { claim: Vec::new(), give_up: mine().take(surplus).map(place).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody acts in turn until nobody has anything to do.
    fn settle(
        members: &[&str],
        holders: &mut [Option<&'static str>],
        all: &[&'static str],
    ) -> usize {
        let mut moves = 0;
        for _ in 0..100 {
            let before = moves;
            for me in all {
                let plan = plan(me, members, holders);
                for shard in plan.give_up {
                    holders[usize::from(shard)] = None;
                    moves += 1;
                }
                for shard in plan.claim {
                    assert!(holders[usize::from(shard)].is_none(), "taken from somebody");
                    holders[usize::from(shard)] = Some(me);
                }
            }
            if moves == before {
                return moves;
            }
        }
        panic!("never settles: {holders:?}");
    }

    fn counts(holders: &[Option<&str>], who: &[&str]) -> Vec<usize> {
        who.iter().map(|who| holders.iter().filter(|h| **h == Some(who)).count()).collect()
    }

    #[test]
    fn shares_are_even_and_little_moves() {
        let mut holders = [None; SHARDS as usize];
        assert_eq!(settle(&["a"], &mut holders, &["a"]), 0);
        assert_eq!(counts(&holders, &["a"]), [32]);
        assert_eq!(settle(&["a", "b"], &mut holders, &["a", "b"]), 16);
        assert_eq!(counts(&holders, &["a", "b"]), [16, 16]);
        let moves = settle(&["a", "b", "c"], &mut holders, &["a", "b", "c"]);
        assert_eq!((moves, counts(&holders, &["a", "b", "c"])), (10, vec![11, 11, 10]));
        // One dies: nobody gives anything up.
        holders.iter_mut().filter(|h| **h == Some("b")).for_each(|h| *h = None);
        assert_eq!(settle(&["a", "c"], &mut holders, &["a", "c"]), 0);
        assert_eq!(counts(&holders, &["a", "c"]), [16, 16]);
    }

    #[test]
    fn who_has_no_workers_gives_everything_to_those_who_have() {
        let mut holders = [Some("a"); SHARDS as usize];
        settle(&["b"], &mut holders, &["a", "b"]);
        assert_eq!(counts(&holders, &["a", "b"]), [0, 32]);
        settle(&["b", "c"], &mut holders, &["a", "b", "c"]);
        assert_eq!(counts(&holders, &["b", "c"]), [16, 16]);
    }

    #[test]
    fn more_members_than_shards_leave_some_without() {
        let names: Vec<String> = (0..40).map(|i| format!("m{i:02}")).collect();
        let members: Vec<&str> = names.iter().map(String::as_str).collect();
        let holders = vec![None; usize::from(SHARDS)];
        assert_eq!(plan("m00", &members, &holders).claim.len(), 1);
        assert!(plan("m39", &members, &holders).claim.is_empty());
    }
}
