//! What the writer, the readers and the two background threads have in common.
//!
//! # Locks, in the order in which they are taken
//!
//! 1. `turn`: who changes the layers (the writer when it seals, the flush, the compaction, the
//!    installation of a snapshot) holds it from the change until the new layers are published.
//!    So layers are published in the order in which they came about; a late publication of older
//!    layers would make rows vanish.
//! 2. the tree's own locks, which it may hold during a sync of its manifest;
//! 3. `head`: held for a few instructions. Readers take only this one, so no reader ever waits for
//!    the disk on behalf of the writer.

use crate::{
    generation::Generation,
    view::{Layers, Snapshot},
};
use lsm_tree::{Memtable, SeqNo};
use quorate_mvcc::engine::{EngineError, EngineSize};
use quorate_raft::EntryId;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock},
    thread,
};

/// A memtable that takes no more rows and waits for the flush.
pub(crate) struct Sealed {
    pub(crate) memtable: Arc<Memtable>,
    /// The position in its last row.
    pub(crate) applied: EntryId,
}

/// The state of the store.
pub(crate) struct Head {
    pub(crate) generation: Arc<Generation>,
    pub(crate) layers: Arc<Layers>,
    /// The memtable that takes writes.
    pub(crate) active: Arc<Memtable>,
    /// Oldest first.
    pub(crate) sealed: VecDeque<Sealed>,
    /// What views see: everything below. Grows with each commit.
    pub(crate) bound: SeqNo,
    /// The position on disk.
    pub(crate) durable: EntryId,
    /// Runs of tables that wait for compaction.
    pub(crate) unmerged_runs: usize,
    /// There may be work for the compaction.
    pub(crate) compaction_due: bool,
    /// The engine is being dropped.
    pub(crate) stopping: bool,
}

/// Shared by the engine and its threads.
pub(crate) struct Shared {
    turn: Mutex<()>,
    head: Mutex<Head>,
    /// Something in `head` changed that somebody may wait for; or the engine failed.
    changed: Condvar,
    failure: OnceLock<EngineError>,
}

impl Shared {
    /// Begins with a generation as it lies on disk.
    pub(crate) fn new(generation: Arc<Generation>, durable: EntryId) -> Self {
        let active = generation.active();
        let head = Head {
            layers: Arc::new(generation.layers(vec![Arc::clone(&active)])),
            active,
            sealed: VecDeque::new(),
            bound: generation.bound(),
            durable,
            unmerged_runs: generation.unmerged_runs(),
            compaction_due: true,
            stopping: false,
            generation,
        };
        Self {
            turn: Mutex::new(()),
            head: Mutex::new(head),
            changed: Condvar::new(),
            failure: OnceLock::new(),
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

    /// Changes the layers and publishes the new ones before anybody else can change them.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&Self) -> T) -> T {
        let turn = self.turn.lock().expect("no holder of the turn panics");
        let result = change(self);
        let (generation, memtables) = {
            let head = self.head();
            let sealed = head.sealed.iter().rev().map(|sealed| &sealed.memtable);
            let memtables = std::iter::once(&head.active).chain(sealed).cloned().collect();
            (Arc::clone(&head.generation), memtables)
        };
        let unmerged_runs = generation.unmerged_runs();
        let layers = Arc::new(generation.layers(memtables));
        let old = {
            let mut head = self.head();
            head.unmerged_runs = unmerged_runs;
            std::mem::replace(&mut head.layers, layers)
        };
        drop(turn);
        self.changed.notify_all();
        // May delete files that nobody reads any more; not under a lock.
        drop(old);
        result
    }

    /// Puts another generation in the place of the current one, for readers in one step.
    pub(crate) fn replace(&self, generation: &Arc<Generation>, applied: EntryId) {
        let turn = self.turn.lock().expect("no holder of the turn panics");
        let active = generation.active();
        let layers = Arc::new(generation.layers(vec![Arc::clone(&active)]));
        let unmerged_runs = generation.unmerged_runs();
        let old = {
            let mut head = self.head();
            let next = Head {
                generation: Arc::clone(generation),
                layers,
                active,
                sealed: VecDeque::new(),
                bound: generation.bound(),
                durable: applied,
                unmerged_runs,
                compaction_due: true,
                stopping: head.stopping,
            };
            std::mem::replace(&mut *head, next)
        };
        drop(turn);
        self.changed.notify_all();
        drop(old);
    }

    /// Wakes all who wait.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// The last committed state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let head = self.head();
        Snapshot { layers: Arc::clone(&head.layers), bound: head.bound }
    }

    /// How much there is.
    pub(crate) fn size(&self) -> EngineSize {
        let (generation, memory_bytes) = {
            let head = self.head();
            let sealed: u64 = head.sealed.iter().map(|sealed| sealed.memtable.size()).sum();
            (Arc::clone(&head.generation), sealed + head.active.size())
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
        self.changed.notify_all();
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
