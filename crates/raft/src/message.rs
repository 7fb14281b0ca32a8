//! What members say to one another: an enum, and a struct for each variant.
//!
//! A message may be lost, repeated, delayed and overtaken. Each is therefore either idempotent or
//! carries what makes a stale one recognisable: the term, and for answers the position or the round
//! they answer.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::membership::Membership;
use crate::types::{DiskId, EntryId, Index, NodeId, Term};

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// What it does.
    pub payload: Payload,
}

/// What an entry does once it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing. A new leader appends one at the start of its term, because it may count
    /// acknowledgements only for entries of its own term (Raft §5.4.2, §8).
    Noop,
    /// A command for the state machine, opaque to Raft.
    Command(Bytes),
    /// The members of the group from here on (see [`crate::membership`]). Shared: an entry of any other kind
    /// is a third of a membership, and most are.
    Membership(Arc<Membership>),
}

impl Payload {
    /// A fixed price for the bookkeeping of an entry, in bytes.
    const OVERHEAD: usize = 32;

    /// What an entry with this payload costs in memory and on the wire, in bytes, for flow control.
    #[must_use]
    pub fn cost(&self) -> usize {
        Self::OVERHEAD
            + match self {
                Self::Noop => 0,
                Self::Command(command) => command.len(),
                Self::Membership(membership) => membership.encoded_bytes(),
            }
    }
}

impl Entry {
    /// What the entry costs; see [`Payload::cost`].
    #[must_use]
    pub fn cost(&self) -> usize {
        self.payload.cost()
    }
}

/// An envelope: who speaks to whom, in which term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The speaker. Never the receiver.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The speaker's term; for [`Body::PreVote`] the term it *would* campaign in, which is one more.
    pub term: Term,
    /// The speaker's disk, if that is a new one: what it says then only tells the leader what to send it, and
    /// counts for nothing unless the receiver's membership names that disk (see `rejoin.rs`).
    pub rejoining: Option<DiskId>,
    /// What is said.
    pub body: Body,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// "Would you vote for me?" Nobody's term changes (thesis §9.6).
    PreVote(RequestVote),
    /// An answer to [`Body::PreVote`].
    PreVoteReply(VoteReply),
    /// "Vote for me" (Raft §5.2).
    Vote(RequestVote),
    /// An answer to [`Body::Vote`].
    VoteReply(VoteReply),
    /// Entries for a follower's log (Raft §5.3).
    Append(Append),
    /// An answer to [`Body::Append`].
    AppendReply(AppendReply),
    /// "I still lead" (Raft §5.2), and the carrier of read rounds.
    Heartbeat(Heartbeat),
    /// An answer to [`Body::Heartbeat`].
    HeartbeatReply(HeartbeatReply),
    /// A piece of the state machine, for a follower whose next entry is compacted (Raft §7).
    Snapshot(Box<SnapshotChunk>),
    /// An answer to [`Body::Snapshot`].
    SnapshotReply(SnapshotReply),
    /// A follower asks the leader for a read index (thesis §6.4).
    ReadIndex(ReadIndex),
    /// An answer to [`Body::ReadIndex`].
    ReadIndexReply(ReadIndexReply),
    /// "Campaign now": the leader hands over (thesis §3.10).
    TimeoutNow,
    /// A member that lost its disk asks a voter what it may have promised. Answered in every role, and
    /// whatever the terms, which do not change by it.
    Rejoin(Rejoin),
    /// An answer to [`Body::Rejoin`].
    RejoinReply(RejoinReply),
    /// Entries that a candidate lacks, from a witness that does not vote for it for that reason (see
    /// `witness.rs`). Taken whatever the terms.
    Tail(Tail),
    /// A candidate asks a witness for more of them. Answered whatever the terms.
    AskTail(AskTail),
}

/// A request for a vote, real or preliminary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// The last entry of the candidate's log.
    pub last: EntryId,
    /// The leader itself asked for this election, so voters don't hold their loyalty to it against
    /// the candidate (thesis §4.2.3).
    pub transfer: bool,
    /// The process that campaigns. One that ran under this name before may have campaigned in the
    /// same term, if it lost its disk since, and with another log.
    pub incarnation: u64,
    /// The new disk with which the voter was given its vote, as the candidate's membership has it: a voter that
    /// has it may give its word, though its own log may not tell of that yet (see `rejoin.rs`).
    pub disk: Option<DiskId>,
}

/// An answer to a request for a vote. The envelope's term tells which campaign it answers: a granted
/// preliminary vote carries the term that was asked for, every other answer the voter's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteReply {
    /// Whether the vote is given.
    pub granted: bool,
    /// The process that asked for it, and for which alone it counts.
    pub incarnation: u64,
}

/// Entries that follow `previous` in the leader's log. May be empty, to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The entry that the first of `entries` follows.
    pub previous: EntryId,
    /// Consecutive entries, the first at `previous.index + 1`; terms never descend.
    pub entries: Vec<Entry>,
    /// The leader's commit index. May lie beyond the entries sent.
    pub commit: Index,
}

/// An answer to [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendReply {
    /// The follower's log equals the leader's up to `durable`, and is on its disk up to there.
    Accepted {
        /// The last position that is both known to match and durable.
        durable: Index,
    },
    /// The follower does not have the entry `previous` of the append.
    Rejected {
        /// The position of `previous` in the append that this answers; tells a stale answer.
        previous: Index,
        /// The largest entry that may still match: at or before `previous`, and of a term not above
        /// its. The leader continues from here, which skips whole terms (Raft §5.3, end).
        hint: EntryId,
    },
}

/// "I still lead."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The leader's commit index, cut to what this follower is known to have.
    pub commit: Index,
    /// Counts the heartbeats of the term: tells a repeated one, and which reads an answer confirms
    /// (see `read.rs`).
    pub round: u64,
    /// What the leader has measured in this term; `None` before it was answered.
    pub pace: Option<Pace>,
    /// "I have nothing to do, and all that I have is committed: let us be quiet" (see `quiet.rs`). The last
    /// entry is then the one at `commit`, and of this term.
    pub quiet: bool,
    /// For how long whoever hears this is to elect nobody else (see `lease.rs`); zero without a lease.
    pub hold: Duration,
}

/// How quick a group is, as its leader measures it (see `pulse.rs`). A hint: it decides how long members wait
/// for a leader, between bounds that are their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The round trip within which as many voters answer as an election would need.
    pub round_trip: Duration,
    /// The worst stall that the leader or a voter has seen in the last hour or less: by how much somebody was
    /// later than it had promised.
    pub stall: Duration,
}

/// "You still lead."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The round of the heartbeat that this answers.
    pub round: u64,
    /// The worst stall that this member itself has seen in the last hour or less (see [`Pace`]).
    pub stall: Duration,
    /// Whether this member is quiet from now on, as the heartbeat proposed.
    pub quiet: bool,
    /// For how long from now on this member elects nobody else, as it promised (see `lease.rs`).
    pub held: Duration,
}

/// What a snapshot stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry whose effect it contains.
    pub last: EntryId,
    /// The membership in force at that entry.
    pub membership: Membership,
}

/// A piece of a snapshot. Pieces are asked for in order by an opaque cursor, so a transfer resumes
/// after any loss where the receiver says it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// The snapshot that this is a piece of.
    pub meta: SnapshotMeta,
    /// Where the piece begins; empty for the first. The bytes mean something to the sender's
    /// machine only.
    pub cursor: Bytes,
    /// The piece.
    pub data: Bytes,
    /// Where the next piece begins; `None` if this is the last.
    pub next: Option<Bytes>,
}

/// An answer to [`SnapshotChunk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotReply {
    /// "Go on at this cursor." An empty cursor asks for the beginning.
    Continue {
        /// The last entry of the snapshot meant.
        last: EntryId,
        /// Where the receiver stands.
        cursor: Bytes,
    },
    /// The snapshot is installed and durable (or the receiver had more than it already).
    Installed {
        /// The last position that matches the leader's log and is durable.
        durable: Index,
    },
}

/// Names one linearizable read for ever: the process that asked, and its count. Never reused, not
/// even by a retry, so a late answer can't be taken for a fresh one (etcd issue 20418).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId {
    /// Drawn at random when the asking process starts.
    pub incarnation: u64,
    /// Counts up within the incarnation.
    pub counter: u64,
}

/// A follower asks for a read index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadIndex {
    /// The read.
    pub id: ReadId,
}

/// The leader's answer to [`ReadIndex`], given only after a quorum confirmed its leadership in a
/// round that began after the request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadIndexReply {
    /// The read.
    pub id: ReadId,
    /// The position that a state machine must have applied to answer the read; `None` if the asked
    /// member can't confirm it (it does not lead, or stopped leading).
    pub index: Option<Index>,
}

/// A member that lost its disk asks a voter for its term and the end of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejoin {
    /// Counts up from the incarnation of the asking process, so no answer to another process or
    /// another round is taken for one to this.
    pub round: u64,
}

/// The answer to [`Rejoin`]; the envelope's term is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejoinReply {
    /// The round that this answers.
    pub round: u64,
    /// The last position of the log, durable or not.
    pub last: Index,
}

/// Entries of a witness' log, for a candidate whose log is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The entry that the first of `entries` follows.
    pub previous: EntryId,
    /// Consecutive entries, the first at `previous.index + 1`; terms never descend.
    pub entries: Vec<Entry>,
    /// The last entry of the witness' log: the last of `entries`, or a later one.
    pub last: EntryId,
}

/// A candidate asks for entries of a witness' log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskTail {
    /// The last entry of its own log, or an earlier one where the two logs may agree.
    pub after: EntryId,
}
