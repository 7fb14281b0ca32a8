//! The store as what a group replicates.

use alloc::boxed::Box;
use alloc::format;

use bytes::Bytes;
use quorate_node::{Fault, Machine, Piece, RestoreError, Snapshot};
use quorate_raft::EntryId;

use crate::apply::{self, Changes};
use crate::command::{Command, CommandError};
use crate::error::{Error, ReadError};
use crate::response::{Outcome, RevisionEvents};
use crate::snapshot::{Restore, StoreSnapshot};
use crate::store::{Batch, State, Store, fault};

/// How many changes a commit looks at, to take compacted space back, besides two for each change it
/// commits: more than it adds, so that space comes back under any load; and few enough to go
/// unnoticed.
const REMOVALS_PER_COMMIT: usize = 16;

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
        self.applied = entry;
        let result = match Command::decode(command) {
            Ok(command) => self.apply_command(entry.term.0, &command)?,
            Err(CommandError::Malformed) => Err(Error::UnknownCommand),
            // The other members may know what to do. Going on without would be a different state.
            Err(CommandError::Newer) => {
                let what = format!("the command at {entry} is of a newer version of the program");
                return Err(Fault(what));
            }
        };
        Ok(Outcome { revision: self.state.revision, result })
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        assert!(
            through.index >= self.applied.index,
            "a batch ends at or after what was applied: {through} before {}",
            self.applied
        );
        if self.state.has_removals() {
            let changes: usize = self.batch.events.iter().map(|of| of.events.len()).sum();
            let changes_max = REMOVALS_PER_COMMIT + 2 * changes;
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

    fn idle(&mut self) -> Result<bool, Fault> {
        self.compact_some(REMOVALS_PER_IDLE)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        Ok(Box::new(StoreSnapshot::new(self.engine.view(), self.engine.applied())))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        let mut restore = match (piece.first, self.restore.take()) {
            (true, _) => Restore::begin(piece.last, &mut *self.engine).map_err(fault)?,
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
        self.applied = piece.last;
        self.batch = Batch::default();
        self.published = Batch::default();
        Ok(())
    }
}

impl Store {
    fn apply_command(
        &mut self,
        term: u64,
        command: &Command,
    ) -> Result<Result<crate::response::Response, Error>, Fault> {
        let mut changes = Changes::default();
        let applied = apply::apply(&mut *self.engine, &mut self.state, term, command, &mut changes);
        match applied {
            Err(ReadError::Engine(error)) => Err(fault(error)),
            Err(ReadError::Refused(error)) => {
                assert!(changes.events.is_empty(), "{error:?} came after a change of {command:?}");
                Ok(Err(error))
            }
            Ok(response) => {
                if !changes.events.is_empty() {
                    let (revision, events) = (self.state.revision, changes.events.into());
                    self.batch.events.push(RevisionEvents { revision, events });
                }
                self.batch.leases.extend(changes.leases);
                Ok(Ok(response))
            }
        }
    }
}
