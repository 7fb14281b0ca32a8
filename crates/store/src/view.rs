//! Reading: a state of the store that never changes.
//!
//! A row carries the sequence number of its batch, and a reader sees the newest below its bound.
//! The newest memtable goes on growing after a view was taken, and the bound hides what is added;
//! sealed memtables and tables never change at all. So a state is a list of references and a number.

use crate::{
    generation::Generation,
    memtable::{self, MemtableRows},
    row::{TreeBounds, tagged, tagged_bounds, untagged, value},
};
use bytes::Bytes;
use lsm_tree::{InternalValue, Memtable, SeqNo, merge::Merger, mvcc_stream::MvccStream};
use quorate_mvcc::engine::{EngineError, KeyBounds, ROW_KEY_BYTES_MAX, Reader, Rows, Table};
use std::{
    iter,
    sync::{Arc, OnceLock},
};

/// Rows of the tree in order.
pub(crate) type TreeRows = Box<dyn DoubleEndedIterator<Item = lsm_tree::Result<InternalValue>>>;

/// Finds the newest row of a key below a sequence number; it may be a deletion.
pub(crate) type Find =
    Box<dyn Fn(&[u8], SeqNo) -> lsm_tree::Result<Option<InternalValue>> + Send + Sync>;

/// Walks the newest rows within bounds, below a sequence number, without deleted ones.
pub(crate) type Walk = Box<dyn Fn(&TreeBounds, SeqNo) -> TreeRows + Send + Sync>;

/// The tables on disk at one moment. While somebody holds them, their files stay.
pub(crate) struct Tables {
    pub(crate) find: Find,
    pub(crate) walk: Walk,
    /// Keeps the directory. The last field, so that it is dropped after the tables.
    pub(crate) generation: Arc<Generation>,
}

/// The memtables of one moment: the active one, then the sealed ones from the newest on.
pub(crate) type Memtables = Arc<[Arc<Memtable>]>;

/// A view that has become older than this many rows stops looking at what the writer adds. Below
/// that, skipping the rows is cheaper than a copy without them.
const HIDDEN_ROWS_MAX: usize = 2048;

/// A state of the store.
pub(crate) struct Snapshot {
    memtables: Memtables,
    tables: Arc<Tables>,
    /// Rows with this sequence number or a higher one are not there yet.
    pub(crate) bound: SeqNo,
    /// How many rows the active memtable had when the view was taken.
    active_rows: usize,
    /// Those of them that are visible, once too many others have come. Without this a search in an
    /// old view would have to skip, each time, everything that was written after it.
    frozen: OnceLock<Arc<Memtable>>,
}

impl Snapshot {
    pub(crate) fn new(memtables: Memtables, tables: Arc<Tables>, bound: SeqNo) -> Self {
        let active_rows = memtables[0].len();
        Self { memtables, tables, bound, active_rows, frozen: OnceLock::new() }
    }

    /// The memtables to walk: the same rows for this view as all of them, and few others.
    fn walkable(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        let (active, sealed) = self.memtables.split_first().expect("one is active");
        let active = if active.len() > self.active_rows + HIDDEN_ROWS_MAX {
            self.frozen.get_or_init(|| Arc::new(memtable::frozen(active, self.bound)))
        } else {
            active
        };
        iter::once(active).chain(sealed)
    }

    fn row(&self, key: &[u8]) -> lsm_tree::Result<Option<InternalValue>> {
        let in_memory = self.memtables.iter().find_map(|memtable| memtable.get(key, self.bound));
        match in_memory {
            Some(row) => Ok(Some(row)),
            None => (self.tables.find)(key, self.bound),
        }
    }

    /// The first row within bounds where rows descend ([`Reader::newest`]).
    ///
    /// Memtables follow each other in time, and all of them are newer than what is on disk, so the
    /// newest that has a row within the bounds has the one. Of tables that can't be said: each finds
    /// its way down the levels by itself, and may pass an older one.
    pub(crate) fn first(
        &self,
        table: Table,
        bounds: KeyBounds<'_>,
    ) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        let Some(within) = tagged_bounds(table, bounds) else { return Ok(None) };
        let in_memory =
            self.walkable().find_map(|memtable| memtable::first(memtable, &within, self.bound));
        match in_memory {
            Some(row) if !row.is_tombstone() => {
                Ok(Some((untagged(&row.key.user_key), value(row.value))))
            }
            // One that was removed hides a row of another layer, and says nothing about those behind.
            Some(_) | None => self.walk(table, bounds).next().transpose(),
        }
    }

    /// The rows of a table within bounds. They hold what they need and outlive the snapshot.
    pub(crate) fn walk(&self, table: Table, bounds: KeyBounds<'_>) -> Rows<'static> {
        let Some(bounds) = tagged_bounds(table, bounds) else { return Box::new(iter::empty()) };
        let in_memory = self.walkable().map(|memtable| -> TreeRows {
            Box::new(MemtableRows::new(Arc::clone(memtable), &bounds, self.bound))
        });
        let on_disk = (self.tables.walk)(&bounds, self.bound);
        // A row that is just being flushed is in both; the merge gives the first of equal keys only.
        let layers = in_memory.chain(iter::once(on_disk)).collect();
        let rows = MvccStream::new(Merger::new(layers));
        let tables = Arc::clone(&self.tables);
        Box::new(rows.filter_map(move |row| match row {
            Ok(row) if row.is_tombstone() => None,
            Ok(row) => Some(Ok((untagged(&row.key.user_key), value(row.value)))),
            Err(error) => Some(Err(tables.generation.reader_failed("scanning rows", error))),
        }))
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if key.len() > ROW_KEY_BYTES_MAX {
            return Ok(None);
        }
        let failed = |error| self.tables.generation.reader_failed("reading a row", error);
        let row = self.row(&tagged(table, key)).map_err(failed)?;
        Ok(row.filter(|row| !row.is_tombstone()).map(|row| value(row.value)))
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        self.walk(table, bounds)
    }

    fn newest(
        &self,
        table: Table,
        bounds: KeyBounds<'_>,
    ) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        self.first(table, bounds)
    }
}
