//! Members that have applied the same log hold the same state, so their hashes at the same place are
//! equal.
//!
//! etcd compares `HashKV` at a revision across its members at the end of each robustness run. The place
//! is whatever numbers states alike on all members: a revision, or a position of the log. What a hash
//! covers must be alike too: hashes of a history compacted at different revisions differ by right, so
//! the compaction belongs to the place.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crate::Violation;

/// What members said of their states. `Place` numbers states, `Hash` is what is compared.
#[derive(Clone, Debug)]
pub struct StateHashes<Place, Hash> {
    /// By place: each hash, and the members that have it.
    said: BTreeMap<Place, BTreeMap<Hash, Vec<u64>>>,
}

impl<Place, Hash> Default for StateHashes<Place, Hash> {
    fn default() -> Self {
        Self { said: BTreeMap::new() }
    }
}

impl<Place, Hash> StateHashes<Place, Hash>
where
    Place: Ord + core::fmt::Debug,
    Hash: Ord + core::fmt::Debug,
{
    /// A member says what its state is at a place. It may say so more than once.
    pub fn said(&mut self, member: u64, place: Place, hash: Hash) {
        let members = self.said.entry(place).or_default().entry(hash).or_default();
        if !members.contains(&member) {
            members.push(member);
        }
    }

    /// How many places were named by more than one member, so that something was compared.
    #[must_use]
    pub fn compared(&self) -> usize {
        let members =
            |hashes: &BTreeMap<Hash, Vec<u64>>| hashes.values().map(Vec::len).sum::<usize>();
        self.said.values().filter(|hashes| members(hashes) > 1).count()
    }

    /// Compares.
    ///
    /// # Errors
    /// The first place at which members differ, and who they are: the minority if there is one, which
    /// is who has to be looked at.
    pub fn check(&self) -> Result<(), Violation> {
        let Some((place, hashes)) = self.said.iter().find(|(_, hashes)| hashes.len() > 1) else {
            return Ok(());
        };
        let all: usize = hashes.values().map(Vec::len).sum();
        let majority = hashes.iter().find(|(_, members)| members.len() * 2 > all);
        let what = match majority {
            Some((right, _)) => {
                let others: Vec<_> = hashes.iter().filter(|(hash, _)| *hash != right).collect();
                format!("at {place:?} most members have {right:?}, and others do not: {others:?}")
            }
            None => format!("at {place:?} no majority has the same state: {hashes:?}"),
        };
        Err(Violation::new("state_hash", what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_states_are_fine_and_places_are_not_mixed_up() {
        let mut hashes = StateHashes::default();
        for member in 1..=3 {
            hashes.said(member, 5, "five");
            hashes.said(member, 6, "six");
        }
        hashes.said(1, 7, "seven");
        assert_eq!((hashes.check(), hashes.compared()), (Ok(()), 2));
    }

    #[test]
    fn the_minority_is_named_at_the_first_place_where_it_differs() {
        let mut hashes = StateHashes::default();
        for (member, hash) in [(1, "right"), (2, "wrong"), (3, "right")] {
            hashes.said(member, 5, hash);
            hashes.said(member, 9, hash);
        }
        let what = hashes.check().expect_err("the second differs").what;
        assert_eq!(what, r#"at 5 most members have "right", and others do not: [("wrong", [2])]"#);
    }

    #[test]
    fn two_members_that_differ_have_no_minority() {
        let mut hashes = StateHashes::default();
        hashes.said(1, 5, 10);
        hashes.said(2, 5, 11);
        let what = hashes.check().expect_err("they differ").what;
        assert!(what.contains("no majority"), "{what}");
    }

    #[test]
    fn a_member_that_contradicts_itself_is_noticed() {
        let mut hashes = StateHashes::default();
        hashes.said(1, 5, 10);
        hashes.said(1, 5, 11);
        hashes.check().expect_err("one state has one hash");
    }
}
