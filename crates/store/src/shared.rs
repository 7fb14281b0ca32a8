//! What the writer, the readers and the two background threads have in common.
//!
//! # Locks, in the order in which they are taken
//!
//! 1. `turn`: who changes the tables (the flush, the compaction, the installation of a snapshot)
//!    holds it while it looks at them and publishes what it sees. So tables are published in the
//!    order in which they came about; a late publication of older ones would make rows vanish that
//!    were already dropped from memory.
//! 2. the tree's own locks, which it may hold during a sync of its manifest;
//! 3. `head`: held for a few instructions. Readers and the writer take only this one, so neither
//!    ever waits for the disk, but for the writer's back-pressure, which is spelled out where it is.

use crate::{
    generation::{Generation, RowCounts},
    view::{Memtables, Snapshot, Tables},
};
use lsm_tree::{Memtable, SeqNo};
use quorate_mvcc::engine::{EngineError, EngineSize};
use quorate_raft::EntryId;
use std::{
    collections::VecDeque,
    iter, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock},
    thread,
    time::Duration,
};

/// How long to wait before a write is tried again that found the disk full.
const FULL_PAUSE: Duration = Duration::from_millis(500);

/// A memtable that takes no more rows and waits for the flush.
pub(crate) struct Sealed {
    pub(crate) memtable: Arc<Memtable>,
    /// The position in its last row.
    pub(crate) applied: EntryId,
}

/// The state of the store.
pub(crate) struct Head {
    pub(crate) generation: Arc<Generation>,
    tables: Arc<Tables>,
    /// The memtable that takes writes.
    active: Arc<Memtable>,
    /// Oldest first.
    pub(crate) sealed: VecDeque<Sealed>,
    /// `active` and `sealed` as views take them.
    memtables: Memtables,
    /// What views see: everything below. Grows with each commit.
    pub(crate) bound: SeqNo,
    /// The position on disk.
    pub(crate) durable: EntryId,
    /// Runs of tables that wait for compaction.
    pub(crate) unmerged_runs: usize,
    /// The rows on disk.
    pub(crate) rows: RowCounts,
    /// There may be work for the compaction.
    pub(crate) compaction_due: bool,
    /// Any garbage is worth a merge.
    pub(crate) reclaim_wanted: bool,
    /// The last flush found no room.
    pub(crate) disk_is_full: bool,
    /// The engine is being dropped.
    pub(crate) stopping: bool,
}

impl Head {
    fn new(generation: Arc<Generation>, durable: EntryId, active: Arc<Memtable>) -> Self {
        Self {
            tables: Arc::new(generation.tables()),
            memtables: Arc::new([Arc::clone(&active)]),
            active,
            sealed: VecDeque::new(),
            bound: generation.bound(),
            durable,
            unmerged_runs: generation.unmerged_runs(),
            rows: generation.rows(),
            compaction_due: true,
            reclaim_wanted: false,
            disk_is_full: false,
            stopping: false,
            generation,
        }
    }

    /// Puts an empty memtable in the place of the active one, which from now on waits for the flush.
    pub(crate) fn seal(&mut self, next: Arc<Memtable>, applied: EntryId) {
        let memtable = mem::replace(&mut self.active, next);
        self.sealed.push_back(Sealed { memtable, applied });
        self.list_memtables();
    }

    /// Drops the oldest sealed memtable, whose rows are on disk.
    pub(crate) fn unseal(&mut self) {
        let flushed = self.sealed.pop_front().expect("what was flushed was sealed");
        self.durable = flushed.applied;
        self.list_memtables();
    }

    fn list_memtables(&mut self) {
        let sealed = self.sealed.iter().rev().map(|sealed| &sealed.memtable);
        self.memtables = iter::once(&self.active).chain(sealed).cloned().collect();
    }
}

/// The first failure of an engine, for ever. Readers on other threads have it too: what they find
/// damaged, the writer must not build upon.
pub(crate) type Failure = Arc<OnceLock<EngineError>>;

/// Shared by the engine and its threads.
pub(crate) struct Shared {
    turn: Mutex<()>,
    head: Mutex<Head>,
    /// Something in `head` changed that somebody may wait for; or the engine failed.
    changed: Condvar,
    failure: Failure,
}

impl Shared {
    /// Begins with a generation as it lies on disk, and an empty memtable.
    pub(crate) fn new(
        generation: Arc<Generation>,
        durable: EntryId,
        active: Arc<Memtable>,
    ) -> Self {
        Self {
            turn: Mutex::new(()),
            changed: Condvar::new(),
            failure: generation.failure(),
            head: Mutex::new(Head::new(generation, durable, active)),
        }
    }

    /// The state. Not to be held across a call of the tree.
    pub(crate) fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().expect("no holder of the head panics")
    }

    /// Waits until a condition holds, or the engine has failed.
    ///
    /// # Errors
    /// If the engine has failed.
    pub(crate) fn wait_until(
        &self,
        mut met: impl FnMut(&Head) -> bool,
    ) -> Result<MutexGuard<'_, Head>, EngineError> {
        let mut head = self.head();
        loop {
            self.check()?;
            if met(&head) {
                return Ok(head);
            }
            head = self.changed.wait(head).expect("no holder of the head panics");
        }
    }

    /// Waits a moment on a full disk, or until something changes.
    pub(crate) fn wait_for_room(&self) {
        let head = self.head();
        if !head.stopping {
            drop(
                self.changed.wait_timeout(head, FULL_PAUSE).expect("no holder of the head panics"),
            );
        }
    }

    /// Wakes all who wait.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Publishes the tables of a generation as they are now, together with a change that belongs to
    /// them; unless another generation is in force meanwhile.
    pub(crate) fn publish(&self, generation: &Arc<Generation>, change: impl FnOnce(&mut Head)) {
        let turn = self.turn.lock().expect("no holder of the turn panics");
        let tables = Arc::new(generation.tables());
        let unmerged_runs = generation.unmerged_runs();
        let rows = generation.rows();
        let superseded = {
            let mut head = self.head();
            if Arc::ptr_eq(&head.generation, generation) {
                change(&mut head);
                head.unmerged_runs = unmerged_runs;
                head.rows = rows;
                mem::replace(&mut head.tables, tables)
            } else {
                tables
            }
        };
        drop(turn);
        self.notify();
        // May delete files that nobody reads any more; not under a lock.
        drop(superseded);
    }

    /// Puts another generation in the place of the current one, for readers in one step.
    pub(crate) fn replace(
        &self,
        generation: Arc<Generation>,
        applied: EntryId,
        active: Arc<Memtable>,
    ) {
        let turn = self.turn.lock().expect("no holder of the turn panics");
        let next = Head::new(generation, applied, active);
        let superseded = mem::replace(&mut *self.head(), next);
        drop(turn);
        self.notify();
        drop(superseded);
    }

    /// The last committed state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let head = self.head();
        Snapshot::new(Arc::clone(&head.memtables), Arc::clone(&head.tables), head.bound)
    }

    /// How much there is.
    pub(crate) fn size(&self) -> EngineSize {
        let (generation, memory_bytes) = {
            let head = self.head();
            (Arc::clone(&head.generation), head.memtables.iter().map(|table| table.size()).sum())
        };
        EngineSize { disk_bytes: generation.disk_bytes(), memory_bytes }
    }

    /// Refuses to go on after a failure.
    ///
    /// # Errors
    /// The first failure, for ever.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Records a failure; the first one counts. Everybody who waits is woken to see it.
    pub(crate) fn fail(&self, error: EngineError) -> EngineError {
        let first = self.failure.get_or_init(|| error).clone();
        // With the lock, so that nobody is between looking at the failure and going to sleep.
        drop(self.head());
        self.notify();
        first
    }

    /// Runs the body of a background thread; an error or a panic in it fails the engine.
    pub(crate) fn run(&self, name: &str, body: impl FnOnce(&Self) -> Result<(), EngineError>) {
        struct OnPanic<'a>(&'a Shared, &'a str);
        impl Drop for OnPanic<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.fail(EngineError::Corrupt(format!("the {} thread panicked", self.1)));
                }
            }
        }
        let _guard = OnPanic(self, name);
        if let Err(error) = body(self) {
            self.fail(error);
        }
    }
}
