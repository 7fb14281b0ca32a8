//! The writer's side: batches go into the active memtable and become visible by one number.

use crate::{
    compaction,
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
        self.shared.head().seal(Arc::clone(&self.memtable), self.applied);
        self.shared.notify();
    }

    /// Seals the active memtable, unless nothing was committed since the last time.
    fn seal_what_there_is(&mut self) -> Result<(), EngineError> {
        self.shared.check()?;
        assert!(self.batch.is_none(), "a flush comes between two batches");
        if !self.memtable.is_empty() || self.sealed != self.applied {
            self.seal();
        }
        Ok(())
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
        if self.memtable.size() >= self.options.memtable_bytes || entries >= ENTRIES_MAX {
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
        drop(self.shared.wait_until(|head| head.sealed.is_empty())?);
        Ok(())
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
