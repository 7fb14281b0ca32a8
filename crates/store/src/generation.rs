//! One tree in its directory: a complete content of the store.
//!
//! This is the only file that speaks to `lsm-tree` about writing. Of that crate's surface it uses
//! some items that are public but undocumented, the same ones that fjall is built on; the version
//! is pinned for that reason.

use crate::{
    check,
    error::of_tree,
    files::{Files, Lock},
    row::{APPLIED_KEY, decode_applied, encode_applied},
    view::{Find, Layers, Walk},
};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, InternalValue, Memtable, SeqNo, SequenceNumberCounter,
    Tree, ValueType, compaction::Leveled, table::filter::standard_bloom,
};
use quorate_mvcc::engine::EngineError;
use quorate_raft::EntryId;
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A table is cut at this size. Small tables keep each step of the compaction short.
const TABLE_BYTES: u64 = 16 << 20;
/// This many tables fresh from memory are merged into the next level.
const LEVEL0_TABLES: u8 = 4;
/// Keeps every manifest but the newest from being kept: our views hold what they read themselves.
const NO_HISTORY: SeqNo = SeqNo::MAX >> 1;

/// A tree, its sequence numbers and its directory.
///
/// Invariants:
/// - A batch has one sequence number; `bound` of a view hides every number from it on.
/// - A memtable is sealed only between two batches, and its last row is the applied position.
/// - The number of a batch is drawn after every row that was written before.
pub(crate) struct Generation {
    /// Counts the installations of snapshots; names the directory.
    pub(crate) number: u64,
    tree: Tree,
    sequence: SequenceNumberCounter,
    dir: PathBuf,
    /// Set when a newer generation has taken over: the directory goes with the last reader.
    obsolete: AtomicBool,
    /// A view reads from files that a second engine on this directory would remove.
    _lock: Lock,
}

impl Generation {
    /// Opens the tree of a generation, or creates a `new` one.
    ///
    /// # Errors
    /// If what is there is damaged, or the disk refuses.
    pub(crate) fn open(
        files: &Files,
        number: u64,
        cache: Arc<Cache>,
        new: bool,
    ) -> Result<Self, EngineError> {
        let dir = files.tree(number);
        if !new {
            check::verify_tree(&dir)?;
        }
        let sequence = SequenceNumberCounter::default();
        let config = Config::new(&dir, sequence.clone(), SequenceNumberCounter::default())
            .use_cache(cache)
            .open();
        let tree = match config.map_err(|error| of_tree(dir.display(), error))? {
            AnyTree::Standard(tree) => tree,
            AnyTree::Blob(_) => unreachable!("no separation of values was configured"),
        };
        // The tree numbers its versions from 0; a number of 0 would mean "before everything".
        sequence.set(tree.get_highest_seqno().map_or(1, |highest| highest + 1));
        Ok(Self {
            number,
            tree,
            sequence,
            dir,
            obsolete: AtomicBool::new(false),
            _lock: files.share_lock(),
        })
    }

    /// The number that the next batch gets, and no other.
    pub(crate) fn next_sequence(&self) -> SeqNo {
        self.sequence.next()
    }

    /// Hides everything that is written from now on.
    pub(crate) fn bound(&self) -> SeqNo {
        self.sequence.get()
    }

    /// The memtable that takes writes.
    pub(crate) fn active(&self) -> Arc<Memtable> {
        self.tree.active_memtable()
    }

    /// The position up to which the log is reflected in the rows on disk.
    ///
    /// # Errors
    /// If the row can't be read.
    pub(crate) fn applied(&self) -> Result<EntryId, EngineError> {
        self.tree
            .get(APPLIED_KEY, NO_HISTORY)
            .map_err(|error| of_tree("reading the applied position", error))?
            .map_or(Ok(EntryId::ZERO), |value| decode_applied(&value))
    }

    /// Ends the active memtable with the applied position and begins a new one, which it returns.
    ///
    /// The caller makes sure that no batch is open.
    pub(crate) fn seal(&self, applied: EntryId) -> Arc<Memtable> {
        let row = InternalValue::from_components(
            APPLIED_KEY,
            encode_applied(applied),
            self.next_sequence(),
            ValueType::Value,
        );
        self.active().insert(row);
        let sealed = self.tree.rotate_memtable();
        assert!(sealed.is_some(), "a memtable with the applied row can be sealed");
        self.active()
    }

    /// Writes all sealed memtables to disk, durably, and switches the manifest to include them.
    ///
    /// `bound` is that of the newest view: rows that a newer row hides even from it are dropped.
    ///
    /// # Errors
    /// If the disk refuses. What was sealed is then neither lost nor known to be durable, and the
    /// engine must stop.
    pub(crate) fn flush(&self, bound: SeqNo) -> Result<(), EngineError> {
        let failed = |error| of_tree("writing a memtable to disk", error);
        let turn = self.tree.get_flush_lock();
        self.tree.flush(&turn, bound).map_err(failed)?;
        drop(turn);
        self.forget_history()
    }

    /// Does one step of compaction, if one is due; says whether it did.
    ///
    /// # Errors
    /// If a table is damaged or the disk refuses.
    pub(crate) fn compact(&self, bound: SeqNo) -> Result<bool, EngineError> {
        let strategy =
            Leveled::default().with_table_target_size(TABLE_BYTES).with_l0_threshold(LEVEL0_TABLES);
        let before = self.tree.current_version().id();
        self.tree
            .compact(Arc::new(strategy), bound)
            .map_err(|error| of_tree("compacting tables", error))?;
        self.forget_history()?;
        Ok(self.tree.current_version().id() != before)
    }

    /// Drops the older versions that the tree keeps for readers which name a version by number.
    /// Ours hold their tables themselves, and a version would keep its memtables in memory.
    fn forget_history(&self) -> Result<(), EngineError> {
        self.tree
            .get_version_history_lock()
            .maintenance(&self.dir, NO_HISTORY)
            .map_err(|error| of_tree("removing an old manifest", error))
    }

    /// What a reader needs: the memtables given, and the tables on disk.
    ///
    /// The tables are taken after the memtables, so a row that is just being flushed is found in
    /// both places rather than in neither.
    pub(crate) fn layers(self: &Arc<Self>, memtables: Vec<Arc<Memtable>>) -> Layers {
        let newest = self.tree.get_version_history_lock().latest_version();
        let tables = self.tree.current_version();
        // The types of these two have no public names; closures can hold them all the same.
        let find: Find = Box::new(move |key, bound| {
            let hash = standard_bloom::Builder::get_hash(key);
            let runs = tables.iter_levels().flat_map(|level| level.iter());
            for table in runs.filter_map(|run| run.get_for_key(key)) {
                if let Some(row) = table.get(key, bound, hash)? {
                    return Ok(Some(row));
                }
            }
            Ok(None)
        });
        let walk: Walk = Box::new(move |bounds, bound| {
            Box::new(Tree::create_internal_range(newest.clone(), bounds, bound, None))
        });
        Layers { memtables, find, walk, generation: Arc::clone(self) }
    }

    /// Runs of tables that are not yet merged into the sorted levels; each costs every seek a look.
    pub(crate) fn unmerged_runs(&self) -> usize {
        self.tree.l0_run_count()
    }

    /// Bytes of all tables, garbage included.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.tree.disk_space()
    }

    /// Gives the directory up: it is removed when the last reader has gone.
    pub(crate) fn retire(&self) {
        self.obsolete.store(true, Ordering::Release);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            // What can't be removed now is removed when the store is opened next.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
