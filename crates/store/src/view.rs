//! Reading: a state of the store that never changes.
//!
//! A row in the tree carries the sequence number of its batch, and a reader sees the newest below
//! its bound. Memtables go on growing after a view was taken, and its bound hides what is added;
//! tables never change at all. So a state is a list of references and a number.

use crate::{
    error::of_tree,
    generation::Generation,
    row::{TreeBounds, tagged, tagged_bounds, untagged, value},
};
use bytes::Bytes;
use lsm_tree::{InternalValue, Memtable, SeqNo};
use quorate_mvcc::engine::{EngineError, KeyBounds, Reader, Rows, Table};
use std::{iter, sync::Arc};

/// Rows of the tree in order, of all layers, without those that are hidden or deleted.
pub(crate) type WalkRows = Box<dyn DoubleEndedIterator<Item = lsm_tree::Result<InternalValue>>>;

/// Finds the newest row of a key below a bound in the tables on disk; it may be a deletion.
pub(crate) type Find =
    Box<dyn Fn(&[u8], SeqNo) -> lsm_tree::Result<Option<InternalValue>> + Send + Sync>;

/// Walks all layers within bounds, below a sequence number.
pub(crate) type Walk = Box<dyn Fn(&TreeBounds, SeqNo) -> WalkRows + Send + Sync>;

/// The memtables and tables of one moment, shared by all views that were taken until the next seal,
/// flush or step of compaction.
pub(crate) struct Layers {
    /// The active memtable, then the sealed ones, newest first.
    pub(crate) memtables: Vec<Arc<Memtable>>,
    /// Finds a row on disk.
    pub(crate) find: Find,
    /// Walks memtables and disk.
    pub(crate) walk: Walk,
    /// Keeps the directory. Dropped after the tables, so that it goes last.
    pub(crate) generation: Arc<Generation>,
}

/// A state of the store.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) layers: Arc<Layers>,
    /// Rows with this sequence number or a higher one are not there yet.
    pub(crate) bound: SeqNo,
}

impl Snapshot {
    fn row(&self, key: &[u8]) -> lsm_tree::Result<Option<InternalValue>> {
        let in_memory = self.layers.memtables.iter().find_map(|table| table.get(key, self.bound));
        match in_memory {
            Some(row) => Ok(Some(row)),
            None => (self.layers.find)(key, self.bound),
        }
    }

    /// The rows of a table within bounds. They hold what they need and outlive the snapshot.
    pub(crate) fn walk(&self, table: Table, bounds: KeyBounds<'_>) -> Rows<'static> {
        let Some(bounds) = tagged_bounds(table, bounds) else { return Box::new(iter::empty()) };
        let generation = Arc::clone(&self.layers.generation);
        Box::new((self.layers.walk)(&bounds, self.bound).map(move |row| {
            let _held = &generation;
            row.map(|row| (untagged(&row.key.user_key), value(row.value)))
                .map_err(|error| of_tree("scanning rows", error))
        }))
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let row = self.row(&tagged(table, key)).map_err(|error| of_tree("reading a row", error))?;
        Ok(row.filter(|row| !row.is_tombstone()).map(|row| value(row.value)))
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        self.walk(table, bounds)
    }
}
