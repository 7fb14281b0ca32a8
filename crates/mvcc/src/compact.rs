//! Compaction: history that nobody may read any more, and its space.
//!
//! A compaction takes effect at once: [`State::compact`] notes the revision, and readers refuse what
//! lies before. The space comes back later, in slices small enough to fit between batches; since
//! nothing that can be read changes, members need not be equally far. Each slice is committed
//! together with where it stopped.
//!
//! **What goes** (etcd's rule). Of each key, every change up to the compacted revision but the last
//! such one, and that one too if it is a deletion, unless it lies exactly at the compacted revision
//! (where a watch may still begin).
//!
//! **How it is found.** A walk over the changes in order, from where the last compaction ended. For
//! each, the older changes of its key go: at most one is left, since each change already removed
//! those before itself. So the work is in proportion to the history that goes, and not to the
//! number of keys.

use alloc::vec::Vec;
use core::ops::Bound;

use quorate_planted::planted;

use crate::codec::{self, Malformed, Source};
use crate::engine::{Engine, EngineError, Reader, Table};
use crate::error::Error;
use crate::revision::Revision;
use crate::rows::{self, Change};
use crate::store::State;

/// How far the space of compacted history has been taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    /// The last compacted revision whose space is back completely; -1 before the first.
    pub(crate) done: i64,
    /// The next change to look at.
    next: Revision,
}

impl Removal {
    pub(crate) const START: Self = Self { done: -1, next: Revision { main: 0, sub: 0 } };

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        codec::put_i64(&mut out, self.done);
        codec::put_i64(&mut out, self.next.main);
        codec::put_i64(&mut out, self.next.sub);
        out
    }

    pub(crate) fn decode(source: &mut Source) -> Result<Self, Malformed> {
        let (done, main, sub) = (source.i64()?, source.i64()?, source.i64()?);
        if done < -1 || main < 0 || sub < 0 {
            return Err(Malformed);
        }
        Ok(Self { done, next: Revision { main, sub } })
    }
}

impl State {
    /// Makes the history before a revision unreadable.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Error> {
        let local = planted!(CompactionByLocalProgress);
        if revision <= if local { self.removal.done } else { self.compacted } {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        // Deletions exactly at the old revision were spared and are looked at again.
        let again = Revision { main: self.compacted.max(0), sub: 0 };
        self.removal.next = self.removal.next.min(again);
        self.compacted = revision;
        Ok(())
    }

    /// Whether there is space to take back.
    pub(crate) fn has_removals(&self) -> bool {
        self.removal.done < self.compacted
    }

    /// Takes space back, looking at no more than `changes_max` changes.
    pub(crate) fn remove_some(
        &mut self,
        engine: &mut dyn Engine,
        changes_max: usize,
    ) -> Result<(), EngineError> {
        assert!(changes_max > 0, "a slice of nothing would never end");
        if !self.has_removals() {
            return Ok(());
        }
        let from = self.removal.next.to_bytes();
        let last = Revision { main: self.compacted, sub: Revision::SUB_MAX };
        let bounds = (Bound::Included(&from[..]), Bound::Included(&last.to_bytes()[..]));
        let changes: Vec<Change> = engine
            .scan(Table::Revision, bounds)
            .take(changes_max)
            .map(|row| row.and_then(|(row, record)| rows::read_change(&row, &record)))
            .collect::<Result<_, _>>()?;
        let mut bytes = 0;
        for change in &changes {
            bytes += remove_before(engine, change)?;
            if change.deletion && change.revision.main < self.compacted {
                bytes += remove(engine, change, rows::DELETE_RECORD.len())?;
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        self.removal = match changes.last() {
            Some(Change { revision, .. }) if changes.len() == changes_max => {
                let next = Revision { main: revision.main, sub: revision.sub + 1 };
                Removal { next, ..self.removal }
            }
            _ => Removal {
                done: self.compacted,
                next: Revision { main: self.compacted + 1, sub: 0 },
            },
        };
        Ok(())
    }
}

/// Removes the older changes of a change's key. Returns how many bytes they took.
fn remove_before(engine: &mut dyn Engine, change: &Change) -> Result<usize, EngineError> {
    let row = rows::key_row(&change.key, change.revision);
    let after = rows::after_prefix(&rows::key_prefix(&change.key));
    let older: Vec<(Revision, usize)> = engine
        .scan(Table::Key, (Bound::Excluded(&row), Bound::Excluded(&after)))
        .map(|row| {
            let (row, record) = row?;
            Ok((rows::split_key_row(&row)?.1, record.len()))
        })
        .collect::<Result<_, _>>()?;
    let mut bytes = 0;
    for (revision, record_bytes) in older {
        bytes += remove(engine, &Change { revision, ..change.clone() }, record_bytes)?;
    }
    Ok(bytes)
}

/// Removes the two rows of a change, the first of which has a value of so many bytes. Returns how many they took.
fn remove(
    engine: &mut dyn Engine,
    change: &Change,
    record_bytes: usize,
) -> Result<usize, EngineError> {
    let row = rows::key_row(&change.key, change.revision);
    engine.delete(Table::Key, &row)?;
    engine.delete(Table::Revision, &change.revision.to_bytes())?;
    Ok(row.len() + record_bytes + Revision::LENGTH + rows::revision_record_bytes(&change.key))
}

/// Whether a compaction at `compacted` lets a change stay; for readers that must not depend on how
/// far the removal is.
pub(crate) fn is_kept(
    reader: &dyn Reader,
    compacted: i64,
    change: &Change,
) -> Result<bool, EngineError> {
    if change.revision.main > compacted {
        return Ok(true);
    }
    if change.deletion {
        return Ok(false);
    }
    // The next newer change of the key, if any, is the row before.
    let row = rows::key_row(&change.key, change.revision);
    let prefix = rows::key_prefix(&change.key);
    let mut newer = reader.scan(Table::Key, (Bound::Included(&prefix), Bound::Excluded(&row)));
    match newer.next_back() {
        None => Ok(true),
        Some(row) => Ok(rows::split_key_row(&row?.0)?.1.main > compacted),
    }
}
