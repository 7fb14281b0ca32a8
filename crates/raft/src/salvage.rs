//! What is left of a damaged log, for whoever mends it.
//!
//! A log can be damaged in the middle and be sound on both sides: a sector went bad, a write went
//! astray. To cut it at the damage would break promises, since what comes after was acknowledged. So
//! the damage is told apart from what is whole, with the *names* of the entries that are lost: an index
//! and a term name an entry for ever, on whichever member it lies (Log Matching, Raft §5.3), and by
//! these names they can be fetched from others. This is the idea of protocol-aware recovery (Alagappan
//! and others, FAST 2018).

use alloc::vec::Vec;

use crate::effects::{HardState, Recovered};
use crate::message::Entry;
use crate::types::{EntryId, Index, Term};

/// What a log remembers of a group after a restart, whatever happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Everything that it was ever told.
    Whole(Recovered),
    /// All but the contents of some entries.
    Damaged(Salvage),
    /// Nobody knows what is missing: a vote, the end of the log, or where it was rewritten. What is
    /// given here is sound, and the member's word is lost: it must [rejoin](crate::Config::rejoining).
    Forgotten(Recovered),
}

impl Remembered {
    /// What a log is that has nothing of a group: whole, if the member has not begun to write any, and
    /// has nothing in its state machine either; otherwise it lost all of it, and nobody knows what that was.
    #[must_use]
    pub fn of_nothing(has_begun: bool, machine: EntryId) -> Self {
        let nothing = Recovered::default();
        match has_begun || machine != EntryId::ZERO {
            true => Self::Forgotten(nothing),
            false => Self::Whole(nothing),
        }
    }
}

/// A log with gaps, of which everything is known but the contents of the gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// The term and vote, for certain.
    pub hard_state: HardState,
    /// The entry before the first of the log.
    pub base: EntryId,
    /// The last entry of the log, which may be lost itself. This is what the member stands by: it must
    /// never act as if its log ended earlier, unless enough others are known to never have had the
    /// rest.
    pub last: EntryId,
    /// The entries in `(base, last]` that are sound, ascending.
    pub entries: Vec<Entry>,
    /// The others, ascending.
    pub lost: Vec<Lost>,
}

/// Consecutive entries of one term whose contents are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The position of the first.
    pub first: Index,
    /// The last; all have its term.
    pub last: EntryId,
}

impl Lost {
    /// Whether this entry is among them.
    #[must_use]
    pub fn contains(&self, id: EntryId) -> bool {
        self.first <= id.index && id.index <= self.last.index && id.term == self.last.term
    }
}

/// What a member can say of entries that another one lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The log begins after this entry. What is before it is in the machine: a snapshot has it.
    pub base: EntryId,
    /// The last of the entries asked for that the log has, or has lost itself, or has in its machine;
    /// the position before the first if there is none. It never had the others.
    pub held_to: Index,
    /// Those of them that are sound, ascending, as many as fit.
    pub entries: Vec<Entry>,
    /// What it counts for that the log does *not* have the others.
    pub word: Option<Word>,
}

/// What a member's word counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It leads this term.
    Leader(Term),
    /// It does not lead. Its disk knows this term, and will not forget it; 0 if that is not certain.
    Follower(Term),
}

impl Word {
    /// The term.
    #[must_use]
    pub fn term(self) -> Term {
        match self {
            Self::Leader(term) | Self::Follower(term) => term,
        }
    }
}

impl From<Recovered> for Salvage {
    /// A log that lost nothing.
    fn from(Recovered { hard_state, base, entries }: Recovered) -> Self {
        let last = entries.last().map_or(base, |entry| entry.id);
        Self { hard_state, base, last, entries, lost: Vec::new() }
    }
}

impl Salvage {
    /// What the log knows of entries that another member lost.
    #[must_use]
    pub fn find(&self, asked: Lost, bytes_max: usize) -> Found {
        let start = asked.first.max(self.base.index.next());
        let held_to = if self.name(start).is_some_and(|id| asked.contains(id)) {
            self.same_term_to(start).min(asked.last.index)
        } else {
            Index(start.0 - 1)
        };
        let after = self.entries.partition_point(|entry| entry.id.index < asked.first);
        let sound = self.entries[after..].iter().take_while(|entry| asked.contains(entry.id));
        Found {
            base: self.base,
            held_to,
            entries: that_fit(sound, bytes_max),
            // What was read of a damaged log may be in the cache of the system only.
            word: Some(Word::Follower(Term(0))),
        }
    }

    /// How many entries are lost.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.lost.iter().map(|lost| lost.last.index.0 - lost.before().0).sum()
    }

    /// The name of the entry at this position, sound or lost; known for the base too.
    #[must_use]
    pub fn name(&self, index: Index) -> Option<EntryId> {
        if index == self.base.index {
            return Some(self.base);
        }
        let lost = self.lost.partition_point(|lost| lost.last.index < index);
        if let Some(lost) = self.lost.get(lost).filter(|lost| lost.first <= index) {
            return Some(EntryId { term: lost.last.term, index });
        }
        let at = self.entries.binary_search_by_key(&index, |entry| entry.id.index).ok()?;
        Some(self.entries[at].id)
    }

    /// The last position from this one on up to which all names have the same term.
    fn same_term_to(&self, from: Index) -> Index {
        let Some(EntryId { term, .. }) = self.name(from) else { return from };
        let lost = self.lost.partition_point(|lost| lost.last.term <= term);
        let sound = self.entries.partition_point(|entry| entry.id.term <= term);
        let lost = lost.checked_sub(1).map(|at| self.lost[at].last);
        let sound = sound.checked_sub(1).map(|at| self.entries[at].id);
        let of_term = [lost, sound].into_iter().flatten().filter(|id| id.term == term);
        of_term.map(|id| id.index).max().unwrap_or(from)
    }

    /// Takes entries that another member had. Those whose names are not among the lost change nothing.
    /// Returns whether any was.
    pub fn fill(&mut self, found: Vec<Entry>) -> bool {
        let sound = self.entries.len();
        for entry in found {
            let at = self.lost.partition_point(|lost| lost.last.index < entry.id.index);
            let Some(lost) = self.lost.get(at).copied().filter(|lost| lost.contains(entry.id))
            else {
                continue;
            };
            let before = Lost {
                first: lost.first,
                last: EntryId { term: lost.last.term, index: Index(entry.id.index.0 - 1) },
            };
            let after = Lost { first: entry.id.index.next(), last: lost.last };
            let left = [before, after].into_iter().filter(|lost| lost.first <= lost.last.index);
            self.lost.splice(at..=at, left);
            self.entries.push(entry);
        }
        let filled = sound < self.entries.len();
        if filled {
            // Two ascending runs, which this merges.
            self.entries.sort_by_key(|entry| entry.id.index);
        }
        filled
    }

    /// Gives up the entry at this position and all after it.
    ///
    /// # Panics
    /// If it is not in the log.
    pub fn cut(&mut self, from: Index) {
        let before = from.previous().expect("entries begin at 1");
        let last = self.name(before).filter(|id| id.index < self.last.index);
        self.last = last.expect("only what is in the log is given up");
        self.entries.retain(|entry| entry.id.index < from);
        self.lost.retain_mut(|lost| {
            lost.last.index = lost.last.index.min(before);
            lost.first <= lost.last.index
        });
    }

    /// The machine has a snapshot that ends with this entry, which is committed: what it covers need not
    /// be found any more. Where the log differs from it, or ends before it, it is replaced: what it held
    /// beyond was never committed. Returns whether it was.
    pub fn cover(&mut self, snapshot: EntryId) -> bool {
        if snapshot.index < self.base.index {
            return false;
        }
        if self.name(snapshot.index) != Some(snapshot) {
            *self = Self {
                hard_state: self.hard_state,
                base: snapshot,
                last: snapshot,
                entries: Vec::new(),
                lost: Vec::new(),
            };
            return true;
        }
        self.base = snapshot;
        self.entries.retain(|entry| snapshot.index < entry.id.index);
        self.lost.retain_mut(|lost| {
            lost.first = lost.first.max(snapshot.index.next());
            lost.first <= lost.last.index
        });
        false
    }
}

impl Lost {
    /// The position before the first.
    #[must_use]
    pub fn before(&self) -> Index {
        self.first.previous().unwrap_or(Index(0))
    }
}

/// As many of these entries as cost at most so many bytes, yet one at least if there is any.
pub(crate) fn that_fit<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    bytes_max: usize,
) -> Vec<Entry> {
    let mut left = Some(bytes_max);
    let mut fit: Vec<Entry> = Vec::new();
    for entry in entries {
        left = left.and_then(|left| left.checked_sub(entry.cost()));
        if left.is_none() && !fit.is_empty() {
            break;
        }
        fit.push(entry.clone());
    }
    fit
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::vec;

    use proptest::collection::vec as vec_of;
    use proptest::prelude::*;

    use super::*;
    use crate::log::Log;
    use crate::message::Payload;

    /// A log as a plain list of its names, each sound or lost.
    type Plain = Vec<(EntryId, bool)>;

    fn plain(base: u64, log: &[(u64, bool)]) -> Plain {
        let mut id = EntryId::new(1, base);
        log.iter()
            .map(|(later, is_sound)| {
                id = EntryId::new(id.term.0 + later, id.index.0 + 1);
                (id, *is_sound)
            })
            .collect()
    }

    fn entry(id: EntryId) -> Entry {
        Entry { id, payload: Payload::Command(std::format!("{id}").into_bytes().into()) }
    }

    fn salvage(base: u64, log: &Plain) -> Salvage {
        let base = EntryId::new(1, base);
        let mut salvage = Salvage { base, last: base, ..Salvage::default() };
        for (id, is_sound) in log {
            salvage.last = *id;
            match salvage.lost.last_mut() {
                _ if *is_sound => salvage.entries.push(entry(*id)),
                Some(lost) if lost.contains(EntryId::new(id.term.0, id.index.0 - 1)) => {
                    lost.last = *id;
                }
                _ => salvage.lost.push(Lost { first: id.index, last: *id }),
            }
        }
        salvage
    }

    fn logs() -> impl Strategy<Value = (u64, Plain)> {
        let log = vec_of((prop_oneof![4 => Just(0_u64), 1 => 1..3_u64], any::<bool>()), 0..12);
        (0..5_u64, log).prop_map(|(base, log)| (base, plain(base, &log)))
    }

    fn questions() -> impl Strategy<Value = Lost> {
        (1..16_u64, 0..6_u64, 1..5_u64).prop_map(|(first, more, term)| Lost {
            first: Index(first),
            last: EntryId::new(term, first + more),
        })
    }

    proptest! {
        /// What is found is what a walk along the list finds.
        #[test]
        fn answers_are_those_of_a_plain_list((base, log) in logs(), asked in questions()) {
            let salvage = salvage(base, &log);
            // Whoever has one of them has all before it as well (Log Matching).
            let start = asked.first.max(Index(base + 1));
            let has_start = log.iter().any(|(id, _)| id.index == start && asked.contains(*id));
            prop_assume!(has_start || !log.iter().any(|(id, _)| asked.contains(*id)));
            let wanted: Vec<_> = log.iter().filter(|(id, _)| asked.contains(*id)).collect();
            let held_to = wanted.last().map_or(start.0 - 1, |(id, _)| id.index.0);
            let sound = wanted.iter().filter(|(_, is_sound)| *is_sound);
            let sound: Vec<Entry> = sound.map(|(id, _)| entry(*id)).collect();
            let found = salvage.find(asked, usize::MAX);
            prop_assert_eq!(found.base, salvage.base);
            prop_assert_eq!(found.held_to, Index(held_to));
            prop_assert_eq!(&found.entries, &sound);

            if log.iter().all(|(_, is_sound)| *is_sound) {
                let whole = Log::recovered(salvage.base, salvage.entries);
                let Found { base, held_to, entries, .. } = whole.find(asked, usize::MAX);
                prop_assert_eq!((base, held_to, entries), (found.base, found.held_to, found.entries));
            }
        }

        /// Filled in any pieces and any order, with wrong ones between, the log is whole.
        #[test]
        fn all_pieces_make_it_whole(
            (base, log) in logs(),
            order in vec_of((0..12_usize, 1..4_usize), 0..20),
        ) {
            let mut salvage = salvage(base, &log);
            let all: Vec<Entry> = log.iter().map(|(id, _)| entry(*id)).collect();
            for (from, count) in order.into_iter().chain([(0, 12)]) {
                let from = from.min(all.len());
                let piece = &all[from..(from + count).min(all.len())];
                let wrong = piece.iter().map(|e| entry(EntryId::new(e.id.term.0 + 9, e.id.index.0)));
                prop_assert!(!salvage.fill(wrong.collect()), "other names change nothing");
                let lacked = piece.iter().any(|e| salvage.lost.iter().any(|l| l.contains(e.id)));
                prop_assert_eq!(salvage.fill(piece.to_vec()), lacked);
                prop_assert_eq!(salvage.name(salvage.last.index), Some(salvage.last));
            }
            prop_assert_eq!((salvage.entries, salvage.lost), (all, vec![]));
        }

        /// A cut, and a snapshot that agrees, leave the names that they should.
        #[test]
        fn what_is_cut_or_covered_is_gone((base, log) in logs(), at in 0..12_usize) {
            let whole = salvage(base, &log);
            let Some((id, _)) = log.get(at).copied() else { return Ok(()) };
            let mut cut = whole.clone();
            cut.cut(id.index);
            prop_assert_eq!(cut, salvage(base, &log[..at].to_vec()));

            let mut covered = whole.clone();
            prop_assert!(!covered.cover(id));
            prop_assert_eq!(covered.base, id);
            for (name, _) in &log {
                let known = covered.name(name.index);
                prop_assert_eq!(known, (name.index >= id.index).then_some(*name));
            }
            let mut replaced = whole;
            let other = EntryId::new(id.term.0 + 1, id.index.0);
            prop_assert!(replaced.cover(other));
            prop_assert_eq!((replaced.base, replaced.last), (other, other));
        }
    }
}
