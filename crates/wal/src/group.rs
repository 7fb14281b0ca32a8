//! What the log remembers of one group: the state that its records, replayed in order, lead to.
//!
//! The same rules serve twice. While the log runs, they are asserted, as records come from our own
//! Raft. During recovery they are checked, as records come from a disk.
//!
//! Invariants:
//! - `base.index <= held_after`, and the held entries are those from `held_after` on, without a gap.
//! - Entries in `(base, held_after]` are known to have existed and are not held. That happens during
//!   recovery only, in between: the first segment kept tells of entries in segments that are gone,
//!   and a later record tells that they are no longer needed. At the end there are none.
//!
//! Entries are held, not just counted, so that a running log can write them anew when a segment is to
//! go (`carry.rs`). That costs little: a command is a counted reference to the bytes that Raft holds
//! as well, for as long.

use std::collections::VecDeque;

use quorate_planted::planted;
use quorate_raft::{Entry, EntryId, HardState, Index, Record, Recovered};

use crate::record::{Flaw, entry_bytes};
use crate::standing::Standing;

/// Room for as many entries is made one by one, and for more ahead.
const HELD_EXACTLY: usize = 4;

/// An entry, and where it lies.
#[derive(Clone, Debug)]
struct Held {
    entry: Entry,
    segment: u64,
}

/// What the log remembers of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupLog {
    standing: Standing,
    /// During recovery, entries that are not held may be replaced, and then the log ends with one whose
    /// name is not known here. The header of the next record tells.
    turn_is_unknown: bool,
    held_after: Index,
    held: VecDeque<Held>,
    /// What the held entries take on disk, without headers.
    bytes: u64,
    /// During recovery, the last of the entries that a checkpoint says that it carries.
    carried_to: Option<Box<EntryId>>,
}

impl GroupLog {
    /// A group as it was mended, in this segment.
    pub(crate) fn mended(recovered: Recovered, segment: u64) -> Self {
        let Recovered { hard_state, base, entries } = recovered;
        let mut standing = Standing::empty(hard_state, base);
        entries.iter().for_each(|entry| standing.extend(entry.id));
        let bytes = entries.iter().map(|entry| entry_bytes(entry) as u64).sum();
        let held = entries.into_iter().map(|entry| Held { entry, segment }).collect();
        Self { standing, held_after: base.index, held, bytes, ..Self::default() }
    }

    /// How the group stands.
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// The position of the last entry.
    fn last(&self) -> Index {
        self.standing.last.index
    }

    /// The segment of the first entry that is needed; `None` if none is.
    pub(crate) fn oldest_segment(&self) -> Option<u64> {
        self.held.front().map(|held| held.segment)
    }

    /// What the entries take on disk, without headers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entries.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.held.iter().map(|held| &held.entry)
    }

    /// Notes that all entries lie in this segment now.
    pub(crate) fn moved_to(&mut self, segment: u64) {
        for held in &mut self.held {
            held.segment = segment;
        }
    }

    /// Takes over what the begin of a segment tells, `carried` if the entries follow anew. `known` says
    /// that earlier segments were read, so that it can be compared.
    pub(crate) fn restore(
        &mut self,
        told: Standing,
        carried: bool,
        known: bool,
    ) -> Result<(), Flaw> {
        self.check_carried()?;
        if known {
            self.check(told)?;
        }
        self.standing = told;
        if carried {
            self.standing = Standing::empty(told.hard_state, told.base);
            self.carried_to = Some(Box::new(told.last));
        }
        if carried || !known {
            self.held.clear();
            self.bytes = 0;
            self.held_after = self.last();
        }
        Ok(())
    }

    /// Takes over entries that a checkpoint carries.
    pub(crate) fn carry(&mut self, entries: &[Entry], segment: u64) -> Result<(), Flaw> {
        let follows = entries.first().is_some_and(|entry| entry.id.index == self.last().next());
        if self.carried_to.is_none() || !follows {
            let found = entries.first().map_or(EntryId::ZERO, |entry| entry.id);
            let expected = format!("the entry after {}, carried", self.standing.last);
            return Err(Flaw::new(expected, found.to_string()));
        }
        self.apply_append(entries, segment)
    }

    /// Whether the group stands as a header tells.
    pub(crate) fn check(&mut self, told: Standing) -> Result<(), Flaw> {
        if std::mem::take(&mut self.turn_is_unknown) {
            self.standing.turn = told.turn;
        }
        if self.standing == told {
            return Ok(());
        }
        let expected = format!("what the records before lead to: {:?}", self.standing);
        Err(Flaw::new(expected, format!("{told:?}")))
    }

    /// Whether everything that was to be carried is there.
    fn check_carried(&mut self) -> Result<(), Flaw> {
        match self.carried_to.take() {
            Some(last) if *last != self.standing.last => {
                let found = self.standing.last.to_string();
                Err(Flaw::new(format!("entries to {last}, carried"), found))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Applies a record that lies in this segment.
    pub(crate) fn apply(&mut self, record: &Record, segment: u64) -> Result<(), Flaw> {
        self.check_carried()?;
        match record {
            Record::HardState(hard_state) => self.apply_hard_state(*hard_state),
            Record::Append(entries) => self.apply_append(entries, segment),
            Record::Compact(id) => self.apply_compact(*id),
            Record::Reset(id) => {
                self.standing = Standing::empty(self.standing.hard_state, *id);
                self.held.clear();
                self.bytes = 0;
                self.held_after = id.index;
                Ok(())
            }
        }
    }

    /// A term never descends, and a vote is given once (Raft §5.2).
    fn apply_hard_state(&mut self, hard_state: HardState) -> Result<(), Flaw> {
        let before = self.standing.hard_state;
        let voted_anew = hard_state.term == before.term
            && before.vote.is_some()
            && hard_state.vote != before.vote;
        if hard_state.term < before.term || voted_anew {
            let expected = format!("a successor of {before:?}");
            return Err(Flaw::new(expected, format!("{hard_state:?}")));
        }
        self.standing.hard_state = hard_state;
        Ok(())
    }

    /// Entries, all of one term, replace whatever follows their predecessor, which must be there (Raft
    /// §5.3).
    fn apply_append(&mut self, entries: &[Entry], segment: u64) -> Result<(), Flaw> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let (first, last) = (first.id, last.id);
        let follows = |pair: &[Entry]| {
            pair[0].id.index.next() == pair[1].id.index && pair[0].id.term == pair[1].id.term
        };
        if let Some(pair) = entries.windows(2).find(|pair| !follows(pair)) {
            return Err(Flaw::new(
                format!("the entry after {}", pair[0].id),
                pair[1].id.to_string(),
            ));
        }
        let fits = first.index > self.standing.base.index && first.index <= self.last().next();
        if !fits {
            let (base, last) = (self.standing.base.index, self.last());
            let expected = format!("entries that begin in ({base}, {}]", last.next());
            return Err(Flaw::new(expected, format!("the first at {}", first.index)));
        }
        self.truncate(Index(first.index.0 - 1));
        if last.term < self.standing.last.term
            && !self.turn_is_unknown
            && !planted!(DescendingTermsTaken)
        {
            let expected = format!("an entry of at least {}", self.standing.last.term);
            return Err(Flaw::new(expected, last.to_string()));
        }
        self.standing.extend(last);
        for entry in entries {
            self.bytes += entry_bytes(entry) as u64;
            if self.held.len() < HELD_EXACTLY {
                // Of thousands of groups most have an entry or two.
                self.held.reserve_exact(1);
            }
            self.held.push_back(Held { entry: entry.clone(), segment });
        }
        Ok(())
    }

    /// Removes the entries after this position, which is not before the base.
    fn truncate(&mut self, to: Index) {
        if to >= self.last() {
            return;
        }
        while Index(self.held_after.0 + self.held.len() as u64) > to {
            match self.held.pop_back() {
                Some(held) => self.bytes -= entry_bytes(&held.entry) as u64,
                // The entries removed are among those that are not held.
                None => self.held_after = to,
            }
        }
        let Standing { base, turn, last, .. } = self.standing;
        if to > turn.index {
            self.standing.last = EntryId { term: last.term, index: to };
        } else if to == base.index {
            (self.standing.turn, self.standing.last) = (base, base);
        } else if let Some(Held { entry, .. }) = self.held.back() {
            let last = entry.id;
            let turn = self.held.partition_point(|held| held.entry.id.term < last.term);
            self.standing.last = last;
            match turn.checked_sub(1) {
                Some(turn) => self.standing.turn = self.held[turn].entry.id,
                None => {
                    self.standing.turn = base;
                    self.turn_is_unknown = self.held_after != base.index;
                }
            }
        } else {
            (self.standing.turn, self.standing.last) =
                (base, EntryId { term: base.term, index: to });
            self.turn_is_unknown = true;
        }
    }

    fn apply_compact(&mut self, id: EntryId) -> Result<(), Flaw> {
        let Standing { base, turn, last, .. } = self.standing;
        if id.index < base.index || id.index > last.index {
            let expected = format!("an entry in [{}, {}]", base.index, last.index);
            return Err(Flaw::new(expected, id.to_string()));
        }
        let known = if id.index == base.index {
            Some(base)
        } else if id.index > turn.index {
            Some(EntryId { term: last.term, index: id.index })
        } else if id.index == turn.index {
            Some(turn)
        } else if id.index > self.held_after {
            let position = usize::try_from(id.index.0 - self.held_after.0 - 1);
            position.ok().and_then(|position| Some(self.held.get(position)?.entry.id))
        } else {
            None
        };
        if let Some(known) = known.filter(|known| *known != id) {
            return Err(Flaw::new(known.to_string(), id.to_string()));
        }
        self.standing.base = id;
        if turn.index < id.index {
            self.standing.turn = id;
        }
        while self.held_after < id.index {
            match self.held.pop_front() {
                Some(held) => {
                    self.bytes -= entry_bytes(&held.entry) as u64;
                    self.held_after = self.held_after.next();
                }
                None => self.held_after = id.index,
            }
        }
        if self.held.is_empty() {
            // As of a group that is quiet.
            self.held = VecDeque::new();
        }
        Ok(())
    }

    /// What a restart finds.
    pub(crate) fn recovered(&mut self) -> Result<Recovered, Flaw> {
        self.check_carried()?;
        let Standing { hard_state, base, .. } = self.standing;
        if self.held_after != base.index {
            let expected =
                format!("the entries ({}, {}] in some segment", base.index, self.held_after);
            return Err(Flaw::new(expected, "none of them"));
        }
        Ok(Recovered { hard_state, base, entries: self.entries().cloned().collect() })
    }
}
