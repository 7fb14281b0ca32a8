//! Drives a state machine through what its group committed. Runs wherever the host likes, on a
//! thread of its own or between two events of a simulation.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::{
    Entry, EntryId, Index, Membership, NodeId, Payload, SnapshotChunk, SnapshotMeta, SnapshotPiece,
    SnapshotRequest,
};

use crate::audit::{AUDIT_INTERVAL, Audit, Report};
use crate::effects::{ApplyJob, Feedback, HealSnapshot};
use crate::machine::{Fault, FaultKind, Machine, Piece, RestoreError, Snapshot, SnapshotError};
use crate::proposal;

/// The size of a piece of a snapshot, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// After so many bytes of entries the machine is asked to make itself durable, whatever they did, unless
/// [`Applier::with_flushes_every`] says otherwise. A machine that is worth its log does so earlier, since
/// most commands write about what they are; and a log of this size is soon applied again.
pub const UNFLUSHED_BYTES_MAX: usize = 64 << 20;

/// What came of a job.
#[derive(Debug)]
pub struct Applied<W, O> {
    /// The commands of this node's clients that took effect.
    pub outcomes: Vec<(W, O)>,
    /// The readers that may read now, each with how stale that is at most: see [`ApplyJob::Reads`].
    pub reads: Vec<(W, Option<Duration>)>,
    /// Clients whose command took effect inside a snapshot, so that nobody here saw its outcome.
    pub unseen: Vec<W>,
    /// For the group.
    pub feedback: Vec<Feedback>,
    /// For an operator: snapshots that the machine would not have, by the last entry that they
    /// contain, and why. A leader sends again and again, so the same reason comes once in a row.
    pub refused: Vec<(EntryId, String)>,
    /// For an operator: places of the log after which members say that their states differ, told once
    /// each. If a majority agrees, whoever differs stops by itself.
    pub disputed: Vec<Index>,
}

impl<W, O> Default for Applied<W, O> {
    fn default() -> Self {
        Self {
            outcomes: Vec::new(),
            reads: Vec::new(),
            unseen: Vec::new(),
            feedback: Vec::new(),
            refused: Vec::new(),
            disputed: Vec::new(),
        }
    }
}

/// Who is given a snapshot. A member that heals may be a follower at the same time, as far as a leader
/// knows, and reads another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reader {
    Follower(NodeId),
    Healing(NodeId),
}

/// A snapshot that is being read.
struct Frozen {
    snapshot: Box<dyn Snapshot>,
    /// The members as of it.
    membership: Arc<Membership>,
}

/// A state machine and the snapshots read from it.
pub struct Applier<O: Send + 'static> {
    machine: Box<dyn Machine<Outcome = O>>,
    /// The members as of what the machine applied.
    membership: Arc<Membership>,
    /// The snapshots that others are being given.
    snapshots: BTreeMap<Reader, Frozen>,
    /// What the entries cost that were applied since the machine was last asked to flush.
    unflushed_bytes: usize,
    /// After how many of them it is asked again.
    unflushed_bytes_max: usize,
    /// What members say about their states.
    audit: Audit,
    /// Why the last snapshot was refused, if none was installed since.
    refusal: Option<String>,
}

impl<O: Send + 'static> Applier<O> {
    /// Drives `machine`, which belongs to a group of these members: see [`membership_of`]. Who has many groups of the
    /// same members may share them.
    #[must_use]
    pub fn new(
        machine: Box<dyn Machine<Outcome = O>>,
        membership: impl Into<Arc<Membership>>,
    ) -> Self {
        Self {
            machine,
            membership: membership.into(),
            snapshots: BTreeMap::new(),
            unflushed_bytes: 0,
            unflushed_bytes_max: UNFLUSHED_BYTES_MAX,
            audit: Audit::new(AUDIT_INTERVAL),
            refusal: None,
        }
    }

    /// Compares the states of members after every so many entries; the same number on all members.
    ///
    /// # Panics
    /// If the reports on one place might fill the log up to the next, for ever.
    #[must_use]
    pub fn with_audits_every(mut self, entries: u64) -> Self {
        let members = self.membership.members().len() as u64;
        assert!(entries > 4 * members, "{members} members can't audit every {entries} entries");
        self.audit = Audit::new(entries);
        self
    }

    /// Asks the machine to make itself durable after so many bytes of entries; 0 after each job.
    #[must_use]
    pub fn with_flushes_every(mut self, bytes: usize) -> Self {
        self.unflushed_bytes_max = bytes;
        self
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
            ApplyJob::HealSnapshot(HealSnapshot::Read { to, last, cursor }) => {
                let chunk = self.read_piece(Reader::Healing(to), last, cursor)?;
                out.feedback.push(Feedback::HealSnapshotReady(SnapshotPiece {
                    to,
                    chunk: Box::new(chunk),
                }));
                Ok(())
            }
            ApplyJob::HealSnapshot(HealSnapshot::Release { to }) => {
                self.snapshots.remove(&Reader::Healing(to));
                Ok(())
            }
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
            match content_of(entry) {
                Content::Nothing => {}
                Content::Command(_) if !self.machine.keeps_state() => {}
                Content::Command(command) => {
                    let outcome = self.machine.apply(entry.id, &command)?;
                    out.outcomes.extend(waiter.map(|waiter| (waiter, outcome)));
                }
                Content::Membership(membership) => {
                    self.machine.set_membership(entry.id, &membership.encode().into())?;
                    self.membership = Arc::clone(membership);
                }
                Content::Report(from, report) => {
                    let at = entry.id.index;
                    if self.audit.hear(at, from, report, &self.membership)? {
                        out.disputed.push(report.index);
                    }
                }
            }
            if self.audit.is_place(entry.id.index) {
                self.report(entry.id.index, out);
            }
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
        if self.unflushed_bytes >= self.unflushed_bytes_max {
            self.machine.begin_flush()?;
            self.unflushed_bytes = 0;
        }
        out.feedback.push(self.progress());
        Ok(())
    }

    /// Notes the state at a place, and has the others hear of it, if there are any.
    fn report<W>(&mut self, index: Index, out: &mut Applied<W, O>) {
        let Some(fingerprint) = self.machine.fingerprint() else { return };
        let report = Report { index, fingerprint };
        self.audit.note(report);
        if self.membership.members().len() > 1 {
            out.feedback.push(Feedback::Audited(report));
        }
    }

    fn progress(&self) -> Feedback {
        let (applied, mut durable) = (self.machine.applied(), self.machine.durable());
        if planted!(AppliedCalledDurable) {
            durable = applied;
        }
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
                let chunk = self.read_piece(Reader::Follower(to), last, cursor)?;
                out.feedback
                    .push(Feedback::SnapshotReady(SnapshotPiece { to, chunk: Box::new(chunk) }));
            }
            SnapshotRequest::Write(chunk) => {
                let last = chunk.meta.last;
                let end = chunk.next.is_none();
                let SnapshotMeta { membership, .. } = chunk.meta;
                let piece = Piece {
                    last,
                    membership: membership.encode().into(),
                    first: chunk.cursor.is_empty(),
                    data: chunk.data,
                    end,
                };
                match self.machine.restore(&piece) {
                    Ok(()) if end => {
                        assert!(
                            self.machine.durable() == last,
                            "the machine is at {} after the snapshot of {last}",
                            self.machine.durable()
                        );
                        self.membership = membership.into();
                        self.refusal = None;
                        self.audit.forget_own();
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
                self.snapshots.remove(&Reader::Follower(to));
            }
        }
        Ok(())
    }

    /// Reads the piece at `cursor` of the snapshot that ends with `last`, or the first piece of a new
    /// snapshot if that one is gone. A follower who asks for a piece that can't be gets the first,
    /// too.
    fn read_piece(
        &mut self,
        to: Reader,
        last: Option<EntryId>,
        cursor: Bytes,
    ) -> Result<SnapshotChunk, Fault> {
        let (Reader::Follower(member) | Reader::Healing(member)) = to;
        if self.membership.is_witness(member) {
            // It wants to know where it is, and no more.
            let (last, membership) = (self.machine.applied(), Membership::clone(&self.membership));
            let meta = SnapshotMeta { last, membership };
            return Ok(SnapshotChunk {
                meta,
                cursor: Bytes::new(),
                data: Bytes::new(),
                next: None,
            });
        }
        assert!(self.machine.keeps_state(), "nobody is sent what a witness has");
        let kept = self.snapshots.get(&to).is_some_and(|it| Some(it.snapshot.last()) == last);
        let cursor = if kept { cursor } else { Bytes::new() };
        if !kept {
            let snapshot = self.machine.snapshot()?;
            let (last, applied) = (snapshot.last(), self.machine.applied());
            assert!(last == applied, "a snapshot ends with {last} where {applied} is applied");
            let membership = Arc::clone(&self.membership);
            self.snapshots.insert(to, Frozen { snapshot, membership });
        }
        let Frozen { snapshot, membership } =
            self.snapshots.get_mut(&to).expect("it is there by now");
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
        let meta =
            SnapshotMeta { last: snapshot.last(), membership: Membership::clone(membership) };
        Ok(SnapshotChunk { meta, cursor, data: read.data, next: read.next })
    }
}

/// Who belongs to the group of a machine: what that keeps, or `first`, the members with whom the group was
/// made, if it keeps nothing yet.
///
/// # Errors
/// [`FaultKind::Damaged`] if what it keeps is no membership.
pub fn membership_of<O: Send + 'static>(
    machine: &dyn Machine<Outcome = O>,
    first: &Membership,
) -> Result<Membership, Fault> {
    let Some(kept) = machine.membership() else { return Ok(first.clone()) };
    let damaged = || Fault::new(FaultKind::Damaged, "the members that a machine keeps are none");
    Membership::decode(&kept).ok_or_else(damaged)
}

/// What is in an entry, without its envelope.
enum Content<'a> {
    /// A command for the machine.
    Command(Bytes),
    /// Who belongs to the group.
    Membership(&'a Arc<Membership>),
    /// What a member says about its state.
    Report(NodeId, Report),
    /// Nothing, or bytes that make no sense; they do nothing, on every member alike.
    Nothing,
}

fn content_of(entry: &Entry) -> Content<'_> {
    let bytes = match &entry.payload {
        Payload::Noop => return Content::Nothing,
        Payload::Membership(membership) => return Content::Membership(membership),
        Payload::Command(bytes) => bytes,
    };
    if let Some((_, command)) = proposal::decode(bytes) {
        return Content::Command(command);
    }
    let own = proposal::decode_own(bytes);
    match own.and_then(|(id, own)| Some((id.origin, Report::decode(&own)?))) {
        Some((from, report)) => Content::Report(from, report),
        None => Content::Nothing,
    }
}
