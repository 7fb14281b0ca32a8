//! Replacing the whole content by a snapshot.
//!
//! The new content grows in a tree of its own beside the current one, which goes on serving. When it
//! is complete and durable, the pointer in the directory is switched, and only then the memory: a
//! crash at any point leaves the old content or the new.
//!
//! Rows come in order, so each flushed memtable is a table that overlaps no other; merging them later
//! costs nothing but an entry in the manifest.

use crate::{engine::DiskEngine, files::Files, generation::Generation, row::tagged};
use lsm_tree::{Cache, InternalValue, ValueType};
use quorate_mvcc::engine::{EngineError, Table};
use quorate_raft::EntryId;
use std::{path::Path, sync::Arc};

/// A content that is being collected.
pub(crate) struct Replacement {
    generation: Arc<Generation>,
    /// The key of the last row; the next one is larger.
    last_key: Vec<u8>,
}

impl Replacement {
    /// Begins an empty content, in the place of one that was begun before.
    fn begin(files: &Files, number: u64, cache: Arc<Cache>) -> Result<Self, EngineError> {
        remove_leftover(&files.tree(number))?;
        let generation = Generation::open(files, number, cache, true)?;
        Ok(Self { generation: Arc::new(generation), last_key: Vec::new() })
    }

    /// The key of the next row in the tree.
    ///
    /// # Errors
    /// If it does not come after the last one. That is the snapshot's fault and not the disk's, so
    /// the engine lives on.
    fn next_key(&self, table: Table, key: &[u8]) -> Result<Vec<u8>, EngineError> {
        let key = tagged(table, key);
        if key <= self.last_key {
            return Err(EngineError::Corrupt("a snapshot's rows are out of order".to_owned()));
        }
        Ok(key)
    }

    /// Adds a row, and writes out what has been collected when it fills a memtable.
    fn put(&mut self, key: Vec<u8>, value: &[u8], memtable_bytes: u64) -> Result<(), EngineError> {
        let sequence = self.generation.next_sequence();
        let row = InternalValue::from_components(&key, value, sequence, ValueType::Value);
        self.generation.active().insert(row);
        self.last_key = key;
        if self.generation.active().size() >= memtable_bytes {
            self.write_out(EntryId::ZERO)?;
        }
        Ok(())
    }

    /// Makes everything so far durable. The position counts only when the pointer is switched.
    fn write_out(&self, applied: EntryId) -> Result<(), EngineError> {
        self.generation.seal(applied);
        self.generation.flush(self.generation.bound())
    }
}

impl DiskEngine {
    pub(crate) fn begin_replacement(&mut self) -> Result<(), EngineError> {
        self.shared.check()?;
        // The earlier attempt lets go of its directory before the next one takes it.
        self.replacement = None;
        let number = self.generation.number + 1;
        let begun = Replacement::begin(&self.files, number, Arc::clone(&self.cache));
        self.replacement = Some(begun.map_err(|error| self.shared.fail(error))?);
        Ok(())
    }

    pub(crate) fn add_to_replacement(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), EngineError> {
        self.shared.check()?;
        let replacement = self.replacement.as_mut().expect("a replacement was begun");
        let key = replacement.next_key(table, key)?;
        let added = replacement.put(key, value, self.options.memtable_bytes);
        added.map_err(|error| self.shared.fail(error))
    }

    pub(crate) fn finish_replacement(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.shared.check()?;
        let replacement = self.replacement.take().expect("a replacement was begun");
        let new = replacement.generation;
        let switched = switch(&self.files, &new, applied);
        switched.map_err(|error| self.shared.fail(error))?;

        let old = std::mem::replace(&mut self.generation, Arc::clone(&new));
        self.memtable = new.active();
        self.batch = None;
        self.applied = applied;
        self.shared.replace(&new, applied);
        old.retire();
        Ok(())
    }
}

/// Makes a complete content durable and the one in force.
fn switch(files: &Files, new: &Generation, applied: EntryId) -> Result<(), EngineError> {
    new.seal(applied);
    new.flush(new.bound())?;
    files.switch_to(new.number)
}

/// A tree that was begun in this process and given up, or left by an earlier one.
fn remove_leftover(dir: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::error::of_io(dir.display(), &error))
        }
        _ => Ok(()),
    }
}
