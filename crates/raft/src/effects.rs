//! The boundary: what goes into `Raft::step` and what comes out.
//!
//! Three rules are the whole manual for a host:
//!
//! 1. Everything in [`Effects::send`] may leave now, in any order, be lost or be repeated.
//! 2. Give every [`Effects::persist`] to the log in order; when it is durable, feed its number back
//!    as [`Input::Durable`]. The last number of a batch is enough.
//! 3. Apply [`Effects::committed`] in order. It is durable on a quorum **and** in the local log;
//!    nothing else has to be waited for.
//!
//! There is no order *between* the fields. Answers that depend on durability (a vote, an accepted
//! append) are not handed out early with a warning: they stay inside the core until `Durable` says
//! that they may leave. The leader's own appends count toward the quorum by the same rule, so a
//! cluster of one member is no special case.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::membership::Membership;
use crate::message::{Entry, Message, ReadId, SnapshotChunk, SnapshotMeta};
use crate::types::{EntryId, Index, LogSpan, NodeId, Seq, Term};

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message from another member arrived. It is data, not truth: anything in it may be wrong.
    Message(Message),
    /// Append these commands, in order. Answered at once in [`Effects::proposed`].
    Propose(Vec<Bytes>),
    /// A linearizable read: at which index may it be answered? Answered later in
    /// [`Effects::reads`]; lost without an answer if messages are lost, so the host repeats it with
    /// a *new* id after a while.
    Read(ReadId),
    /// Every [`Persist`] up to and including this number is durable.
    Durable(Seq),
    /// The state machine has applied everything up to and including this position.
    Applied(Index),
    /// The state machine's own durable state covers this position; entries up to it may be
    /// forgotten once no follower is expected to need them.
    Compact(Index),
    /// An answer to [`SnapshotRequest::Read`].
    SnapshotReady(SnapshotPiece),
    /// An answer to [`SnapshotRequest::Write`] of a piece with no next one: the state machine is at
    /// `last`, durably.
    SnapshotInstalled {
        /// The last entry that the installed snapshot contains.
        last: EntryId,
    },
    /// A [`SnapshotRequest::Write`] could not be done (the piece is damaged, or not the one that
    /// the machine expected). The transfer begins anew.
    SnapshotFailed {
        /// The last entry of the snapshot meant.
        last: EntryId,
    },
    /// This member is to be awake, if it is quiet (see [`Config::quiet_after`](crate::Config::quiet_after)).
    Wake {
        /// Whether that is because another node can't be relied on any more: the leader's, or those of a quorum of the
        /// leader's followers. If not, somebody merely wants something.
        doubted: bool,
    },
    /// The deadline has passed.
    Timeout,
    /// Let these be the members of the group. Answered in [`Effects::changes`], and over when an event tells of just
    /// this membership and it is committed.
    Change(Membership),
    /// Hand leadership to this member (thesis §3.10). Ignored with an event if it can't be done.
    Transfer(NodeId),
    /// The host would not have these members lead, by what it knows of them beside this group. A hand-over
    /// for which nobody named a member goes to none of them. Counts until the next such advice.
    Unfit(Vec<NodeId>),
    /// A member that heals, and so takes no part, has this term on its disk. It says so in a message of
    /// the host's own, which vouches that it comes from another member; the term is data as any message
    /// is. A leader of an earlier term gives up: whatever that member waits for, only a later leader can
    /// decide. Others needn't enter the term, since whoever leads is asked again.
    LaterTerm {
        /// Who knows of it.
        from: NodeId,
        /// The term.
        term: Term,
    },
}

/// A piece of a snapshot, read from the state machine.
#[derive(Clone, Debug)]
pub struct SnapshotPiece {
    /// The follower for whom it was read.
    pub to: NodeId,
    /// The piece; its `cursor` is that of the request, or empty where the machine had to begin anew
    /// with a newer snapshot.
    pub chunk: Box<SnapshotChunk>,
}

/// What must be done. Cleared by the host after it is done; steps append.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages that may leave now.
    pub send: Vec<Message>,
    /// Records for the log, in order.
    pub persist: Vec<Persist>,
    /// Entries to apply, in order, each exactly once over the life of a process.
    pub committed: Vec<Entry>,
    /// Answers to [`Input::Read`].
    pub reads: Vec<ReadOutcome>,
    /// Answers to [`Input::Propose`], one for each, in order.
    pub proposed: Vec<Result<LogSpan, ProposeError>>,
    /// Answers to [`Input::Change`], one for each, in order: where the first entry of the change is.
    pub changes: Vec<Result<Index, ChangeError>>,
    /// Work on snapshots for the host.
    pub snapshots: Vec<SnapshotRequest>,
    /// Notable facts, for logs, metrics and tests. Nothing depends on them.
    pub events: Vec<Event>,
}

impl Effects {
    /// Empties every list and keeps its memory.
    pub fn clear(&mut self) {
        let Self { send, persist, committed, reads, proposed, changes, snapshots, events } = self;
        send.clear();
        persist.clear();
        committed.clear();
        reads.clear();
        proposed.clear();
        changes.clear();
        snapshots.clear();
        events.clear();
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.send.is_empty() && !self.asks_for_more_than_messages()
    }

    /// Whether there is anything to do but to send messages, which is all that most inputs ask for.
    #[must_use]
    pub fn asks_for_more_than_messages(&self) -> bool {
        let Self { send: _, persist, committed, reads, proposed, changes, snapshots, events } =
            self;
        !(persist.is_empty()
            && committed.is_empty()
            && reads.is_empty()
            && proposed.is_empty()
            && changes.is_empty()
            && snapshots.is_empty()
            && events.is_empty())
    }
}

/// A numbered record for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Its number.
    pub seq: Seq,
    /// What to write.
    pub record: Record,
}

/// What the log remembers for a group. Replaying the records of a group in order yields a
/// [`Recovered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The term and the vote in it (Raft §5.1, §5.2).
    HardState(HardState),
    /// Entries. The first one's predecessor is in the log; whatever follows that predecessor is
    /// replaced.
    Append(Vec<Entry>),
    /// Entries up to and including this one are in the state machine's own durable state. They may
    /// be dropped from the log. The entry is in the log, or it is its base already.
    Compact(EntryId),
    /// The whole log is replaced by a snapshot that ends with this entry: the log is empty after
    /// it and continues at the next index.
    Reset(EntryId),
}

/// The term and the vote in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term this member has seen. Never descends.
    pub term: Term,
    /// Who got this member's vote in `term`. Never changes within a term once given.
    pub vote: Option<NodeId>,
}

impl HardState {
    /// Whether this is what was promised, or something later: no vote was forgotten since.
    #[must_use]
    pub fn keeps(self, promised: Self) -> bool {
        self.term > promised.term
            || self.term == promised.term && (promised.vote.is_none() || self.vote == promised.vote)
    }
}

/// What a log remembers of a group after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The term and vote.
    pub hard_state: HardState,
    /// The entry before the first of `entries`.
    pub base: EntryId,
    /// The entries after `base`, without a gap.
    pub entries: Vec<Entry>,
}

/// The answer to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The read.
    pub id: ReadId,
    /// The position to wait for before answering it, or why there is none. A failed read may be
    /// repeated with a new id.
    pub result: Result<Index, ReadError>,
}

/// Why a read has no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// No leader is known.
    NoLeader,
    /// Leadership moved while the read was under way.
    LeaderChanged,
    /// Too many reads wait already.
    Overloaded,
}

/// Why a proposal was not appended. It is certain that it never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// This member does not lead; the named one may.
    NotLeader(Option<NodeId>),
    /// Leadership is being handed to another member.
    Transferring(NodeId),
    /// The log holds as many uncommitted bytes as it may.
    Overloaded,
}

/// Why a change of members was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// This member does not lead; the named one may.
    NotLeader(Option<NodeId>),
    /// Leadership is being handed to another member.
    Transferring(NodeId),
    /// The leader is new, and does not know yet that what it has is committed.
    NotReady,
    /// The change before is not over.
    InProgress,
    /// There can't be such a membership ([`Membership::is_possible`]), or some of it is outgoing already, or a
    /// member would become a witness or cease to be one ([`Membership::keeps_witnesses`]).
    Impossible,
    /// There would be more than [`Membership::MEMBERS_MAX`].
    TooMany,
    /// It is so already.
    Unchanged,
    /// This member would be a voter, and is no learner that has caught up and is there.
    NotCaughtUp(NodeId),
    /// Of the voters there would be, too few are there to decide anything.
    LosesQuorum,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader(_) => f.write_str("this member does not lead"),
            Self::Transferring(to) => write!(f, "leadership is being handed to {to}"),
            Self::NotReady => {
                f.write_str("the leader is new, and does not know yet what is committed")
            }
            Self::InProgress => f.write_str("another change of members is under way"),
            Self::Impossible => f.write_str("there can be no such membership"),
            Self::TooMany => f.write_str("there would be too many members"),
            Self::Unchanged => f.write_str("it is so already"),
            Self::NotCaughtUp(id) => {
                write!(f, "{id} is no learner that has caught up and is there")
            }
            Self::LosesQuorum => {
                f.write_str("of the voters there would be, too few are there to decide anything")
            }
        }
    }
}

impl core::error::Error for ChangeError {}

/// Work on snapshots that only the host can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotRequest {
    /// Read the piece that begins at `cursor` (the first if empty) from the snapshot that ends with
    /// `last`, or from a new one if that is `None` or no longer there; answer with
    /// [`Input::SnapshotReady`].
    Read {
        /// The follower for whom it is read; names the transfer.
        to: NodeId,
        /// The snapshot under way.
        last: Option<EntryId>,
        /// Where the piece begins.
        cursor: Bytes,
    },
    /// Store this piece, which follows the ones stored before; install the snapshot if it is the
    /// last. A piece with an empty cursor begins anew. A failure is told with
    /// [`Input::SnapshotFailed`].
    Write(Box<SnapshotChunk>),
    /// The transfer to this follower is over; its snapshot may be released.
    Release {
        /// The follower.
        to: NodeId,
    },
}

/// A notable fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This member became a follower in `term`; the leader may be known already.
    BecameFollower {
        /// The term.
        term: Term,
        /// Its leader, if known.
        leader: Option<NodeId>,
    },
    /// A member of whom this one follows became known, or no longer is.
    LeaderChanged {
        /// The term.
        term: Term,
        /// Its leader.
        leader: Option<NodeId>,
    },
    /// This member asks whether an election would be won.
    BecamePreCandidate {
        /// The term it has, which it does not leave yet.
        term: Term,
    },
    /// This member campaigns.
    BecameCandidate {
        /// The term it campaigns in.
        term: Term,
    },
    /// This member leads.
    BecameLeader {
        /// The term it leads.
        term: Term,
    },
    /// A leader that no longer hears from a quorum gives up (check-quorum, thesis §6.2).
    LostQuorum {
        /// The term it led.
        term: Term,
    },
    /// A leader whose own disk is behind that of a quorum, by an election timeout or more, looks for
    /// another to lead.
    DiskIsSlow {
        /// The term it leads.
        term: Term,
    },
    /// A transfer of leadership began.
    TransferStarted {
        /// To whom.
        to: NodeId,
    },
    /// A transfer of leadership was given up.
    TransferAborted {
        /// To whom it would have been.
        to: NodeId,
        /// Why.
        reason: &'static str,
    },
    /// Entries were replaced, because another leader's log won (Raft §5.3).
    Truncated {
        /// The first position replaced.
        from: Index,
        /// The last position before.
        last: Index,
    },
    /// A follower needs a snapshot.
    SnapshotStarted {
        /// The follower.
        to: NodeId,
    },
    /// The log begins after this snapshot now.
    SnapshotInstalled {
        /// What was installed.
        meta: SnapshotMeta,
    },
    /// This member counts as a voter again after it lost its disk (see `rejoin.rs`).
    Rejoined {
        /// The term it is in.
        term: Term,
        /// The last position of its durable log.
        last: Index,
    },
    /// The log has another membership, committed or not: one that was appended, or an earlier one as that was
    /// dropped or a snapshot came.
    MembershipChanged {
        /// Since which position it counts.
        at: Index,
        /// The membership.
        membership: Membership,
    },
    /// A leader knows that this member, which does not rejoin, acknowledged more than its log has. So
    /// its disk has lost what others rely on, and it was not started as one that rejoins. The message
    /// is dropped; whoever hosts the member should stop it, since every vote it gives may be wrong.
    LogLost {
        /// The leader.
        leader: NodeId,
        /// The last position of the log.
        last: Index,
        /// The position that was acknowledged.
        acknowledged: Index,
    },
    /// A message was dropped because it can't be right (the sender is unknown, a position is
    /// impossible, …).
    Malformed {
        /// Who sent it.
        from: NodeId,
        /// What is wrong with it.
        reason: &'static str,
    },
}
