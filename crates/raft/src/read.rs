//! Linearizable reads without a log entry (ReadIndex, thesis §6.4).
//!
//! A leader answers a read with its commit index of some moment after the read arrived, once it is
//! sure that it still led at that moment: a quorum must have answered a heartbeat that was sent
//! after the read arrived. So each heartbeat has the number of its *round*, and reads are confirmed in
//! batches: a round confirms every read that had arrived when it began, and the reads that come while
//! it is under way wait for the next. Load makes batches larger, not rounds more frequent.
//!
//! A new leader does not know the commit index of its predecessors until an entry of its own term is
//! committed, so its first round begins only then.
//!
//! No clock decides any of this. Where clocks may be trusted, a leader can have a lease beside it, and answers
//! reads as they come while it holds that (`lease.rs`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::message::ReadId;
use crate::types::{Index, NodeId, Time};

/// A read that waits at the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PendingRead {
    /// Its name.
    pub(crate) id: ReadId,
    /// The follower that asked, or `None` for a read of this member itself.
    pub(crate) asked_by: Option<NodeId>,
}

/// A round of heartbeats that has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Its number.
    pub(crate) round: u64,
    /// When it left.
    pub(crate) at: Time,
}

/// A batch of reads and the round that confirms it.
#[derive(Clone, Debug)]
struct Batch {
    round: u64,
    index: Index,
    reads: Vec<PendingRead>,
}

/// The reads at a leader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    /// Reads that no round covers yet.
    waiting: Vec<PendingRead>,
    /// Rounds under way, ascending. A round that follows before the first is confirmed was begun by
    /// the heartbeat timer, and confirms the earlier ones too.
    under_way: VecDeque<Batch>,
    /// The round of the newest heartbeat; 0 before the first.
    round: u64,
    count: usize,
}

impl Reads {
    /// No reads, after so many rounds.
    pub(crate) fn after_round(round: u64) -> Self {
        Self { round, ..Self::default() }
    }

    /// Lets a read wait, if there is room.
    pub(crate) fn add(&mut self, read: PendingRead, pending_max: usize) -> bool {
        if self.count >= pending_max {
            return false;
        }
        self.count += 1;
        self.waiting.push(read);
        true
    }

    /// The round of the newest heartbeat.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// The round of the heartbeat that is sent next.
    pub(crate) fn next_round(&self) -> u64 {
        self.round + 1
    }

    /// A heartbeat is sent. Returns its round.
    pub(crate) fn enter_round(&mut self) -> u64 {
        self.round = self.next_round();
        self.round
    }

    /// Whether reads wait that no round covers.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the reads that no round covers: they need none.
    pub(crate) fn take_waiting(&mut self) -> Vec<PendingRead> {
        self.count -= self.waiting.len();
        core::mem::take(&mut self.waiting)
    }

    /// Whether reads wait and no round is under way.
    pub(crate) fn wants_round(&self) -> bool {
        !self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Whether no read waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Lets the next heartbeat confirm the reads that wait. They may be answered with this commit
    /// index.
    pub(crate) fn begin_round(&mut self, commit: Index) {
        if self.waiting.is_empty() {
            return;
        }
        let reads = core::mem::take(&mut self.waiting);
        self.under_way.push_back(Batch { round: self.next_round(), index: commit, reads });
    }

    /// Takes the reads of a round that `is_confirmed`, with their index.
    pub(crate) fn take_confirmed(
        &mut self,
        is_confirmed: impl Fn(u64) -> bool,
    ) -> Option<(Index, Vec<PendingRead>)> {
        self.under_way.front().filter(|batch| is_confirmed(batch.round))?;
        let batch = self.under_way.pop_front()?;
        self.count -= batch.reads.len();
        Some((batch.index, batch.reads))
    }

    /// Takes all reads: leadership is over and none will be confirmed.
    pub(crate) fn take_all(&mut self) -> Vec<PendingRead> {
        self.count = 0;
        let mut reads: Vec<_> = self.under_way.drain(..).flat_map(|batch| batch.reads).collect();
        reads.append(&mut self.waiting);
        reads
    }
}

/// The reads that a follower sent on to its leader.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForwardedReads {
    sent: VecDeque<(ReadId, Time)>,
}

impl ForwardedReads {
    /// Whether no read waits for an answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Remembers a read that is sent to the leader, if there is room.
    pub(crate) fn add(&mut self, id: ReadId, now: Time, pending_max: usize) -> bool {
        if self.sent.len() >= pending_max {
            return false;
        }
        self.sent.push_back((id, now));
        true
    }

    /// Takes a read that was sent before this moment and not answered: the request or the answer
    /// was lost.
    pub(crate) fn take_older_than(&mut self, moment: Time) -> Option<ReadId> {
        self.sent.front().filter(|(_, sent)| *sent < moment)?;
        self.sent.pop_front().map(|(id, _)| id)
    }

    /// Forgets a read that is answered. Returns whether it was waiting: a repeated answer is not.
    pub(crate) fn remove(&mut self, id: ReadId) -> bool {
        // Answers come in the order of the requests as a rule, so this finds it at the front.
        let Some(position) = self.sent.iter().position(|(sent, _)| *sent == id) else {
            return false;
        };
        self.sent.remove(position);
        true
    }

    /// Takes all reads: the leader they were sent to is no longer the leader.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = ReadId> {
        core::mem::take(&mut self.sent).into_iter().map(|(id, _)| id)
    }
}
