//! The boundary of a node: [`Raft`](quorate_raft)'s three rules for many groups, with the callers'
//! waiters carried along.
//!
//! A host gives what happened to `Node::step`, as many inputs as it has at hand, then calls
//! `Node::flush` once, which proposes and confirms in batches, and then does what the
//! [`Effects`] say:
//!
//! 1. Everything in [`Effects::send`] may leave now, in any order, be lost or be repeated.
//! 2. Everything in [`Effects::persist`] goes to the log in order; when it is durable, the last number
//!    of each group comes back as [`Input::Durable`].
//! 3. Everything in [`Effects::apply`] goes to the applier of its group in order, and what the
//!    applier says comes back as input.
//!
//! `W` is the waiter: whatever the host wants back when a request ends. Each one that goes in comes
//! out exactly once: with an [`ApplyJob`] (the request took effect), in [`Effects::failed`], or in
//! [`Effects::changes`].

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use quorate_raft::{
    ChangeError, Effects as RaftEffects, Entry, EntryId, Event, Found, GroupId, Index, Lost,
    Membership, Message, NodeId, Persist, Record, Recovered, Seq, SnapshotChunk, SnapshotPiece,
    SnapshotRequest, Term,
};

use crate::audit::Report;
use crate::detector::{News, PeerChange};
use crate::node::ROOM_KEPT;

/// What happened.
#[derive(Debug)]
pub enum Input<W> {
    /// Something from another node arrived.
    Peer(Envelope),
    /// Replicate this command. Sent on to the leader if that is another node, and kept for the next
    /// leader if there is none.
    Propose {
        /// The group.
        group: GroupId,
        /// The command, opaque here.
        command: Bytes,
        /// Comes back with the outcome.
        waiter: W,
    },
    /// Tell when the local state machine is as new as asked for.
    Read {
        /// The group.
        group: GroupId,
        /// How new.
        freshness: Freshness,
        /// Comes back when the local state may be read.
        waiter: W,
    },
    /// Every record of this group up to this number is durable.
    Durable {
        /// The group.
        group: GroupId,
        /// The last durable number.
        seq: Seq,
    },
    /// What an applier reports.
    Applied {
        /// The group.
        group: GroupId,
        /// The report.
        feedback: Feedback,
    },
    /// The log holds what [`Effects::healed`] said, durably: the group begins.
    Healed {
        /// The group.
        group: GroupId,
    },
    /// Hand leadership over: to this member, or to the most up-to-date one of those that are there.
    Transfer {
        /// The group.
        group: GroupId,
        /// To whom.
        to: Option<NodeId>,
    },
    /// Let these be the members of the group. Answered at once, in [`Effects::changes`]; done when that membership is
    /// committed, as [`Event::MembershipChanged`] and the positions tell.
    Change {
        /// The group.
        group: GroupId,
        /// The members.
        membership: Membership,
        /// Comes back with the answer.
        waiter: W,
    },
    /// What the host learned about another node, in all groups.
    Node(News),
    /// The deadline has passed. (Every step looks at the clock; this one does nothing else.)
    Timeout,
}

/// How new the state must be that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// It reflects everything that was acknowledged anywhere before the request (thesis §6.4).
    #[default]
    Linearizable,
    /// It reflects everything that was acknowledged anywhere so long before the request, by the clock of this node.
    /// Answered at once if that is known already; see `reads.rs`.
    AtMost(Duration),
    /// It reflects this position of the log. Waits for that, and asks nobody.
    AtLeast(Index),
}

/// What an applier reports to its group.
#[derive(Debug)]
pub enum Feedback {
    /// The machine has applied up to `applied`, and would keep up to `durable` through a crash.
    Progress {
        /// Visible in the machine.
        applied: Index,
        /// Durable in the machine.
        durable: Index,
    },
    /// The state at a place of the log, for the other members to compare theirs with.
    Audited(Report),
    /// A piece of a snapshot was read, for a follower.
    SnapshotReady(SnapshotPiece),
    /// A piece of a snapshot was read, for a member that heals.
    HealSnapshotReady(SnapshotPiece),
    /// A snapshot was installed, durably.
    SnapshotInstalled {
        /// The last entry it contains.
        last: EntryId,
    },
    /// A piece of a snapshot was refused by the machine.
    SnapshotFailed {
        /// The last entry of the snapshot meant.
        last: EntryId,
    },
}

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The group it is about; [`Envelope::NO_GROUP`] if that is none.
    pub group: GroupId,
    /// The speaker.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// What is said.
    pub body: EnvelopeBody,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvelopeBody {
    /// A message of the algorithm. Its own sender and receiver equal the envelope's.
    Raft(Message),
    /// Commands for the leader to propose.
    Forward(Forward),
    /// "I lead this term and hold too much already": the only refusal there is. A member that does not lead stays
    /// silent about all but what it holds, since it can't know what it did before a restart; see `waiters.rs` for
    /// how such commands end.
    Refused(Unproposed),
    /// "I do not lead this term any more": what was held until then comes back, and goes to the next leader.
    Returned(Unproposed),
    /// A question of a member whose storage is damaged (see `heal.rs`).
    HealAsk {
        /// The asking process.
        incarnation: u64,
        /// The question.
        ask: HealAsk,
    },
    /// The answer.
    HealAnswer(HealAnswer),
    /// "I am there", for all groups together. It is about none of them: its group is [`Envelope::NO_GROUP`].
    Beat {
        /// The process that says so.
        incarnation: u64,
    },
}

impl Envelope {
    /// What stands for the group where all are meant.
    pub const NO_GROUP: GroupId = GroupId(0);
}

/// What a member asks for whose storage is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealAsk {
    /// These entries.
    Entries {
        /// Which.
        lost: Lost,
        /// The term that the member knows of. Only a leader of it or a later one can say for certain that
        /// they were never committed.
        term: Term,
    },
    /// The piece at `cursor` (the first if empty) of the snapshot that ends with `last`, or of a new
    /// one if that is `None` or no longer there.
    Snapshot {
        /// The snapshot under way.
        last: Option<EntryId>,
        /// Where the piece begins.
        cursor: Bytes,
    },
}

/// An answer to a [`HealAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealAnswer {
    /// The process that asked.
    pub incarnation: u64,
    /// The answer.
    pub body: Heal,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heal {
    /// What is known of the entries.
    Entries {
        /// Those that were asked for.
        asked: Lost,
        /// What is known of them.
        found: Found,
    },
    /// A piece of a snapshot.
    Snapshot {
        /// The piece.
        chunk: Box<SnapshotChunk>,
        /// The term on the disk of who sends it, 0 if it is not there yet.
        term: Term,
    },
}

/// A log that is whole again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// What it holds now. The machine reaches at least to its base.
    pub recovered: Recovered,
    /// The last position that was kept where the end of the log was given up, because it is known that
    /// it was never committed and never will be.
    pub dropped_after: Option<Index>,
    /// Where the log was whole, and only the state machine was gone: what to append to it, and that is
    /// all there is to do.
    pub records: Option<Vec<Record>>,
}

/// Commands that a follower's clients gave it, for the leader of a term to propose, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Only the leader of this term may propose them, so that they can't be proposed twice.
    pub term: Term,
    /// The sender's process.
    pub incarnation: u64,
    /// The commands with their numbers, ascending.
    pub commands: Vec<(u64, Bytes)>,
}

/// Commands of a [`Forward`] that who led its term did not propose, and never will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproposed {
    /// The term of the [`Forward`].
    pub term: Term,
    /// The asking process.
    pub incarnation: u64,
    /// The numbers of the commands.
    pub numbers: Vec<u64>,
}

/// What must be done. Cleared by the host after it is done; steps append.
#[derive(Debug)]
pub struct Effects<W> {
    /// Envelopes that may leave now.
    pub send: Vec<Envelope>,
    /// Records for the log, in order.
    pub persist: Vec<(GroupId, Persist)>,
    /// Work for the appliers, in order for each group.
    pub apply: Vec<(GroupId, ApplyJob<W>)>,
    /// Logs that must be made durable as they are here, instead of the damaged ones; then comes
    /// [`Input::Healed`].
    pub healed: Vec<(GroupId, Healed)>,
    /// Requests that ended without an outcome.
    pub failed: Vec<(W, RequestError)>,
    /// Answers to [`Input::Change`]: where the first entry of the change is, or why there is none.
    pub changes: Vec<(W, Result<Index, ChangeError>)>,
    /// Notable facts.
    pub events: Vec<(GroupId, Event)>,
    /// Other nodes that look different from now on.
    pub peers: Vec<PeerChange>,
    /// What the algorithm of one group asks for, in the midst of a step.
    pub(crate) raft: RaftEffects,
}

impl<W> Default for Effects<W> {
    fn default() -> Self {
        Self {
            send: Vec::new(),
            persist: Vec::new(),
            apply: Vec::new(),
            healed: Vec::new(),
            failed: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            peers: Vec::new(),
            raft: RaftEffects::default(),
        }
    }
}

impl<W> Effects<W> {
    /// Empties every list and keeps its memory, but for that of a burst.
    ///
    /// # Panics
    /// If a waiter would be forgotten.
    pub fn clear(&mut self) {
        let Self { send, persist, apply, healed, failed, changes, events, peers, raft: _ } = self;
        assert!(
            apply.is_empty() && healed.is_empty() && failed.is_empty() && changes.is_empty(),
            "a host takes jobs, healed logs, failures and answers out"
        );
        send.clear();
        persist.clear();
        events.clear();
        peers.clear();
        send.shrink_to(ROOM_KEPT);
        persist.shrink_to(ROOM_KEPT);
        events.shrink_to(ROOM_KEPT);
        failed.shrink_to(ROOM_KEPT);
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { send, persist, apply, healed, failed, changes, events, peers, raft: _ } = self;
        send.is_empty()
            && persist.is_empty()
            && apply.is_empty()
            && healed.is_empty()
            && failed.is_empty()
            && changes.is_empty()
            && events.is_empty()
            && peers.is_empty()
    }
}

/// A piece of work for the applier of a group.
#[derive(Debug)]
pub enum ApplyJob<W> {
    /// Apply these committed entries.
    Entries {
        /// The entries.
        entries: Vec<Entry>,
        /// Who waits for which of them, ascending.
        waiters: Vec<(Index, W)>,
    },
    /// The state reflects all that these readers must see. With each of them, how stale it is at most: it reflects
    /// everything that was acknowledged so long before the request. Nothing if that is not known, which is so only of
    /// [`Freshness::AtLeast`].
    Reads(Vec<(W, Option<Duration>)>),
    /// Read, write or release a snapshot, for the group.
    Snapshot(SnapshotRequest),
    /// The same for a member that heals. It may be a follower that is given another one.
    HealSnapshot(HealSnapshot),
}

/// What is done with the snapshot that a member reads to heal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealSnapshot {
    /// Read a piece, as by [`SnapshotRequest::Read`].
    Read {
        /// Who heals.
        to: NodeId,
        /// The snapshot under way.
        last: Option<EntryId>,
        /// Where the piece begins.
        cursor: Bytes,
    },
    /// Release it.
    Release {
        /// Who does not ask for it any more.
        to: NodeId,
    },
}

/// Why a request ended without an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// No answer in time. A command may still take effect later.
    Timeout,
    /// No answer in time, and no leader was known at the end. A command was never proposed.
    NoLeader,
    /// This member was overtaken by a snapshot while the command was under way, which may or may
    /// not be part of it.
    Unknown,
    /// Too much waits already. A command was never proposed.
    Overloaded,
    /// The command is larger than may be replicated.
    TooLarge,
    /// There is no such group here.
    NoSuchGroup,
    /// This member is a witness: it has no state to read, and takes no commands.
    Witness,
}
