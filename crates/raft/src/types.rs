//! The words of the algorithm: identities, positions in the log, and time.
//!
//! Each is a newtype, so that four `u64` in a row can't be swapped unseen. Positions come in two
//! kinds that look alike and mean different things: an [`EntryId`] names one entry (the term in
//! which it was *created*), a [`LogMark`] names a state of a whole log (the term of the leader that
//! the log was last *written by*).

use core::fmt;
use core::time::Duration;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number! {
    /// A member of a group. Unique for ever: an id is never given to a second member.
    NodeId, "n"
}
number! {
    /// A disk of a member: drawn at random whenever the member begins on one without what it had on the one
    /// before, so that what it promised on the one is never taken for a promise of the other.
    DiskId, "d"
}
number! {
    /// A Raft group. Everything durable and everything on the wire carries it, so that many groups
    /// can share one log and one connection.
    GroupId, "g"
}
number! {
    /// An election term (Raft §5.1). Term 0 is the time before the first election.
    Term, "t"
}
number! {
    /// A position in the log, counted from 1. Index 0 is the position before the first entry.
    Index, "i"
}
number! {
    /// The number of a [`crate::Persist`], ascending by one over the life of a process.
    Seq, "s"
}

impl Term {
    /// No group gets here in a million years of elections. Whoever says a larger term has made it up;
    /// to believe it would leave no room above.
    pub const BELIEVABLE_MAX: Self = Self(1 << 62);

    /// The following term.
    ///
    /// # Panics
    /// After 2^64 elections.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("the term does not overflow"))
    }
}

impl Index {
    /// The same for positions as [`Term::BELIEVABLE_MAX`].
    pub const BELIEVABLE_MAX: Self = Self(1 << 62);

    /// The following position.
    ///
    /// # Panics
    /// After 2^64 entries.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("the index does not overflow"))
    }

    /// The preceding position, or `None` before the first entry.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl Seq {
    /// The following number.
    ///
    /// # Panics
    /// After 2^64 writes.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("the sequence does not overflow"))
    }
}

/// One entry of the log: where it stands and in which term its leader created it. Two entries with
/// the same id are the same entry, and so is all that precedes them (Log Matching, Raft §5.3).
///
/// The order is that of the vote rule (Raft §5.4.1): the later term is the more up to date, and
/// within one term the longer log.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The term in which the entry was created.
    pub term: Term,
    /// Its position.
    pub index: Index,
}

impl EntryId {
    /// The position before the first entry of an empty log.
    pub const ZERO: Self = Self { term: Term(0), index: Index(0) };

    /// Names an entry.
    #[must_use]
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term: Term(term), index: Index(index) }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index.0, self.term.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A state of a whole log: its last position, and the term of the leader that it was last made
/// consistent with. Logs of two members with the same leader term are prefixes of one another, so
/// marks order writes across truncations: a later write has the larger mark, even when it left a
/// shorter log.
///
/// An acknowledgement says "durable up to this mark". One for a mark with an older leader term
/// speaks of entries that may since have been replaced, and proves nothing about their successors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogMark {
    /// The term of the leader whose log this one follows. Not the term of the last entry.
    pub leader_term: Term,
    /// The last position.
    pub index: Index,
}

/// The entries in `(after, last]`: open on the left, closed on the right, as all ranges of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSpan {
    /// The position before the first entry.
    pub after: Index,
    /// The position of the last entry, at least `after`.
    pub last: Index,
}

impl LogSpan {
    /// The span `(after, last]`.
    ///
    /// # Panics
    /// If it would end before it begins.
    #[must_use]
    pub fn new(after: Index, last: Index) -> Self {
        assert!(after <= last, "a span ({after}, {last}] ends before it begins");
        Self { after, last }
    }

    /// The number of entries.
    #[must_use]
    pub fn len(self) -> u64 {
        self.last.0 - self.after.0
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.after == self.last
    }
}

/// A moment on the monotonic clock of one node: nanoseconds since an origin that the host chose.
/// Moments of two nodes can't be compared.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// A moment that never comes; the deadline of who waits for nothing.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time since an earlier moment, or zero if that one is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { f.write_str("never") } else { write!(f, "{}ns", self.0) }
    }
}
