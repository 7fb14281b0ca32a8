//! One tree in its directory: the tables of a complete content, and how they change.
//!
//! This is the only file that makes `lsm-tree` write. Of that crate's surface the store uses some
//! items that are public but undocumented, mostly those that fjall is built on; its version is
//! pinned for that reason. Of the tree's own memtables it uses none.

use crate::{
    check,
    error::{of_io, of_tree, of_tree_read},
    files::{Files, Lock},
    reading::{is_tree_unreadable, read_through, read_twice, twice},
    row::{APPLIED_KEY, decode_applied},
    scrub::TableFile,
    shared::Failure,
    view::{Find, Tables, WalkTables},
};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, InternalValue, SeqNo,
    SequenceNumberCounter, Tree, compaction::Leveled, config::CompressionPolicy,
    file::fsync_directory, table::filter::standard_bloom,
};
use quorate_mvcc::engine::EngineError;
use quorate_planted::planted;
use quorate_raft::EntryId;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// The compaction cuts a table at this size. Small tables keep each of its steps short.
const TABLE_BYTES: u64 = 16 << 20;
/// This many tables fresh from memory are merged into the next level.
const LEVEL0_TABLES: u8 = 4;
/// Keeps no manifest but the newest: our views hold the tables that they read themselves.
const NO_HISTORY: SeqNo = SeqNo::MAX >> 1;

/// How many rows tables have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowCounts {
    pub(crate) all: u64,
    pub(crate) tombstones: u64,
}

impl RowCounts {
    /// Whether much of what lies there was removed, with so many removals to come: one row in eight only
    /// says that another one is gone. What is gone may have been the largest, of which nobody knows.
    pub(crate) fn hold_much_garbage(self, more_tombstones: u64) -> bool {
        let tombstones = self.tombstones + more_tombstones;
        tombstones > 0 && 8 * tombstones >= self.all + more_tombstones
    }
}

/// A tree, its sequence numbers and its directory.
pub(crate) struct Generation {
    /// Counts the installations of snapshots; names the directory.
    pub(crate) number: u64,
    tree: Tree,
    sequence: SequenceNumberCounter,
    dir: PathBuf,
    /// Set when a newer generation has taken over: the directory goes with the last reader.
    obsolete: AtomicBool,
    /// The engine's.
    failure: Failure,
    /// Held for reading by who writes files, and for writing by who takes unfinished ones back.
    writing: RwLock<()>,
    /// The numbers of all tables that a view may read.
    shown: Mutex<BTreeSet<u64>>,
    /// How many of the next writes find the disk full.
    #[cfg(test)]
    pub(crate) refusals: std::sync::atomic::AtomicU32,
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
        failure: Failure,
        new: bool,
    ) -> Result<Self, EngineError> {
        let dir = files.tree(number);
        // See `files.rs`: the name of the manifest may be in the memory of the kernel only.
        if dir.is_dir() {
            fsync_directory(&dir).map_err(|error| of_io(dir.display(), &error))?;
        }
        if !new {
            check::verify_tree(&dir)?;
        }
        let sequence = SequenceNumberCounter::default();
        let tree = Config::new(&dir, sequence.clone(), SequenceNumberCounter::default())
            .use_cache(cache)
            // Filters speed up the search for keys that are not there. Most of our searches are
            // for ranges, which have no filter, and the last level's would be nine tenths of all.
            .expect_point_read_hits(true)
            // Said here, because otherwise a feature of some other crate could change the format.
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
            .open();
        let tree = match tree.map_err(|error| open_failed(&dir, error))? {
            AnyTree::Standard(tree) => tree,
            AnyTree::Blob(_) => unreachable!("no separation of values was configured"),
        };
        // The tree numbers its versions from 0; a bound of 0 would mean "before everything".
        sequence.set(tree.get_highest_seqno().map_or(1, |highest| highest + 1));
        let obsolete = AtomicBool::new(false);
        Ok(Self {
            number,
            tree,
            sequence,
            dir,
            obsolete,
            failure,
            writing: RwLock::new(()),
            shown: Mutex::default(),
            #[cfg(test)]
            refusals: std::sync::atomic::AtomicU32::new(0),
            _lock: files.share_lock(),
        })
    }

    /// Where failures are noted.
    pub(crate) fn failure(&self) -> Failure {
        Arc::clone(&self.failure)
    }

    /// An error of a reader, on whatever thread, that has tried again what the disk could not read. Damage
    /// is the end of the engine, which notices it with its next write, or with the next piece that is
    /// scrubbed; what refuses a read otherwise may grant the next.
    pub(crate) fn reader_failed(&self, doing: &str, error: lsm_tree::Error) -> EngineError {
        let error = of_tree_read(doing, error);
        if matches!(error, EngineError::Corrupt(_)) && !planted!(ReadersDamageForgotten) {
            self.failure.get_or_init(|| error.clone());
        }
        error
    }

    /// A number above that of every row so far.
    pub(crate) fn next_sequence(&self) -> SeqNo {
        self.sequence.next()
    }

    /// Hides everything that is written from now on.
    pub(crate) fn bound(&self) -> SeqNo {
        self.sequence.get()
    }

    /// The position up to which the log is reflected in the rows on disk.
    ///
    /// # Errors
    /// If the row can't be read.
    pub(crate) fn applied(&self) -> Result<EntryId, EngineError> {
        twice(|| self.tree.get(APPLIED_KEY, NO_HISTORY))
            .map_err(|error| of_tree_read("reading the applied position", error))?
            .map_or(Ok(EntryId::ZERO), |value| decode_applied(&value))
    }

    /// Writes rows to a table, durably, and switches the manifest to include it. The rows ascend,
    /// no key is there twice, and all are newer than what the tree has.
    ///
    /// # Errors
    /// [`EngineError::Full`] if there is no room: nothing has happened then. If the disk refuses
    /// otherwise, it is not known whether the rows are durable, and the engine must stop.
    pub(crate) fn flush(
        &self,
        rows: impl Iterator<Item = InternalValue>,
    ) -> Result<(), EngineError> {
        self.or_as_before(|| {
            let failed = |error| of_tree("writing a memtable to disk", error);
            if let Some((tables, _)) = self.tree.flush_to_tables(rows.map(Ok)).map_err(failed)? {
                #[cfg(test)]
                self.refuse_if_told()?;
                self.tree.register_tables(&tables, None, None, &[], NO_HISTORY).map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Writes files. If the disk has no room for them, what was begun is removed: a table that is cut
    /// short would take the room away for good.
    fn or_as_before<T>(
        &self,
        write: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let written = {
            let _writing = self.writing.read().expect("no writer of files panics");
            write()
        };
        if matches!(written, Err(EngineError::Full(_))) {
            self.remove_unfinished()?;
        }
        written
    }

    /// Removes the tables that are in no manifest, and that no view may read.
    ///
    /// # Errors
    /// If that is not what it takes to be as before: the manifest was switched, or the disk refuses.
    fn remove_unfinished(&self) -> Result<(), EngineError> {
        let _quiet = self.writing.write().expect("no writer of files panics");
        let version = self.tree.current_version();
        if check::manifest_number(&self.dir)? != version.id() {
            return Err(EngineError::Io(format!(
                "{}: the disk was full in the middle of a switch of the manifest",
                self.dir.display()
            )));
        }
        let shown = self.shown.lock().expect("no holder of the numbers panics").clone();
        let named: BTreeSet<u64> = version.iter_tables().map(|table| table.id()).collect();
        let tables = self.dir.join(check::TABLES);
        let io = |error: std::io::Error| of_io(tables.display(), &error);
        for entry in fs::read_dir(&tables).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if number.is_some_and(|number| !named.contains(&number) && !shown.contains(&number)) {
                fs::remove_file(&path).map_err(io)?;
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn refuse_if_told(&self) -> Result<(), EngineError> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(of_io("in a test", &std::io::ErrorKind::StorageFull.into())),
            Err(_) => Ok(()),
        }
    }

    /// Does one step of compaction, if one is due; says whether it did.
    ///
    /// `bound` is that of the newest view: rows that a newer one hides even from it are dropped.
    ///
    /// # Errors
    /// If a table is damaged or the disk refuses; as for [`Self::flush`].
    pub(crate) fn compact(&self, bound: SeqNo) -> Result<bool, EngineError> {
        self.or_as_before(|| self.compact_once(bound))
    }

    /// An error of work that reads tables and writes others. Where the disk failed, it does not say in
    /// which of the two: so all tables are read, and if one can't be, that was it.
    fn merge_failed(&self, doing: &str, error: lsm_tree::Error) -> EngineError {
        if is_tree_unreadable(&error) {
            let version = self.tree.current_version();
            let read = version.iter_tables().try_for_each(|table| read_through(&table.path));
            if let Err(damage) = read {
                return damage;
            }
        }
        of_tree(doing, error)
    }

    fn compact_once(&self, bound: SeqNo) -> Result<bool, EngineError> {
        let doing = "compacting tables";
        let failed = |error| of_tree(doing, error);
        let strategy =
            Leveled::default().with_table_target_size(TABLE_BYTES).with_l0_threshold(LEVEL0_TABLES);
        let before = self.tree.current_version().id();
        self.tree
            .compact(Arc::new(strategy), bound)
            .map_err(|error| self.merge_failed(doing, error))?;
        self.tree.get_version_history_lock().maintenance(&self.dir, NO_HISTORY).map_err(failed)?;
        Ok(self.tree.current_version().id() != before)
    }

    /// Rows on disk, and those of them that only say that another one is gone.
    pub(crate) fn rows(&self) -> RowCounts {
        let mut counts = RowCounts::default();
        for table in self.tree.current_version().iter_tables() {
            counts.all += table.metadata.item_count;
            counts.tombstones += table.tombstone_count();
        }
        counts
    }

    /// Merges everything into the lowest level, which leaves no trace of what was removed.
    ///
    /// # Errors
    /// As for [`Self::compact`].
    pub(crate) fn reclaim(&self, bound: SeqNo) -> Result<(), EngineError> {
        self.or_as_before(|| {
            let doing = "merging all tables";
            self.tree
                .major_compact(TABLE_BYTES, bound)
                .map_err(|error| self.merge_failed(doing, error))?;
            let mut history = self.tree.get_version_history_lock();
            history.maintenance(&self.dir, NO_HISTORY).map_err(|error| of_tree(doing, error))
        })
    }

    /// The tables as they are now.
    pub(crate) fn tables(self: &Arc<Self>) -> Tables {
        let newest = self.tree.get_version_history_lock().latest_version();
        let version = self.tree.current_version();
        let numbers = version.iter_tables().map(|table| table.id());
        self.shown.lock().expect("no holder of the numbers panics").extend(numbers);
        // The types of these two have no public names; closures can hold them all the same.
        let find: Find = Box::new(move |key, bound| {
            let hash = standard_bloom::Builder::get_hash(key);
            let runs = version.iter_levels().flat_map(|level| level.iter());
            for table in runs.filter_map(|run| run.get_for_key(key)) {
                if let Some(row) = table.get(key, bound, hash)? {
                    return Ok(Some(row));
                }
            }
            Ok(None)
        });
        let walk: WalkTables = Box::new(move |bounds, bound| {
            Box::new(Tree::create_internal_range(newest.clone(), bounds, bound, None))
        });
        Tables { find, walk, generation: Arc::clone(self) }
    }

    /// Runs of tables that are not yet merged into the sorted levels; each costs every search a
    /// look.
    pub(crate) fn unmerged_runs(&self) -> usize {
        self.tree.l0_run_count()
    }

    /// The highest number of a table.
    pub(crate) fn last_table(&self) -> Option<u64> {
        self.tree.current_version().iter_tables().map(|table| table.id()).max()
    }

    /// Opens the table with the smallest number above `after`, or the first one, if there is one up to
    /// `through`.
    ///
    /// # Errors
    /// If its file is gone, or the disk refuses.
    pub(crate) fn open_table(
        &self,
        after: Option<u64>,
        through: u64,
    ) -> Result<Option<TableFile>, EngineError> {
        // Held until the file is open, so that it is there.
        let version = self.tree.current_version();
        let left = version
            .iter_tables()
            .filter(|table| after.is_none_or(|id| table.id() > id) && table.id() <= through);
        let Some(table) = left.min_by_key(|table| table.id()) else { return Ok(None) };
        let path = table.path.to_path_buf();
        let file = read_twice(path.display(), || File::open(&path))?;
        let checksum = table.checksum().into_u128();
        Ok(Some(TableFile { id: table.id(), path, checksum, file }))
    }

    /// Verifies the manifest on disk, which nobody else reads before the next start.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn verify_manifest(&self) -> Result<(), EngineError> {
        // Manifests are switched under this lock.
        let _held = self.tree.get_version_history_lock();
        check::verify_manifest(&self.dir).map(|_path| ())
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

/// An error of opening the tree in `dir`, which is mostly reading: if the disk failed, everything is read
/// once more, and if that can't be done, that was it.
fn open_failed(dir: &Path, error: lsm_tree::Error) -> EngineError {
    let is_damage = is_tree_unreadable(&error);
    match is_damage.then(|| check::read_tree(dir)) {
        Some(Err(damage)) => damage,
        Some(Ok(())) | None => of_tree(dir.display(), error),
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
