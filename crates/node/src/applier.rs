//! Drives a state machine through what its group committed. Runs wherever the host likes, on a
//! thread of its own or between two events of a simulation.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_raft::{
    Entry, EntryId, Index, Membership, NodeId, Payload, SnapshotChunk, SnapshotMeta, SnapshotPiece,
    SnapshotRequest,
};

use crate::effects::{ApplyJob, Feedback};
use crate::machine::{Fault, FaultKind, Machine, Piece, RestoreError, Snapshot, SnapshotError};
use crate::proposal;

/// The size of a piece of a snapshot, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// After so many bytes of entries the machine is asked to make itself durable, whatever they did. A
/// machine that is worth its log does so earlier, since most commands write about what they are; and
/// a log of this size is soon applied again.
const UNFLUSHED_BYTES_MAX: usize = 64 << 20;

/// What came of a job.
#[derive(Debug)]
pub struct Applied<W, O> {
    /// The commands of this node's clients that took effect.
    pub outcomes: Vec<(W, O)>,
    /// The readers that may read now.
    pub reads: Vec<W>,
    /// Clients whose command took effect inside a snapshot, so that nobody here saw its outcome.
    pub unseen: Vec<W>,
    /// For the group.
    pub feedback: Vec<Feedback>,
    /// For an operator: snapshots that the machine would not have, by the last entry that they
    /// contain, and why. A leader sends again and again, so the same reason comes once in a row.
    pub refused: Vec<(EntryId, String)>,
}

impl<W, O> Default for Applied<W, O> {
    fn default() -> Self {
        Self {
            outcomes: Vec::new(),
            reads: Vec::new(),
            unseen: Vec::new(),
            feedback: Vec::new(),
            refused: Vec::new(),
        }
    }
}

/// A state machine and the snapshots read from it.
pub struct Applier<O: Send + 'static> {
    machine: Box<dyn Machine<Outcome = O>>,
    membership: Membership,
    /// The snapshot that each follower is being given.
    snapshots: BTreeMap<NodeId, Box<dyn Snapshot>>,
    /// What the entries cost that were applied since the machine was last asked to flush.
    unflushed_bytes: usize,
    /// Why the last snapshot was refused, if none was installed since.
    refusal: Option<String>,
}

impl<O: Send + 'static> Applier<O> {
    /// Drives `machine`, which belongs to a group of these members.
    #[must_use]
    pub fn new(machine: Box<dyn Machine<Outcome = O>>, membership: Membership) -> Self {
        Self { machine, membership, snapshots: BTreeMap::new(), unflushed_bytes: 0, refusal: None }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &dyn Machine<Outcome = O> {
        &*self.machine
    }

    /// The machine.
    pub fn machine_mut(&mut self) -> &mut dyn Machine<Outcome = O> {
        &mut *self.machine
    }

    /// Does one job. Jobs come in the order in which the group gave them.
    ///
    /// # Errors
    /// If the machine has failed. The member must stop.
    pub fn run<W>(&mut self, job: ApplyJob<W>, out: &mut Applied<W, O>) -> Result<(), Fault> {
        match job {
            ApplyJob::Entries { entries, waiters } => self.apply(&entries, waiters, out),
            ApplyJob::Reads(readers) => {
                out.reads.extend(readers);
                Ok(())
            }
            ApplyJob::Snapshot(request) => self.snapshot(request, out),
        }
    }

    fn apply<W>(
        &mut self,
        entries: &[Entry],
        waiters: Vec<(Index, W)>,
        out: &mut Applied<W, O>,
    ) -> Result<(), Fault> {
        let before = self.machine.applied();
        let mut waiters = waiters.into_iter().peekable();
        let mut last = before;
        for entry in entries {
            let waiter = waiters.next_if(|(index, _)| *index == entry.id.index).map(|(_, w)| w);
            if entry.id.index <= before.index {
                // A snapshot came first and contains it.
                out.unseen.extend(waiter);
                continue;
            }
            assert!(
                last.index.next() == entry.id.index,
                "the machine is at {last} and is given {}",
                entry.id
            );
            last = entry.id;
            self.unflushed_bytes += entry.cost();
            let Some(command) = command_of(entry) else { continue };
            let outcome = self.machine.apply(entry.id, &command)?;
            out.outcomes.extend(waiter.map(|waiter| (waiter, outcome)));
        }
        assert!(waiters.peek().is_none(), "somebody waits for an entry that is not in the job");
        if last != before {
            self.machine.commit(last)?;
            assert!(
                self.machine.applied() == last,
                "the machine is at {} after {last}",
                self.machine.applied()
            );
        }
        if self.unflushed_bytes >= UNFLUSHED_BYTES_MAX {
            self.machine.begin_flush()?;
            self.unflushed_bytes = 0;
        }
        out.feedback.push(self.progress());
        Ok(())
    }

    fn progress(&self) -> Feedback {
        let (applied, durable) = (self.machine.applied(), self.machine.durable());
        assert!(durable <= applied, "the machine has {durable} durable of {applied}");
        Feedback::Progress { applied: applied.index, durable: durable.index }
    }

    fn snapshot<W>(
        &mut self,
        request: SnapshotRequest,
        out: &mut Applied<W, O>,
    ) -> Result<(), Fault> {
        match request {
            SnapshotRequest::Read { to, last, cursor } => {
                let piece = self.read_piece(to, last, cursor)?;
                out.feedback.push(Feedback::SnapshotReady(piece));
            }
            SnapshotRequest::Write(chunk) => {
                let last = chunk.meta.last;
                let end = chunk.next.is_none();
                let piece = Piece { last, first: chunk.cursor.is_empty(), data: chunk.data, end };
                match self.machine.restore(&piece) {
                    Ok(()) if end => {
                        assert!(
                            self.machine.durable() == last,
                            "the machine is at {} after the snapshot of {last}",
                            self.machine.durable()
                        );
                        self.refusal = None;
                        out.feedback.push(Feedback::SnapshotInstalled { last });
                        out.feedback.push(self.progress());
                    }
                    Ok(()) => {}
                    Err(RestoreError::Rejected(reason)) => {
                        if self.refusal.as_ref() != Some(&reason) {
                            self.refusal = Some(reason.clone());
                            out.refused.push((last, reason));
                        }
                        out.feedback.push(Feedback::SnapshotFailed { last });
                    }
                    Err(RestoreError::Fault(fault)) => return Err(fault),
                }
            }
            SnapshotRequest::Release { to } => {
                self.snapshots.remove(&to);
            }
        }
        Ok(())
    }

    /// Reads the piece at `cursor` of the snapshot that ends with `last`, or the first piece of a new
    /// snapshot if that one is gone. A follower who asks for a piece that can't be gets the first,
    /// too.
    fn read_piece(
        &mut self,
        to: NodeId,
        last: Option<EntryId>,
        cursor: Bytes,
    ) -> Result<SnapshotPiece, Fault> {
        let kept = self.snapshots.get(&to).is_some_and(|s| Some(s.last()) == last);
        let cursor = if kept { cursor } else { Bytes::new() };
        if !kept {
            let snapshot = self.machine.snapshot()?;
            self.snapshots.insert(to, snapshot);
        }
        let snapshot = self.snapshots.get_mut(&to).expect("it is there by now");
        let first = |snapshot: &mut Box<dyn Snapshot>| match snapshot.read(&[], PIECE_BYTES) {
            Ok(read) => Ok((Bytes::new(), read)),
            Err(SnapshotError::Fault(fault)) => Err(fault),
            Err(SnapshotError::Cursor) => {
                Err(Fault::new(FaultKind::Damaged, "a snapshot without a beginning"))
            }
        };
        let (cursor, read) = match snapshot.read(&cursor, PIECE_BYTES) {
            Ok(read) => (cursor, read),
            Err(SnapshotError::Cursor) => first(snapshot)?,
            Err(SnapshotError::Fault(fault)) => return Err(fault),
        };
        let meta = SnapshotMeta { last: snapshot.last(), membership: self.membership.clone() };
        let chunk = SnapshotChunk { meta, cursor, data: read.data, next: read.next };
        Ok(SnapshotPiece { to, chunk })
    }
}

/// The command in an entry, without its envelope. Bytes that are no command do nothing, on every
/// member alike.
fn command_of(entry: &Entry) -> Option<Bytes> {
    match &entry.payload {
        Payload::Noop => None,
        Payload::Command(bytes) => proposal::decode(bytes).map(|(_, command)| command),
    }
}
