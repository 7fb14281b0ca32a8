//! The engine without a disk: for simulations, tests, and as the plainest statement of what an
//! engine does.

mod rows;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::EntryId;

use crate::engine::{Engine, EngineError, EngineSize, KeyBounds, Reader, Rows, Table, View};
use rows::SharedRows;

/// An engine in memory. A view costs next to nothing: its pages are shared with what comes after.
///
/// What a crash would leave is kept too: [`MemEngine::crash`] goes back to it, so that a simulation
/// can lose what a lazy engine may lose.
#[derive(Debug)]
pub struct MemEngine {
    /// What the writer sees.
    current: Content,
    /// What views see.
    committed: Content,
    /// What a crash leaves.
    durable: Content,
    /// The content being collected, with its last row.
    replacement: Option<Replacement>,
    /// Commits until the next one that is made durable by itself, and how many between two such.
    commits_left: u32,
    commits_between: u32,
}

/// All rows, and the position they reflect.
#[derive(Clone, Debug, Default)]
struct Content {
    tables: [SharedRows; Table::COUNT],
    applied: EntryId,
}

#[derive(Debug, Default)]
struct Replacement {
    content: Content,
    last: Option<(Table, Bytes)>,
}

impl MemEngine {
    /// An empty engine of which every commit is durable at once.
    #[must_use]
    pub fn new() -> Self {
        Self::lazy(0)
    }

    /// An empty engine that makes its state durable by itself after so many commits that were not.
    #[must_use]
    pub fn lazy(commits_between: u32) -> Self {
        Self {
            current: Content::default(),
            committed: Content::default(),
            durable: Content::default(),
            replacement: None,
            commits_left: commits_between,
            commits_between,
        }
    }

    /// What is left after a crash.
    #[must_use]
    pub fn crash(&self) -> Self {
        Self {
            current: self.durable.clone(),
            committed: self.durable.clone(),
            durable: self.durable.clone(),
            replacement: None,
            commits_left: self.commits_between,
            commits_between: self.commits_between,
        }
    }
}

impl Default for MemEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Content {
    fn table(&self, table: Table) -> &SharedRows {
        &self.tables[table as usize]
    }

    fn table_mut(&mut self, table: Table) -> &mut SharedRows {
        &mut self.tables[table as usize]
    }
}

impl Reader for Content {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.table(table).get(key).cloned())
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        if crate::engine::bounds_are_empty(bounds) {
            return Box::new(core::iter::empty());
        }
        let rows = self.table(table).range(bounds);
        Box::new(rows.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

impl Reader for MemEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.current.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        self.current.scan(table, bounds)
    }
}

impl Engine for MemEngine {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        self.current.table_mut(table).insert(key, value);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError> {
        self.current.table_mut(table).remove(key);
        Ok(())
    }

    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError> {
        assert!(
            applied.index >= self.committed.applied.index,
            "the log is applied forwards: {applied} after {}",
            self.committed.applied
        );
        self.current.applied = applied;
        self.committed = self.current.clone();
        if planted!(AppliedAheadOfData) {
            self.durable.applied = applied;
        }
        match self.commits_left.checked_sub(1) {
            Some(left) => self.commits_left = left,
            None => self.flush()?,
        }
        Ok(())
    }

    fn applied(&self) -> EntryId {
        self.committed.applied
    }

    fn durable(&self) -> EntryId {
        self.durable.applied
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        let before = self.durable.applied;
        self.durable = self.committed.clone();
        if planted!(AppliedBehindData) {
            self.durable.applied = before;
        }
        self.commits_left = self.commits_between;
        Ok(())
    }

    fn view(&self) -> View {
        Arc::new(self.committed.clone())
    }

    fn replace_begin(&mut self) -> Result<(), EngineError> {
        self.replacement = Some(Replacement::default());
        Ok(())
    }

    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        let replacement = self.replacement.as_mut().expect("replace_begin comes first");
        let row = (table, Bytes::copy_from_slice(key));
        if replacement.last.as_ref().is_some_and(|last| *last >= row) {
            return Err(EngineError::Corrupt(String::from(
                "a row of a new content is out of order",
            )));
        }
        let value = Bytes::copy_from_slice(value);
        replacement.content.table_mut(table).insert(row.1.clone(), value);
        replacement.last = Some(row);
        Ok(())
    }

    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError> {
        let replacement = self.replacement.take().expect("replace_begin comes first");
        self.current = Content { applied, ..replacement.content };
        self.committed = self.current.clone();
        self.flush()
    }

    fn size(&self) -> EngineSize {
        let rows = self.committed.tables.iter().flat_map(|table| table.iter());
        let bytes: usize = rows.map(|(key, value)| key.len() + value.len()).sum();
        EngineSize { disk_bytes: bytes as u64, memory_bytes: 0 }
    }
}

/// All rows of a reader, in order, for comparing states in tests and simulations.
///
/// # Errors
/// If the engine can't be read.
pub fn all_rows(reader: &dyn Reader) -> Result<Vec<(Table, Bytes, Bytes)>, EngineError> {
    let mut rows = Vec::new();
    for table in Table::ALL {
        for row in reader.scan(table, crate::engine::ALL_KEYS) {
            let (key, value) = row?;
            rows.push((table, key, value));
        }
    }
    Ok(rows)
}
