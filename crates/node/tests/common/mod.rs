//! A machine for tests that are about something else: durable at once, and without snapshots.

use bytes::Bytes;
use quorate_node::{Fault, FaultKind, Fingerprint, Machine, Piece, RestoreError, Snapshot};
use quorate_raft::EntryId;

/// What a test has to say about commands.
pub(crate) trait Apply: Send {
    type Outcome: Send + 'static;

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Self::Outcome;

    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }
}

/// The machine that applies commands so.
pub(crate) struct AtOnce<A> {
    apply: A,
    applied: EntryId,
    membership: Option<Bytes>,
}

impl<A> AtOnce<A> {
    pub(crate) fn new(apply: A) -> Self {
        Self { apply, applied: EntryId::ZERO, membership: None }
    }
}

impl<A: Apply> Machine for AtOnce<A> {
    type Outcome = A::Outcome;

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        self.applied
    }

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<A::Outcome, Fault> {
        Ok(self.apply.apply(entry, command))
    }

    fn membership(&self) -> Option<Bytes> {
        self.membership.clone()
    }

    fn set_membership(&mut self, _: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.membership = Some(membership.clone());
        Ok(())
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.apply.fingerprint()
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.applied = through;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        Err(Fault::new(FaultKind::Io, "no test here needs a snapshot"))
    }

    fn restore(&mut self, _: &Piece) -> Result<(), RestoreError> {
        Err(RestoreError::Rejected("no test here needs a snapshot".into()))
    }
}
