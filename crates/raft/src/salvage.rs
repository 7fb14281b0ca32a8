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
use crate::types::{EntryId, Index};

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
