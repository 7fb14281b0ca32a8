//! The state machine that a group replicates: what a user of Quorate writes.
//!
//! A machine is driven by one caller, in log order. Its answers are *outcomes*: whatever the
//! proposer wants back. Two machines that applied the same commands from the same state must hold
//! the same state and give the same outcomes: **apply is a function of the state and the entry
//! alone**. No clock, no randomness, no local configuration, no order of a hash map, no local error
//! that another member might not have. What a machine can't do without (a full disk, a damaged
//! page) is a [`Fault`]: the member stops, and the others go on.
//!
//! ```text
//! apply apply apply · commit(through) · apply · commit(through) · flush     one caller, in log order
//!                                       snapshot ─► read read read          on a member that is ahead
//!                                       restore restore restore             on one that is behind
//! ```
//!
//! A state that fits on one write need not know of any of that: see [`State`](crate::State). Whether a machine is
//! what this page demands can be tried under faults, with `quorate_sim::check`.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;
use quorate_raft::EntryId;

/// A deterministic, snapshottable state.
pub trait Machine: Send {
    /// What the proposer of a command gets back.
    type Outcome: Send + 'static;

    /// Up to where the state reaches, [`EntryId::ZERO`] when new. Counts what was applied in this
    /// process, durable or not.
    fn applied(&self) -> EntryId;

    /// Up to where the state would reach if the process were killed now. Never beyond
    /// [`Machine::applied`]; the log keeps everything after it. Stored in the same atomic write as
    /// the data, so that no command is ever applied twice to the same state.
    fn durable(&self) -> EntryId;

    /// Whether there is a state at all. The machine of a witness has none ([`Witness`](crate::Witness)): it is told
    /// of members and positions, never of a command, and nobody is given a snapshot of it.
    fn keeps_state(&self) -> bool {
        true
    }

    /// Applies one command. Called in log order, each entry once.
    ///
    /// # Errors
    /// A [`Fault`] only for what is wrong with this member. A command that can't be carried out is
    /// an outcome.
    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<Self::Outcome, Fault>;

    /// The members of the group as of what was applied: what [`Machine::set_membership`] was given last, or
    /// the snapshot that was restored; `None` before the first of them.
    fn membership(&self) -> Option<Bytes>;

    /// Keeps who belongs to the group, in bytes that mean something to the group alone. It is as much a part of
    /// the state as what a command does: it comes in log order, is durable with the position, and must
    /// not be there without it. But it is not what members compare ([`Machine::fingerprint`]).
    ///
    /// # Errors
    /// As for [`Machine::apply`].
    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault>;

    /// Ends a batch: what was applied since the last call, and the position `through`, become
    /// visible to readers together (and, sooner or later, durable together). `through` may lie
    /// beyond the last applied command, where entries carried none.
    ///
    /// # Errors
    /// As for [`Machine::apply`].
    fn commit(&mut self, through: EntryId) -> Result<(), Fault>;

    /// Makes everything committed durable, as before an orderly end.
    ///
    /// # Errors
    /// As for [`Machine::apply`].
    fn flush(&mut self) -> Result<(), Fault>;

    /// Begins to make everything committed durable, and need not wait for that. Called when many bytes
    /// of log were applied since the last time: commands that changed little, or nothing, let a
    /// machine that writes by what has changed lag behind for ever, and until it is
    /// [durable](Machine::durable) the log holds every one of them, in memory and on disk.
    ///
    /// # Errors
    /// As for [`Machine::apply`].
    fn begin_flush(&mut self) -> Result<(), Fault> {
        self.flush()
    }

    /// Does a short piece of whatever can wait, and says whether there is more of it. Called between
    /// batches when nothing else is to be done; must change nothing that an answer depends on.
    ///
    /// # Errors
    /// As for [`Machine::apply`].
    fn idle(&mut self) -> Result<bool, Fault> {
        Ok(false)
    }

    /// The fingerprint of the state after the last command applied, committed or not. Must follow from
    /// the commands alone, and not from the way on which this member came to its state; and cost next
    /// to nothing, since a group asks for it at fixed places of the log. Members compare theirs through
    /// the log, and one that differs from most stops ([`FaultKind::Diverged`]). `None` from a machine
    /// that has no such thing, at any time: then nothing is compared.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }

    /// Reads on in a cycle over everything that the machine has on disk and nobody else may read for
    /// long, at most so many bytes, and verifies it; so that damage is found while the other members
    /// are whole. Called from time to time, between batches; a host spreads a cycle over hours. `None`
    /// if there is nothing of that kind, and then it is not called again.
    ///
    /// # Errors
    /// As for [`Machine::apply`]; [`FaultKind::Damaged`] for what it is there to find.
    fn scrub(&mut self, bytes_max: usize) -> Result<Option<Scrubbed>, Fault> {
        let _ = bytes_max;
        Ok(None)
    }

    /// Freezes the committed state, up to [`Machine::applied`], for a transfer. Cheap: must not copy the state.
    ///
    /// # Errors
    /// As for [`Machine::apply`].
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault>;

    /// Takes one piece of a snapshot that another member's machine read. Pieces come in order; one
    /// with [`Piece::first`] begins anew and drops what a transfer before it left. The present state
    /// stays visible until the last piece, which replaces it atomically and durably.
    ///
    /// # Errors
    /// [`RestoreError::Rejected`] for a piece that is not what this machine can read: the transfer
    /// is given up and the present state stays.
    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError>;
}

/// Stands for a state: equal states have equal ones, and different states almost never do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What [`Machine::scrub`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many bytes it read.
    pub bytes: u64,
    /// How many bytes a whole cycle reads, as things are.
    pub total: u64,
    /// Whether a cycle is complete. The next piece begins another one.
    pub cycle_ended: bool,
}

/// A frozen state, read in pieces.
pub trait Snapshot: Send {
    /// The last entry whose effect it contains.
    fn last(&self) -> EntryId;

    /// Reads the piece that begins at `cursor`, of about `bytes_max` bytes. Empty is the beginning;
    /// any other should be one that a snapshot with the same [`Snapshot::last`] returned as
    /// [`SnapshotBytes::next`]. But cursors travel to the follower and back, so this is data: what
    /// is read at a made-up one is refused there, by its checksum.
    ///
    /// # Errors
    /// [`SnapshotError::Cursor`] for bytes that are no cursor, never for the empty one; a
    /// [`Fault`] if the state can't be read.
    fn read(&mut self, cursor: &[u8], bytes_max: usize) -> Result<SnapshotBytes, SnapshotError>;
}

/// What [`Snapshot::read`] read.
#[derive(Clone, Debug)]
pub struct SnapshotBytes {
    /// The bytes, meant for [`Machine::restore`].
    pub data: Bytes,
    /// Where the next piece begins; `None` after the last.
    pub next: Option<Bytes>,
}

/// A piece of another member's state.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The last entry whose effect the whole snapshot contains.
    pub last: EntryId,
    /// The members of the group as of this entry, as if by [`Machine::set_membership`]. The same in every piece of
    /// a snapshot; a snapshot need not contain it.
    pub membership: Bytes,
    /// Whether this is the first piece.
    pub first: bool,
    /// The bytes.
    pub data: Bytes,
    /// Whether this is the last piece.
    pub end: bool,
}

/// Something is wrong with this member: it must stop, say so, and not guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What a host can do about it.
    pub kind: FaultKind,
    /// What happened, for the operator.
    pub report: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(kind: FaultKind, report: impl Into<String>) -> Self {
        Self { kind, report: report.into() }
    }
}

/// What can be wrong with a machine, by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// What was read is not what was written. Another member has the state; this one can begin
    /// without it and be given it.
    Damaged,
    /// The state is not the one that the cluster agreed on. To be rebuilt in the same way.
    Diverged,
    /// Members hold different states, and there is no majority that holds the same. Nothing that a
    /// member does by itself can mend that.
    Undecided,
    /// The disk has no room left. The state is whole: to try again when there is room is enough.
    Full,
    /// The disk refused otherwise. Nobody knows what it holds before it is read anew.
    Io,
    /// The state, or a command, is of a version of the program that this one does not know. The state
    /// is whole, and only another program helps.
    Version,
}

impl FaultKind {
    /// Whether the state of this member is worthless, and another's takes its place.
    #[must_use]
    pub fn loses_state(self) -> bool {
        match self {
            Self::Damaged | Self::Diverged => true,
            Self::Undecided | Self::Full | Self::Io | Self::Version => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

impl core::error::Error for Fault {}

/// Why a piece of a snapshot was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// No snapshot gave out such a cursor. It came from a peer, so this is no reason to stop.
    Cursor,
    /// Something is wrong with this member.
    Fault(Fault),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cursor => f.write_str("a cursor that no snapshot gave out"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl core::error::Error for SnapshotError {}

impl From<Fault> for SnapshotError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why a piece of a snapshot was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// The piece can't be right. It came from a peer, so this is no reason to stop.
    Rejected(String),
    /// Something is wrong with this member.
    Fault(Fault),
}

impl From<Fault> for RestoreError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
