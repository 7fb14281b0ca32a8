//! The writer's side: batches go into the active memtable and become visible by one number.

use crate::{
    compaction::{self, RECLAIM_BYTES_MIN},
    files::Files,
    flush,
    generation::Generation,
    memtable::applied_row,
    restore::Replacement,
    row::tagged,
    scrub::Scrubber,
    shared::{Failure, Shared},
    view::Snapshot,
};
use bytes::Bytes;
use lsm_tree::{Cache, InternalValue, Memtable, SeqNo, Slice, ValueType};
use quorate_mvcc::engine::{
    Engine, EngineError, EngineSize, KeyBounds, Reader, Rows, Scrubbed, Table, View,
};
use quorate_planted::planted;
use quorate_raft::EntryId;
use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// Commits wait while this many runs of tables are not merged: reads would look at each of them.
/// A healthy store stays below ten.
const UNMERGED_RUNS_MAX: usize = 32;

/// A memtable is sealed at the latest after this many entries of the log, though they may have
/// written little: they are replayed after a crash, and the log keeps them until then.
const ENTRIES_MAX: u64 = 100_000;

/// How much memory the engine may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A memtable is sealed when it holds this many bytes. Larger ones make fewer, larger flushes
    /// and a longer log to replay after a crash.
    pub memtable_bytes: u64,
    /// How many memtables there may be, the active one included. A commit that would exceed it
    /// waits for one flush. At least two.
    pub memtables_max: usize,
    /// Blocks of tables that are kept in memory, in bytes.
    pub cache_bytes: u64,
}

impl Default for Options {
    /// 64 MiB of memtables and as much cache.
    fn default() -> Self {
        Self { memtable_bytes: 16 << 20, memtables_max: 4, cache_bytes: 64 << 20 }
    }
}

/// The engine on disk. See the crate's introduction.
///
/// Dropping it ends its threads and unlocks the directory. What was committed since the last flush
/// is forgotten, as in a crash; the log has it.
pub struct DiskEngine {
    pub(crate) options: Options,
    pub(crate) files: Files,
    pub(crate) cache: Arc<Cache>,
    pub(crate) shared: Arc<Shared>,
    /// The tree that is written to; the same as in `shared`.
    pub(crate) generation: Arc<Generation>,
    /// The memtable that takes writes; the same as in `shared`.
    pub(crate) memtable: Arc<Memtable>,
    /// The sequence number of the open batch, if a row was written since the last commit.
    pub(crate) batch: Option<SeqNo>,
    /// How many rows were removed since the last memtable was sealed.
    pub(crate) removed: u64,
    /// The position of the last commit.
    pub(crate) applied: EntryId,
    /// The position of the last row that is not in the active memtable.
    pub(crate) sealed: EntryId,
    /// How far the verification of what is on disk is.
    pub(crate) scrubber: Scrubber,
    /// A new content that is being collected.
    pub(crate) replacement: Option<Replacement>,
    threads: Vec<JoinHandle<()>>,
}

impl DiskEngine {
    /// Opens the store in a directory, or creates it there.
    ///
    /// # Errors
    /// If another process has it open, it is damaged, or the disk refuses.
    ///
    /// # Panics
    /// If the options leave no memtable to write to while another one is flushed.
    pub fn open(dir: &Path, options: Options) -> Result<Self, EngineError> {
        assert!(options.memtables_max >= 2, "one memtable takes writes while another is flushed");
        let files = Files::lock(dir)?;
        let cache = Arc::new(Cache::with_capacity_bytes(options.cache_bytes));
        let (number, new) = files.generation()?.map_or((1, true), |number| (number, false));
        let tree = files.tree(number);
        if !new && !tree.is_dir() {
            return Err(EngineError::Corrupt(format!("{} is missing", tree.display())));
        }
        let generation = Arc::new(Generation::open(
            &files,
            number,
            Arc::clone(&cache),
            Failure::default(),
            new,
        )?);
        if new {
            files.switch_to(number)?;
        }
        files.remove_all_but(number)?;
        let applied = generation.applied()?;
        let memtable = Arc::new(Memtable::new(0));
        let shared = Shared::new(Arc::clone(&generation), applied, Arc::clone(&memtable));
        let mut engine = Self {
            memtable,
            options,
            files,
            cache,
            generation,
            batch: None,
            removed: 0,
            applied,
            sealed: applied,
            scrubber: Scrubber::default(),
            replacement: None,
            threads: Vec::with_capacity(2),
            shared: Arc::new(shared),
        };
        engine.start("flush", flush::run)?;
        engine.start("compaction", compaction::run)?;
        Ok(engine)
    }

    fn start(
        &mut self,
        name: &'static str,
        body: fn(&Shared) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(format!("store-{name}"))
            .spawn(move || shared.run(name, body))
            .map_err(|error| EngineError::Io(format!("starting the {name} thread: {error}")))?;
        self.threads.push(thread);
        Ok(())
    }

    fn write(&mut self, table: Table, key: &[u8], value: Slice, kind: ValueType) {
        let sequence = *self.batch.get_or_insert_with(|| self.generation.next_sequence());
        let row = InternalValue::from_components(tagged(table, key), value, sequence, kind);
        self.memtable.insert(row);
    }

    /// Hands the active memtable to the flush and begins a new one.
    fn seal(&mut self) {
        assert!(self.batch.is_none(), "a memtable is sealed between two batches");
        self.memtable.insert(applied_row(self.applied, self.generation.next_sequence()));
        self.memtable = Arc::new(Memtable::new(self.memtable.id() + 1));
        self.sealed = self.applied;
        self.removed = 0;
        self.shared.head().seal(Arc::clone(&self.memtable), self.applied);
        self.shared.notify();
    }

    /// Seals the active memtable, unless nothing was committed since the last time.
    pub(crate) fn seal_what_there_is(&mut self) -> Result<(), EngineError> {
        self.shared.check()?;
        assert!(self.batch.is_none(), "a flush comes between two batches");
        if !self.memtable.is_empty() || self.sealed != self.applied {
            self.seal();
        }
        Ok(())
    }

    /// Whether so much was removed that its space is worth a flush: it comes back on disk only.
    pub(crate) fn gives_much_space_back(&self) -> bool {
        self.removed > 0
            && !planted!(RemovalsKeepSpace)
            && self.shared.head().rows.hold_much_garbage(self.removed)
            && self.generation.disk_bytes() >= RECLAIM_BYTES_MIN
    }

    /// What the writer sees: all that it wrote.
    fn latest(&self) -> Snapshot {
        let mut snapshot = self.shared.snapshot();
        if let Some(batch) = self.batch {
            snapshot.bound = batch + 1;
        }
        snapshot
    }
}

impl Reader for DiskEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.latest().get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        self.latest().walk(table, bounds)
    }

    fn newest(
        &self,
        table: Table,
        bounds: KeyBounds<'_>,
    ) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        self.latest().first(table, bounds)
    }
}

impl Engine for DiskEngine {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.shared.check()?;
        self.write(table, key, value.into(), ValueType::Value);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError> {
        self.shared.check()?;
        self.write(table, key, Slice::empty(), ValueType::Tombstone);
        self.removed += 1;
        Ok(())
    }

    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.shared.check()?;
        assert!(applied >= self.applied, "applied went back from {} to {applied}", self.applied);
        if let Some(batch) = self.batch.take() {
            self.shared.head().bound = batch + 1;
        }
        self.applied = applied;
        let entries = applied.index.0.saturating_sub(self.sealed.index.0);
        let is_due = self.memtable.size() >= self.options.memtable_bytes
            || entries >= ENTRIES_MAX
            || self.gives_much_space_back();
        if is_due {
            self.begin_flush()?;
        }
        Ok(())
    }

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        self.shared.head().durable
    }

    /// Waits only for as long as there are too many memtables.
    fn begin_flush(&mut self) -> Result<(), EngineError> {
        self.seal_what_there_is()?;
        let sealed_max = self.options.memtables_max - 1;
        drop(self.shared.wait_until(|head| {
            head.sealed.len() <= sealed_max && head.unmerged_runs <= UNMERGED_RUNS_MAX
        })?);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.seal_what_there_is()?;
        // Whoever calls this is about to end, and the log has what can't be flushed.
        let head = self.shared.wait_until(|head| head.sealed.is_empty() || head.disk_is_full)?;
        if head.sealed.is_empty() {
            return Ok(());
        }
        Err(EngineError::Full("the memtables can't be written".to_owned()))
    }

    fn view(&self) -> View {
        Arc::new(self.shared.snapshot())
    }

    fn replace_begin(&mut self) -> Result<(), EngineError> {
        self.begin_replacement()
    }

    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.add_to_replacement(table, key, value)
    }

    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.finish_replacement(applied)
    }

    fn size(&self) -> EngineSize {
        self.shared.size()
    }

    fn reclaim(&mut self) -> Result<(), EngineError> {
        if self.removed > 0 && !planted!(RemovalsKeepSpace) {
            self.seal_what_there_is()?;
        }
        self.shared.check()?;
        self.shared.head().reclaim_wanted = true;
        self.shared.notify();
        Ok(())
    }

    fn scrub(&mut self, bytes_max: usize) -> Result<Option<Scrubbed>, EngineError> {
        self.scrub_some(bytes_max).map(Some)
    }
}

impl Drop for DiskEngine {
    fn drop(&mut self) {
        self.shared.head().stopping = true;
        self.shared.notify();
        for thread in self.threads.drain(..) {
            // A panic there has failed the engine and been printed already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, sync::atomic::Ordering};

    const SMALL: Options =
        Options { memtable_bytes: 1 << 20, memtables_max: 2, cache_bytes: 1 << 20 };

    fn files(engine: &DiskEngine) -> usize {
        let tables = engine.files.tree(engine.generation.number).join("tables");
        fs::read_dir(tables).unwrap().count()
    }

    fn put(engine: &mut DiskEngine, index: u64) {
        engine.put(Table::Key, format!("key{:02}", index % 50).as_bytes(), &[7; 100]).unwrap();
        engine.commit(EntryId::new(1, index)).unwrap();
    }

    #[test]
    fn a_full_disk_is_waited_for_and_leaves_nothing_behind() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut engine = DiskEngine::open(dir.path(), SMALL).unwrap();
        for index in 1..=10 {
            put(&mut engine, index);
            engine.flush().unwrap();
        }
        // Its tables may be merged away, and must stay all the same.
        let view = engine.view();
        engine.generation.refusals.store(3, Ordering::SeqCst);
        put(&mut engine, 11);
        let error = engine.flush().expect_err("there is no room");
        assert!(matches!(error, EngineError::Full(_)), "{error}");
        // The engine goes on, in memory.
        put(&mut engine, 12);
        assert_eq!(engine.durable(), EntryId::new(1, 10));
        assert!(engine.get(Table::Key, b"key11").unwrap().is_some());
        // And by itself on disk, when there is room.
        while engine.durable() < EntryId::new(1, 11) {
            thread::yield_now();
        }
        assert_eq!(engine.generation.refusals.load(Ordering::SeqCst), 0);
        engine.flush().unwrap();
        assert_eq!(view.scan(Table::Key, quorate_mvcc::engine::ALL_KEYS).count(), 10);
        drop(view);
        for index in 13..40 {
            put(&mut engine, index);
            engine.flush().unwrap();
        }
        drop(engine);
        let engine = DiskEngine::open(dir.path(), SMALL).unwrap();
        assert_eq!(engine.applied(), EntryId::new(1, 39));
        assert_eq!(engine.scan(Table::Key, quorate_mvcc::engine::ALL_KEYS).count(), 39);
    }

    /// On a full disk nothing else may be written that would make the tables merge.
    #[test]
    fn space_comes_back_by_removal_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut engine = DiskEngine::open(dir.path(), SMALL).unwrap();
        let key = |number: u64| format!("key{number:04}").into_bytes();
        for number in 0..600u64 {
            engine.put(Table::Key, &key(number), &[number as u8; 100_000]).unwrap();
            engine.commit(EntryId::new(1, number + 1)).unwrap();
        }
        engine.flush().unwrap();
        let full = engine.size().disk_bytes;
        assert!(full > 55_000_000, "{full} bytes");
        // Not all of them, and in one batch as in many.
        for number in 0..400 {
            engine.delete(Table::Key, &key(number)).unwrap();
            if number % 7 == 0 {
                engine.commit(EntryId::new(1, 601 + number)).unwrap();
            }
        }
        engine.commit(EntryId::new(1, 1001)).unwrap();
        let patience = (0..2_000).find(|_| {
            thread::sleep(std::time::Duration::from_millis(5));
            // Called by a host from time to time, also when nothing is committed.
            engine.scrub(1).unwrap();
            engine.size().disk_bytes < full / 2
        });
        assert!(patience.is_some(), "{} of {full} bytes are left", engine.size().disk_bytes);
        assert_eq!(engine.scan(Table::Key, quorate_mvcc::engine::ALL_KEYS).count(), 200);
    }

    #[test]
    fn what_is_cut_short_is_removed() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut engine = DiskEngine::open(dir.path(), SMALL).unwrap();
        put(&mut engine, 1);
        engine.flush().unwrap();
        let before = files(&engine);
        let rows = |sequence| [applied_row(EntryId::new(1, 2), sequence)];
        engine.generation.refusals.store(1, Ordering::SeqCst);
        let refused = engine.generation.flush(rows(100).into_iter());
        assert!(matches!(refused, Err(EngineError::Full(_))), "{refused:?}");
        assert_eq!(files(&engine), before, "a table is left that nobody will read");
        engine.generation.flush(rows(101).into_iter()).unwrap();
        assert_eq!(files(&engine), before + 1);
    }

    #[test]
    fn a_snapshot_without_room_leaves_the_old_content_and_can_come_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut engine = DiskEngine::open(dir.path(), SMALL).unwrap();
        put(&mut engine, 1);
        let install = |engine: &mut DiskEngine, refusals| {
            engine.replace_begin()?;
            let next = engine.replacement.as_ref().expect("it was begun");
            next.generation.refusals.store(refusals, Ordering::SeqCst);
            engine.replace_put(Table::Key, b"a", b"1")?;
            engine.replace_finish(EntryId::new(1, 5))
        };
        let refused = install(&mut engine, 1);
        assert!(matches!(refused, Err(EngineError::Full(_))), "{refused:?}");
        assert_eq!(engine.applied(), EntryId::new(1, 1));
        assert!(!engine.files.tree(2).exists(), "it still takes room");
        put(&mut engine, 2);
        install(&mut engine, 0).expect("there is room now");
        assert_eq!(engine.applied(), EntryId::new(1, 5));
        assert_eq!(engine.get(Table::Key, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    }
}
