//! How a group stands at some moment of its log: what every record says of its group, and the mark of
//! all groups.
//!
//! A record that is lost takes what it said with it. But the *next* intact record of the group tells how
//! the group stood after it, and with that, mostly, what was lost: the term and vote are told; the base
//! is told; and of the entries their *names*, index and term, by which they can be fetched from other
//! members.
//!
//! The names follow from three ids. All entries in `(turn, last]` have the term of `last`. And what is
//! up to `turn` is known if the log before the loss held an entry of the same term as `turn`, at an index
//! not after it: whoever holds `turn` holds the log of the leader of that term up to there, and that
//! leader never removed an entry of its own (Leader Append-Only, Log Matching; Raft §5.3). So a lost
//! stretch with one change of the term in it is named for certain, and so is one with none.

use quorate_planted::planted;
use quorate_raft::{EntryId, HardState, NodeId, Term};

use crate::record::{Flaw, NUMBER_LIMIT};

/// A group, at some moment.
///
/// Invariants: `base.index <= turn.index <= last.index`; where two of the indexes are equal, so are the
/// ids. Terms don't descend from `base` to `last`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) hard_state: HardState,
    /// The entry before the first.
    pub(crate) base: EntryId,
    /// The last entry that has another term than `last`; the base, if there is none after that.
    pub(crate) turn: EntryId,
    /// The last entry, or the base.
    pub(crate) last: EntryId,
}

/// The bytes of a standing, without the one that says whether there is a vote.
pub(crate) const STANDING_BYTES: usize = 64;

impl Standing {
    /// A log that is empty after this entry.
    pub(crate) fn empty(hard_state: HardState, base: EntryId) -> Self {
        Self { hard_state, base, turn: base, last: base }
    }

    /// Notes entries up to this one, all of its term, after the last.
    pub(crate) fn extend(&mut self, last: EntryId) {
        if last.term != self.last.term {
            self.turn = self.last;
        }
        self.last = last;
    }

    /// The bytes, and 1 if a vote was given.
    pub(crate) fn encode(&self) -> ([u8; STANDING_BYTES], u8) {
        let HardState { term, vote } = self.hard_state;
        let numbers = [
            term.0,
            vote.map_or(0, |node| node.0),
            self.base.term.0,
            self.base.index.0,
            self.turn.term.0,
            self.turn.index.0,
            self.last.term.0,
            self.last.index.0,
        ];
        let mut bytes = [0; STANDING_BYTES];
        for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        (bytes, u8::from(vote.is_some()))
    }

    /// Reads a standing whose checksum is right. It is not trusted nevertheless.
    pub(crate) fn parse(bytes: &[u8; STANDING_BYTES], voted: u8) -> Result<Self, Flaw> {
        let number =
            |at: usize| u64::from_le_bytes(bytes[8 * at..8 * at + 8].try_into().expect("8 bytes"));
        if let Some(at) = (0..8).find(|at| *at != 1 && number(*at) >= NUMBER_LIMIT) {
            let found = format!("{}", number(at));
            return Err(Flaw::new("a term or index that a group can reach", found));
        }
        let vote = match (voted, number(1)) {
            (0, 0) => None,
            (1, node) => Some(NodeId(node)),
            (tag, node) => {
                return Err(Flaw::new("a vote or none", format!("tag {tag}, node {node}")));
            }
        };
        let standing = Self {
            hard_state: HardState { term: Term(number(0)), vote },
            base: EntryId::new(number(2), number(3)),
            turn: EntryId::new(number(4), number(5)),
            last: EntryId::new(number(6), number(7)),
        };
        let follows = |before: EntryId, after: EntryId| {
            let ascends = before.term <= after.term || planted!(DescendingTermsTaken);
            before == after || before.index < after.index && ascends
        };
        if !follows(standing.base, standing.turn) || !follows(standing.turn, standing.last) {
            return Err(Flaw::new(
                "a base, a turn and a last entry in order",
                format!("{standing:?}"),
            ));
        }
        Ok(standing)
    }
}
