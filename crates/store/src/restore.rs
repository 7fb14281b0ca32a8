//! Replacing the whole content by a snapshot.
//!
//! The new content grows in a tree of its own beside the current one, which goes on serving. When it
//! is complete and durable, the pointer in the directory is switched, and only then the memory: a
//! crash at any point leaves the old content or the new.
//!
//! Rows come in order, so no two of the new tables overlap; moving them to the lowest level costs an
//! entry in the manifest.

use crate::{
    engine::DiskEngine, error::of_io, files::Files, generation::Generation, memtable::applied_row,
    row::tagged, shared::Failure,
};
use lsm_tree::{Cache, InternalValue, Memtable, ValueType};
use quorate_mvcc::engine::{EngineError, Table};
use quorate_raft::EntryId;
use std::{fs, io, path::Path, sync::Arc};

/// A content that is being collected.
pub(crate) struct Replacement {
    pub(crate) generation: Arc<Generation>,
    /// Rows that are not on disk yet, ascending, and about how many bytes they take.
    rows: Vec<InternalValue>,
    bytes: u64,
    /// The key of the last row; the next one is larger.
    last_key: Vec<u8>,
}

impl Replacement {
    /// Begins an empty content.
    fn begin(
        files: &Files,
        number: u64,
        cache: Arc<Cache>,
        failure: Failure,
    ) -> Result<Self, EngineError> {
        remove_leftover(&files.tree(number))?;
        let generation = Arc::new(Generation::open(files, number, cache, failure, true)?);
        Ok(Self { generation, rows: Vec::new(), bytes: 0, last_key: Vec::new() })
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

    /// Adds a row, and writes out what has been collected when it is as much as a memtable holds.
    fn put(&mut self, key: Vec<u8>, value: &[u8], bytes_max: u64) -> Result<(), EngineError> {
        let sequence = self.generation.next_sequence();
        self.rows.push(InternalValue::from_components(&key, value, sequence, ValueType::Value));
        self.bytes += (size_of::<InternalValue>() + key.len() + value.len()) as u64;
        self.last_key = key;
        if self.bytes >= bytes_max { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<(), EngineError> {
        self.bytes = 0;
        self.generation.flush(self.rows.drain(..))?;
        // Moves the new table to its place in the sorted levels, so that they don't pile up.
        self.generation.compact(self.generation.bound()).map(|_moved| ())
    }

    /// Makes everything durable, with the position that it stands for.
    fn complete(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.rows.push(applied_row(applied, self.generation.next_sequence()));
        self.write_out()
    }
}

impl DiskEngine {
    pub(crate) fn begin_replacement(&mut self) -> Result<(), EngineError> {
        self.shared.check()?;
        // The earlier attempt lets go of its directory before the next one takes it.
        self.replacement = None;
        let number = self.generation.number + 1;
        let begun = Replacement::begin(
            &self.files,
            number,
            Arc::clone(&self.cache),
            self.generation.failure(),
        );
        self.replacement = Some(begun.map_err(|error| self.give_up_replacement(error))?);
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
        added.map_err(|error| self.give_up_replacement(error))
    }

    /// Without room the new content is given up, and gives back what it took; the current one goes on.
    /// Any other failure is the engine's.
    fn give_up_replacement(&mut self, error: EngineError) -> EngineError {
        if !matches!(error, EngineError::Full(_)) {
            return self.shared.fail(error);
        }
        if let Some(replacement) = self.replacement.take() {
            replacement.generation.retire();
        }
        error
    }

    pub(crate) fn finish_replacement(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.shared.check()?;
        let replacement = self.replacement.as_mut().expect("a replacement was begun");
        let completed = replacement.complete(applied);
        completed.map_err(|error| self.give_up_replacement(error))?;
        let replacement = self.replacement.take().expect("it was completed just now");
        let new = replacement.generation;
        self.files.switch_to(new.number).map_err(|error| self.shared.fail(error))?;

        std::mem::replace(&mut self.generation, Arc::clone(&new)).retire();
        self.memtable = Arc::new(Memtable::new(0));
        self.batch = None;
        self.applied = applied;
        self.sealed = applied;
        self.shared.replace(new, applied, Arc::clone(&self.memtable));
        Ok(())
    }
}

/// A tree that was begun in this process and given up, or left by an earlier one.
fn remove_leftover(dir: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(of_io(dir.display(), &error)),
        _ => Ok(()),
    }
}
