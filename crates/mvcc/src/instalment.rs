//! A command that writes more than memory should hold.
//!
//! An engine keeps an open batch in memory, and one small command may delete every key there is, or
//! let a lease go with all that hangs on it. So a command that has written much commits on the way:
//! an *instalment*, at the position in the log *before* the command, since it is not applied yet. In
//! this process nobody sees that: readers are given states between batches only. A crash may leave
//! the instalments of a command that was not finished. The store takes them back when it is opened,
//! before anything else, and the log applies the command again from its beginning.
//!
//! **Why they can be taken back.** Nothing is overwritten: every change is a row of its own, under a
//! revision that the state's row does not know yet, so what is beyond that row is unfinished. What
//! else a change writes, the key's place on a lease, follows from the change and the one before it.
//! What does not follow from changes (the row of the lease that was revoked) is written after the
//! last of them, and so never without the rest.

use alloc::vec::Vec;
use core::ops::Bound;

use quorate_raft::EntryId;

use crate::engine::{Engine, EngineError, Row, Table};
use crate::revision::Revision;
use crate::rows::{self, Change};
use crate::store::State;

/// How many bytes of rows a command writes before it commits them. Far more than any command but
/// the deletion of a large range; and so little that an engine's memory does not grow with it.
pub(crate) const INSTALMENT_BYTES: usize = 4 << 20;

/// How many changes are taken back at once.
const TAKEN_BACK_AT_ONCE: usize = 1000;

/// The instalments of a command.
pub(crate) struct Instalments {
    /// The position before the command, to which they are committed.
    position: EntryId,
    /// The state of that position, if commands before this one have changed it and it is not written
    /// yet.
    state: Option<State>,
    bytes_max: usize,
    /// What was written since the last one.
    bytes: usize,
    /// How many there were.
    pub(crate) count: usize,
}

impl Instalments {
    pub(crate) fn new(position: EntryId, state: Option<State>, bytes_max: usize) -> Self {
        Self { position, state, bytes_max, bytes: 0, count: 0 }
    }

    /// Takes note that a change and all that belongs to it was written, of so many bytes.
    pub(crate) fn wrote(
        &mut self,
        engine: &mut dyn Engine,
        bytes: usize,
    ) -> Result<(), EngineError> {
        self.bytes += bytes;
        if self.bytes < self.bytes_max {
            return Ok(());
        }
        if let Some(state) = self.state.take() {
            state.write(engine)?;
        }
        engine.commit(self.position)?;
        self.bytes = 0;
        self.count += 1;
        Ok(())
    }
}

/// Takes back what an unfinished command left beyond `state`.
pub(crate) fn take_back(engine: &mut dyn Engine, state: &State) -> Result<(), EngineError> {
    let first = Revision { main: state.revision + 1, sub: 0 }.to_bytes();
    let mut end = None;
    loop {
        // Not from the end each time: that would walk over all that was removed before.
        let before =
            end.as_ref().map_or(Bound::Unbounded, |end: &[u8; _]| Bound::Excluded(&end[..]));
        let newest = engine.scan(Table::Revision, (Bound::Included(&first), before)).rev();
        let changes: Vec<Change> = newest
            .take(TAKEN_BACK_AT_ONCE)
            .map(|row| row.and_then(|(row, record)| rows::read_change(&row, &record)))
            .collect::<Result<_, _>>()?;
        let Some(last) = changes.last() else { return Ok(()) };
        end = Some(last.revision.to_bytes());
        for change in &changes {
            undo(engine, change)?;
        }
        engine.commit(engine.applied())?;
    }
}

/// Takes the newest change of a key back.
fn undo(engine: &mut dyn Engine, change: &Change) -> Result<(), EngineError> {
    let prefix = rows::key_prefix(&change.key);
    let row = rows::prefix_row(&prefix, change.revision);
    let after = rows::after_prefix(&prefix);
    // One scan for both: taking back is mostly these.
    let mut of_key = engine.scan(Table::Key, (Bound::Included(&row), Bound::Excluded(&after)));
    let lease = lease_of(of_key.next())?;
    let lease_before = lease_of(of_key.next())?;
    drop(of_key);
    engine.delete(Table::Key, &row)?;
    engine.delete(Table::Revision, &change.revision.to_bytes())?;
    move_lease(engine, &change.key, lease, lease_before)?;
    Ok(())
}

/// The lease of a key as a row of `Table::Key` has it; 0 if it is not attached, or not there.
fn lease_of(row: Option<Row>) -> Result<i64, EngineError> {
    let Some((row, record)) = row.transpose()? else { return Ok(0) };
    if rows::is_deletion(&record)? {
        return Ok(0);
    }
    let (prefix, revision) = rows::split_key_row(&row)?;
    Ok(rows::read_put(&prefix, revision, &record)?.lease)
}

/// Takes a key from one lease and attaches it to another; 0 is none. Returns how many bytes that wrote.
pub(crate) fn move_lease(
    engine: &mut dyn Engine,
    key: &[u8],
    from: i64,
    to: i64,
) -> Result<usize, EngineError> {
    if from == to {
        return Ok(0);
    }
    let mut bytes = 0;
    if from != 0 {
        let row = rows::lease_key_row(from, key);
        engine.delete(Table::LeaseKey, &row)?;
        bytes += row.len();
    }
    if to != 0 {
        let row = rows::lease_key_row(to, key);
        engine.put(Table::LeaseKey, &row, &[])?;
        bytes += row.len();
    }
    Ok(bytes)
}
