//! The machine of a member: the production data model over an engine in memory that outlives the
//! process, and lags behind as lazily durable engines do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_mvcc::engine::{Engine, EngineError, EngineSize, KeyBounds, Reader, Rows, Table, View};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::watch::{Recent, WatchRing};
use quorate_mvcc::{
    KeyRange, Lease, LeaseChange, Outcome, RangeRequest, RangeResponse, RevisionEvents, Store,
};
use quorate_node::{
    Fault, Fingerprint, Machine, Piece, RestoreError, Snapshot, SnapshotBytes, SnapshotError,
};
use quorate_raft::EntryId;

/// A command that was applied, and its outcome.
pub type Traced = (EntryId, Outcome);

/// What a member holds of the data model: the engine, with what of it would survive a crash.
#[derive(Clone, Debug)]
pub struct SharedEngine(Arc<Mutex<MemEngine>>);

impl Default for SharedEngine {
    /// An empty engine, durable only when it is told to be.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(MemEngine::lazy(u32::MAX))))
    }
}

impl SharedEngine {
    /// Loses what a crash loses. Whoever still holds the engine of before keeps what is lost.
    pub fn crash(&mut self) {
        let left = self.lock().crash();
        self.0 = Arc::new(Mutex::new(left));
    }

    fn lock(&self) -> MutexGuard<'_, MemEngine> {
        // One thread: poisoned only by a panic that ended the run already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for SharedEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.lock().get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        let rows: Vec<_> = self.lock().scan(table, bounds).collect();
        Box::new(rows.into_iter())
    }
}

impl Engine for SharedEngine {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.lock().put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError> {
        self.lock().delete(table, key)
    }

    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.lock().commit(applied)
    }

    fn applied(&self) -> EntryId {
        self.lock().applied()
    }

    fn durable(&self) -> EntryId {
        self.lock().durable()
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.lock().flush()
    }

    fn view(&self) -> View {
        self.lock().view()
    }

    fn replace_begin(&mut self) -> Result<(), EngineError> {
        self.lock().replace_begin()
    }

    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.lock().replace_put(table, key, value)
    }

    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.lock().replace_finish(applied)
    }

    fn size(&self) -> EngineSize {
        self.lock().size()
    }
}

/// What a machine is opened with.
#[derive(Clone, Copy, Debug)]
pub struct MachineOptions {
    /// The bytes of one piece of a snapshot.
    pub piece_bytes_max: usize,
    /// The bytes of recent events that are kept for watchers, if anybody watches in this run.
    pub ring_bytes: Option<usize>,
}

/// What the world sees of a machine beside what the applier says.
struct Shown {
    store: Store,
    /// What was applied since the last look.
    trace: Vec<Traced>,
    /// The events of the last commits, for watchers.
    ring: Option<WatchRing>,
    /// Counts what was published in it.
    publications: u64,
    /// The leases that came and went since the last look.
    leases: Vec<LeaseChange>,
}

impl Shown {
    /// Hands the committed state over to watchers, as the real server does after each commit.
    fn publish(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.publish(self.store.take_events(), self.store.read_state());
            self.publications += 1;
        }
        self.leases.extend(self.store.take_lease_changes());
    }
}

/// The readers' side of a machine.
#[derive(Clone)]
pub struct Reading(Arc<Mutex<Shown>>);

impl Reading {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was applied since the last call.
    #[must_use]
    pub fn take_trace(&self) -> Vec<Traced> {
        std::mem::take(&mut self.lock().trace)
    }

    /// The leases that came and went since the last call.
    #[must_use]
    pub fn take_lease_changes(&self) -> Vec<LeaseChange> {
        std::mem::take(&mut self.lock().leases)
    }

    /// All leases of the committed state.
    ///
    /// # Panics
    /// If an engine in memory can't be read.
    #[must_use]
    pub fn leases(&self) -> Vec<Lease> {
        let state = self.lock().store.read_state();
        state.leases().expect("the newest state can be read")
    }

    /// All that happened, if nothing of it was compacted.
    ///
    /// # Panics
    /// If an engine in memory can't be read.
    #[must_use]
    pub fn whole_history(&self) -> Option<Vec<RevisionEvents>> {
        let state = self.lock().store.read_state();
        let is_whole = state.compacted() < 0;
        is_whole.then(|| state.history(0, usize::MAX).expect("nothing of it is gone"))
    }

    /// How often something was published for watchers.
    #[must_use]
    pub fn publications(&self) -> u64 {
        self.lock().publications
    }

    /// The published revision.
    ///
    /// # Panics
    /// If the machine was opened for a run without watchers. So do the next.
    #[must_use]
    pub fn published_revision(&self) -> i64 {
        self.lock().ring.as_ref().expect("watchers have a ring").state().revision()
    }

    /// What happened from a revision on, as far as it was published.
    #[must_use]
    pub fn recent(&self, from: i64) -> Recent {
        self.lock().ring.as_ref().expect("watchers have a ring").recent(from)
    }

    /// Reads a key from the committed state, as a client's read does. The state is held no longer
    /// than that: the next write after it would copy the engine.
    ///
    /// # Panics
    /// If an engine in memory can't be read.
    #[must_use]
    pub fn read(&self, key: &Bytes) -> RangeResponse {
        let request = RangeRequest::new(KeyRange::Point(key.clone()));
        let state = self.lock().store.read_state();
        state.range(&request).expect("the newest state can be read")
    }
}

/// The production store; tells the position of every outcome, and shows all of them.
struct Watched {
    shown: Reading,
    piece_bytes_max: usize,
}

/// A machine on what an engine holds.
///
/// # Errors
/// If the store can't be opened.
pub fn open(
    engine: &SharedEngine,
    options: MachineOptions,
) -> Result<(Box<dyn Machine<Outcome = Traced>>, Reading), Fault> {
    let MachineOptions { piece_bytes_max, ring_bytes } = options;
    let store = Store::open(Box::new(engine.clone()))?;
    let ring = ring_bytes.map(|bytes| WatchRing::new(bytes, store.read_state()));
    let shown = Shown { store, trace: Vec::new(), ring, publications: 0, leases: Vec::new() };
    let shown = Reading(Arc::new(Mutex::new(shown)));
    Ok((Box::new(Watched { shown: shown.clone(), piece_bytes_max }), shown))
}

impl Machine for Watched {
    type Outcome = Traced;

    fn applied(&self) -> EntryId {
        self.shown.lock().store.applied()
    }

    fn durable(&self) -> EntryId {
        self.shown.lock().store.durable()
    }

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<Self::Outcome, Fault> {
        let mut shown = self.shown.lock();
        let outcome = shown.store.apply(entry, command)?;
        shown.trace.push((entry, outcome.clone()));
        Ok((entry, outcome))
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.shown.lock().store.fingerprint()
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        let mut shown = self.shown.lock();
        shown.store.commit(through)?;
        shown.publish();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.shown.lock().store.flush()
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        let snapshot = self.shown.lock().store.snapshot()?;
        Ok(Box::new(Pieces { snapshot, piece_bytes_max: self.piece_bytes_max }))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        let mut shown = self.shown.lock();
        shown.store.restore(piece)?;
        if piece.end {
            shown.publish();
        }
        Ok(())
    }
}

/// A snapshot in smaller pieces than a node asks for, so that a small state makes a long transfer.
struct Pieces {
    snapshot: Box<dyn Snapshot>,
    piece_bytes_max: usize,
}

impl Snapshot for Pieces {
    fn last(&self) -> EntryId {
        self.snapshot.last()
    }

    fn read(&mut self, cursor: &[u8], bytes_max: usize) -> Result<SnapshotBytes, SnapshotError> {
        self.snapshot.read(cursor, bytes_max.min(self.piece_bytes_max))
    }
}
