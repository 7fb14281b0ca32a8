//! Reading: a state of the store that never changes.
//!
//! A row carries the sequence number of its batch, and a reader sees the newest below its bound.
//! The newest memtable goes on growing after a view was taken, and the bound hides what is added;
//! sealed memtables and tables never change at all. So a state is a list of references and a number.

use crate::{
    generation::Generation,
    memtable::{self, MemtableRows},
    reading::{is_tree_unreadable, twice},
    row::{TreeBounds, tagged, tagged_bounds, untagged, value},
};
use bytes::Bytes;
use lsm_tree::{InternalValue, Memtable, SeqNo, Slice, merge::Merger, mvcc_stream::MvccStream};
use quorate_mvcc::engine::{EngineError, KeyBounds, ROW_KEY_BYTES_MAX, Reader, Row, Rows, Table};
use std::{
    iter,
    ops::Bound,
    sync::{Arc, OnceLock},
};

/// Rows of the tree in order.
pub(crate) type TreeRows = Box<dyn DoubleEndedIterator<Item = lsm_tree::Result<InternalValue>>>;

/// Finds the newest row of a key below a sequence number; it may be a deletion.
pub(crate) type Find =
    Box<dyn Fn(&[u8], SeqNo) -> lsm_tree::Result<Option<InternalValue>> + Send + Sync>;

/// Walks the newest rows within bounds, below a sequence number, without deleted ones.
pub(crate) type WalkTables = Box<dyn Fn(&TreeBounds, SeqNo) -> TreeRows + Send + Sync>;

/// The tables on disk at one moment. While somebody holds them, their files stay.
pub(crate) struct Tables {
    pub(crate) find: Find,
    pub(crate) walk: WalkTables,
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
        Box::new(Walk {
            rows: layered(self.walkable(), &self.tables, &bounds, self.bound),
            memtables: Arc::clone(&self.memtables),
            tables: Arc::clone(&self.tables),
            bound: self.bound,
            bounds,
            front: None,
            back: None,
        })
    }
}

type Layers = MvccStream<Merger<TreeRows>>;

/// The newest rows within bounds, deleted ones included: of these memtables, and below them of the tables.
fn layered<'a>(
    memtables: impl Iterator<Item = &'a Arc<Memtable>>,
    tables: &Tables,
    bounds: &TreeBounds,
    bound: SeqNo,
) -> Layers {
    let in_memory = memtables.map(|memtable| -> TreeRows {
        Box::new(MemtableRows::new(Arc::clone(memtable), bounds, bound))
    });
    let on_disk = (tables.walk)(bounds, bound);
    // A row that is just being flushed is in both; the merge gives the first of equal keys only.
    let layers = in_memory.chain(iter::once(on_disk)).collect();
    MvccStream::new(Merger::new(layers))
}

/// The rows of a view within bounds. Where the disk can't give one back, it is looked for once more.
struct Walk {
    rows: Layers,
    memtables: Memtables,
    tables: Arc<Tables>,
    bound: SeqNo,
    bounds: TreeBounds,
    /// The last rows that came from either end.
    front: Option<Slice>,
    back: Option<Slice>,
}

impl Walk {
    /// Begins anew between the rows that came already.
    fn look_again(&mut self) {
        let beyond = |row: &Option<Slice>| row.as_ref().map(|row| Bound::Excluded(row.to_vec()));
        let (from, to) = self.bounds.clone();
        let left = (beyond(&self.front).unwrap_or(from), beyond(&self.back).unwrap_or(to));
        self.rows = layered(self.memtables.iter(), &self.tables, &left, self.bound);
    }

    /// The next row that is not deleted, from one end, whose last row `last` is.
    fn step(
        &mut self,
        next: fn(&mut Layers) -> Option<lsm_tree::Result<InternalValue>>,
        last: fn(&mut Self) -> &mut Option<Slice>,
    ) -> Option<Row> {
        loop {
            let mut row = next(&mut self.rows)?;
            if row.as_ref().is_err_and(is_tree_unreadable) {
                self.look_again();
                row = next(&mut self.rows)?;
            }
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    return Some(Err(self.tables.generation.reader_failed("scanning rows", error)));
                }
            };
            let is_there = !row.is_tombstone();
            let found = is_there.then(|| (untagged(&row.key.user_key), value(row.value)));
            *last(self) = Some(row.key.user_key);
            if let Some(row) = found {
                return Some(Ok(row));
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        self.step(Layers::next, |walk| &mut walk.front)
    }
}

impl DoubleEndedIterator for Walk {
    fn next_back(&mut self) -> Option<Row> {
        self.step(Layers::next_back, |walk| &mut walk.back)
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if key.len() > ROW_KEY_BYTES_MAX {
            return Ok(None);
        }
        let failed = |error| self.tables.generation.reader_failed("reading a row", error);
        let key = tagged(table, key);
        let row = twice(|| self.row(&key)).map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::DiskEngine, engine::Options};
    use quorate_mvcc::engine::{ALL_KEYS, Engine};
    use quorate_raft::EntryId;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A view of ten rows on a disk that refuses some of the reads, as it does at a bad sector. From which read
    /// on, and how many, is said by these numbers.
    fn on_a_bad_disk(engine: &DiskEngine, after: u32, refusals: u32) -> Snapshot {
        let good = engine.generation.tables();
        let reads = Arc::new(AtomicU32::new(0));
        let read = move || {
            let number = reads.fetch_add(1, Ordering::SeqCst);
            if (after..after.saturating_add(refusals)).contains(&number) {
                return Err(lsm_tree::Error::Io(std::io::Error::from_raw_os_error(5)));
            }
            Ok(())
        };
        let read = Arc::new(read);
        let (find, walk, reads) = (good.find, good.walk, Arc::clone(&read));
        let find: Find = Box::new(move |key, bound| read().and_then(|()| find(key, bound)));
        let walk: WalkTables = Box::new(move |bounds, bound| {
            let reads = Arc::clone(&reads);
            Box::new(walk(bounds, bound).map(move |row| reads().and(row)))
        });
        let tables = Tables { find, walk, generation: Arc::clone(&engine.generation) };
        let memtables: Memtables = [Arc::new(Memtable::new(0))].into();
        Snapshot::new(memtables, Arc::new(tables), engine.generation.bound())
    }

    fn ten_rows(dir: &tempfile::TempDir) -> DiskEngine {
        let mut engine = DiskEngine::open(dir.path(), Options::default()).unwrap();
        for number in 0..10 {
            engine.put(Table::Key, &[number], &[number]).unwrap();
        }
        engine.delete(Table::Key, &[4]).unwrap();
        engine.commit(EntryId::new(1, 1)).unwrap();
        engine.flush().unwrap();
        engine
    }

    #[test]
    fn a_read_that_succeeds_the_second_time_is_an_answer() {
        let dir = tempfile::TempDir::new().unwrap();
        let engine = ten_rows(&dir);
        let view = on_a_bad_disk(&engine, 0, 1);
        assert_eq!(view.get(Table::Key, &[3]).unwrap().as_deref(), Some(&[3][..]));
        let keys: Vec<u8> = (0..10).filter(|number| *number != 4).collect();
        for after in 0..14 {
            let view = on_a_bad_disk(&engine, after, 1);
            let found: Vec<u8> =
                view.scan(Table::Key, ALL_KEYS).map(|row| row.expect("read again").0[0]).collect();
            assert_eq!(found, keys, "from the front, after {after}");
            let view = on_a_bad_disk(&engine, after, 1);
            let found = view.scan(Table::Key, ALL_KEYS).rev();
            let found: Vec<u8> = found.map(|row| row.expect("read again").0[0]).collect();
            assert!(found.iter().eq(keys.iter().rev()), "from the back, after {after}");
            let view = on_a_bad_disk(&engine, after, 1);
            let (mut rows, mut found) = (view.scan(Table::Key, ALL_KEYS), Vec::new());
            while let Some(row) = if found.len() % 2 == 0 { rows.next() } else { rows.next_back() }
            {
                found.push(row.expect("read again").0[0]);
            }
            found.sort_unstable();
            assert_eq!(found, keys, "from both ends, after {after}");
        }
        engine.shared.check().expect("nothing was damaged");
    }

    #[test]
    fn a_read_that_fails_twice_is_damage_and_ends_the_engine() {
        for scans in [false, true] {
            let dir = tempfile::TempDir::new().unwrap();
            let mut engine = ten_rows(&dir);
            let view = on_a_bad_disk(&engine, 0, u32::MAX);
            let error = if scans {
                view.scan(Table::Key, ALL_KEYS).find_map(Result::err).expect("an error")
            } else {
                view.get(Table::Key, &[3]).expect_err("an error")
            };
            assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
            assert_eq!(engine.commit(EntryId::new(1, 2)), Err(error), "the engine goes on");
        }
    }
}
