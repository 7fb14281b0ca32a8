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

use quorate_raft::{Entry, EntryId, HardState, Index, Record, Recovered};

use crate::record::{Flaw, State, entry_bytes};

/// An entry, and where it lies.
#[derive(Clone, Debug)]
struct Held {
    entry: Entry,
    segment: u64,
}

/// What the log remembers of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupLog {
    hard_state: HardState,
    base: EntryId,
    held_after: Index,
    held: VecDeque<Held>,
    /// What the held entries take on disk, without headers.
    bytes: u64,
}

impl GroupLog {
    /// The position of the last entry.
    fn last(&self) -> Index {
        Index(self.held_after.0 + self.held.len() as u64)
    }

    /// The segment of the first entry that is needed; `None` if none is.
    pub(crate) fn oldest_segment(&self) -> Option<u64> {
        self.held.front().map(|held| held.segment)
    }

    /// What the entries take on disk, without headers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The group as a segment that begins now has to tell of it, `carried` if its entries follow.
    pub(crate) fn state(&self, carried: bool) -> State {
        let last = if carried { self.base.index } else { self.last() };
        State { hard_state: self.hard_state, base: self.base, last }
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

    /// Takes over what the begin of a segment tells. `known` says that earlier segments were read, so
    /// that it can be compared.
    pub(crate) fn restore(&mut self, state: State, known: bool) -> Result<(), Flaw> {
        let State { hard_state, base, last } = state;
        if last < base.index {
            return Err(Flaw::new(format!("a last entry not before {base}"), format!("{last}")));
        }
        if known && (hard_state, base) != (self.hard_state, self.base) {
            return Err(Flaw::new(
                format!("what earlier segments say: {:?}, base {}", self.hard_state, self.base),
                format!("{hard_state:?}, base {base}"),
            ));
        }
        if known && last != base.index && last != self.last() {
            let expected = format!("what earlier segments say: last entry {}", self.last());
            return Err(Flaw::new(expected, format!("{last}")));
        }
        self.hard_state = hard_state;
        self.base = base;
        if !known || last == base.index {
            self.held.clear();
            self.bytes = 0;
            self.held_after = last;
        }
        Ok(())
    }

    /// Applies a record that lies in this segment.
    pub(crate) fn apply(&mut self, record: &Record, segment: u64) -> Result<(), Flaw> {
        match record {
            Record::HardState(hard_state) => self.apply_hard_state(*hard_state),
            Record::Append(entries) => self.apply_append(entries, segment),
            Record::Compact(id) => self.apply_compact(*id),
            Record::Reset(id) => {
                self.base = *id;
                self.held.clear();
                self.bytes = 0;
                self.held_after = id.index;
                Ok(())
            }
        }
    }

    /// A term never descends, and a vote is given once (Raft §5.2).
    fn apply_hard_state(&mut self, hard_state: HardState) -> Result<(), Flaw> {
        let before = self.hard_state;
        let voted_anew = hard_state.term == before.term
            && before.vote.is_some()
            && hard_state.vote != before.vote;
        if hard_state.term < before.term || voted_anew {
            let expected = format!("a successor of {before:?}");
            return Err(Flaw::new(expected, format!("{hard_state:?}")));
        }
        self.hard_state = hard_state;
        Ok(())
    }

    /// Entries replace whatever follows their predecessor, which must be there (Raft §5.3).
    fn apply_append(&mut self, entries: &[Entry], segment: u64) -> Result<(), Flaw> {
        let Some(first) = entries.first() else { return Ok(()) };
        let fits = first.id.index > self.base.index && first.id.index <= self.last().next();
        if !fits {
            let (base, last) = (self.base.index, self.last());
            let expected = format!("entries that begin in ({base}, {}]", last.next());
            return Err(Flaw::new(expected, format!("the first at {}", first.id.index)));
        }
        let gap = entries.windows(2).find(|pair| pair[0].id.index.next() != pair[1].id.index);
        if let Some(pair) = gap {
            return Err(Flaw::new(
                format!("the entry after {}", pair[0].id),
                pair[1].id.to_string(),
            ));
        }
        let predecessor = Index(first.id.index.0 - 1);
        while self.last() > predecessor {
            match self.held.pop_back() {
                Some(held) => self.bytes -= entry_bytes(&held.entry) as u64,
                // The entries replaced are among those that are not held.
                None => self.held_after = predecessor,
            }
        }
        for entry in entries {
            self.bytes += entry_bytes(entry) as u64;
            self.held.push_back(Held { entry: entry.clone(), segment });
        }
        Ok(())
    }

    fn apply_compact(&mut self, id: EntryId) -> Result<(), Flaw> {
        let known = if id.index == self.base.index {
            Some(self.base)
        } else if id.index < self.base.index || id.index > self.last() {
            let expected = format!("an entry in [{}, {}]", self.base.index, self.last());
            return Err(Flaw::new(expected, id.to_string()));
        } else if id.index > self.held_after {
            let position = usize::try_from(id.index.0 - self.held_after.0 - 1);
            position.ok().and_then(|position| Some(self.held.get(position)?.entry.id))
        } else {
            None
        };
        if let Some(known) = known.filter(|known| *known != id) {
            return Err(Flaw::new(known.to_string(), id.to_string()));
        }
        self.base = id;
        while self.held_after < id.index {
            match self.held.pop_front() {
                Some(held) => {
                    self.bytes -= entry_bytes(&held.entry) as u64;
                    self.held_after = self.held_after.next();
                }
                None => self.held_after = id.index,
            }
        }
        Ok(())
    }

    /// What a restart finds.
    pub(crate) fn recovered(&self) -> Result<Recovered, Flaw> {
        if self.held_after != self.base.index {
            let (base, after) = (self.base.index, self.held_after);
            let expected = format!("the entries ({base}, {after}] in some segment");
            return Err(Flaw::new(expected, "none of them"));
        }
        // Each append was checked against its predecessor's place, and terms are known only now.
        let mut last = self.base;
        for entry in self.entries() {
            if entry.id.term < last.term {
                let expected = format!("an entry of at least {} after {last}", last.term);
                return Err(Flaw::new(expected, entry.id.to_string()));
            }
            last = entry.id;
        }
        Ok(Recovered {
            hard_state: self.hard_state,
            base: self.base,
            entries: self.entries().cloned().collect(),
        })
    }
}
