//! The store as what a group replicates.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;

use bytes::Bytes;
use quorate_node::{
    Fault, FaultKind, Fingerprint, Machine, Piece, RestoreError, Scrubbed, Snapshot,
};
use quorate_planted::planted;
use quorate_raft::EntryId;

use crate::alarm::Alarms;
use crate::apply::{self, Changes, Parts};
use crate::auth::Auth;
use crate::command::{Command, CommandError, Proposal};
use crate::engine::Table;
use crate::error::{Error, ReadError};
use crate::instalment::Instalments;
use crate::members;
use crate::response::{Outcome, Response};
use crate::snapshot::{Restore, StoreSnapshot, given_up};
use crate::store::{Batch, State, Store, fault};

/// How many changes a commit looks at, to take compacted space back, besides two for each change it
/// commits: more than it adds, so that space comes back under any load; and few enough to go
/// unnoticed.
const REMOVALS_PER_COMMIT: usize = 16;

/// How many it looks at at most. A command that changes more leaves some of its own space to others,
/// so that it does not hold them up, nor fill the memory, for twice as long.
const REMOVALS_PER_COMMIT_MAX: usize = 10_000;

/// How many it looks at in a piece of idle time: some milliseconds, for which a command may have to
/// wait.
const REMOVALS_PER_IDLE: usize = 128;

impl Machine for Store {
    type Outcome = Outcome;

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        self.engine.durable()
    }

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<Outcome, Fault> {
        assert!(
            entry.index > self.applied.index,
            "each entry is applied once and in order: {entry} after {}",
            self.applied
        );
        let before = core::mem::replace(&mut self.applied, entry);
        let result = match Proposal::decode(command) {
            Ok(proposal) => self.apply_proposal(before, entry.term.0, &proposal)?,
            Err(CommandError::Malformed) => Err(Error::UnknownCommand),
            Err(CommandError::Newer) if planted!(NewerCommandSkipped) => Err(Error::UnknownCommand),
            // The other members may know what to do. Going on without would be a different state.
            Err(CommandError::Newer) => {
                let what = format!("the command at {entry} is of a newer version of the program");
                return Err(Fault::new(FaultKind::Version, what));
            }
        };
        Ok(Outcome { revision: self.state.revision, result })
    }

    fn membership(&self) -> Option<Bytes> {
        self.membership.clone()
    }

    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault> {
        assert!(
            entry.index > self.applied.index,
            "each entry is applied once and in order: {entry} after {}",
            self.applied
        );
        self.applied = entry;
        self.engine.put(Table::Meta, State::MEMBERSHIP, membership).map_err(fault)?;
        let gone = members::forget_others(&mut *self.engine, membership).map_err(fault)?;
        self.state.sums.add(gone);
        self.membership = Some(membership.clone());
        Ok(())
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let State { revision, compacted, sums, .. } = self.state;
        Some(sums.fingerprint(revision, compacted))
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        assert!(
            through.index >= self.applied.index,
            "a batch ends at or after what was applied: {through} before {}",
            self.applied
        );
        if self.state.has_removals() {
            let changes_max = REMOVALS_PER_COMMIT + 2 * self.batch.changes;
            let changes_max = changes_max.min(REMOVALS_PER_COMMIT_MAX);
            self.state.remove_some(&mut *self.engine, changes_max).map_err(fault)?;
        }
        self.write_state(through).map_err(fault)?;
        self.applied = through;
        self.published = core::mem::take(&mut self.batch);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.engine.flush().map_err(fault)
    }

    fn begin_flush(&mut self) -> Result<(), Fault> {
        self.engine.begin_flush().map_err(fault)
    }

    fn idle(&mut self) -> Result<bool, Fault> {
        self.compact_some(REMOVALS_PER_IDLE)
    }

    fn scrub(&mut self, bytes_max: usize) -> Result<Option<Scrubbed>, Fault> {
        self.engine.scrub(bytes_max).map_err(fault)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        self.assert_whole();
        Ok(Box::new(StoreSnapshot::new(self.engine.view(), self.engine.applied())))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        let mut restore = match (piece.first, self.restore.take()) {
            (true, _) => Restore::begin(piece, &mut *self.engine).map_err(given_up)?,
            (false, Some(restore)) => restore,
            (false, None) => {
                return Err(RestoreError::Rejected(
                    "a transfer begins with its first piece".into(),
                ));
            }
        };
        restore.take(piece, &mut *self.engine)?;
        if !piece.end {
            self.restore = Some(restore);
            return Ok(());
        }
        restore.finish(&mut *self.engine)?;
        self.state = State::load(&*self.engine).map_err(fault)?;
        self.committed = self.state;
        if !planted!(RightsOfBeforeSnapshot) {
            self.auth = Arc::new(Auth::load(&*self.engine).map_err(fault)?);
        }
        self.committed_auth = self.auth.clone();
        if !planted!(AlarmsOfBeforeSnapshot) {
            self.alarms = Arc::new(Alarms::load(&*self.engine).map_err(fault)?);
        }
        self.committed_alarms = self.alarms.clone();
        self.membership = Some(piece.membership.clone());
        self.applied = piece.last;
        self.batch = Batch::default();
        self.published = Batch::default();
        Ok(())
    }
}

impl Store {
    fn apply_proposal(
        &mut self,
        before: EntryId,
        term: u64,
        proposal: &Proposal,
    ) -> Result<Result<Response, Error>, Fault> {
        if let Command::Member(member) = &proposal.command
            && !members::is_one(self.membership.as_ref(), member.id)
        {
            return Ok(Ok(Response::Member));
        }
        let mut changes = Changes::default();
        let unwritten = Some(self.state).filter(|state| *state != self.committed);
        let mut instalments = Instalments::new(before, unwritten, self.instalment_bytes);
        let parts = Parts {
            engine: &mut *self.engine,
            instalments: &mut instalments,
            state: &mut self.state,
            auth: &mut self.auth,
            alarms: &mut self.alarms,
        };
        let applied = apply::apply(parts, term, proposal, &mut changes);
        self.batch.has_instalments |= instalments.count > 0;
        match applied {
            Err(ReadError::Engine(error)) => Err(fault(error)),
            Err(ReadError::Refused(error)) => {
                assert!(changes.count == 0, "{error:?} came after a change of {proposal:?}");
                Ok(Err(error))
            }
            Ok(response) => {
                let room = changes.room.check();
                self.batch.add(self.state.revision, changes);
                Ok(room.map(|()| response))
            }
        }
    }
}
