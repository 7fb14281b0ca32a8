//! What is left of a damaged log, for whoever mends it.
//!
//! A log can be damaged in the middle and be sound on both sides: a sector went bad, a write went
//! astray. To cut it at the damage would break promises, since what comes after was acknowledged. So
//! the damage is told apart from what is whole, with the *names* of the entries that are lost: an index
//! and a term name an entry for ever, on whichever member it lies (Log Matching, Raft §5.3), and by
//! these names they can be fetched from others. This is the idea of protocol-aware recovery (Alagappan
//! and others, FAST 2018).

use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;

use crate::effects::{HardState, Recovered};
use crate::message::{Entry, Payload};
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
    /// What tells of some of the lost ones whether they are those that were there, in any order.
    pub seals: Vec<Seal>,
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

/// Consecutive entries of one term that were written together and lost, while their checksum was not. A
/// name says which entry it is; this says that the bytes under it are the right ones, whoever brings them.
///
/// It is the CRC-32 (IEEE) of these bytes: for each entry 0 for a no-op, 1 for a command or 2 for a membership (4),
/// the length of that (4), and that ([`Membership::encode`]); then zeros up to the next multiple of 8. Numbers are
/// little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The position of the first.
    pub first: Index,
    /// The last.
    pub last: EntryId,
    /// How many bytes there are, without the zeros.
    pub bytes: u32,
    /// Their checksum.
    pub checksum: u32,
}

/// Entries were given that are not those which were lost, though they have their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The position of the first of those that were refused.
    pub first: Index,
    /// That of the last.
    pub last: Index,
}

/// What a member can say of entries that another one lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The log begins after this entry. What is before it is in the machine: a snapshot has it.
    pub base: EntryId,
    /// The last of the entries asked for that the log has, or has lost itself, or has in its machine;
    /// the position before the first if there is none. It never had the others.
    pub held_to: Index,
    /// What it knows to be committed: if that is an entry that it never had, it is another one there.
    pub commit: Index,
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
        Self { hard_state, base, last, entries, lost: Vec::new(), seals: Vec::new() }
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
            commit: Index(0),
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
    ///
    /// # Errors
    /// If entries, with those that were given before, are not those that were lost: the first such ones.
    /// They are lost as before, and all that fit are taken.
    pub fn fill(&mut self, found: Vec<Entry>) -> Result<bool, Misfit> {
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
        match if planted!(OtherBytesTaken) { None } else { self.check_seals() } {
            Some(misfit) => Err(misfit),
            None => Ok(filled),
        }
    }

    /// Breaks the seals of all that is there again. Where one doesn't fit, the entries are lost as before.
    fn check_seals(&mut self) -> Option<Misfit> {
        let mut misfit: Option<Misfit> = None;
        for seal in core::mem::take(&mut self.seals) {
            let Seal { first, last, .. } = seal;
            let lost = self.lost.partition_point(|lost| lost.last.index < first);
            if self.lost.get(lost).is_some_and(|lost| lost.first <= last.index) {
                self.seals.push(seal);
                continue;
            }
            let begin = self.entries.partition_point(|entry| entry.id.index < first);
            let end = self.entries.partition_point(|entry| entry.id.index <= last.index);
            if seal.is_of(self.entries[begin..end].iter()) {
                continue;
            }
            self.entries.drain(begin..end);
            self.lose(Lost { first, last });
            self.seals.push(seal);
            if misfit.is_none_or(|misfit| first < misfit.first) {
                misfit = Some(Misfit { first, last: last.index });
            }
        }
        misfit
    }

    /// Puts back among the lost what was taken from them.
    fn lose(&mut self, mut gap: Lost) {
        let Lost { first, last } = gap;
        self.lost.retain(|lost| {
            let touches = lost.last.term == last.term
                && (lost.last.index.next() == first || last.index.next() == lost.first);
            if touches {
                gap.first = gap.first.min(lost.first);
                gap.last = gap.last.max(lost.last);
            }
            !touches
        });
        let at = self.lost.partition_point(|lost| lost.first < gap.first);
        self.lost.insert(at, gap);
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
        self.seals.retain(|seal| seal.last.index < from);
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
                seals: Vec::new(),
            };
            return true;
        }
        self.base = snapshot;
        self.entries.retain(|entry| snapshot.index < entry.id.index);
        self.lost.retain_mut(|lost| {
            lost.first = lost.first.max(snapshot.index.next());
            lost.first <= lost.last.index
        });
        self.seals.retain(|seal| snapshot.index < seal.first);
        false
    }
}

impl Seal {
    /// Whether these entries, from the first to the last, are those that were there.
    #[must_use]
    pub fn is_of<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> bool {
        let mut sum = Sum::default();
        for entry in entries {
            let (tag, bytes): (u32, Bytes) = match &entry.payload {
                Payload::Noop => (0, Bytes::new()),
                Payload::Command(command) => (1, command.clone()),
                Payload::Membership(membership) => (2, membership.encode().into()),
            };
            sum.add(&tag.to_le_bytes());
            sum.add(&(bytes.len() as u32).to_le_bytes());
            sum.add(&bytes);
        }
        let bytes = sum.bytes;
        sum.add(&[0; 8][..(bytes.next_multiple_of(8) - bytes) as usize]);
        (bytes, !sum.register) == (self.bytes.into(), self.checksum)
    }
}

/// A CRC-32, bit by bit: it is needed for what was lost, and nowhere else in this crate.
struct Sum {
    bytes: u64,
    register: u32,
}

impl Default for Sum {
    fn default() -> Self {
        Self { bytes: 0, register: u32::MAX }
    }
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            self.register ^= u32::from(*byte);
            for _ in 0..8 {
                let is_odd = self.register & 1;
                self.register = (self.register >> 1) ^ (0xedb8_8320 * is_odd);
            }
        }
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

    /// The same, with all that is lost sealed in pieces.
    fn sealed(base: u64, log: &Plain, lengths: &[u64]) -> Salvage {
        let mut salvage = salvage(base, log);
        let mut lengths = lengths.iter().copied().cycle();
        for lost in &salvage.lost {
            let mut first = lost.first;
            while first <= lost.last.index {
                let last =
                    lost.last.index.min(Index(first.0 + lengths.next().expect("a cycle") - 1));
                let mut sum = Sum::default();
                let mut bytes = 0;
                for index in first.0..=last.0 {
                    let Payload::Command(command) =
                        entry(EntryId { term: lost.last.term, index: Index(index) }).payload
                    else {
                        unreachable!("it is a command")
                    };
                    sum.add(&[1, 0, 0, 0, command.len() as u8, 0, 0, 0]);
                    sum.add(&command);
                    bytes += 8 + command.len() as u32;
                }
                sum.add(&[0; 8][..(bytes.next_multiple_of(8) - bytes) as usize]);
                let last_id = EntryId { term: lost.last.term, index: last };
                salvage.seals.push(Seal { first, last: last_id, bytes, checksum: !sum.register });
                first = last.next();
            }
        }
        salvage
    }

    /// The record in `docs/wal.md`.
    #[test]
    fn a_seal_is_the_checksum_on_disk() {
        let last = EntryId::new(2, 2);
        let seal = Seal { first: Index(1), last, bytes: 21, checksum: 0x55e2_b208 };
        let noop = Entry { id: EntryId::new(2, 1), payload: Payload::Noop };
        let put = Entry { id: last, payload: Payload::Command("put a".into()) };
        assert!(seal.is_of([&noop, &put].into_iter()));
        assert!(!seal.is_of([&put, &noop].into_iter()));
        assert!(!seal.is_of([&noop].into_iter()));
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
                let changed = salvage.fill(wrong.collect()).expect("nothing is sealed");
                prop_assert!(!changed, "other names change nothing");
                let lacked = piece.iter().any(|e| salvage.lost.iter().any(|l| l.contains(e.id)));
                prop_assert_eq!(salvage.fill(piece.to_vec()), Ok(lacked));
                prop_assert_eq!(salvage.name(salvage.last.index), Some(salvage.last));
            }
            prop_assert_eq!((salvage.entries, salvage.lost), (all, vec![]));
        }

        /// Whatever is given under the right names, what was written together comes back as it was or is lost
        /// as before.
        #[test]
        fn what_is_sealed_is_never_another_thing(
            (base, log) in logs(),
            lengths in vec_of(1..4_u64, 12),
            order in vec_of((0..12_usize, 1..6_usize, 0..12_usize), 0..20),
        ) {
            let mut salvage = sealed(base, &log, &lengths);
            let lost = salvage.lost.clone();
            let all: Vec<Entry> = log.iter().map(|(id, _)| entry(*id)).collect();
            for (from, count, wrong) in order {
                let from = from.min(all.len());
                let mut piece = all[from..(from + count).min(all.len())].to_vec();
                if let Some(entry) = piece.get_mut(wrong) {
                    entry.payload = Payload::Command("other".into());
                }
                let refused = salvage.fill(piece).is_err();
                prop_assert!(!refused || !salvage.lost.is_empty());
                let names = |index: u64| salvage.name(Index(index)).expect("it has a name");
                prop_assert!(log.iter().all(|(id, _)| names(id.index.0) == *id));
            }
            if salvage.lost.is_empty() {
                prop_assert_eq!(&salvage.entries, &all);
            }
            // Of what is lost as a whole still, nothing of what was given is left.
            for lost in lost.iter().filter(|lost| salvage.lost.contains(lost)) {
                prop_assert!(!salvage.entries.iter().any(|entry| lost.contains(entry.id)));
            }
            let mut rest = true;
            while rest {
                rest = salvage.fill(all.clone()).is_err();
            }
            prop_assert_eq!((salvage.entries, salvage.lost, salvage.seals), (all, vec![], vec![]));
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
